//! What the connections of one turn say, and what they want to hear.
//!
//! Never: waits, reads or measures.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::{bail, ensure};
use memchr::memmem;

use crate::case::{Case, Kind, Yardstick};
use crate::eureka;
use crate::http::Answer;
use crate::population::{Id, Population, WIDE};

/// Whom a turn measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The registry.
    Registry,
    /// The server that stands beside it and is asked the same (or for its large body).
    Bare,
}

/// The requests of one turn.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    side: Side,
    case: Case,
    address: SocketAddr,
    host: String,
    population: Arc<Population>,
    /// How many bytes the bare server is asked for.
    bytes: Option<u64>,
    /// What the list was when the turn began.
    etag: Option<String>,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A heartbeat.
    Renew(usize),
    /// A registration.
    Register(usize),
    /// Removal of what the same connection has just registered.
    Remove(Id),
    /// Instances of a wide service.
    Lookup(usize),
    /// A status for an instance.
    SetStatus(usize, &'static str),
    /// Heartbeats for the next thousand instances.
    RenewMany,
    /// Names of all services.
    Names,
    /// Every instance.
    List,
    /// A heartbeat by the Eureka API.
    Beat(usize),
    /// A registration by the Eureka API.
    Announce(usize),
    /// A change by the Eureka API, told apart by when it was made.
    Annotate(usize, u128),
    /// Every application.
    Applications,
    /// What changed lately.
    Delta,
}

// === impl Workload ===

impl Workload {
    /// Requests of `case` for the server at `address`.
    pub(crate) fn new(side: Side, case: Case, address: SocketAddr, population: Arc<Population>) -> Self {
        Self { side, case, address, host: address.to_string(), population, bytes: None, etag: None }
    }

    /// The same for the bare server at `address`, which is asked for so many bytes where the case wants it.
    pub(crate) fn beside(&self, address: SocketAddr, as_many: u64) -> Self {
        let bytes = match self.case.yardstick() {
            Yardstick::Small | Yardstick::Same => None,
            Yardstick::Bytes(bytes) => Some(bytes),
            Yardstick::AsMany => Some(as_many),
        };
        Self { bytes, ..Self::new(Side::Bare, self.case, address, self.population.clone()) }
    }

    /// Whom it asks.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The case it was made for.
    pub(crate) const fn case(&self) -> Case {
        self.case
    }

    /// The next request of a connection.
    pub(crate) fn first_step(&self) -> Step {
        match self.case {
            Case::Renew | Case::RenewDebug | Case::RedisRenew | Case::ClusterRenew => {
                Step::Renew(self.population.next())
            }
            Case::Register => Step::Register(self.population.next()),
            Case::RegisterNew => Step::Register(self.population.newcomer()),
            Case::Lookup | Case::RedisLookup => Step::Lookup(self.population.next()),
            Case::Status => Step::SetStatus(self.population.next(), "STARTING"),
            Case::Batch => Step::RenewMany,
            Case::Names => Step::Names,
            Case::List | Case::ListGzip | Case::NotModified | Case::RedisList => Step::List,
            Case::EurekaRenew => Step::Beat(self.population.next()),
            Case::EurekaRegister => Step::Announce(self.population.next()),
            Case::EurekaDelta | Case::EurekaDeltaGzip => Step::Delta,
            Case::EurekaList | Case::EurekaListXml | Case::EurekaListGzip => Step::Applications,
        }
    }

    /// How an instance of the population is registered.
    pub(crate) fn registration(&self, instance: usize) -> Step {
        match self.case.kind() {
            Kind::Plain | Kind::Debug | Kind::Redis | Kind::Cluster => Step::Register(instance),
            Kind::Eureka => Step::Announce(instance),
        }
    }

    /// What has to be done before a turn.
    pub(crate) fn preparation(&self) -> Vec<Step> {
        match (self.side, self.case) {
            (Side::Registry, Case::EurekaDelta | Case::EurekaDeltaGzip) => {
                let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
                (0..Case::CHANGES).map(|instance| Step::Annotate(instance, now)).collect()
            }
            (_, _) => Vec::new(),
        }
    }

    /// What has to follow, so that the population stays as it was.
    pub(crate) fn second_step(&self, first: Step, body: &[u8]) -> anyhow::Result<Option<Step>> {
        match (self.case, first) {
            (Case::RegisterNew, _) => Ok(Some(Step::Remove(crate::population::id_in(body)?))),
            (Case::Status, Step::SetStatus(instance, _)) => Ok(Some(Step::SetStatus(instance, "UP"))),
            (_, _) => Ok(None),
        }
    }

    /// Whether the body of the first answer is needed for the second step.
    pub(crate) fn keeps_body(&self) -> bool {
        self.case == Case::RegisterNew
    }

    /// Writes the request of a step.
    pub(crate) fn write(&self, step: Step, out: &mut Vec<u8>) {
        out.clear();
        let id = |instance| self.population.id(instance);
        match step {
            Step::Renew(instance) => {
                self.put(out, "PUT", format_args!("/api/v1/instances/{}/heartbeat", id(instance)), b"");
            }
            Step::Register(instance) => {
                let mut body = Vec::with_capacity(256);
                self.population.write_registration(instance, &mut body);
                self.put(out, "POST", format_args!("/api/v1/instances"), &body);
            }
            Step::Remove(id) => {
                let id = std::str::from_utf8(&id).unwrap_or_default();
                self.put(out, "DELETE", format_args!("/api/v1/instances/{id}"), b"");
            }
            Step::Lookup(number) => {
                self.get(out, format_args!("/api/v1/services/{}", self.population.wide(number)));
            }
            Step::SetStatus(instance, status) => {
                let body = format!(r#"{{"status":"{status}"}}"#);
                self.put(
                    out,
                    "PUT",
                    format_args!("/api/v1/instances/{}/status", id(instance)),
                    body.as_bytes(),
                );
            }
            Step::RenewMany => {
                self.put(out, "PUT", format_args!("/api/v1/heartbeats"), &self.batch());
            }
            Step::Names => self.get(out, format_args!("/api/v1/services")),
            Step::List | Step::Applications | Step::Delta if self.bytes.is_some() => {
                self.get(out, format_args!("/big/{}", self.bytes.unwrap_or_default()));
            }
            Step::List => self.get(out, format_args!("/api/v1/instances")),
            Step::Applications => self.get(out, format_args!("/eureka/v2/apps")),
            Step::Delta => self.get(out, format_args!("/eureka/v2/apps/delta")),
            Step::Beat(instance) => {
                let (path, dirty_at) = (self.path(instance), eureka::dirty_at(instance));
                let path = format_args!("/eureka/v2/apps/{path}?status=UP&lastDirtyTimestamp={dirty_at}");
                self.put(out, "PUT", path, b"");
            }
            Step::Announce(instance) => {
                let mut body = Vec::with_capacity(2048);
                eureka::write_registration(&self.population, instance, &mut body);
                let app = self.population.service(instance).to_ascii_uppercase();
                self.put(out, "POST", format_args!("/eureka/v2/apps/{app}"), &body);
            }
            Step::Annotate(instance, time) => {
                let path = self.path(instance);
                self.put(out, "PUT", format_args!("/eureka/v2/apps/{path}/metadata?changed={time}"), b"");
            }
        }
    }

    fn path(&self, instance: usize) -> eureka::Path<'_> {
        eureka::Path { population: &self.population, instance }
    }

    /// Fails unless the answer is the one that a step has to get.
    pub(crate) fn judge(&self, step: Step, answer: &Answer) -> anyhow::Result<()> {
        let wanted = match (self.side, step) {
            (Side::Registry, Step::Register(_)) => 201,
            (Side::Registry, Step::Announce(_)) => 204,
            (Side::Registry, Step::List) if self.etag.is_some() => 304,
            (Side::Registry | Side::Bare, _) => 200,
        };
        let status = answer.status;
        ensure!(status == wanted, "{step:?} was answered with {status}, wanted {wanted}");
        Ok(())
    }

    /// Fails unless the registry's answer before the turn holds what it has to; keeps the tag where one is needed.
    pub(crate) fn check(&mut self, answer: &Answer, body: &[u8]) -> anyhow::Result<()> {
        if self.side == Side::Bare {
            return Ok(());
        }
        let instances = || memmem::find_iter(body, br#""id":""#).count();
        let (got, wanted) = match self.case {
            Case::Lookup | Case::RedisLookup => (instances(), WIDE),
            Case::List | Case::RedisList => (instances(), self.population.size()),
            Case::Names => (memmem::find_iter(body, br#""svc-"#).count(), self.population.services()),
            Case::EurekaList | Case::EurekaListXml => (eureka::instances_in(body), self.population.size()),
            Case::EurekaDelta => (eureka::instances_in(body), Case::CHANGES),
            Case::ListGzip | Case::EurekaListGzip | Case::EurekaDeltaGzip if !answer.is_gzip => {
                bail!("the list came uncompressed")
            }
            Case::NotModified => match &answer.etag {
                Some(etag) => {
                    self.etag = Some(etag.clone());
                    return Ok(());
                }
                None => bail!("the list came without an ETag"),
            },
            Case::Renew
            | Case::RenewDebug
            | Case::RedisRenew
            | Case::ClusterRenew
            | Case::Register
            | Case::RegisterNew
            | Case::Status
            | Case::Batch
            | Case::ListGzip
            | Case::EurekaRenew
            | Case::EurekaRegister
            | Case::EurekaListGzip
            | Case::EurekaDeltaGzip => return Ok(()),
        };
        ensure!(got == wanted, "{got} entries in the answer, wanted {wanted}");
        Ok(())
    }

    fn get(&self, out: &mut Vec<u8>, path: std::fmt::Arguments<'_>) {
        let host = &self.host;
        let encoding = if self.case.is_gzip() { "Accept-Encoding: gzip\r\n" } else { "" };
        let kind = if self.case == Case::EurekaListXml { "application/xml" } else { "application/json" };
        let extra = self.extra();
        let written =
            write!(out, "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {kind}\r\n{encoding}{extra}")
                .and_then(|()| match &self.etag {
                    Some(etag) => write!(out, "If-None-Match: {etag}\r\n\r\n"),
                    None => write!(out, "\r\n"),
                });
        written.expect("writing to memory does not fail");
    }

    fn put(&self, out: &mut Vec<u8>, method: &str, path: std::fmt::Arguments<'_>, body: &[u8]) {
        let (host, length) = (&self.host, body.len());
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let extra = self.extra();
        write!(
            out,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{kind}Content-Length: {length}\r\n{extra}\r\n"
        )
        .expect("writing to memory does not fail");
        out.extend_from_slice(body);
    }

    fn extra(&self) -> &'static str {
        match self.case.kind() {
            Kind::Plain | Kind::Debug | Kind::Redis | Kind::Cluster => "",
            Kind::Eureka => eureka::HEADERS,
        }
    }

    fn batch(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(20 * Case::BATCH);
        body.extend_from_slice(br#"{"ids":"#);
        for number in 0..Case::BATCH {
            body.extend_from_slice(if number == 0 { b"[\"" } else { b",\"" });
            body.extend_from_slice(self.population.id(self.population.next()).as_bytes());
            body.push(b'"');
        }
        body.extend_from_slice(b"]}");
        body
    }
}
