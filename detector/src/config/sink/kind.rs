//! The types of receivers and the keys that only they have.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{TLS, WEB};
use crate::deliver::Class;

/// What a receiver is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Kind {
    /// CloudEvents over HTTP.
    Http(Http),
    /// Prometheus Alertmanager.
    Alertmanager(Alertmanager),
    /// PagerDuty's Events API v2.
    Pagerduty(Pagerduty),
    /// An OpenTelemetry collector.
    Otlp(Otlp),
    /// A syslog server, or the host's own.
    Syslog(Syslog),
    /// NATS JetStream.
    Nats(Nats),
    /// A program on this host.
    Command(Command),
    /// A file on this host.
    File(File),
}

/// CloudEvents over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where events are posted.
    pub url: String,
    /// One event a request, or several.
    #[serde(default)]
    pub mode: Mode,
}

/// How many events one request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One: `application/cloudevents+json`.
    #[default]
    Structured,
    /// An array of up to 100: `application/cloudevents-batch+json`.
    Batch,
}

/// Prometheus Alertmanager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// Base address of every member of the cluster, such as `http://am1.example:9093`.
    pub urls: Vec<String>,
    /// Labels that every alert of this host carries.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Seconds after which what still fires is sent again. Alertmanager forgets it after five times that.
    #[serde(default = "sixty")]
    pub resend_s: u64,
    /// Send the two alerts that a dead man's switch is made of.
    #[serde(default)]
    pub dead_mans_switch: bool,
    /// Seconds without a heartbeat after which the host counts as silent.
    #[serde(default = "sixty")]
    pub silent_after_s: u64,
}

fn sixty() -> u64 {
    60
}

/// PagerDuty's Events API v2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pagerduty {
    /// File with the integration key.
    pub routing_key_file: PathBuf,
    /// Where events are posted; the service region in the EU has another.
    #[serde(default = "Pagerduty::default_url")]
    pub url: String,
}

impl Pagerduty {
    pub(super) fn default_url() -> String {
        "https://events.pagerduty.com/v2/enqueue".to_owned()
    }
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// The whole address, such as `https://otel.example:4318/v1/logs`.
    pub url: String,
}

/// A syslog server, or the host's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Syslog {
    /// `tls://host:port`, `tcp://host:port` or `unix:///dev/log`.
    pub url: String,
    /// Facility, 0 to 23.
    #[serde(default = "Syslog::default_facility")]
    pub facility: u8,
    /// What the message says.
    #[serde(default)]
    pub message: Message,
}

impl Syslog {
    /// `authpriv`: what few may read.
    pub(super) fn default_facility() -> u8 {
        10
    }
}

/// What a syslog message says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// Title and reason.
    #[default]
    Text,
    /// The whole event.
    Json,
}

/// NATS JetStream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// Servers, such as `tls://nats1.example:4222`.
    pub urls: Vec<String>,
    /// An event goes to the subject `<this>.<host id>.<type>`.
    #[serde(default = "Nats::default_subject")]
    pub subject: String,
    /// File with a user's JWT and seed (`nsc generate creds`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// File with a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File with that user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

impl Nats {
    pub(super) fn default_subject() -> String {
        "detector.events".to_owned()
    }
}

/// A program on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Absolute path and arguments. No shell.
    pub program: Vec<String>,
}

/// A file on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Absolute path.
    pub path: PathBuf,
    /// Size from which the file is rotated, bytes.
    #[serde(default = "File::default_max_bytes")]
    pub max_bytes: u64,
    /// Rotated files that are kept.
    #[serde(default = "File::default_keep")]
    pub keep: u32,
}

impl File {
    pub(super) fn default_max_bytes() -> u64 {
        16 << 20
    }

    pub(super) fn default_keep() -> u32 {
        4
    }
}

/// One type as the parser sees it: its name, and the keys it has besides the common ones.
pub(super) struct Type {
    pub name: &'static str,
    pub own: &'static [&'static str],
    pub groups: &'static [&'static [&'static str]],
}

pub(super) const TYPES: [Type; 8] = [
    Type {
        name: "http",
        own: &["url", "mode"],
        groups: &[TLS, WEB],
    },
    Type {
        name: "alertmanager",
        own: &[
            "urls",
            "labels",
            "resend_s",
            "dead_mans_switch",
            "silent_after_s",
        ],
        groups: &[TLS, WEB],
    },
    Type {
        name: "pagerduty",
        own: &["routing_key_file", "url"],
        groups: &[TLS, WEB],
    },
    Type {
        name: "otlp",
        own: &["url"],
        groups: &[TLS, WEB],
    },
    Type {
        name: "syslog",
        own: &["url", "facility", "message"],
        groups: &[TLS],
    },
    Type {
        name: "nats",
        own: &[
            "urls",
            "subject",
            "credentials_file",
            "token_file",
            "username",
            "password_file",
        ],
        groups: &[TLS],
    },
    Type {
        name: "command",
        own: &["program"],
        groups: &[],
    },
    Type {
        name: "file",
        own: &["path", "max_bytes", "keep"],
        groups: &[],
    },
];

impl Kind {
    /// The word after `type =`.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Http(_) => "http",
            Kind::Alertmanager(_) => "alertmanager",
            Kind::Pagerduty(_) => "pagerduty",
            Kind::Otlp(_) => "otlp",
            Kind::Syslog(_) => "syslog",
            Kind::Nats(_) => "nats",
            Kind::Command(_) => "command",
            Kind::File(_) => "file",
        }
    }

    /// What a receiver of this type is for: a pager wakes for incidents, a stream or an archive gets everything.
    pub(super) fn default_events(&self) -> &'static [Class] {
        match self {
            Kind::Http(_) | Kind::Otlp(_) | Kind::Nats(_) | Kind::File(_) => &Class::ALL,
            Kind::Alertmanager(_) => &[Class::Incident, Class::Agent, Class::Heartbeat],
            Kind::Syslog(_) => &[Class::Incident, Class::Agent],
            Kind::Pagerduty(_) | Kind::Command(_) => &[Class::Incident],
        }
    }
}
