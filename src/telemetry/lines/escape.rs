//! Texts made harmless for one line of a log, in the two ways of quoting.
//!
//! Never: changes what a reader of the format gets back.

use std::fmt::Write;

/// As the original's text format: bare when it consists of letters, digits, `-` and `.`, else quoted.
pub(super) fn push_bare_or_quoted(line: &mut String, text: &str) {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
        line.push_str(text);
    } else {
        push_quoted(line, text);
    }
}

/// A text in quotes, with Go's escapes.
pub(super) fn push_quoted(line: &mut String, text: &str) {
    push_escaped(line, text, |line, c| {
        // Writing to a String cannot fail.
        let _ = match u32::from(c) {
            code @ 0..=0x7F => write!(line, "\\x{code:02x}"),
            code @ 0x80..=0xFFFF => write!(line, "\\u{code:04x}"),
            code => write!(line, "\\U{code:08x}"),
        };
    });
}

/// A JSON string.
pub(super) fn push_json(line: &mut String, text: &str) {
    push_escaped(line, text, |line, c| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(line, "\\u{unit:04x}");
        }
    });
}

/// A quoted text; `escape` writes what has no short escape.
fn push_escaped(line: &mut String, text: &str, escape: impl Fn(&mut String, char)) {
    line.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(is_suspect) {
        line.push_str(&rest[..at]);
        let mut behind = rest[at..].chars();
        match behind.next() {
            Some('"') => line.push_str("\\\""),
            Some('\\') => line.push_str("\\\\"),
            Some('\n') => line.push_str("\\n"),
            Some('\r') => line.push_str("\\r"),
            Some('\t') => line.push_str("\\t"),
            Some(c) if is_harmful(c) => escape(line, c),
            Some(c) => line.push(c),
            None => {}
        }
        rest = behind.as_str();
    }
    line.push_str(rest);
    line.push('"');
}

/// Whether the character that begins with this byte must be looked at.
fn is_suspect(byte: u8) -> bool {
    !matches!(byte, b' '..=b'~') || byte == b'"' || byte == b'\\'
}

/// Whether a character could end a line, or change how a terminal shows its neighbours.
fn is_harmful(c: char) -> bool {
    matches!(c,
        '\0'..='\x1F' | '\x7F'..='\u{9F}' | '\u{AD}' | '\u{61C}' | '\u{180E}'
        | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}
