//! The configuration file: what an operator may decide, and every default.
//!
//! Owns [`Config`], its sections and the way from a file to a checked value. A key that is not known,
//! a wrong type and a value that cannot work are errors that name file, line, column and key: a
//! typing error must never silently mean "default". A privileged process refuses a file that anybody but
//! its owner could have written, since it decides who is told about an intrusion (`guard`).
//!
//! It refuses to read anything the file points at (tokens, certificates): the owner of the key does.

mod error;
pub(crate) mod guard;
mod locate;
mod metrics;
mod section;
mod sink;

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

pub use error::{ConfigError, Place};
pub use guard::Writable;
use ipnet::IpNet;
pub use metrics::Metrics;
pub(crate) use metrics::runtime_folder;
pub use section::{Enrich, Heartbeat, Kernel, Privacy, State};
use serde::{Deserialize, Serialize};
pub use sink::{
    Alertmanager as AlertmanagerSink, Command as CommandSink, Common, File as FileSink,
    Http as HttpSink, Kind as SinkKind, Message, Mode, Nats as NatsSink, Otlp as OtlpSink,
    Pagerduty as PagerdutySink, Sink, Syslog as SyslogSink, Tls, Web,
};
use toml::de::{DeTable, Deserializer};

use self::sink::Fault;
use crate::{budget, detect};

/// Where the configuration is looked for when no path is given.
pub const DEFAULT_PATH: &str = "/etc/detector/detector.toml";

/// Every key with its default and the reason for it, as `detector config default` prints it.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// A configuration is a page of text; what is longer is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// What an operator may decide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Thresholds of the engine.
    pub detect: detect::Config,
    /// What counts as the outside world.
    pub network: detect::Network,
    /// Bounds on what is read from disk about processes and files.
    pub enrich: Enrich,
    /// Ring sizes and intervals.
    pub kernel: Kernel,
    /// The memory of the host.
    pub state: State,
    /// Who is told that the detector lives, besides the receivers.
    pub heartbeat: Heartbeat,
    /// What the detector itself may cost.
    pub budget: budget::Config,
    /// Where Prometheus may ask how the detector is.
    pub metrics: Metrics,
    /// What does not leave the host.
    pub privacy: Privacy,
    /// Where events are sent, by the operator's name for it. Read apart: the type decides which keys there are.
    #[serde(skip_deserializing)]
    pub sink: BTreeMap<String, Sink>,
}

impl Config {
    /// Reads and checks `path`; a file that is not there is an error.
    ///
    /// # Errors
    /// [`ConfigError`], which says where and what.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        match read(path, guard::is_privileged())? {
            Some(text) => Config::parse(path, &text),
            None => Err(ConfigError::Missing { path: path.into() }),
        }
    }

    /// The file the operator named, which must be there, or the one at [`DEFAULT_PATH`], which may
    /// be missing: then every default holds.
    ///
    /// # Errors
    /// [`ConfigError`], which says where and what.
    pub fn load_or_default(explicit: Option<&Path>) -> Result<Config, ConfigError> {
        match explicit {
            Some(path) => Config::load(path),
            None => Config::load_optional(Path::new(DEFAULT_PATH)),
        }
    }

    fn load_optional(path: &Path) -> Result<Config, ConfigError> {
        match read(path, guard::is_privileged())? {
            Some(text) => Config::parse(path, &text),
            None => Ok(Config::default()),
        }
    }

    /// Checks `text`; `path` is for messages only.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] or [`ConfigError::Invalid`].
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        let fault = |fault: Fault| syntax(path.into(), text, fault);
        let mut root = DeTable::parse(text).map_err(|error| fault(error.into()))?;
        let sinks = root.get_mut().remove("sink");
        let mut config =
            Config::deserialize(Deserializer::from(root)).map_err(|error| fault(error.into()))?;
        if let Some(sinks) = sinks {
            config.sink = sink::parse(sinks).map_err(fault)?;
        }
        match config.problem() {
            None => Ok(config),
            Some((key, reason)) => Err(ConfigError::Invalid {
                place: Box::new(Place::new(path.into(), text, locate::span_of(text, &key))),
                key,
                reason,
            }),
        }
    }

    /// The engine's numbers: its own section and the ranges, with the host's own addresses inside.
    pub fn for_engine(&self, host_addresses: &[IpNet]) -> detect::Config {
        let mut network = self.network.clone();
        network.local_ranges.extend(host_addresses);
        detect::Config {
            network,
            ..self.detect.clone()
        }
    }

    /// The first value that cannot work: its key and why.
    fn problem(&self) -> Option<(String, String)> {
        self.detect
            .check()
            .err()
            .and_then(|problem| {
                let (key, reason) = problem.split_once(": ")?;
                Some((format!("detect.{key}"), reason.to_owned()))
            })
            .or_else(|| self.enrich.problem())
            .or_else(|| self.kernel.problem())
            .or_else(|| self.state.problem())
            .or_else(|| self.heartbeat.problem())
            .or_else(|| {
                let (key, reason) = self.budget.check().err()?;
                Some((format!("budget.{key}"), reason))
            })
            .or_else(|| self.metrics.problem())
            .or_else(|| self.privacy.problem())
            .or_else(|| {
                self.sink
                    .iter()
                    .find_map(|(name, sink)| sink::problem(name, sink))
            })
    }
}

fn syntax(path: PathBuf, text: &str, fault: Fault) -> ConfigError {
    let key = fault
        .span
        .as_ref()
        .and_then(|span| locate::key_at(text, span.start));
    ConfigError::Syntax {
        key,
        place: Box::new(Place::new(path, text, fault.span)),
        reason: fault.reason,
    }
}

/// The text of the file; `None` when there is none.
fn read(path: &Path, privileged: bool) -> Result<Option<String>, ConfigError> {
    let io = |source| ConfigError::Read {
        path: path.into(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if privileged && let Some(by) = guard::writable(path, &file).map_err(io)? {
        return Err(ConfigError::Writable {
            path: path.into(),
            by,
        });
    }
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    if read.map_err(io)? as u64 > MAX_BYTES {
        return Err(ConfigError::TooLong {
            path: path.into(),
            max_bytes: MAX_BYTES,
        });
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests;
