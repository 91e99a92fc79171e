//! Which lists of the Eureka API are served at present, as the settings of a Netflix server can say it: no deltas, no
//! list while there may be nothing to show yet, and only so many a second (spec eureka sections 3.10 and 3.12).
//!
//! Never: keeps anybody from registering, renewing, or reading one instance.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;

use super::refusal::Refusal;
use crate::api::Api;
use crate::directory::Wanted;

/// Which lists are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRules {
    /// Whether what changed lately can be read by itself.
    pub serves_delta: bool,
    /// How long after the start lists are refused, unless a peer had instances to take over.
    pub empty_wait: Duration,
    /// Lists a second of clients that do not name themselves as Eureka's own; none is any number.
    pub rate: Option<NonZeroU32>,
    /// The same for lists of all instances alone.
    pub full_rate: Option<NonZeroU32>,
    /// How many may come at once where a rate is set.
    pub burst: NonZeroU32,
}

/// What was served lately.
#[derive(Debug)]
pub(in crate::api) struct Gate {
    lists: Bucket,
    full: Bucket,
}

/// A bucket of tokens, kept as the moment at which it will be full again.
#[derive(Debug)]
struct Bucket(Mutex<Instant>);

/// By which a client tells what it is.
const NAME: HeaderName = HeaderName::from_static("discoveryidentity-name");

// === impl ListRules ===

impl Default for ListRules {
    fn default() -> Self {
        const BURST: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");
        Self { serves_delta: true, empty_wait: Duration::ZERO, rate: None, full_rate: None, burst: BURST }
    }
}

// === impl Gate ===

impl Gate {
    /// A gate that nobody has gone through.
    pub(in crate::api) fn new(now: Instant) -> Self {
        Self { lists: Bucket(Mutex::new(now)), full: Bucket(Mutex::new(now)) }
    }

    fn has_room(&self, rules: &ListRules, wanted: Wanted<'_>, now: Instant) -> bool {
        let ListRules { rate, full_rate, burst, .. } = *rules;
        let has_room = |bucket: &Bucket, rate: Option<NonZeroU32>| {
            rate.is_none_or(|rate| bucket.take(Duration::from_secs(1) / rate.get(), burst, now))
        };
        match wanted {
            Wanted::All => has_room(&self.lists, rate) & has_room(&self.full, full_rate),
            Wanted::Changes | Wanted::Application(_) => has_room(&self.lists, rate),
            Wanted::Vip(_) | Wanted::SecureVip(_) => true,
        }
    }
}

/// Lets the reader of a list in, or tells by a status alone why not.
pub(super) fn pass(api: &Api, request: &Parts, wanted: Wanted<'_>) -> Result<(), Refusal> {
    let rules = &api.limits().eureka_lists;
    if !is_standard(request) && !api.gate().has_room(rules, wanted, Instant::now()) {
        return Err(Refusal::Silent(StatusCode::SERVICE_UNAVAILABLE));
    }
    let is_early = !rules.empty_wait.is_zero() && api.uptime() < rules.empty_wait && !api.has_taken_over();
    if is_early || wanted == Wanted::Changes && !rules.serves_delta {
        return Err(Refusal::Silent(StatusCode::FORBIDDEN));
    }
    Ok(())
}

/// Whether a client, or a server, names itself as Eureka's own do.
fn is_standard(request: &Parts) -> bool {
    let name = request.headers.get(NAME).map(HeaderValue::as_bytes);
    matches!(name, Some(b"DefaultClient" | b"DefaultServer"))
}

// === impl Bucket ===

impl Bucket {
    /// Takes a token, one of which comes back after each `interval`; false when there is none.
    fn take(&self, interval: Duration, burst: NonZeroU32, now: Instant) -> bool {
        let mut full_at = self.0.lock();
        let next = (*full_at).max(now) + interval;
        let has_one = next.duration_since(now) <= interval * burst.get();
        if has_one {
            *full_at = next;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_and_then_its_rate() {
        let begun = Instant::now();
        let bucket = Bucket(Mutex::new(begun));
        let (interval, burst) = (Duration::from_millis(100), NonZeroU32::new(3).unwrap());
        let take = |millis| bucket.take(interval, burst, begun + Duration::from_millis(millis));
        assert_eq!([0, 0, 0, 0, 99].map(take), [true, true, true, false, false]);
        assert_eq!([100, 101, 200, 201].map(take), [true, false, true, false]);
        assert_eq!([9000, 9000, 9000, 9000].map(take), [true, true, true, false]);
    }

    #[test]
    fn all_instances_count_twice() {
        let now = Instant::now();
        let gate = Gate::new(now);
        let one = NonZeroU32::MIN;
        let rules = ListRules { full_rate: Some(one), burst: one, ..ListRules::default() };
        let served = |wanted| gate.has_room(&rules, wanted, now);
        assert!(served(Wanted::All) && !served(Wanted::All));
        assert!(served(Wanted::Changes) && served(Wanted::Vip("v")));
        let rules = ListRules { rate: Some(one), ..rules };
        let served = |wanted| gate.has_room(&rules, wanted, now);
        assert!(
            served(Wanted::Changes) && !served(Wanted::Application("A")) && served(Wanted::SecureVip("v"))
        );
    }
}
