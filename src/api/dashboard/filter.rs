//! Which instances and events a page shows: those that have every word of the filter somewhere.
//!
//! Never: a pattern; a word is found as it is, Latin letters in either case.

use crate::model::Instance;

/// Words that must all be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    text: Box<str>,
}

// === impl Filter ===

impl Filter {
    /// Longest filter in bytes; what is beyond does not count.
    pub const MAX: usize = 128;
    /// Most words; what is beyond does not count.
    pub const WORDS_MAX: usize = 8;

    /// The words of a text, with blanks between them; none lets everything pass.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        Self { text: text.get(..text.floor_char_boundary(Self::MAX)).unwrap_or_default().into() }
    }

    /// The words as they were given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it lets everything pass.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split_whitespace().take(Self::WORDS_MAX)
    }

    /// Whether each word is in the application's name, an id, a host, a virtual address, or the status.
    #[must_use]
    pub fn passes(&self, instance: &Instance) -> bool {
        let Instance { id, service, endpoint, status, document, .. } = instance;
        self.words().all(|word| {
            let host =
                document.as_deref().is_some_and(|it| has(&it.host_name, word) || has(&it.ip_addr, word));
            host || has(service.as_str(), word)
                || has(id.as_str(), word)
                || has(instance.id_in_application(), word)
                || has(endpoint.value(), word)
                || has(status.as_str(), word)
                || has(instance.status_shown(), word)
                || instance.vips().any(|vip| has(vip, word))
        })
    }

    /// Whether each word is in the text.
    #[must_use]
    pub fn passes_text(&self, text: &str) -> bool {
        self.words().all(|word| has(text, word))
    }
}

/// Whether a word stands somewhere in a text, Latin letters in either case.
fn has(text: &str, word: &str) -> bool {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    let Some(first) = word.first() else { return true };
    let mut places = memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text);
    places.any(|at| text.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_to_be_found() {
        for (filter, text, want) in [
            ("", "anything", true),
            ("  ", "", true),
            ("ORD", "my-orders", true),
            ("rs", "my-orders", true),
            ("orders-", "my-orders", false),
            ("my ders", "my-orders", true),
            ("my carts", "my-orders", false),
            ("ÄB", "äb", false),
            ("Äb", "xÄBx", true),
            (".*", "abc", false),
        ] {
            assert_eq!(Filter::new(filter).passes_text(text), want, "{filter} in {text}");
        }
    }

    #[test]
    fn filters_are_cut_between_characters() {
        let filter = Filter::new(&"ä".repeat(Filter::MAX));
        assert_eq!(filter.as_str().len(), Filter::MAX);
        let filter = Filter::new(&format!("x{}", "ä".repeat(Filter::MAX)));
        assert_eq!(filter.as_str().len(), Filter::MAX - 1);
    }
}
