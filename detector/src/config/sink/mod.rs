//! `[sink.<name>]`: receivers, any number of each type.
//!
//! The name is the operator's: it stands in logs, and a receiver keeps its place in the queue under it. A name
//! that is itself a type needs no `type`. Keys come in groups ([`Common`] for all, [`Tls`] and [`Web`] where they
//! make sense, and the type's own); one that this type does not know is an error that lists those it does.
//!
//! It refuses secrets in the file, which ends in backups and tickets: every secret is the path of a file.

mod check;
mod kind;
mod parse;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::kind::{
    Alertmanager, Command, File, Http, Kind, Message, Mode, Nats, Otlp, Pagerduty, Syslog,
};
pub(super) use self::{
    check::problem,
    parse::{Fault, parse},
};
use crate::{deliver::Class, incident::Severity};

/// One receiver.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sink {
    /// What every type has.
    #[serde(flatten)]
    pub common: Common,
    /// Encryption of connections.
    #[serde(flatten)]
    pub tls: Tls,
    /// How HTTP is spoken.
    #[serde(flatten)]
    pub web: Web,
    /// What it is, with the keys of that type.
    #[serde(flatten)]
    pub kind: Kind,
}

impl Sink {
    /// A receiver of this kind with the default of everything else.
    pub fn new(kind: Kind) -> Sink {
        Sink {
            common: Common::default(),
            tls: Tls::default(),
            web: Web::default(),
            kind,
        }
    }

    /// The classes of events it gets: those asked for, or what its type is for.
    pub fn events(&self) -> &[Class] {
        match &self.common.events {
            Some(events) => events,
            None => self.kind.default_events(),
        }
    }
}

/// What every type of receiver has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// Incidents below this are not sent here.
    pub min_severity: Severity,
    /// Classes of events that are sent here; `None`: what the type is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Class>>,
    /// For one attempt, from connect to the answer, ms.
    pub timeout_ms: u64,
    /// Upper bound of the wait before the first retry, ms.
    pub retry_initial_ms: u64,
    /// Upper bound of the wait before any retry, ms.
    pub retry_max_ms: u64,
    /// Events a second, on average; as many may go at once after a quiet second.
    pub rate_per_s: u32,
}

impl Default for Common {
    fn default() -> Self {
        Common {
            min_severity: Severity::Info,
            events: None,
            timeout_ms: 5000,
            retry_initial_ms: 500,
            retry_max_ms: 60_000,
            rate_per_s: 100,
        }
    }
}

/// Encryption of connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the certificate authorities to trust instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate chain by which the receiver knows us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_file: Option<PathBuf>,
}

/// How HTTP is spoken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Proxy for `http` and, by CONNECT, `https`. None is taken from the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// File with a bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// User of HTTP's basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File with that user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// Names of the keys by group, to tell which belong where. A test holds them to the structs.
const COMMON: &[&str] = &[
    "min_severity",
    "events",
    "timeout_ms",
    "retry_initial_ms",
    "retry_max_ms",
    "rate_per_s",
];
const TLS: &[&str] = &["ca_file", "client_cert_file", "client_key_file"];
const WEB: &[&str] = &["proxy", "bearer_token_file", "username", "password_file"];

#[cfg(test)]
mod tests;
