//! The keys in Redis: 64 buckets, each with a change stream, leases, a clock and its namespaces.
//!
//! A bucket's keys share a hash tag, so that scripts may touch several of them on Redis Cluster, and readers and
//! reapers cost per bucket and not per namespace. Names of namespaces are tenants' input: they are hexadecimal in keys.
//! Never: a name as it came in a key, or a key that depends on anything but bucket and namespace.

use std::fmt::Write;

use crate::model::Namespace;

/// One of the parts that all namespaces are spread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bucket(u8);

/// A namespace's name, its bytes in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Encoded(Box<str>);

/// How many buckets there are; part of the layout, so it never changes.
pub(super) const BUCKETS: usize = 64;

// === impl Bucket ===

impl Bucket {
    /// All of them, in order.
    pub(super) fn all() -> impl Iterator<Item = Self> + Clone {
        (0_u8..64).map(Self)
    }

    /// The bucket of a namespace; the same for every build.
    pub(super) fn of(namespace: &Namespace) -> Self {
        let hash = crc32fast::hash(namespace.as_str().as_bytes()) % 64;
        Self(u8::try_from(hash).unwrap_or_default())
    }

    /// Its place among all.
    pub(super) fn position(self) -> usize {
        usize::from(self.0)
    }

    /// Stream of all changes of all its namespaces.
    pub(super) fn changes(self) -> String {
        self.key("changes")
    }

    /// Stream of who renewed, for the times that other nodes show.
    pub(super) fn renewals(self) -> String {
        self.key("renewals")
    }

    /// Sorted set of leases by their deadline.
    pub(super) fn leases(self) -> String {
        self.key("leases")
    }

    /// Hash with the time that leases are judged by.
    pub(super) fn clock(self) -> String {
        self.key("clock")
    }

    /// Hash with epoch and revision of each namespace.
    pub(super) fn namespaces(self) -> String {
        self.key("namespaces")
    }

    /// Hash of a namespace's instances by id.
    pub(super) fn instances(self, namespace: &Encoded) -> String {
        self.key(&format!("i:{}", namespace.as_str()))
    }

    fn key(self, part: &str) -> String {
        format!("{{a8:{:02}}}:{part}", self.0)
    }
}

// === impl Encoded ===

impl Encoded {
    /// The name in hexadecimal.
    pub(super) fn of(namespace: &Namespace) -> Self {
        let mut text = String::with_capacity(2 * namespace.as_str().len());
        for byte in namespace.as_str().bytes() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The member of the sorted set of leases for an instance.
    pub(super) fn member(&self, id: &str) -> Vec<u8> {
        [self.0.as_bytes(), b"\0", id.as_bytes()].concat()
    }
}

/// The namespace that was encoded as `text`; none when it cannot have been.
pub(super) fn decoded(text: &[u8]) -> Option<Namespace> {
    let (pairs, rest) = text.as_chunks::<2>();
    let is_encoded = rest.is_empty() && text.iter().all(u8::is_ascii_hexdigit);
    let digits = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(digits).collect();
    String::from_utf8(bytes.filter(|_| is_encoded)?).ok()?.parse().ok()
}

/// The namespace and the id in a member of the sorted set of leases.
pub(super) fn parted(member: &[u8]) -> Option<(Namespace, &str)> {
    let at = member.iter().position(|byte| *byte == 0)?;
    let (namespace, id) = member.split_at(at);
    Some((decoded(namespace)?, std::str::from_utf8(id.get(1..)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_opaque_and_come_back() {
        for name in ["a", "a:inst:b", "*?[]\\", "{a8:00}", "é\n"] {
            let namespace: Namespace = name.parse().unwrap();
            let encoded = Encoded::of(&namespace);
            assert!(encoded.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert_eq!(decoded(encoded.as_str().as_bytes()), Some(namespace.clone()));
            assert_eq!(parted(&encoded.member("i\0d")), Some((namespace, "i\0d")));
        }
        assert_eq!((decoded(b"6"), decoded(b"zz"), parted(b"61")), (None, None, None));
    }

    #[test]
    fn the_layout_never_changes() {
        let namespace: Namespace = "default".parse().unwrap();
        let bucket = Bucket::of(&namespace);
        assert_eq!(bucket.instances(&Encoded::of(&namespace)), "{a8:31}:i:64656661756c74");
        assert_eq!(Bucket::all().count(), BUCKETS);
    }
}
