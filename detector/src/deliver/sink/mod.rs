//! The receivers: one file per type, one trait.
//!
//! A sink turns events into what its receiver understands, makes one attempt, and says what came of it. It keeps no
//! queue, repeats nothing by itself and decides no wait: that is the worker's ([`super::worker`]).

mod alertmanager;
mod command;
mod file;
mod http;
mod nats;
mod otlp;
mod pagerduty;
mod secret;
pub mod stdout;
mod syslog;
pub(super) mod tls;
pub(super) mod web;

use std::{path::PathBuf, time::Duration};

use tokio::time::Instant;

pub use self::stdout::Stdout;
use super::{Event, feed::Pending};
use crate::config::{self, SinkKind};

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The receiver has all of it; what it said, in words.
    Delivered(String),
    /// Nothing is settled.
    Retry {
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
        /// Why, in words.
        reason: String,
    },
    /// The receiver will never take this; why. Of several events only one may be to blame.
    Refused(String),
    /// The receiver took some, does not say which, and must not get any of them again; why.
    PartlyRefused(String),
}

impl Reply {
    /// A failure that the receiver said nothing about.
    pub(super) fn retry(reason: impl Into<String>) -> Reply {
        Reply::Retry {
            after: None,
            reason: reason.into(),
        }
    }
}

/// How much one attempt may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Events.
    pub events: usize,
    /// Bytes of their bodies; a single event may be larger.
    pub bytes: usize,
}

impl Capacity {
    /// One event at a time.
    pub const ONE: Capacity = Capacity {
        events: 1,
        bytes: usize::MAX,
    };
    /// A hundred events or 1 MiB: what collectors and proxies take with their defaults.
    pub const BATCH: Capacity = Capacity {
        events: 100,
        bytes: 1 << 20,
    };
}

/// One receiver. Its worker owns it and makes one call at a time, with events in order.
pub trait Sink: Send {
    /// How much one attempt may carry.
    fn capacity(&self) -> Capacity {
        Capacity::ONE
    }

    /// One attempt. May be dropped at the time limit: the attempt then counts as unanswered.
    fn send<'a>(&'a mut self, events: &'a [Event]) -> Pending<'a, Reply>;

    /// When [`Sink::tick`] is due, if ever.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// What has to be done without an event.
    fn tick(&mut self) -> Pending<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A sink that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A secret cannot be used.
    #[error(transparent)]
    Secret(#[from] secret::SecretError),
    /// A certificate or key cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The address cannot be used.
    #[error("cannot use the address {address}: {reason}")]
    Address {
        /// As configured.
        address: String,
        /// Why.
        reason: String,
    },
    /// The program cannot be used.
    #[error("cannot run {}: {reason}", path.display())]
    Program {
        /// As configured.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The HTTP client refuses to start.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Makes the sink that is configured, and reads its secrets.
///
/// # Errors
/// [`SinkError`]: it could never deliver.
pub fn build(config: &config::Sink) -> Result<Box<dyn Sink>, SinkError> {
    Ok(match &config.kind {
        SinkKind::Http(kind) => Box::new(http::Http::new(kind, config)?),
        SinkKind::Alertmanager(kind) => Box::new(alertmanager::Alertmanager::new(kind, config)?),
        SinkKind::Pagerduty(kind) => Box::new(pagerduty::Pagerduty::new(kind, config)?),
        SinkKind::Otlp(kind) => Box::new(otlp::Otlp::new(kind, config)?),
        SinkKind::Syslog(kind) => Box::new(syslog::Syslog::new(kind, config)?),
        SinkKind::Nats(kind) => Box::new(nats::Nats::new(kind, config)?),
        SinkKind::Command(kind) => Box::new(command::Command::new(kind, config)?),
        SinkKind::File(kind) => Box::new(file::File::new(kind)),
    })
}

/// An error with its causes: many texts stop at "error sending request".
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        out += &format!(": {error}");
        cause = error.source();
    }
    out
}
