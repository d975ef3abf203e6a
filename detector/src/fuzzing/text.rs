//! The way of an attacker's bytes into text: secrets out (`event/redact.rs`), then escaped (`event/text.rs`).

use super::assert_safe_to_show;
use crate::event::{
    Redactor,
    text::{self, CAP_BYTES},
};

const REDACTED: &[u8] = b"[redacted]";

/// Whatever the bytes: the text is safe to show, bounded, and means them.
///
/// # Panics
/// A promise is broken.
pub fn text(bytes: &[u8]) {
    escaped(bytes);
    redacted(bytes);
}

fn escaped(bytes: &[u8]) {
    for cap in [0, 1, 7, CAP_BYTES] {
        let escaped = text::escape(bytes, cap);
        assert!(escaped.text.len() <= cap);
        assert_safe_to_show(&escaped.text);
    }
    let plain = text::plain(bytes);
    assert_safe_to_show(&plain);
    match text::unescape(&plain) {
        Some(back) => assert_eq!(back, bytes),
        None => assert!(
            plain.len() + 20 > CAP_BYTES,
            "only what was cut cannot be read back"
        ),
    }
    assert_eq!(text::shown(bytes), plain);
    if let Ok(line) = std::str::from_utf8(bytes) {
        assert_eq!(text::line(line), plain);
        if let Some(meant) = text::unescape(line) {
            assert_eq!(text::plain(&meant), line);
        }
    }
    assert!(text::shell_word(bytes).is_ascii());
    assert_safe_to_show(&text::shell_word(bytes));
    for argument in text::arguments(bytes) {
        assert_safe_to_show(&argument);
    }
}

fn redacted(bytes: &[u8]) {
    let redactor = Redactor::default();
    for out in [redactor.arguments(bytes), redactor.text(bytes)] {
        // A secret is at least one byte.
        assert!(out.len() <= bytes.len() * REDACTED.len());
        is_bytes_without(&out, bytes);
    }
    let value: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    if value.is_empty() {
        return;
    }
    for option in [&b"--password="[..], b"DB_TOKEN="] {
        let out = redactor
            .arguments(&[b"run\0", option, &value, b"\0next"].concat())
            .into_owned();
        assert_eq!(out, [b"run\0", option, REDACTED, b"\0next"].concat());
    }
    // What ends a password in an address; the vertical tab is white space to expressions, but not to `u8`.
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\x0b/@".contains(byte);
    let word: Vec<u8> = value.into_iter().filter(|byte| !ends(byte)).collect();
    if !word.is_empty() {
        let out = redactor
            .text(&[b"ftp://me:", &word[..], b"@host/"].concat())
            .into_owned();
        assert!(
            out.starts_with(&[b"ftp://me:", REDACTED].concat()),
            "{}",
            out.escape_ascii()
        );
    }
}

/// Between what was taken out stands what was there, in that order.
fn is_bytes_without(out: &[u8], bytes: &[u8]) {
    let mut rest = bytes;
    let mut parts = out;
    while !parts.is_empty() {
        if rest.first() == parts.first() && !parts.starts_with(REDACTED) {
            (rest, parts) = (&rest[1..], &parts[1..]);
            continue;
        }
        if !parts.starts_with(REDACTED) {
            panic!(
                "{} is not {} without secrets",
                out.escape_ascii(),
                bytes.escape_ascii()
            );
        }
        // What comes next was somewhere behind the secret.
        parts = &parts[REDACTED.len()..];
        let until = parts
            .windows(REDACTED.len())
            .position(|part| part == REDACTED)
            .unwrap_or(parts.len());
        let kept = &parts[..until];
        let at = (0..=rest.len()).find(|at| rest[*at..].starts_with(kept));
        let at = at.unwrap_or_else(|| panic!("{} was made up", kept.escape_ascii()));
        (rest, parts) = (&rest[at + kept.len()..], &parts[until..]);
    }
}
