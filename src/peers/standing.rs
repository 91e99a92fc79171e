//! What a peer's answers say of it: whether it takes what it is sent, and since when.
//!
//! A change has one log line, however often the peer fails after it.
//! Never: calls a peer, or takes its word for it.

use std::fmt;

use http::StatusCode;
use parking_lot::Mutex;

use crate::model::Timestamp;
use crate::outbound::CallError;

/// How one peer is.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Nothing has been sent to it yet when there is neither.
    trouble: Option<Trouble>,
    last_success: Option<Timestamp>,
}

/// Why a peer does not take what it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There was no answer.
    Unanswered(CallError),
    /// It has too much to do.
    Busy,
    /// It does not let us in.
    Unauthorized(StatusCode),
    /// It answers otherwise than a peer.
    Refuses(StatusCode),
    /// It answers what cannot be read.
    Unreadable,
}

// === impl Standing ===

impl Standing {
    /// It took what it was sent. True when that is news.
    pub(super) fn took(&self, peer: &str, now: Timestamp) -> bool {
        let mut state = self.0.lock();
        let is_new = state.last_success.is_none();
        let trouble = state.trouble.take();
        state.last_success = Some(now);
        drop(state);
        match &trouble {
            Some(_) => tracing::info!(peer, "peer {peer} is back"),
            None if is_new => tracing::info!(peer, "peer {peer} is reached"),
            None => {}
        }
        is_new || trouble.is_some()
    }

    /// It did not. True when that, or its reason, is news.
    pub(super) fn failed(&self, peer: &str, trouble: Trouble) -> bool {
        let (shown, needs_somebody) = (trouble.to_string(), matches!(trouble, Trouble::Unauthorized(_)));
        let mut state = self.0.lock();
        let known = state.trouble.as_ref().map(std::mem::discriminant);
        let is_news = known != Some(std::mem::discriminant(&trouble));
        state.trouble = Some(trouble);
        drop(state);
        match (is_news, needs_somebody) {
            (true, true) => tracing::error!(
                peer,
                trouble = shown,
                "peer {peer} {shown}: nothing reaches it until its URL has credentials that it takes"
            ),
            (true, false) => tracing::warn!(peer, trouble = shown, "peer {peer} is lost: it {shown}"),
            (false, _) => {}
        }
        is_news
    }

    /// Whether it took what it was last sent; none when nothing was sent yet.
    pub(super) fn is_up(&self) -> Option<bool> {
        let state = self.0.lock();
        match &state.trouble {
            Some(_) => Some(false),
            None => state.last_success.map(|_| true),
        }
    }

    /// Why it is not up.
    pub(super) fn trouble(&self) -> Option<String> {
        self.0.lock().trouble.as_ref().map(ToString::to_string)
    }

    /// When it last took something.
    pub(super) fn last_success(&self) -> Option<Timestamp> {
        self.0.lock().last_success
    }
}

// === impl Trouble ===

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(error) => error.fmt(f),
            Self::Busy => f.write_str("says that it has too much to do (503)"),
            Self::Unauthorized(status) => write!(f, "refuses our credentials ({})", status.as_u16()),
            Self::Refuses(status) => write!(f, "answers {}", status.as_u16()),
            Self::Unreadable => f.write_str("answers what no Eureka server would"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_news() {
        let standing = Standing::default();
        let gone = || Trouble::Unanswered(CallError::TimedOut);
        assert_eq!(standing.is_up(), None);
        assert!(standing.failed("p", gone()) && !standing.failed("p", gone()));
        assert!(standing.failed("p", Trouble::Unauthorized(StatusCode::UNAUTHORIZED)));
        assert!(!standing.failed("p", Trouble::Unauthorized(StatusCode::FORBIDDEN)));
        assert_eq!((standing.is_up(), standing.last_success()), (Some(false), None));
        assert_eq!(standing.trouble().as_deref(), Some("refuses our credentials (403)"));
        let now = Timestamp::from_millis(7);
        assert!(standing.took("p", now) && !standing.took("p", now));
        assert_eq!((standing.is_up(), standing.trouble()), (Some(true), None));
        assert_eq!(standing.last_success(), Some(now));
    }
}
