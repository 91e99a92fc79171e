//! Texts that must not be seen.
//!
//! Never: shows its text by Debug, and has no Display.

use std::fmt;

/// A secret, not empty. Shows as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

// === impl Secret ===

impl Secret {
    /// A secret of this text; none when it is empty.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The text itself, for the one who compares or verifies with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
