//! Metadata: a JSON value that its client chose, kept as it was written but for blanks.
//!
//! Its bytes go straight into lists that strangers parse, so whatever other readers could stumble
//! over (depth, half surrogates, numbers without a double) is refused here.
//! Never: interprets a value, reorders keys or rewrites numbers.

use super::Invalid;

/// Deepest nesting that is kept; common readers stop between 64 and 1 000.
pub const METADATA_DEPTH_MAX: usize = 32;

/// A JSON value without blanks between its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata(Box<str>);

// === impl Metadata ===

impl Metadata {
    /// Largest metadata of an Amalgam8 registration, in bytes as sent (spec amalgam8 section 4).
    pub const AMALGAM8_MAX: usize = 1024;

    /// Takes over one JSON value. `text` is grammatical JSON already; this judges what grammar allows
    /// and readers do not.
    ///
    /// # Errors
    /// When `text` is longer than `max` bytes, nested deeper than [`METADATA_DEPTH_MAX`], or holds a
    /// half surrogate or a number beyond a double.
    pub fn from_json(text: &str, max: usize) -> Result<Self, Invalid> {
        if max < text.len() {
            return Err(Invalid::MetadataTooLong { got: text.len(), max });
        }
        minified(text).map(Self).map_err(|why| Invalid::MetadataUnreadable { why })
    }

    /// The value as JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

fn minified(text: &str) -> Result<Box<str>, &'static str> {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let mut depth = 0_usize;
    while let Some(first) = rest.as_bytes().first() {
        let token = match first {
            b' ' | b'\t' | b'\n' | b'\r' => {
                rest = &rest[1..];
                continue;
            }
            b'"' => string_token(rest)?,
            b'-' | b'0'..=b'9' => number_token(rest)?,
            b'{' | b'[' => {
                depth += 1;
                if METADATA_DEPTH_MAX < depth {
                    return Err("is nested more than 32 levels deep");
                }
                &rest[..1]
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                &rest[..1]
            }
            _ => &rest[..rest.chars().next().map_or(1, char::len_utf8)],
        };
        kept.push_str(token);
        rest = &rest[token.len()..];
    }
    Ok(kept.into())
}

/// The string that `text` begins with, quotes included.
fn string_token(text: &str) -> Result<&str, &'static str> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default())
            .ok_or("holds an open string")?;
        if bytes[at] == b'"' {
            return Ok(&text[..=at]);
        }
        match (bytes.get(at + 1), code_unit(bytes, at)) {
            (Some(b'u'), Some(0xD800..=0xDBFF)) => {
                if !matches!(code_unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) {
                    return Err("holds half of a surrogate pair");
                }
                at += 12;
            }
            (Some(b'u'), Some(0xDC00..=0xDFFF)) => return Err("holds half of a surrogate pair"),
            (Some(b'u'), Some(_)) => at += 6,
            _ => at += 2,
        }
    }
}

/// The UTF-16 code unit of an escape, `\u` and four digits, that begins at `at`.
fn code_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let escape = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(escape).ok()?, 16).ok()
}

fn number_token(text: &str) -> Result<&str, &'static str> {
    let end = text.bytes().position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    let number = &text[..end.unwrap_or(text.len())];
    match number.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(number),
        Ok(_) | Err(_) => Err("holds a number beyond the range of a double"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Result<&str, &'static str>) {
        let got = Metadata::from_json(text, 4096);
        let want = want.map(|s| Metadata(s.into())).map_err(|why| Invalid::MetadataUnreadable { why });
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn blanks_go_and_everything_else_stays() {
        check(
            " { \"b\" : [ 1 , 2.50e1 ] ,\n\t\"a\" : \" x \\\" y\\\\\" } ",
            Ok(r#"{"b":[1,2.50e1],"a":" x \" y\\"}"#),
        );
        check("null", Ok("null"));
        check(r#""é😀 \u00e9\ud83d\ude00""#, Ok(r#""é😀 \u00e9\ud83d\ude00""#));
        check(r#"{"a":1,"a":2}"#, Ok(r#"{"a":1,"a":2}"#));
        check("-0.0", Ok("-0.0"));
    }

    #[test]
    fn what_other_readers_refuse_is_refused() {
        check("1e400", Err("holds a number beyond the range of a double"));
        check(r#""\ud800""#, Err("holds half of a surrogate pair"));
        check(r#""\ude00x""#, Err("holds half of a surrogate pair"));
        check(r#""\ud800\u0041""#, Err("holds half of a surrogate pair"));
        check(&("[".repeat(32) + &"]".repeat(32)), Ok(&("[".repeat(32) + &"]".repeat(32))));
        check(&("[".repeat(33) + &"]".repeat(33)), Err("is nested more than 32 levels deep"));
    }

    #[test]
    fn size_counts_blanks() {
        assert_eq!(Metadata::from_json(" 1 ", 2), Err(Invalid::MetadataTooLong { got: 3, max: 2 }));
    }
}
