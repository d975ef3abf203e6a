//! What has to be known before the first input.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, ConfigError},
    detect,
    event::HostInfo,
};

/// Of whom, by whom, with which numbers. Fields are added with `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the program that recorded.
    pub detector_version: String,
    /// The host, its boot id included.
    pub host: HostInfo,
    /// The host's own addresses: they are not "outside".
    pub addresses: Vec<IpNet>,
    /// Where the engine took the random bits of identifiers from.
    pub seed: u64,
    /// When recording began, ns since 1970.
    pub started_unix_ns: i64,
    /// The same moment, ns since boot.
    pub started_boot_ns: u64,
    /// Tells configurations apart, as in heartbeats.
    pub config_digest: String,
    /// `[detect]` and `[network]` as they were, in TOML; receivers and their secrets' places stay out.
    pub config: String,
}

impl Header {
    /// The part of a configuration that a replay needs, as text.
    pub fn policy(config: &Config) -> String {
        let mut policy =
            toml::Table::try_from(config).expect("a configuration that was read can be written");
        policy.retain(|section, _| ["detect", "network"].contains(&section));
        toml::to_string(&policy).expect("a table of plain values")
    }

    /// The configuration that was in force when recording began.
    ///
    /// # Errors
    /// It has keys that this version does not know.
    pub fn recorded_config(&self) -> Result<Config, ConfigError> {
        Config::parse("(in the recording)".as_ref(), &self.config)
    }

    /// The engine's numbers under `config`, on the recorded host.
    pub fn engine_config(&self, config: &Config) -> detect::Config {
        config.for_engine(&self.addresses)
    }
}
