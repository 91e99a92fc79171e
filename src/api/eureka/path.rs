//! Where in the Eureka API a path leads (spec eureka section 1.1).
//!
//! The same resources stand below several roots. Elsewhere than below `/api/` slashes may be doubled, since clients
//! join addresses badly; everywhere they may trail, and parameters behind a `;` do not count.
//! Never: allocates for a path without escapes, or decodes one before it is taken apart.

use std::borrow::Cow;

use crate::api::{ApiError, Route, path};

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// Which of the roots it begins with.
    pub(crate) root: Root<'a>,
    /// Which version of the API it names.
    pub(crate) version: Version,
    /// What stands behind them.
    pub(crate) resource: Resource<'a>,
}

/// What a path begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root<'a> {
    /// `/api/eureka/{token}`, as in the original.
    Amalgam8 {
        /// The token as it was sent; empty is none.
        token: &'a str,
    },
    /// `/eureka`, `/v1`, `/v2`, as on servers of Netflix and Spring.
    Netflix,
}

/// A version of the API; they differ in what full XML shows as the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// `v1`
    One,
    /// `v2`, any other word, and none.
    Two,
}

/// What the API has; segments as they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    /// `apps`
    Apps,
    /// `apps/delta`
    Delta,
    /// `apps/{app}`
    Application(&'a str),
    /// `apps/{app}/{id}`
    Instance(Named<'a>),
    /// `apps/{app}/{id}/status`
    StatusOf(Named<'a>),
    /// `apps/{app}/{id}/metadata`
    MetadataOf(Named<'a>),
    /// `instances/{id}`
    AnyInstance(&'a str),
    /// `vips/{vip}`
    Vip(&'a str),
    /// `svips/{vip}`
    SecureVip(&'a str),
    /// `status`
    ServerStatus,
    /// `peerreplication/batch`
    Batch,
    /// `asg/{asg}/status`
    Group,
    /// `serverinfo/statusoverrides`
    Overrides,
    /// The page about everything.
    Dashboard,
    /// The page about who came and went.
    LastN,
    /// Anything else.
    Nowhere,
}

/// The name of an instance; segments as they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    application: &'a str,
    id: &'a str,
}

/// A version, the longest resource, and one segment too many.
const SEGMENTS: usize = 6;

// === impl Place ===

impl<'a> Place<'a> {
    /// Where a path leads; none when it is none of the Eureka API's.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix("/api/eureka/") {
            let (token, rest) = rest.split_once('/')?;
            return Some(below_token(token, rest));
        }
        let path = path.strip_prefix('/')?.trim_start_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let of = |version, resource| Some(Self { root: Root::Netflix, version, resource });
        match plain(first) {
            "eureka" => {
                let (version, resource) = below_eureka(rest);
                of(version, resource)
            }
            "v1" => of(Version::One, Resource::of(Segments::joined(rest).as_slice())),
            "v2" => of(Version::Two, Resource::of(Segments::joined(rest).as_slice())),
            "lastn" if rest.is_empty() => of(Version::Two, Resource::LastN),
            _ => None,
        }
    }
}

/// `v2/apps`; the version has to be one of the two.
fn below_token<'a>(token: &'a str, rest: &'a str) -> Place<'a> {
    let segments = Segments::exact(rest);
    let (version, resource) = match segments.as_slice() {
        [first, rest @ ..] if first.eq_ignore_ascii_case("v2") => (Version::Two, Resource::of(rest)),
        [first, rest @ ..] if first.eq_ignore_ascii_case("v1") => (Version::One, Resource::of(rest)),
        ["serverinfo", ..] => (Version::Two, Resource::of(segments.as_slice())),
        _ => (Version::Two, Resource::Nowhere),
    };
    Place { root: Root::Amalgam8 { token }, version, resource }
}

/// `v2/apps`, or `apps` alone: every first word that is no resource is a version.
fn below_eureka(rest: &str) -> (Version, Resource<'_>) {
    let segments = Segments::joined(rest);
    match segments.as_slice() {
        [] => (Version::Two, Resource::Dashboard),
        ["jsp", "status.jsp"] => (Version::Two, Resource::Dashboard),
        ["jsp", "lastN.jsp"] | ["lastn"] => (Version::Two, Resource::LastN),
        [first, ..] if Resource::begins_with(first) => (Version::Two, Resource::of(segments.as_slice())),
        [first, rest @ ..] if first.eq_ignore_ascii_case("v1") => (Version::One, Resource::of(rest)),
        [_, rest @ ..] => (Version::Two, Resource::of(rest)),
    }
}

/// A segment without its parameters.
fn plain(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(plain, _)| plain)
}

/// The segments of a path, without their parameters.
struct Segments<'a> {
    places: [&'a str; SEGMENTS],
    len: usize,
}

// === impl Segments ===

impl<'a> Segments<'a> {
    /// Slashes side by side count as one.
    fn joined(path: &'a str) -> Self {
        Self::collect(path.split('/').filter(|segment| !segment.is_empty()))
    }

    /// Slashes at the end do not count.
    fn exact(path: &'a str) -> Self {
        match path.trim_end_matches('/') {
            "" => Self::collect(std::iter::empty()),
            path => Self::collect(path.split('/')),
        }
    }

    /// Of a path with more segments than there is room for, one too many is kept.
    fn collect(segments: impl Iterator<Item = &'a str>) -> Self {
        let mut places = [""; SEGMENTS];
        let mut len = 0;
        for (place, segment) in places.iter_mut().zip(segments) {
            *place = plain(segment);
            len += 1;
        }
        Self { places, len }
    }

    fn as_slice(&self) -> &[&'a str] {
        self.places.get(..self.len).unwrap_or_default()
    }
}

// === impl Resource ===

impl<'a> Resource<'a> {
    fn of(segments: &[&'a str]) -> Self {
        match *segments {
            ["apps"] => Self::Apps,
            ["apps", "delta"] => Self::Delta,
            ["apps", application] => Self::Application(application),
            ["apps", application, id] => Self::Instance(Named { application, id }),
            ["apps", application, id, "status"] => Self::StatusOf(Named { application, id }),
            ["apps", application, id, "metadata"] => Self::MetadataOf(Named { application, id }),
            ["instances", id] => Self::AnyInstance(id),
            ["vips", vip] => Self::Vip(vip),
            ["svips", vip] => Self::SecureVip(vip),
            ["status"] => Self::ServerStatus,
            ["peerreplication", "batch"] => Self::Batch,
            ["asg", _, "status"] => Self::Group,
            ["serverinfo", "statusoverrides"] => Self::Overrides,
            _ => Self::Nowhere,
        }
    }

    /// Whether this is the first word of a resource, and so no version.
    fn begins_with(word: &str) -> bool {
        matches!(
            word,
            "apps" | "instances" | "vips" | "svips" | "status" | "peerreplication" | "asg" | "serverinfo"
        )
    }

    /// Under which name requests for it are counted.
    pub(crate) fn route(self) -> Route {
        match self {
            Self::Apps => Route::EurekaApps,
            Self::Delta => Route::EurekaDelta,
            Self::Application(_) => Route::EurekaApplication,
            Self::Instance(_) => Route::EurekaInstance,
            Self::StatusOf(_) => Route::EurekaStatusOf,
            Self::MetadataOf(_) => Route::EurekaMetadataOf,
            Self::AnyInstance(_) => Route::EurekaAnyInstance,
            Self::Vip(_) => Route::EurekaVip,
            Self::SecureVip(_) => Route::EurekaSecureVip,
            Self::ServerStatus => Route::EurekaServerStatus,
            Self::Batch => Route::EurekaBatch,
            Self::Group => Route::EurekaGroup,
            Self::Overrides => Route::EurekaOverrides,
            Self::Dashboard => Route::EurekaDashboard,
            Self::LastN => Route::EurekaLastN,
            Self::Nowhere => Route::Nowhere,
        }
    }
}

// === impl Named ===

impl<'a> Named<'a> {
    /// The name of the application.
    ///
    /// # Errors
    /// When it is empty or cannot be decoded.
    pub(crate) fn application(self) -> Result<Cow<'a, str>, ApiError> {
        application(self.application)
    }

    /// The id within the application.
    ///
    /// # Errors
    /// When it is empty or cannot be decoded.
    pub(crate) fn id(self) -> Result<Cow<'a, str>, ApiError> {
        id(self.id)
    }
}

/// A segment that names an application.
///
/// # Errors
/// When it is empty or cannot be decoded.
pub(crate) fn application(segment: &str) -> Result<Cow<'_, str>, ApiError> {
    match segment {
        "" => Err(ApiError::ApplicationMissing),
        segment => Ok(path::decode("app", segment)?),
    }
}

/// A segment that names an instance.
///
/// # Errors
/// When it is empty or cannot be decoded.
pub(crate) fn id(segment: &str) -> Result<Cow<'_, str>, ApiError> {
    match segment {
        "" => Err(ApiError::IdMissing),
        segment => Ok(path::decode("id", segment)?),
    }
}

/// A segment that is a virtual address.
///
/// # Errors
/// When it cannot be decoded.
pub(crate) fn vip(segment: &str) -> Result<Cow<'_, str>, ApiError> {
    Ok(path::decode("vip", segment)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETFLIX: Root<'_> = Root::Netflix;

    fn named<'a>(application: &'a str, id: &'a str) -> Named<'a> {
        Named { application, id }
    }

    fn check(path: &str, version: Version, resource: Resource<'_>) {
        assert_eq!(Place::of(path), Some(Place { root: NETFLIX, version, resource }), "{path}");
    }

    fn check_below_api(path: &str, token: &str, resource: Resource<'_>) {
        let want = Place { root: Root::Amalgam8 { token }, version: Version::Two, resource };
        assert_eq!(Place::of(path), Some(want), "{path}");
    }

    #[test]
    fn every_resource_stands_below_every_root() {
        for (path, resource) in [
            ("apps", Resource::Apps),
            ("apps/", Resource::Apps),
            ("apps;x=1", Resource::Apps),
            ("apps/delta", Resource::Delta),
            ("apps/delta/", Resource::Delta),
            ("apps/APP", Resource::Application("APP")),
            ("apps/DELTA", Resource::Application("DELTA")),
            ("apps/apps", Resource::Application("apps")),
            ("apps/APP/", Resource::Application("APP")),
            ("apps/APP;v=1/i;x=1;y", Resource::Instance(named("APP", "i"))),
            ("apps/APP/i%3Ax///", Resource::Instance(named("APP", "i%3Ax"))),
            ("apps/delta/i", Resource::Instance(named("delta", "i"))),
            ("apps/A/i/status", Resource::StatusOf(named("A", "i"))),
            ("apps/A/i/metadata/", Resource::MetadataOf(named("A", "i"))),
            ("apps/A/i/STATUS", Resource::Nowhere),
            ("apps/A/i/status/x", Resource::Nowhere),
            ("apps/A/i/status/x/y/z", Resource::Nowhere),
            ("APPS", Resource::Nowhere),
            ("%61pps", Resource::Nowhere),
            ("instances/i", Resource::AnyInstance("i")),
            ("instances", Resource::Nowhere),
            ("vips/v", Resource::Vip("v")),
            ("vips/", Resource::Nowhere),
            ("svips/v", Resource::SecureVip("v")),
            ("status", Resource::ServerStatus),
            ("peerreplication/batch/", Resource::Batch),
            ("peerreplication/batch", Resource::Batch),
            ("asg/g/status", Resource::Group),
            ("serverinfo/statusoverrides", Resource::Overrides),
            ("", Resource::Nowhere),
            ("nothing", Resource::Nowhere),
        ] {
            for root in ["/eureka/v2/", "/eureka/V2/", "/eureka/v3/", "/v2/", "//eureka//v2/"] {
                check(&format!("{root}{path}"), Version::Two, resource);
            }
            for root in ["/eureka/v1/", "/eureka/V1/", "/v1/"] {
                check(&format!("{root}{path}"), Version::One, resource);
            }
            if path.split(['/', ';']).next().is_some_and(Resource::begins_with) {
                check(&format!("/eureka/{path}"), Version::Two, resource);
            }
            check_below_api(&format!("/api/eureka/a.b%20c/v2/{path}"), "a.b%20c", resource);
            check_below_api(&format!("/api/eureka//v2/{path}"), "", resource);
        }
    }

    #[test]
    fn slashes_side_by_side_are_one_only_elsewhere_than_below_api() {
        check("/eureka//apps//A///i", Version::Two, Resource::Instance(named("A", "i")));
        check("/v2//apps", Version::Two, Resource::Apps);
        check_below_api("/api/eureka/t/v2/apps//i", "t", Resource::Instance(named("", "i")));
        check_below_api("/api/eureka/t/v2//apps", "t", Resource::Nowhere);
        assert_eq!(named("", "i").application(), Err(ApiError::ApplicationMissing));
        assert_eq!(named("A", "").id(), Err(ApiError::IdMissing));
        assert_eq!(named("A", "host%3Aapp%3A1%2F").id().as_deref(), Ok("host:app:1/"));
    }

    #[test]
    fn pages_for_people() {
        for path in ["/eureka", "/eureka/", "//eureka", "/eureka/jsp/status.jsp"] {
            check(path, Version::Two, Resource::Dashboard);
        }
        for path in ["/lastn", "/lastn/", "/eureka/lastn", "/eureka/jsp/lastN.jsp"] {
            check(path, Version::Two, Resource::LastN);
        }
    }

    #[test]
    fn other_paths_are_others() {
        for path in [
            "*",
            "/",
            "",
            "/api/eureka",
            "/api/eureka/",
            "/api/eureka/token",
            "/api/v1/instances",
            "/EUREKA/apps",
            "/eurekas/apps",
            "/V2/apps",
            "/apps",
            "/lastn/x",
            "/uptime",
        ] {
            assert_eq!(Place::of(path), None, "{path}");
        }
        check_below_api("/api/eureka/t/", "t", Resource::Nowhere);
        check_below_api("/api/eureka/t/v3/apps", "t", Resource::Nowhere);
        check_below_api("/api/eureka/t/serverinfo/statusoverrides", "t", Resource::Overrides);
    }
}
