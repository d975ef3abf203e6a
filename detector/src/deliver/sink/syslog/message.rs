//! An event as a syslog message. Pure.
#![deny(clippy::disallowed_methods)]

use std::fmt::Write as _;

use crate::{
    config::{self, Message},
    event::{CloudEvent, Data},
};

/// Longest text of a message, bytes: servers cut at 8 KiB unless told otherwise.
const TEXT_BYTES: usize = 4096;
/// The private enterprise number that RFC 5612 gives to documentation: we have none of our own.
const ENTERPRISE: u32 = 32473;

/// What the local form of a message says besides the event.
pub(super) struct Local {
    /// `Mon dd hh:mm:ss`; receivers on the host put their own clock's time instead.
    pub time: String,
    /// Process id.
    pub pid: u32,
}

/// RFC 5424: header, structured data, message.
pub(super) fn rfc5424(config: &config::SyslogSink, event: &CloudEvent, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "<{}>1 {} {} detector - {} ",
        priority(config, event),
        event.time,
        word(&event.data.host().name, 255),
        word(
            event.kind.strip_prefix("detector.").unwrap_or(&event.kind),
            32
        ),
    );
    // `sequenceId` of RFC 5424 has 31 bits and begins again at 1.
    let number = event.sequence.parse::<u64>().unwrap_or(0);
    let number = number.saturating_sub(1) % 0x7fff_ffff + 1;
    out += &format!("[meta sequenceId=\"{number}\"][detector@{ENTERPRISE}");
    let mut field = |name: &str, value: &str| {
        out += &format!(" {name}=\"{}\"", escaped(value));
    };
    field("id", &event.id);
    field("source", &event.source);
    field("type", &event.kind);
    if let Data::Incident(data) = &event.data {
        field("incident", &data.incident.id);
        field("severity", &data.incident.severity);
        if let Some(process) = &data.process {
            field(
                "executable",
                process.executable.as_deref().unwrap_or(&process.name),
            );
            field("pid", &process.pid.to_string());
        }
    }
    // The byte order mark says that UTF-8 follows.
    out += "] \u{feff}";
    let mut out = out.into_bytes();
    out.extend(message(config, event, body));
    out
}

/// What syslog(3) writes to the local socket, the only form that journald reads, too.
pub(super) fn local(
    config: &config::SyslogSink,
    event: &CloudEvent,
    body: &[u8],
    local: &Local,
) -> Vec<u8> {
    let priority = priority(config, event);
    let mut out = format!("<{priority}>{} detector[{}]: ", local.time, local.pid).into_bytes();
    out.extend(message(config, event, body));
    out
}

/// Octet counting of RFC 6587 and RFC 5425.
pub(super) fn counted(message: &[u8]) -> Vec<u8> {
    let mut out = format!("{} ", message.len()).into_bytes();
    out.extend_from_slice(message);
    out
}

fn message(config: &config::SyslogSink, event: &CloudEvent, body: &[u8]) -> Vec<u8> {
    match config.message {
        Message::Json => body.to_vec(),
        Message::Text => {
            let mut text = text(event);
            if text.len() > TEXT_BYTES {
                text.truncate(text.floor_char_boundary(TEXT_BYTES));
                text.push('…');
            }
            text.into_bytes()
        }
    }
}

fn text(event: &CloudEvent) -> String {
    let word = event.kind.strip_prefix("detector.").unwrap_or(&event.kind);
    match &event.data {
        Data::Incident(data) => {
            let incident = &data.incident;
            let mut out = format!("{word} [{}] {}", incident.severity, incident.title);
            if let Some(reason) = &data.event.reason {
                write!(out, ": {reason}").expect("writing to a string succeeds");
            }
            write!(out, " (incident {})", incident.id).expect("writing to a string succeeds");
            out
        }
        Data::Finding(data) => format!("{word} {}", data.finding.kind),
        Data::Heartbeat(_) => word.to_owned(),
        Data::Agent(data) => match &data.event.reason {
            Some(reason) => format!("{word}: {reason}"),
            None => word.to_owned(),
        },
    }
}

/// Facility and severity: 6 informational, 4 warning, 2 critical.
fn priority(config: &config::SyslogSink, event: &CloudEvent) -> u16 {
    let by_name = |name: &str| match name {
        "critical" => 2,
        "warning" => 4,
        _ => 6,
    };
    let severity = match &event.data {
        Data::Incident(data) => by_name(&data.incident.severity),
        Data::Finding(data) => by_name(&data.finding.severity),
        Data::Agent(_) if event.kind != "detector.agent.started" => 4,
        Data::Agent(_) | Data::Heartbeat(_) => 6,
    };
    u16::from(config.facility) * 8 + severity
}

/// A header field: printable ASCII without spaces; `-` is "nothing".
fn word(text: &str, max: usize) -> String {
    let printable = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let word: String = text.chars().take(max).map(printable).collect();
    if word.is_empty() {
        "-".to_owned()
    } else {
        word
    }
}

/// A value of structured data: `"`, `\` and `]` are escaped.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        if "\"\\]".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
