//! Values of an event as text for people: escaped, short, with units; nothing where the event says nothing.

use crate::scenario::incident::number;
use serde_json::Value;
use std::time::Duration;

/// Characters of one value that are shown.
const MAX_SHOWN: usize = 300;

/// Seconds since the burn began, aligned.
pub(super) fn stamp(after: Duration) -> String {
    format!("+{:4.1} s ", after.as_secs_f64())
}

/// Nothing for an empty text.
pub(super) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// How much CPU, of what, for how long.
pub(super) fn cpu(event: &Value) -> Option<String> {
    let impact = |name: &str| number(event, &format!("/incident/impact/{name}"));
    let mut text = format!("{:.2} cores", impact("cpu_cores")?);
    if let Some(share) = impact("cpu_share_of_host") {
        text.push_str(&format!(", {:.0} % of the host", share * 100.0));
    }
    if let Some(seconds) = impact("duration_s") {
        text.push_str(&format!(", for {seconds:.0} s"));
    }
    Some(text)
}

/// Who wrote the program, and how old it was when it ran.
pub(super) fn written(event: &Value) -> Option<String> {
    let verdict = event.pointer("/data/process/executable_verdict")?;
    let age = verdict.get("age_at_exec_s").and_then(Value::as_f64);
    let age = age.map(|age| format!("{age:.0} s before it ran"));
    let name = shown(verdict.pointer("/writer/name"));
    let id = shown(verdict.pointer("/writer/id")).map(|id| format!("uid {id}"));
    let writer = name.or(id).map(|writer| format!("by {writer}"));
    let parts: Vec<String> = [age, writer].into_iter().flatten().collect();
    some(parts.join(", "))
}

/// A value on one line: strings without quotes, numbers and the rest as JSON, nothing for null.
pub(super) fn shown(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(plain(text)),
        other => Some(plain(&other.to_string())),
    }
}

/// `text` without anything that could steer a terminal or turn the reading direction, and not endless.
pub(super) fn plain(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
            || matches!(c, '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut safe = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count == MAX_SHOWN {
            safe.push('…');
            break;
        }
        if harmful(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}
