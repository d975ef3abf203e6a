//! The one place where bytes an attacker chose become text.
//!
//! Valid UTF-8 stays; whatever could forge a line, steer a terminal or reorder what is read is
//! written visibly: `\xNN` for bytes, `\u{…}` for characters, `\\` for the backslash itself, so the
//! original can be read back. Everything is capped, and says so. What comes out is safe in JSON, in
//! a log line and on a terminal, and must not be escaped twice.

use std::{borrow::Cow, fmt::Write};

/// Bytes of text kept of one path or argument.
pub const CAP_BYTES: usize = 4_096;
/// Longest text of one character: `\u{e007f}`.
const LONGEST_BYTES: usize = 9;
/// Marks a cut.
const CUT: char = '…';

/// Text made of untrusted bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Escaped {
    /// Safe to show.
    pub text: String,
    /// The end is missing.
    pub truncated: bool,
}

/// Escapes `bytes`, keeping at most `cap_bytes` of text.
pub fn escape(bytes: &[u8], cap_bytes: usize) -> Escaped {
    let mut text = String::with_capacity(bytes.len().min(cap_bytes));
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let before = text.len();
            push(&mut text, character);
            if text.len() > cap_bytes {
                text.truncate(before);
                return Escaped {
                    text,
                    truncated: true,
                };
            }
        }
        for byte in chunk.invalid() {
            if text.len() + 4 > cap_bytes {
                return Escaped {
                    text,
                    truncated: true,
                };
            }
            push_byte(&mut text, *byte);
        }
    }
    Escaped {
        text,
        truncated: false,
    }
}

/// Escapes one path, name or argument; `…` marks a cut.
pub fn plain(bytes: &[u8]) -> String {
    let Escaped {
        mut text,
        truncated,
    } = escape(bytes, CAP_BYTES);
    if truncated {
        text.push(CUT);
    }
    text
}

/// The bytes that [`plain`] made `text` of; `None`: it was cut, or is not of this program.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    // What was cut before a long escape is short enough to be a whole that ends with this very character.
    if text.ends_with(CUT) && text.len() > CAP_BYTES - LONGEST_BYTES + CUT.len_utf8() {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let mut kind = after.chars();
        rest = match kind.next()? {
            '\\' => {
                bytes.push(b'\\');
                kind.as_str()
            }
            'x' => {
                let digits = kind.as_str().get(..2)?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                &kind.as_str()[2..]
            }
            'u' => {
                let (digits, after) = kind.as_str().strip_prefix('{')?.split_once('}')?;
                let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                after
            }
            _ => return None,
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    let whole = plain(&bytes) == text;
    whole.then_some(bytes)
}

/// Escapes a NUL-padded `comm`.
pub fn comm(bytes: &[u8; 16]) -> String {
    plain(until_nul(bytes))
}

/// The bytes before the first NUL.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

/// The arguments of a NUL-separated argv.
pub fn arguments(argv: &[u8]) -> Vec<String> {
    let argv = argv.strip_suffix(b"\0").unwrap_or(argv);
    if argv.is_empty() {
        return Vec::new();
    }
    argv.split(|byte| *byte == 0).map(plain).collect()
}

/// One word of a shell command that means exactly these bytes, and is itself safe to show.
pub fn shell_word(bytes: &[u8]) -> String {
    let bare = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:@%+=,-".contains(byte);
    let printable = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'\'' && *byte != b'\\';
    if !bytes.is_empty() && bytes.iter().all(bare) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    if bytes.iter().all(printable) {
        return format!("'{}'", String::from_utf8_lossy(bytes));
    }
    let mut word = String::from("$'");
    for byte in bytes {
        match byte {
            b'\'' => word.push_str("\\'"),
            b'\\' => word.push_str("\\\\"),
            b' '..=b'~' => word.push(char::from(*byte)),
            _ => push_byte(&mut word, *byte),
        }
    }
    word.push('\'');
    word
}

/// Text from elsewhere in the program that may still hold control characters (a unit's or a
/// package's name): as [`plain`], without a copy where nothing needs escaping.
pub fn line(text: &str) -> Cow<'_, str> {
    if text.len() <= CAP_BYTES
        && !text
            .chars()
            .any(|character| character == '\\' || unsafe_to_show(character))
    {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(plain(text.as_bytes()))
    }
}

/// As [`plain`], without a copy where nothing needs escaping.
pub fn shown(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(plain(bytes)), line)
}

fn unsafe_to_show(character: char) -> bool {
    matches!(character,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn push(text: &mut String, character: char) {
    match character {
        '\\' => text.push_str("\\\\"),
        '\u{0}'..='\u{1f}' | '\u{7f}' => push_byte(text, character as u8),
        _ if unsafe_to_show(character) => {
            write!(text, "\\u{{{:x}}}", u32::from(character))
                .expect("writing to a string succeeds");
        }
        _ => text.push(character),
    }
}

fn push_byte(text: &mut String, byte: u8) {
    write!(text, "\\x{byte:02x}").expect("writing to a string succeeds");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_plain_makes_and_copied_only_where_it_differs() {
        for (bytes, copied) in [
            (&b"/usr/bin/curl"[..], false),
            ("/srv/länger".as_bytes(), false),
            (b"", false),
            (b"/opt/a\\b", true),
            (b"/opt/\x1b[31m", true),
            (b"/opt/\xff", true),
        ] {
            let shown = shown(bytes);
            assert_eq!(shown, plain(bytes));
            assert_eq!(matches!(shown, Cow::Owned(_)), copied, "{shown}");
        }
    }

    #[test]
    fn control_bytes_and_line_breaks_are_visible() {
        assert_eq!(
            plain(b"a\nb\x1b[31mc\x00\x7f\r"),
            r"a\x0ab\x1b[31mc\x00\x7f\x0d"
        );
        assert_eq!(plain("x\u{85}y\u{2028}z".as_bytes()), r"x\u{85}y\u{2028}z");
    }

    #[test]
    fn bidirectional_controls_are_visible() {
        assert_eq!(
            plain("a\u{202e}b\u{2066}c\u{200f}d\u{61c}e".as_bytes()),
            r"a\u{202e}b\u{2066}c\u{200f}d\u{61c}e"
        );
    }

    #[test]
    fn invalid_utf8_keeps_every_byte_and_valid_text_stays() {
        assert_eq!(
            plain(b"caf\xc3\xa9 \xff\xfe \xe2\x82"),
            r"café \xff\xfe \xe2\x82"
        );
    }

    #[test]
    fn a_backslash_cannot_forge_an_escape() {
        assert_eq!(plain(br"\x1b"), r"\\x1b");
    }

    #[test]
    fn every_byte_value_gives_text_without_controls() {
        for byte in 0..=u8::MAX {
            let text = plain(&[b'a', byte, b'z']);
            assert!(!text.chars().any(unsafe_to_show), "{byte}: {text:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character_and_says_so() {
        let escaped = escape("ééé\n".as_bytes(), 5);
        assert_eq!(escaped.text, "éé");
        assert!(escaped.truncated);
        assert_eq!(escape(b"ab\n", 5).text, "ab");
        assert!(!escape(b"abcde", 5).truncated);
    }

    #[test]
    fn what_was_cut_cannot_be_read_back_wherever_the_cut_fell() {
        for long in ["a", "\u{9f}", "\u{2028}", "\u{e007f}"] {
            for kept in CAP_BYTES - LONGEST_BYTES..=CAP_BYTES {
                let bytes = ["a".repeat(kept).as_bytes(), long.repeat(10).as_bytes()].concat();
                assert_eq!(unescape(&plain(&bytes)), None, "{kept} and {long:?}");
            }
        }
        let whole = "an ellipsis at the end…".as_bytes();
        assert_eq!(unescape(&plain(whole)).as_deref(), Some(whole));
    }

    #[test]
    fn quotes_survive_json() {
        let text = plain(br#"{"a":"b"}"#);
        let json = serde_json::to_string(&text).expect("a string");
        assert_eq!(json, r#""{\"a\":\"b\"}""#);
    }

    #[test]
    fn shell_words_mean_the_same_bytes_and_cannot_break_out() {
        assert_eq!(shell_word(b"/usr/bin/id"), "/usr/bin/id");
        assert_eq!(
            shell_word(b"/tmp/a b; rm -rf $HOME"),
            "'/tmp/a b; rm -rf $HOME'"
        );
        assert_eq!(shell_word(b"it's"), r"$'it\'s'");
        assert_eq!(shell_word(b"a\n\xff"), r"$'a\x0a\xff'");
        assert_eq!(shell_word(b""), "''");
    }

    #[test]
    fn argv_is_split_at_nul() {
        assert_eq!(arguments(b"sh\0-c\0a\nb\0"), ["sh", "-c", r"a\x0ab"]);
        assert_eq!(arguments(b""), Vec::<String>::new());
    }
}
