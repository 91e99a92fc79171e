//! One question to a Consul agent: now, or as soon as the answer differs from the one before.
//!
//! Never: decides when to ask again, or shows a token.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;

use crate::catalog::CatalogError;
use crate::catalog::config::ConsulConfig;
use crate::outbound::{BaseUrl, Bounds, CallError, Opened, Outbound, Trust};

/// Asks an agent; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    outbound: Outbound,
    url: BaseUrl,
    token: Option<HeaderValue>,
    datacenter: Option<Box<str>>,
}

/// A position in what the agent knows of one thing; 0 is before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Index(u64);

/// How an agent is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// The position of the answer before; the beginning is answered at once.
    pub(super) index: Index,
    /// How long the agent may wait for a change.
    pub(super) wait: Duration,
    /// Most bytes of the answer.
    pub(super) bytes: usize,
}

/// What an agent says.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) index: Index,
    pub(super) body: Opened,
    /// Whether the token may not see all of it.
    pub(super) is_filtered: bool,
}

/// Why an agent gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    Unanswered(CallError),
    Refuses(StatusCode),
    /// It answers otherwise than Consul.
    Stranger,
    Unreadable,
}

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const FILTERED: HeaderName = HeaderName::from_static("x-consul-results-filtered-by-acls");
/// Longest wait for the next part of an answer beyond what the agent may wait for a change.
const QUIET: Duration = Duration::from_secs(10);
/// Longest time for the transfer of an answer.
const WHOLE: Duration = Duration::from_secs(60);

// === impl Agent ===

impl Agent {
    /// The agent of this configuration, not yet asked.
    pub(super) fn new(config: &ConsulConfig) -> Result<Self, CatalogError> {
        let ConsulConfig { url, token, datacenter, namespace: _ } = config;
        let token = token.as_ref().map(|token| {
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_| {
                CatalogError("--consul_token holds a character that no header may have".into())
            })?;
            value.set_sensitive(true);
            Ok(value)
        });
        let outbound = Outbound::new(if url.is_tls() { Trust::System } else { Trust::Nobody });
        Ok(Self { outbound, url: url.clone(), token: token.transpose()?, datacenter: datacenter.clone() })
    }

    /// `host:port`, for people.
    pub(super) fn name(&self) -> String {
        self.url.host_and_port()
    }

    /// Asks once.
    pub(super) async fn ask(&self, path: &[&str], manner: Manner) -> Result<Answer, Trouble> {
        let Manner { index, wait, bytes } = manner;
        let request = self.request(path, index, wait).map_err(Trouble::Unanswered)?;
        // The agent may wait longer by up to a sixteenth, so that not all ask again at once.
        let waits = if index == Index::default() { Duration::ZERO } else { wait + wait / 16 };
        let bounds = Bounds { quiet: waits + QUIET, whole: waits + WHOLE, bytes };
        let body = self.outbound.open(request, bounds).await.map_err(Trouble::Unanswered)?;
        if body.status() != StatusCode::OK {
            return Err(Trouble::Refuses(body.status()));
        }
        let header = |name| body.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let now: u64 = header(INDEX).and_then(|text| text.trim().parse().ok()).ok_or(Trouble::Stranger)?;
        let is_filtered = header(FILTERED).is_some_and(|text| text == "true");
        Ok(Answer { index: index.followed_by(now), body, is_filtered })
    }

    fn request(
        &self,
        path: &[&str],
        index: Index,
        wait: Duration,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let (position, wait) = (index.0.to_string(), format!("{}ms", wait.as_millis()));
        let mut query = Vec::new();
        if let Some(datacenter) = &self.datacenter {
            query.push(("dc", &**datacenter));
        }
        if index != Index::default() {
            query.extend([("index", &*position), ("wait", &*wait)]);
        }
        let uri = self.url.below(path, &query).map_err(|error| CallError::Broken(error.to_string()))?;
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("a8registry/", env!("CARGO_PKG_VERSION"))));
        if let Some(token) = &self.token {
            headers.insert(TOKEN, token.clone());
        }
        if let Some(authorization) = self.url.authorization() {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}

// === impl Index ===

impl Index {
    /// The position to ask from next, by the rules of Consul's documentation: one that goes back begins anew, as an
    /// agent may that was restored; 0 would never wait, so it is 1.
    fn followed_by(self, now: u64) -> Self {
        if now < self.0 { Self(0) } else { Self(now.max(1)) }
    }
}

// === impl Trouble ===

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(error) => write!(f, "{error}"),
            Self::Refuses(StatusCode::FORBIDDEN) => {
                f.write_str("answers 403: its ACL does not know the token")
            }
            Self::Refuses(StatusCode::INTERNAL_SERVER_ERROR) => {
                f.write_str("answers 500: it has no leader, or does not know the datacenter")
            }
            Self::Refuses(status) => write!(f, "answers {}", status.as_u16()),
            Self::Stranger => f.write_str("answers without an index, so it is no Consul agent"),
            Self::Unreadable => f.write_str("answers what is no list of services in JSON"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_never_stand_before_the_first_and_begin_anew_when_they_go_back() {
        for (before, now, next) in [(0, 7, 7), (7, 7, 7), (7, 8, 8), (7, 6, 0), (0, 0, 1), (1, 0, 0)] {
            assert_eq!(Index(before).followed_by(now), Index(next), "{now} after {before}");
        }
    }
}
