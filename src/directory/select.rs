//! stub
use crate::model::Status;
/// Which instances a reader wants, and what of them. All criteria must fit.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    /// Exact id.
    pub id: Option<Box<str>>,
    /// Exact service name.
    pub service: Option<Box<str>>,
    /// All of these tags.
    pub tags: Vec<Box<str>>,
    /// By status.
    pub shown: Shown,
    /// None: the whole instance.
    pub fields: Option<Fields>,
}
/// Which statuses are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shown {
    /// Those of a list without selection: `Status::is_listed_by_default`.
    #[default]
    Listed,
    /// All.
    All,
    /// Only this one.
    Only(Status),
    /// None at all.
    Nothing,
}
/// A member of an encoded instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// id
    Id,
    /// service_name
    ServiceName,
    /// endpoint
    Endpoint,
    /// ttl
    Ttl,
    /// status
    Status,
    /// last_heartbeat
    LastHeartbeat,
    /// metadata
    Metadata,
    /// tags
    Tags,
}
/// A set of members; `id` and `endpoint` are always in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields(u8);
impl Fields {
    /// Just `id` and `endpoint`.
    pub fn least() -> Self {
        unimplemented!()
    }
    /// With one more.
    pub fn with(self, _field: Field) -> Self {
        unimplemented!()
    }
}
