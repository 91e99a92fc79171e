//! Names of XML elements that stand for any text (spec eureka section 2.5): `_` is `__`, `$` is `_-`, and what
//! cannot stand in a name is `_.` and four hexadecimal digits of UTF-16.
//!
//! Never: an escape for what needs none, so that common names stay as they are.

use std::borrow::Cow;

/// Appends the name of an element for a text, which is not empty.
pub(super) fn push_name(to: &mut Vec<u8>, text: &str) {
    // An underscore is legal, but always doubled.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(is_plain) {
        to.extend_from_slice(text.as_bytes());
        return;
    }
    for (nth, unit) in text.encode_utf16().enumerate() {
        match char::from_u32(unit.into()) {
            Some('_') => to.extend_from_slice(b"__"),
            Some('$') => to.extend_from_slice(b"_-"),
            Some(c) if begins_names(c) || nth != 0 && continues_names(c) => {
                to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            // Halves of surrogate pairs are escaped each by itself, as the original does.
            Some(_) | None => {
                to.extend_from_slice(b"_.");
                for shift in [12, 8, 4, 0] {
                    let digit = char::from_digit(u32::from(unit >> shift & 15), 16).unwrap_or('0');
                    to.extend_from_slice(digit.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }
}

/// The text that the name of an element stands for; an underscore that begins no escape is kept.
pub(super) fn text_of(name: &str) -> Cow<'_, str> {
    if !name.contains('_') {
        return name.into();
    }
    let mut units = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('_') {
        let (before, escape) = rest.split_at(at);
        units.extend(before.encode_utf16());
        let (unit, len) = match escape.as_bytes() {
            [_, b'_', ..] => (u16::from(b'_'), 2),
            [_, b'-', ..] => (u16::from(b'$'), 2),
            [_, b'.', ..] => hex(escape).map_or((u16::from(b'_'), 1), |unit| (unit, 6)),
            _ => (u16::from(b'_'), 1),
        };
        units.push(unit);
        rest = escape.get(len..).unwrap_or_default();
    }
    units.extend(rest.encode_utf16());
    String::from_utf16_lossy(&units).into()
}

fn hex(escape: &str) -> Option<u16> {
    let digits = escape.get(2..6)?;
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

/// The characters of 16 bits that XML lets a name begin with, but for the underscore.
fn begins_names(c: char) -> bool {
    matches!(
        c,
        ':' | 'A'..='Z'
            | 'a'..='z'
            | '\u{c0}'..='\u{d6}'
            | '\u{d8}'..='\u{f6}'
            | '\u{f8}'..='\u{2ff}'
            | '\u{370}'..='\u{37d}'
            | '\u{37f}'..='\u{1fff}'
            | '\u{200c}'..='\u{200d}'
            | '\u{2070}'..='\u{218f}'
            | '\u{2c00}'..='\u{2fef}'
            | '\u{3001}'..='\u{d7ff}'
            | '\u{f900}'..='\u{fdcf}'
            | '\u{fdf0}'..='\u{fffd}'
    )
}

fn continues_names(c: char) -> bool {
    matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(text: &str) -> String {
        let mut name = Vec::new();
        push_name(&mut name, text);
        String::from_utf8(name).unwrap()
    }

    #[test]
    fn names_are_escaped_and_come_back() {
        for (text, name) in [
            ("zone", "zone"),
            ("my_key", "my__key"),
            ("a$b", "a_-b"),
            ("a b", "a_.0020b"),
            ("1x", "_.0031x"),
            ("x/y", "x_.002fy"),
            ("-x", "_.002dx"),
            ("a:b.c-1", "a:b.c-1"),
            ("größe", "größe"),
            ("_", "__"),
            ("_.0020", "__.0020"),
            ("_-", "__-"),
            ("😀", "_.d83d_.de00"),
            ("\0\u{ffff}", "_.0000_.ffff"),
            ("·", "_.00b7"),
            ("a·", "a·"),
            ("<a/>", "_.003ca_.002f_.003e"),
        ] {
            assert_eq!(name_of(text), name);
            assert_eq!(text_of(name), text, "{name}");
        }
    }

    #[test]
    fn what_is_no_escape_is_kept() {
        for (name, text) in [
            ("my_key", "my_key"),
            ("a_", "a_"),
            ("a_.", "a_."),
            ("a_.12", "a_.12"),
            ("a_.+123", "a_.+123"),
            ("a_.00g0", "a_.00g0"),
            ("a_.00é", "a_.00é"),
            ("___", "__"),
            ("_.D83D_.DE00", "😀"),
            ("_.d83d", "\u{fffd}"),
        ] {
            assert_eq!(text_of(name), text, "{name}");
        }
    }
}
