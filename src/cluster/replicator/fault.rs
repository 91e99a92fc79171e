//! Faults that can be planted to see whether the tests would find them.
//!
//! Never: planted in a registry.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A renewal of an unknown entry is not followed by a pull.
    NoPull,
    /// Deregistrations are forgotten after three seconds.
    TombstonesTooShort,
    /// Leases are judged by times of day instead of ages.
    WallClockLeases,
    /// One renewal in three is not noted for the other members.
    DirtyBitForgotten,
    /// A stream counts as complete when its first entries are there.
    VersionVectorAhead,
    /// An expiry is told to others as a deregistration.
    ExpiryReplicated,
    /// What comes replaces what is there, whatever the stamps.
    StampsIgnored,
    /// A renewal takes a new stamp.
    RenewalStamps,
    /// Changes of a third member are not relayed.
    NoRelay,
    /// What is held is held for ever.
    HoldForEver,
    /// What is held is sent as renewed just now.
    HoldVouches,
    /// Instances are not held.
    NoHold,
    /// A restarted member's stream is taken for that of its last life.
    IncarnationIgnored,
    /// One entry in twenty is lost when it comes.
    EntryLost,
    /// The same, and digests mend nothing.
    NoRepair,
    /// Entries are sent whatever the receiver has taken.
    CreditIgnored,
    /// Entries without an end of their lease are not compared after a long absence.
    NoReconciliation,
    /// The row of an instance is looked up without its namespace.
    NamespacesMixed,
    /// A member that restarted empty says that it has everything.
    EmptyDeletes,
}
