//! The request cases: what is asked, what it may cost, and what a right answer looks like.
//!
//! Never: sends anything.

use std::fmt;
use std::str::FromStr;

use crate::figure::Figure;

/// Something that `--cases` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Cost of a request.
    Case(Case),
    /// A property of the process.
    Figure(Figure),
}

/// A kind of request; in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    /// Heartbeat of a random instance.
    Renew,
    /// The same on a registry that logs every request.
    RenewDebug,
    /// Registration of what is there already, as clients repeat it.
    Register,
    /// By turns a registration of something new and its removal.
    RegisterNew,
    /// One service with 20 instances.
    Lookup,
    /// By turns STARTING and UP.
    Status,
    /// Heartbeats of a thousand instances in one request, told for one of them.
    Batch,
    /// The names of all services.
    Names,
    /// Every instance.
    List,
    /// Every instance, compressed.
    ListGzip,
    /// Every instance, unchanged since the client last asked.
    NotModified,
    /// Heartbeat of a random instance, as Eureka's Java client sends it.
    EurekaRenew,
    /// Registration of what is there already, as Eureka's Java client repeats it.
    EurekaRegister,
    /// What changed lately, which is [`Case::CHANGES`] instances, as JSON.
    EurekaDelta,
    /// The same, compressed.
    EurekaDeltaGzip,
    /// Every application, as JSON.
    EurekaList,
    /// Every application, as XML.
    EurekaListXml,
    /// Every application, as compressed JSON.
    EurekaListGzip,
    /// Heartbeat of a random instance that is kept in Redis.
    RedisRenew,
    /// One service with 20 instances that are kept in Redis.
    RedisLookup,
    /// Every instance that is kept in Redis.
    RedisList,
    /// Heartbeat of a random instance, told to a member of a cluster.
    ClusterRenew,
}

/// Which registry a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As it is meant to run.
    Plain,
    /// The same, logging every request too.
    Debug,
    /// As it is meant to run, everything registered by the Eureka API.
    Eureka,
    /// With a store in Redis; beside it stands a registry with its store in memory.
    Redis,
    /// A member of a cluster of two; beside it stands a registry that does not replicate.
    Cluster,
}

/// What the bare server answers meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yardstick {
    /// 200 bytes.
    Small,
    /// So many bytes.
    Bytes(u64),
    /// As many bytes as the registry.
    AsMany,
    /// The same; it is a registry with its store in memory, and without replication.
    Same,
}

// === impl Case ===

impl Case {
    /// In the order of the report.
    pub(crate) const ALL: [Self; 22] = [
        Self::Renew,
        Self::RenewDebug,
        Self::Register,
        Self::RegisterNew,
        Self::Lookup,
        Self::Status,
        Self::Batch,
        Self::Names,
        Self::List,
        Self::ListGzip,
        Self::NotModified,
        Self::EurekaRenew,
        Self::EurekaRegister,
        Self::EurekaDelta,
        Self::EurekaDeltaGzip,
        Self::EurekaList,
        Self::EurekaListXml,
        Self::EurekaListGzip,
        Self::RedisRenew,
        Self::RedisLookup,
        Self::RedisList,
        Self::ClusterRenew,
    ];

    /// Instances renewed by one request of [`Case::Batch`].
    pub(crate) const BATCH: usize = 1_000;
    /// Instances in [`Case::EurekaDelta`], however many there are.
    pub(crate) const CHANGES: usize = 10;

    /// As the command line and the report call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::RenewDebug => "renew-debug",
            Self::Register => "register",
            Self::RegisterNew => "register-new",
            Self::Lookup => "lookup",
            Self::Status => "status",
            Self::Batch => "batch",
            Self::Names => "names",
            Self::List => "list",
            Self::ListGzip => "list-gzip",
            Self::NotModified => "not-modified",
            Self::EurekaRenew => "eureka-renew",
            Self::EurekaRegister => "eureka-register",
            Self::EurekaDelta => "eureka-delta",
            Self::EurekaDeltaGzip => "eureka-delta-gzip",
            Self::EurekaList => "eureka-list",
            Self::EurekaListXml => "eureka-list-xml",
            Self::EurekaListGzip => "eureka-list-gzip",
            Self::RedisRenew => "redis-renew",
            Self::RedisLookup => "redis-lookup",
            Self::RedisList => "redis-list",
            Self::ClusterRenew => "cluster-renew",
        }
    }

    /// The largest ratio to the bare handler that the design allows at this size.
    ///
    /// A list is held against a bare body of 10 MB; its bound is set at 10 k instances and grows with what is listed.
    pub(crate) fn bound(self, size: usize) -> Option<f64> {
        let listed = || (10_000 <= size).then(|| size as f64 / 10_000.0);
        match self {
            Self::Renew => Some(1.15),
            Self::EurekaRenew => Some(1.2),
            Self::Register => Some(1.5),
            Self::Lookup
            | Self::Names
            | Self::EurekaList
            | Self::EurekaListXml
            | Self::EurekaListGzip
            | Self::EurekaDelta => Some(1.3),
            Self::List => listed().map(|times| 0.5 * times),
            Self::ListGzip => listed().map(|times| times / 6.0),
            // Three quarters of the renewals in the same time; reads cost the same.
            Self::RedisRenew => Some(4.0 / 3.0),
            Self::RedisLookup | Self::RedisList => Some(1.1),
            Self::ClusterRenew => Some(1.05),
            Self::RenewDebug
            | Self::RegisterNew
            | Self::Status
            | Self::Batch
            | Self::NotModified
            | Self::EurekaRegister
            | Self::EurekaDeltaGzip => None,
        }
    }

    /// Whether the case says something at this size; names are bounded for 1 000 services only, and lists that stand
    /// beside as many bytes say the same at every size.
    pub(crate) fn is_for(self, size: usize) -> bool {
        match self {
            Self::Names | Self::EurekaList | Self::EurekaListXml | Self::EurekaListGzip | Self::RedisList => {
                size == 10_000
            }
            Self::EurekaRenew
            | Self::EurekaRegister
            | Self::RedisRenew
            | Self::RedisLookup
            | Self::ClusterRenew => (10_000..=100_000).contains(&size),
            Self::EurekaDelta | Self::EurekaDeltaGzip => size <= 100_000,
            Self::Renew
            | Self::RenewDebug
            | Self::Register
            | Self::RegisterNew
            | Self::Lookup
            | Self::Status
            | Self::Batch
            | Self::List
            | Self::ListGzip
            | Self::NotModified => true,
        }
    }

    /// Which registry is asked.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::RenewDebug => Kind::Debug,
            Self::EurekaRenew
            | Self::EurekaRegister
            | Self::EurekaDelta
            | Self::EurekaDeltaGzip
            | Self::EurekaList
            | Self::EurekaListXml
            | Self::EurekaListGzip => Kind::Eureka,
            Self::RedisRenew | Self::RedisLookup | Self::RedisList => Kind::Redis,
            Self::ClusterRenew => Kind::Cluster,
            Self::Renew
            | Self::Register
            | Self::RegisterNew
            | Self::Lookup
            | Self::Status
            | Self::Batch
            | Self::Names
            | Self::List
            | Self::ListGzip
            | Self::NotModified => Kind::Plain,
        }
    }

    /// Connections that ask at once.
    pub(crate) const fn connections(self) -> usize {
        match self {
            // So many that the registry has always something to do while others wait for Redis: a processor that falls
            // asleep now and then costs more for each of the requests that wake it, whatever they ask for.
            Self::RedisRenew => 1024,
            _ if self.is_large() => 4,
            _ => 32,
        }
    }

    /// How many units of work one request is, where the report tells the cost of a unit.
    pub(crate) const fn units(self) -> usize {
        match self {
            Self::Batch => Self::BATCH,
            Self::Renew
            | Self::RenewDebug
            | Self::Register
            | Self::RegisterNew
            | Self::Lookup
            | Self::Status
            | Self::Names
            | Self::List
            | Self::ListGzip
            | Self::NotModified
            | Self::EurekaRenew
            | Self::EurekaRegister
            | Self::EurekaDelta
            | Self::EurekaDeltaGzip
            | Self::EurekaList
            | Self::EurekaListXml
            | Self::EurekaListGzip
            | Self::RedisRenew
            | Self::RedisLookup
            | Self::RedisList
            | Self::ClusterRenew => 1,
        }
    }

    /// What the bare server answers meanwhile.
    pub(crate) const fn yardstick(self) -> Yardstick {
        match self {
            Self::List | Self::ListGzip => Yardstick::Bytes(10_000_000),
            Self::EurekaDelta
            | Self::EurekaDeltaGzip
            | Self::EurekaList
            | Self::EurekaListXml
            | Self::EurekaListGzip => Yardstick::AsMany,
            Self::RedisRenew | Self::RedisLookup | Self::RedisList | Self::ClusterRenew => Yardstick::Same,
            Self::Renew
            | Self::RenewDebug
            | Self::Register
            | Self::RegisterNew
            | Self::Lookup
            | Self::Status
            | Self::Batch
            | Self::Names
            | Self::NotModified
            | Self::EurekaRenew
            | Self::EurekaRegister => Yardstick::Small,
        }
    }

    /// Whether answers are compressed when the client asks for it, as it then does.
    pub(crate) const fn is_gzip(self) -> bool {
        matches!(self, Self::ListGzip | Self::EurekaDeltaGzip | Self::EurekaListGzip)
    }

    /// Whether answers are megabytes.
    const fn is_large(self) -> bool {
        matches!(
            self,
            Self::List
                | Self::ListGzip
                | Self::EurekaList
                | Self::EurekaListXml
                | Self::EurekaListGzip
                | Self::RedisList
        )
    }
}

// === impl Subject ===

impl Subject {
    /// The help text of `--cases`.
    pub(crate) fn help() -> String {
        let cases = Case::ALL.map(Case::name).join(", ");
        let figures = Figure::ALL.map(Figure::name).join(", ");
        format!("What to measure, everything when not given: requests ({cases}) and figures ({figures})")
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let case = Case::ALL.into_iter().find(|case| case.name() == text).map(Self::Case);
        let figure = || Figure::ALL.into_iter().find(|figure| figure.name() == text).map(Self::Figure);
        case.or_else(figure).ok_or_else(|| format!("got {text:?}, wanted one of those that --help lists"))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
