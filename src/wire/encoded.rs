//! An instance as the Amalgam8 API shows it, encoded once, with the place of each member.
//!
//! The members stand in a fixed order and `last_heartbeat` has a fixed width, so that readers can be
//! given parts of the text, in other selections and with newer times, without anybody parsing it.
//! Never: parses JSON.

use serde::Serialize;

use crate::model::{Foreign, Instance, Status, Timestamp};

/// The members of an encoded instance, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// `id`
    Id,
    /// `service_name`
    ServiceName,
    /// `endpoint`
    Endpoint,
    /// `ttl`, whole seconds; left out when that is 0
    Ttl,
    /// `status`
    Status,
    /// `last_heartbeat`
    LastHeartbeat,
    /// `metadata`; left out when there is none
    Metadata,
    /// `tags`; left out when there are none
    Tags,
}

/// Where the members of one encoded instance end, counted from its opening brace, and what filters need.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// A member is the text from the end of the one before to its own end, with the comma before it;
    /// one that is left out is empty.
    ends: [u32; Member::COUNT],
    /// The status, so that a filter need not look at the text.
    pub status: Status,
    /// Whether a list without selection shows it.
    pub is_listed: bool,
    /// Two bits for each tag; see [`tag_bits`].
    pub tag_bits: u64,
}

/// An encoded instance: `{"id":...}` and where everything is in it.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// One JSON object.
    pub json: Vec<u8>,
    /// Where everything is in it.
    pub layout: Layout,
}

const ID_HEAD: &[u8] = b"{\"id\":";
const SERVICE_HEAD: &[u8] = b",\"service_name\":";
const HEARTBEAT_HEAD: &[u8] = b",\"last_heartbeat\":\"";
/// The zero time of the original's language.
const NO_HEARTBEAT: &[u8] = b"0001-01-01T00:00:00Z";
const TAGS_HEAD: &[u8] = b",\"tags\":[";

// === impl Member ===

impl Member {
    /// Number of members.
    pub const COUNT: usize = 8;

    /// All members, in their order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Id,
        Self::ServiceName,
        Self::Endpoint,
        Self::Ttl,
        Self::Status,
        Self::LastHeartbeat,
        Self::Metadata,
        Self::Tags,
    ];

    /// Its place in the order, from 0.
    #[must_use]
    pub fn position(self) -> usize {
        match self {
            Self::Id => 0,
            Self::ServiceName => 1,
            Self::Endpoint => 2,
            Self::Ttl => 3,
            Self::Status => 4,
            Self::LastHeartbeat => 5,
            Self::Metadata => 6,
            Self::Tags => 7,
        }
    }
}

// === impl Encoded ===

impl Encoded {
    /// Encodes an instance whose lease was last renewed at `renewed`; when a catalog has it, what that tells counts,
    /// and without it there is no such time (spec amalgam8 section 8).
    #[must_use]
    pub fn of(instance: &Instance, renewed: Timestamp) -> Self {
        let Instance { id, service, endpoint, status, tags, metadata, ttl, .. } = instance;
        let mut json = Vec::with_capacity(192 + metadata.as_ref().map_or(0, |m| m.as_json().len()));
        let mut ends = [0; Member::COUNT];
        let mut end = |json: &Vec<u8>, member: Member| ends[member.position()] = position(json.len());

        json.extend_from_slice(ID_HEAD);
        push_string(&mut json, id.as_str());
        end(&json, Member::Id);
        json.extend_from_slice(SERVICE_HEAD);
        push_string(&mut json, service.as_str());
        end(&json, Member::ServiceName);
        json.extend_from_slice(b",\"endpoint\":{\"type\":\"");
        json.extend_from_slice(endpoint.kind().as_str().as_bytes());
        json.extend_from_slice(b"\",\"value\":");
        push_string(&mut json, endpoint.value());
        json.push(b'}');
        end(&json, Member::Endpoint);
        if ttl.as_secs() != 0 {
            json.extend_from_slice(b",\"ttl\":");
            json.extend_from_slice(itoa::Buffer::new().format(ttl.as_secs()).as_bytes());
        }
        end(&json, Member::Ttl);
        json.extend_from_slice(b",\"status\":\"");
        match instance.document {
            None => json.extend_from_slice(status.as_str().as_bytes()),
            // A word of the client's own may hold any character.
            Some(_) => {
                json.pop();
                push_string(&mut json, instance.status_shown());
                json.pop();
            }
        }
        json.push(b'"');
        end(&json, Member::Status);
        json.extend_from_slice(HEARTBEAT_HEAD);
        match instance.foreign {
            None => json.extend_from_slice(&renewed.rfc3339()),
            Some(Foreign { renewed: Some(renewed), .. }) => json.extend_from_slice(&renewed.rfc3339()),
            Some(Foreign { renewed: None, .. }) => json.extend_from_slice(NO_HEARTBEAT),
        }
        json.push(b'"');
        end(&json, Member::LastHeartbeat);
        if let Some(metadata) = metadata {
            json.extend_from_slice(b",\"metadata\":");
            json.extend_from_slice(metadata.as_json().as_bytes());
        }
        end(&json, Member::Metadata);
        if !tags.is_empty() {
            json.extend_from_slice(TAGS_HEAD);
            for (nth, tag) in tags.iter().enumerate() {
                if nth != 0 {
                    json.push(b',');
                }
                push_string(&mut json, tag);
            }
            json.push(b']');
        }
        end(&json, Member::Tags);
        json.push(b'}');
        let tag_bits = tags.iter().fold(0, |bits, tag| bits | tag_bits(tag));
        let is_listed = instance.is_listed_by_default();
        Self { json, layout: Layout { ends, status: *status, is_listed, tag_bits } }
    }
}

// === impl Layout ===

impl Layout {
    /// Length of the whole object.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end(Member::Tags) + 1
    }

    /// Never: an object has at least its braces.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The id, as a JSON string with its quotes.
    #[must_use]
    pub fn id<'a>(&self, object: &'a [u8]) -> &'a [u8] {
        &object[ID_HEAD.len()..self.end(Member::Id)]
    }

    /// The service's name, as a JSON string with its quotes.
    #[must_use]
    pub fn service<'a>(&self, object: &'a [u8]) -> &'a [u8] {
        &object[self.end(Member::Id) + SERVICE_HEAD.len()..self.end(Member::ServiceName)]
    }

    /// Where the 24 characters of `last_heartbeat` begin.
    #[must_use]
    pub fn heartbeat_at(&self) -> usize {
        self.end(Member::Status) + HEARTBEAT_HEAD.len()
    }

    /// The place of a member, with the comma before it; empty when it is left out.
    #[must_use]
    pub fn member(&self, member: Member) -> std::ops::Range<usize> {
        let begin = member.position().checked_sub(1).map_or(1, |before| offset(self.ends[before]));
        begin..self.end(member)
    }

    /// Whether the instance has all of these tags: JSON strings with their quotes, in order, each once.
    /// Looks at each tag of the instance once, however many are wanted; both numbers come from clients.
    #[must_use]
    pub fn has_tags(&self, object: &[u8], wanted: &[Vec<u8>]) -> bool {
        if let [only] = wanted {
            return self.tags(object).any(|tag| tag == only);
        }
        let mut seen = vec![false; wanted.len()];
        let mut missing = wanted.len();
        let mut tags = self.tags(object);
        while 0 < missing {
            let Some(tag) = tags.next() else { return false };
            if let Ok(at) = wanted.binary_search_by(|one| one.as_slice().cmp(tag)) {
                missing -= usize::from(!std::mem::replace(&mut seen[at], true));
            }
        }
        true
    }

    /// The tags, as JSON strings with their quotes.
    fn tags<'a>(&self, object: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = object[self.member(Member::Tags)].get(TAGS_HEAD.len()..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (tag, after) = rest.split_at(string_len(rest)?);
            rest = after.get(1..).unwrap_or_default();
            Some(tag)
        })
    }

    fn end(&self, member: Member) -> usize {
        offset(self.ends[member.position()])
    }
}

/// A text as a JSON string with its quotes, in the one spelling that encoded instances use.
#[must_use]
pub fn quoted(text: &str) -> Vec<u8> {
    let mut json = Vec::with_capacity(text.len() + 2);
    push_string(&mut json, text);
    json
}

/// Bits that every instance with this tag has set; others may have them too.
#[must_use]
pub fn tag_bits(tag: &str) -> u64 {
    let crc = crc32fast::hash(tag.as_bytes());
    1 << (crc & 63) | 1 << (crc >> 6 & 63)
}

/// Appends a text as a JSON string with its quotes.
pub(super) fn push_string(json: &mut Vec<u8>, text: &str) {
    // Without a way out in the middle, this is done many bytes at a time.
    let needs_escape = |any, byte| any | (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if !text.bytes().fold(false, needs_escape) {
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        json.push(b'"');
        return;
    }
    let mut to = serde_json::Serializer::new(json);
    text.serialize(&mut to).expect("a text can be written to memory");
}

/// Length of the JSON string at the beginning, quotes included.
fn string_len(json: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', json.get(at..)?)?;
        if json[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn offset(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// A request's body is far below 4 GiB, and so is what it is encoded to.
fn position(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Registration;
    use crate::wire::amalgam8::RegistrationBody;

    fn check(tags: &str, wanted: &[&str], want: bool) {
        let body = format!(
            r#"{{"service_name":"s","endpoint":{{"type":"http","value":"v"}},"metadata":"\"x\",","tags":{tags}}}"#
        );
        let body = RegistrationBody::from_json(body.as_bytes()).unwrap();
        let instance = Registration::try_from(body).unwrap().grant(Default::default(), Timestamp::default());
        let Encoded { json, layout } = Encoded::of(&instance, Timestamp::default());
        let wanted: Vec<_> = wanted.iter().map(|tag| quoted(tag)).collect();
        assert!(wanted.is_sorted_by(|a, b| a < b), "{wanted:?}");
        assert_eq!(layout.has_tags(&json, &wanted), want, "{tags} {wanted:?}");
    }

    #[test]
    fn tags_that_are_wanted_are_all_there() {
        for (tags, wanted) in [
            ("[]", &[][..]),
            (r#"["a"]"#, &["a"]),
            (r#"["b","a","b"]"#, &["a", "b"]),
            (r#"["","x"]"#, &[""]),
            (r#"["\\","\"","\\\",\""]"#, &["\"", "\\", "\\\",\""]),
            (r#"["\u00e9","e"]"#, &["e", "é"]),
        ] {
            check(tags, wanted, true);
        }
        for (tags, wanted) in [
            ("[]", &["a"][..]),
            ("[]", &[""]),
            (r#"["a"]"#, &["A"]),
            (r#"["ab"]"#, &["a", "b"]),
            (r#"["a","a","a"]"#, &["a", "b"]),
            (r#"["a,b"]"#, &["a", "b"]),
            (r#"["a\",\"b"]"#, &["a", "b"]),
            ("[]", &["\"x\","]),
        ] {
            check(tags, wanted, false);
        }
    }

    #[test]
    fn many_tags_are_found_among_many() {
        let names: Vec<_> = (0..9999).map(|n| format!("{n:04}")).collect();
        let tags = serde_json::to_string(&names.iter().rev().collect::<Vec<_>>()).unwrap();
        let mut wanted: Vec<_> = names.iter().map(String::as_str).step_by(2).collect();
        check(&tags, &wanted, true);
        wanted.push("x");
        check(&tags, &wanted, false);
    }
}
