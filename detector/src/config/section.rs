//! The sections of the configuration that no policy module owns, their defaults and their checks.
//!
//! A default is written twice, here and in `default.toml`; a test proves that both agree.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::event::Redactor;

/// Key and reason of a value that cannot work.
pub(super) type Problem = Option<(String, String)>;

pub(super) fn problem(key: &str, reason: impl Into<String>) -> Problem {
    Some((key.to_owned(), reason.into()))
}

/// `[enrich]`: bounds on what is read from disk about processes and files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Enrich {
    /// Files larger than this are not hashed, bytes.
    pub hash_max_bytes: u64,
    /// Reading rate of hashing over time, bytes per second.
    pub hash_bytes_per_second: u64,
    /// What may be hashed at once after a quiet time, bytes.
    pub hash_burst_bytes: u64,
    /// Requests that may wait.
    pub queue: usize,
}

impl Default for Enrich {
    fn default() -> Self {
        Enrich {
            hash_max_bytes: 64 << 20,
            hash_bytes_per_second: 32 << 20,
            hash_burst_bytes: 128 << 20,
            queue: 1024,
        }
    }
}

impl Enrich {
    pub(super) fn problem(&self) -> Problem {
        if self.hash_burst_bytes < self.hash_max_bytes {
            return problem(
                "enrich.hash_burst_bytes",
                format!(
                    "must be at least hash_max_bytes ({}), or the largest files are never hashed",
                    self.hash_max_bytes
                ),
            );
        }
        between("enrich.queue", self.queue as u64, 1, 1 << 16)
    }
}

/// `[heartbeat]`: who is told that the detector lives, besides the receivers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heartbeat {
    /// Address that is asked for by GET; empty: none.
    pub ping_url: String,
    /// How often, s.
    pub ping_interval_s: u64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat {
            ping_url: String::new(),
            ping_interval_s: 60,
        }
    }
}

impl Heartbeat {
    pub(super) fn problem(&self) -> Problem {
        if !self.ping_url.is_empty() {
            match reqwest::Url::parse(&self.ping_url) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => {}
                Ok(_) => {
                    return problem("heartbeat.ping_url", "must begin with http:// or https://");
                }
                Err(error) => return problem("heartbeat.ping_url", format!("not a URL: {error}")),
            }
        }
        between(
            "heartbeat.ping_interval_s",
            self.ping_interval_s,
            10,
            86_400,
        )
    }
}

/// `[privacy]`: what does not leave the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// Expressions of what is taken out of command lines besides what is known.
    pub redact: Vec<String>,
}

impl Privacy {
    pub(super) fn problem(&self) -> Problem {
        let error = Redactor::new(&self.redact).err()?;
        problem("privacy.redact", error)
    }

    /// What takes secrets out of command lines.
    pub fn redactor(&self) -> Redactor {
        Redactor::new(&self.redact).expect("the configuration is checked")
    }
}

/// `[kernel]`: ring sizes and intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kernel {
    /// Ring of exec, fork and exit records, bytes.
    pub process_ring_bytes: u32,
    /// Ring of connection records, bytes.
    pub network_ring_bytes: u32,
    /// How often the rings are emptied, ms.
    pub drain_interval_ms: u64,
    /// How often tasks are scanned, ms.
    pub scan_interval_ms: u64,
}

impl Default for Kernel {
    fn default() -> Self {
        Kernel {
            process_ring_bytes: 2 << 20,
            network_ring_bytes: 1 << 20,
            drain_interval_ms: 50,
            scan_interval_ms: 1000,
        }
    }
}

impl Kernel {
    pub(super) fn problem(&self) -> Problem {
        let page = rustix::param::page_size() as u32;
        for (key, bytes) in [
            ("kernel.process_ring_bytes", self.process_ring_bytes),
            ("kernel.network_ring_bytes", self.network_ring_bytes),
        ] {
            // `ringbuf_map_alloc` refuses anything else with EINVAL, long after start.
            if !bytes.is_power_of_two() || bytes < page {
                return problem(
                    key,
                    format!("{bytes} is not a power of two of at least one page ({page} bytes)"),
                );
            }
            if bytes > 256 << 20 {
                return problem(
                    key,
                    format!("{bytes} is more than 256 MiB of locked memory"),
                );
            }
        }
        between("kernel.drain_interval_ms", self.drain_interval_ms, 1, 1000).or_else(|| {
            between(
                "kernel.scan_interval_ms",
                self.scan_interval_ms,
                100,
                60_000,
            )
        })
    }
}

/// `[state]`: the memory of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// The file; `None`: `state.db` in systemd's state folder, else in `/var/lib/detector`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// A program that ran this long without an incident is known, days.
    pub trust_after_days: u32,
    /// Incidents, programs and destinations not seen for this long are forgotten, days.
    pub keep_days: u32,
    /// Events that wait for receivers, bytes of their bodies.
    pub outbox_max_bytes: u64,
    /// An event older than this is given up, days.
    pub outbox_max_age_days: u32,
}

impl Default for State {
    fn default() -> Self {
        State {
            path: None,
            trust_after_days: 7,
            keep_days: 400,
            outbox_max_bytes: 64 << 20,
            outbox_max_age_days: 7,
        }
    }
}

impl State {
    pub(super) fn problem(&self) -> Problem {
        if self.path.as_ref().is_some_and(|path| !path.is_absolute()) {
            return problem(
                "state.path",
                "must be absolute: the daemon's folder is not the operator's",
            );
        }
        let days = |key, value: u32| between(key, value.into(), 1, 3_650);
        days("state.trust_after_days", self.trust_after_days)
            .or_else(|| days("state.keep_days", self.keep_days))
            .or_else(|| days("state.outbox_max_age_days", self.outbox_max_age_days))
            .or_else(|| {
                between(
                    "state.outbox_max_bytes",
                    self.outbox_max_bytes,
                    1 << 20,
                    16 << 30,
                )
            })
    }
}

pub(super) fn between(key: &str, value: u64, low: u64, high: u64) -> Problem {
    if (low..=high).contains(&value) {
        return None;
    }
    problem(key, format!("{value} is not between {low} and {high}"))
}
