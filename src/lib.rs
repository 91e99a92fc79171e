//! a8registry: a multi-tenant, highly available service registry.
//!
//! Services register their instances and keep them alive by heartbeats; clients ask who is there. All that
//! a namespace knows lives in one [`directory::Directory`]: instances in order, kept encoded, with a
//! revision that rises with every visible change and a log of the newest changes. Everything that reads is
//! a rendering of it. Everything that writes goes to a [`store::Store`], which owns the leases and alone
//! decides what is alive. A heartbeat touches a lease and nothing else.
//!
//! Never: persists anything in this process (`--store redis` keeps it in another), or answers a read from
//! anywhere but a directory.
//!
//! ```text
//!  clients ── listener ── api ── auth → Namespace ── registry
//!                                                      │ writes        │ reads
//!                                                      ▼               ▼
//!                                                    store ─────→ directory (one for each namespace)
//!                                                    leases       revision, change log, encoded chunks
//! ```
//!
//! Two protocols are served over the same instances: the Amalgam8 registry's and Netflix Eureka's. An instance that
//! came by the Eureka API carries its whole document ([`model::Document`]); what becomes of it when something new is
//! said about it is pure and in one place, `model/succession.rs`.
//!
//! # Code map, from below
//!
//! | module | what lives there |
//! |---|---|
//! | [`model`] | names, instances, leases, their limits and who succeeds whom; a limit or a meaning goes here |
//! | [`pem`] | certificates and keys in files |
//! | [`wire`] | the shapes we speak; a JSON key or an XML element goes here |
//! | [`directory`] | slots (what a renewal touches), chunks (what a list is made of), renditions (the same for Eureka's readers), the change log, selection, self-preservation |
//! | [`store`] | who may write what, capacity, leases that run out |
//! | [`cluster`] | members that replicate in memory: the rules (pure), what connects them to the store, connections |
//! | [`registry`] | the narrow waist that handlers call |
//! | [`catalog`] | foreign systems that are followed: what differs in them is laid over a directory |
//! | [`outbound`] | calls to other servers: their bounds, TLS, credentials |
//! | [`peers`] | Eureka servers that are told of our clients' writes: queues, first synchronization |
//! | [`auth`] | from a token to a namespace |
//! | [`api`] | every path and every status code |
//! | [`listener`] | connections: accepting, bounding, draining, TLS |
//! | [`telemetry`] | log lines, metrics, health |
//! | [`tasks`] | loops with an owner and an end |
//! | [`config`] | flags and variables |
//! | [`daemon`] | the composition root; with [`tasks`] the only place that starts loops |
//!
//! A module imports only from those above it in this table; `tests/it/tidy.rs` has the exact rules.
//!
//! # Invariants
//!
//! * No read waits for another process, a write only for Redis when that is the store, and no lock is held
//!   while encoding, compressing or sending.
//! * A heartbeat changes no revision, allocates nothing in the store, and costs the same whatever the
//!   number of instances.
//! * A namespace never sees another; reading one never makes it.
//! * An instance leaves every read at most half a second after its lease; one that is renewed never does.
//! * Nothing works per instance where once per process will do: expiry is one walk along the deadlines.
//! * Whatever a client sends costs bounded memory and time, and changes nothing when it is refused.
//!
//! # Walkthroughs
//!
//! **Register.** [`api::middleware`] opens the request's books → [`api::tenant`] turns the token into a
//! namespace → `api/amalgam8.rs` reads the body through [`wire`] into a [`model::Registration`] →
//! [`registry`] grants the lease → [`store::memory`] checks capacity → [`directory`] places it: slot, chunk,
//! revision, change.
//!
//! **Register with Redis.** The same road to [`store::redis`], whose `writing.rs` looks up in its mirror what is known under
//! the id, lets the model's rules make the new instance of it, and calls `scripts/put.lua` with both: the script compares
//! with what is there, checks capacity, puts the record, begins the lease on the bucket's clock, counts the revision and
//! adds the change to the bucket's stream, all at once. When another node was faster it answers with what is there, and it
//! is decided again. `calling.rs` has the script refused when Redis has lost the bucket, and `following.rs` writes it back
//! first. The change is applied to the own mirror and then answered; `following.rs` reads it on all other nodes from the
//! stream, in order. What a node missed is read as a whole (`loading.rs`) and told as changes (`directory/mirroring.rs`).
//!
//! **Heartbeat with Redis.** `renewals.rs` waits three milliseconds for others; `scripts/renew.lua` begins the leases of all
//! that came for a bucket, and each gets its own answer. `keeping.rs` ticks the buckets' clocks a few times a second, is
//! told which leases are over and reaps them by `scripts/remove.lua`, whichever node comes first.
//!
//! **With replication.** `cluster/replicated.rs` writes to the store in memory and tells `cluster/replicator.rs` under
//! one lock ([`cluster::replication`]); links ask that for frames. What comes from a member is done to the directories
//! under the same lock (`directory/replicating.rs`) and passes by the registry. A heartbeat takes no lock: it sets a
//! bit beside its lease (`directory/slots/tracking.rs`), which is collected ten times a second.
//! A member that catches up has no readers yet: what it is told is indexed and leased at once, and put into chunks many
//! instances at a time (`directory/deferring.rs`).
//!
//! **Heartbeat.** The same road, shorter: in `directory/slots.rs` one look-up and two atomic stores.
//!
//! **Eureka's list.** A chunk is encoded for a format when that is first asked for, and the rendition stays with the
//! chunk (`directory/rendition.rs`); `directory/applications.rs` puts a document together out of renditions. Full list,
//! delta and hash code come from one snapshot and the change log up to it (`directory/delta.rs`).
//!
//! **List.** The ETag decides 304 → [`directory::Selector`] picks ranges of chunks → frames are made while
//! they are sent: a copy of a chunk with the times of its leases written in, or its kept gzip fragment.
//!
//! **Peers.** A client's write → [`registry`] offers it to [`peers::Peers`] → the queue of each peer, the newest of
//! a kind for an instance → its [`peers::Link`] sends a batch → what the peer answers to each write is done. What
//! comes from a peer is registered as a peer's and offered to nobody; what it knew before something ended or changed here
//! does not undo that (`registry/recent.rs`).
//!
//! **Catalogs.** A follower of a foreign system (`catalog/kubernetes.rs`, ...) says to its [`catalog::Sink`] what it has →
//! [`catalog::Catalogs`] keeps to its bound and finds what differs → `directory/overlay.rs` shows it where the store has
//! nothing under the same id, as one more change of the same revision.
//!
//! **Expiry.** [`store::expiry`] looks along all deadlines four times a second, removes what is due from
//! its directory under the locks that a renewal would need, and lets the change log forget.
//!
//! **Members.** [`cluster::Mesh`] is one loop: whom to dial it knows from a source (`cluster/members/`), what came of
//! that from the roster (pure); each connection carries frames between a stream and [`cluster::replication`]. Streams are
//! TCP, or whatever else a [`cluster::network`] is: tests run members over one that they break as they like.
//!
//! **Shutdown.** Not ready → peers and members are told goodbye → stop accepting → requests under way finish → what waits for
//! peers and members is sent → loops end; one deadline for all,
//! and a second signal aborts.

pub mod api;
pub mod auth;
pub mod catalog;
pub mod cluster;
pub mod config;
pub mod daemon;
pub mod directory;
pub mod healthcheck;
pub mod listener;
pub mod model;
pub mod outbound;
pub mod peers;
pub mod pem;
pub mod registry;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod wire;
