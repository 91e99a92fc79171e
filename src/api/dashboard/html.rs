//! HTML as text: markup of our own, and texts of strangers between it.
//!
//! Markup is known when the program is built, so nothing that a client sent can become markup.
//! Never: an attribute without quotes, a text that is not escaped, or a link to anything but a web page.

use std::fmt::{self, Display, Write};

use crate::model::Timestamp;

/// A piece of a page.
#[derive(Debug, Default)]
pub(super) struct Html(String);

/// Writes a text so that it stays text, between tags and within quotes.
struct Escaping<'a>(&'a mut String);

/// Times of one page, cut to seconds.
const SECONDS: usize = "2026-01-01T00:00:00".len();

// === impl Html ===

impl Html {
    /// Markup as it is.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// A text, whatever is in it. Also for values of attributes, between their quotes.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a text cannot fail; a `Display` that fails has written what it could.
        let _ = write!(Escaping(&mut self.0), "{text}");
        self
    }

    /// A text, as a link when `url` is that of a web page.
    pub(super) fn link(&mut self, url: Option<&str>, text: &str) -> &mut Self {
        match url.filter(|url| is_web(url)) {
            None => self.text(text),
            Some(url) => {
                self.markup("<a rel=\"noreferrer noopener\" href=\"").text(url);
                self.markup("\">").text(text).markup("</a>")
            }
        }
    }

    /// A link to this page with another filter.
    pub(super) fn filter_link(&mut self, filter: &str, text: impl Display) -> &mut Self {
        self.markup("<a href=\"?q=");
        for byte in filter.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    self.0.push(char::from(byte));
                }
                _ => {
                    // Writing to a text cannot fail.
                    let _ = write!(self.0, "%{byte:02X}");
                }
            }
        }
        self.markup("\">").text(text).markup("</a>")
    }

    /// A time of day, in UTC and to the second.
    pub(super) fn time(&mut self, at: Timestamp) -> &mut Self {
        let text = at.to_string();
        let seconds = text.get(..SECONDS).unwrap_or(&text);
        self.markup("<time datetime=\"").text(&text).markup("\">");
        self.text(seconds.replace('T', " ")).markup("&#8201;UTC</time>")
    }

    /// A row of a list of facts.
    pub(super) fn fact(&mut self, name: &'static str, value: impl Display) -> &mut Self {
        self.markup("<div><dt>").markup(name).markup("</dt><dd>").text(value).markup("</dd></div>")
    }

    /// Puts another piece behind this one.
    pub(super) fn append(&mut self, piece: &Self) -> &mut Self {
        self.0.push_str(&piece.0);
        self
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

fn is_web(url: &str) -> bool {
    let begins_with =
        |scheme: &str| url.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme));
    begins_with("http://") || begins_with("https://")
}

// === impl Escaping ===

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\t' | '\n' => self.0.push(c),
                // No character of a page, or one that turns what stands around it.
                c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                    self.0.push('\u{fffd}');
                }
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(write: impl for<'a> FnOnce(&'a mut Html) -> &'a mut Html) -> String {
        let mut html = Html::default();
        write(&mut html);
        html.into_text()
    }

    #[test]
    fn texts_stay_texts() {
        for (text, want) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"),
            ("a\0b\u{1b}c\r\u{202e}d", "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}d"),
            ("zwei\nZeilen\tä🦀", "zwei\nZeilen\tä🦀"),
        ] {
            assert_eq!(of(|html| html.text(text)), want);
        }
    }

    #[test]
    fn only_web_pages_are_linked() {
        for url in [
            "javascript:alert(1)",
            "data:text/html,x",
            "//evil",
            "/x",
            "",
            " http://x",
            "httpx://",
            "ht\u{e9}",
        ] {
            assert_eq!(of(|html| html.link(Some(url), "id")), "id", "{url}");
        }
        for url in ["http://h/info", "https://h:8443/", "HTTP://H"] {
            let want = format!("<a rel=\"noreferrer noopener\" href=\"{url}\">id</a>");
            assert_eq!(of(|html| html.link(Some(url), "id")), want);
        }
        let broken_out = of(|html| html.link(Some("http://h/\"><script>"), "<b>"));
        assert!(!broken_out.contains("<script>") && !broken_out.contains("<b>"), "{broken_out}");
    }

    #[test]
    fn filters_are_encoded_and_times_are_cut() {
        let link = of(|html| html.filter_link("a b&c=\"ä", "x"));
        assert_eq!(link, "<a href=\"?q=a%20b%26c%3D%22%C3%A4\">x</a>");
        let time = of(|html| html.time(Timestamp::from_millis(1_795_366_814_492)));
        assert_eq!(time, "<time datetime=\"2026-11-22T17:00:14.492Z\">2026-11-22 17:00:14&#8201;UTC</time>");
    }
}
