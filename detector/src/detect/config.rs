//! Every number the engine judges by, with its unit and the reason for its default.
//!
//! Read from `[detect]` and `[network]` of the configuration file; unknown keys are errors. The
//! engine takes the values as they are: [`Config::check`] says what makes no sense.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::network;

/// `[detect]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// False alarms of the sequential tests a host may have in 30 days, all scopes together. 1: a
    /// thousandfold stricter one would cost a third more delay, so it is not the place to save.
    pub false_alarms_per_30_days: f64,
    /// Passes (one a second) over which what is told about a load is averaged. 10: as long as the
    /// shortest load that is told.
    pub window_s: u32,
    /// Share of all CPUs (0–1) above which one culprit saturates the host. 0.4: on two CPUs that is
    /// most of one, where other services begin to wait.
    pub host_share: f64,
    /// Seconds of quiet until a load counts as over; what lasted long takes a third of its length. 10: the
    /// time a respawn takes.
    pub clear_after_s: u32,
    /// Share of a group's CPU (0–1) above which one member is named instead of the group. 0.7.
    pub culprit_share: f64,
    /// Milliseconds a verdict waits for package ownership and hash. 2,000: a package lookup takes
    /// milliseconds; who answers later is late for a page, and is taken into account when it comes.
    pub facts_deadline_ms: u64,
    /// Seconds since its last change within which an executed file counts as fresh. 600: droppers
    /// execute within seconds, deployments by hand within minutes.
    pub fresh_s: u64,
    /// Share of one core (0–1) from which a process is worth naming exactly. 0.05: a host has a
    /// handful of those.
    pub enrich_core_share: f64,
    /// Processes kept, alive and recently dead. 32,768: the default `pid_max`; about 18 MB if full.
    pub max_processes: usize,
    /// Seconds an ended process is kept to explain its children. 60.
    pub dead_kept_s: u64,
    /// Executables whose owner and hash are remembered. 8,192: four times a busy server's.
    pub max_executables: usize,
    /// Seconds between two updates of one incident. 5. A rise in severity does not wait.
    pub update_interval_s: u64,
    /// Seconds after the last suspect process is gone until the incident is over. 10: a respawn
    /// within that time belongs to it.
    pub resolve_after_s: u64,
    /// Seconds without saturation until an incident of plain load is over. 30: load comes in waves.
    pub load_resolve_after_s: u64,
    /// `[network]`: what counts as inside. Filled in by whoever reads the file.
    #[serde(skip)]
    pub network: Network,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            false_alarms_per_30_days: 1.0,
            window_s: 10,
            host_share: 0.4,
            clear_after_s: 10,
            culprit_share: 0.7,
            facts_deadline_ms: 2_000,
            fresh_s: 600,
            enrich_core_share: 0.05,
            max_processes: 32_768,
            dead_kept_s: 60,
            max_executables: 8_192,
            update_interval_s: 5,
            resolve_after_s: 10,
            load_resolve_after_s: 30,
            network: Network::default(),
        }
    }
}

impl Config {
    /// What makes no sense, as `key: reason`.
    ///
    /// # Errors
    ///
    /// The first value that is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let shares = [
            ("host_share", self.host_share),
            ("culprit_share", self.culprit_share),
            ("enrich_core_share", self.enrich_core_share),
        ];
        for (key, value) in shares {
            if !(value > 0.0 && value <= 1.0) {
                return Err(format!("{key}: must be above 0 and at most 1, is {value}"));
            }
        }
        let alarms = self.false_alarms_per_30_days;
        if !(alarms > 0.0 && alarms <= 1_000.0) {
            return Err(format!(
                "false_alarms_per_30_days: must be above 0 and at most 1000, is {alarms}"
            ));
        }
        if !(1..=21).contains(&self.clear_after_s) {
            let is = self.clear_after_s;
            return Err(format!("clear_after_s: must be 1 to 21, is {is}"));
        }
        if !(2..=600).contains(&self.window_s) {
            return Err(format!("window_s: must be 2 to 600, is {}", self.window_s));
        }
        if !(64..=4_194_304).contains(&self.max_processes) {
            let is = self.max_processes;
            return Err(format!("max_processes: must be 64 to 4194304, is {is}"));
        }
        if !(64..=1_048_576).contains(&self.max_executables) {
            let is = self.max_executables;
            return Err(format!("max_executables: must be 64 to 1048576, is {is}"));
        }
        Ok(())
    }
}

/// `[network]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Destinations inside: loopback, link-local, RFC 1918, unique local. The daemon adds the
    /// host's own addresses.
    pub local_ranges: Vec<IpNet>,
    /// Destinations that count as outside although a local range holds them; wins. Empty.
    pub treat_as_remote: Vec<IpNet>,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            local_ranges: network::private_ranges(),
            treat_as_remote: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<Config>("window_seconds = 3").is_err());
    }

    #[test]
    fn missing_keys_take_the_defaults() {
        let config: Config = toml::from_str("host_share = 0.5").expect("valid");
        assert_eq!(
            config,
            Config {
                host_share: 0.5,
                ..Config::default()
            }
        );
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn a_share_above_one_is_refused() {
        let config = Config {
            host_share: 40.0,
            ..Config::default()
        };
        assert_eq!(
            config.check(),
            Err("host_share: must be above 0 and at most 1, is 40".to_owned())
        );
    }
}
