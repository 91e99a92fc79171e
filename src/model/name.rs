//! Names: of a tenant's world, of a service, of an instance. Parsed once, compared as bytes.
//!
//! Never: normalises, trims or folds case; a name is what its client wrote.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Invalid;

/// A tenant's world, 1 to 256 bytes; nothing crosses it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

/// The name of a service, 1 to 64 bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

/// The identity of an instance within its namespace. Opaque: the Amalgam8 API makes it from
/// service and endpoint, Eureka's clients choose a part of it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(Box<str>);

// === impl Namespace ===

impl Namespace {
    /// Longest namespace in bytes; a bound on what a token can make us keep.
    pub const MAX: usize = 256;

    /// The name as its client wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    /// The world of everybody when there is no authentication (spec amalgam8 section 6).
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for Namespace {
    type Err = Invalid;
    fn from_str(s: &str) -> Result<Self, Invalid> {
        match s.len() {
            0 => Err(Invalid::NamespaceMissing),
            1..=Self::MAX => Ok(Self(s.into())),
            got => Err(Invalid::NamespaceTooLong { got, max: Self::MAX }),
        }
    }
}

// === impl ServiceName ===

impl ServiceName {
    /// Longest service name in bytes (spec amalgam8 section 4).
    pub const MAX: usize = 64;

    /// The name as its client wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = Invalid;
    fn from_str(s: &str) -> Result<Self, Invalid> {
        match s.len() {
            0 => Err(Invalid::ServiceNameMissing),
            1..=Self::MAX => Ok(Self(s.into())),
            got => Err(Invalid::ServiceNameTooLong { got, max: Self::MAX }),
        }
    }
}

// === impl InstanceId ===

impl InstanceId {
    /// The id that the Amalgam8 API gives: the first 16 hex digits of the SHA-256 of
    /// `service/type/value` (spec amalgam8 section 4), the same on every node and after a restart.
    #[must_use]
    pub fn of_endpoint(service: &str, endpoint_type: &str, endpoint_value: &str) -> Self {
        let mut sha = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for part in [service, "/", endpoint_type, "/", endpoint_value] {
            sha.update(part.as_bytes());
        }
        let mut id = String::with_capacity(16);
        for byte in &sha.finish().as_ref()[..8] {
            for nibble in [byte >> 4, byte & 15] {
                id.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        Self(id.into())
    }

    /// The id of an instance that was registered by the Eureka API: application and id within it, joined
    /// by a colon (spec amalgam8 section 7). One application whatever its letter case (spec eureka section 3.1).
    #[must_use]
    pub fn of_application(application: &str, id: &str) -> Self {
        let mut joined = String::with_capacity(application.len() + 1 + id.len());
        joined.push_str(application);
        joined.make_ascii_uppercase();
        joined.push(':');
        joined.push_str(id);
        Self(joined.into())
    }

    /// Calls `with` with the text of [`InstanceId::of_application`], which is allocated only when it is long.
    pub fn with_text_of_application<R>(application: &str, id: &str, with: impl FnOnce(&str) -> R) -> R {
        const SHORT: usize = 128;
        let mut short = [0; SHORT];
        let (colon, len) = (application.len(), application.len() + 1 + id.len());
        if let Some((name, rest)) = short.get_mut(..len).map(|text| text.split_at_mut(colon))
            && let Some((separator, rest)) = rest.split_first_mut()
        {
            name.copy_from_slice(application.as_bytes());
            name.make_ascii_uppercase();
            *separator = b':';
            rest.copy_from_slice(id.as_bytes());
            if let Some(Ok(text)) = short.get(..len).map(str::from_utf8) {
                return with(text);
            }
        }
        with(Self::of_application(application, id).as_str())
    }

    /// An id that somebody else made: a Eureka client, a catalog, a stored record.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as it stands in paths and bodies.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! shows_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}
shows_as_text!(Namespace, ServiceName, InstanceId);

#[cfg(test)]
mod tests {
    use super::*;

    fn check_service(text: &str, want: Result<&str, &Invalid>) {
        assert_eq!(text.parse::<ServiceName>().as_ref().map(ServiceName::as_str), want);
    }

    #[test]
    fn service_names_are_1_to_64_bytes() {
        check_service("web", Ok("web"));
        check_service(" ", Ok(" "));
        check_service("", Err(&Invalid::ServiceNameMissing));
        check_service(&"é".repeat(32), Ok(&"é".repeat(32)));
        check_service(&"é".repeat(33), Err(&Invalid::ServiceNameTooLong { got: 66, max: 64 }));
    }

    #[test]
    fn namespaces_are_1_to_256_bytes() {
        assert_eq!("".parse::<Namespace>(), Err(Invalid::NamespaceMissing));
        assert!("n".repeat(256).parse::<Namespace>().is_ok());
        assert_eq!(
            "n".repeat(257).parse::<Namespace>(),
            Err(Invalid::NamespaceTooLong { got: 257, max: 256 })
        );
    }

    #[test]
    fn ids_are_those_of_the_original() {
        assert_eq!(InstanceId::of_endpoint("billing", "http", "10.0.0.1:8080").as_str(), "20a12a48f6ae0566");
        assert_eq!(InstanceId::of_endpoint("a", "http", "x").as_str(), "c98a600570f3c50b");
    }
}
