//! What a component shows to operators alone.
//!
//! Never: decides who is one.

use std::fmt::Debug;

use serde_json::Value;

/// Shows how it is, in detail.
pub trait Panel: Debug + Send + Sync {
    /// Everything, as it is now; no credentials.
    fn shown(&self) -> Value;
}
