//! stub
/// Epoch and revision; what an ETag is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// random
    pub epoch: u64,
    /// counts changes
    pub revision: u64,
}
