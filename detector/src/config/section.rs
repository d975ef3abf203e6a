//! The sections of the configuration that no policy module owns, their defaults and their checks.
//!
//! A default is written twice, here and in `default.toml`; a test proves that both agree.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Key and reason of a value that cannot work.
type Problem = Option<(String, String)>;

fn problem(key: &str, reason: impl Into<String>) -> Problem {
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
            process_ring_bytes: 4 << 20,
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

/// `[sink]`: where incidents are sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sink {
    /// `[sink.http]`; `None`: no HTTP receiver.
    pub http: Option<Http>,
}

impl Sink {
    pub(super) fn problem(&self) -> Problem {
        self.http.as_ref().and_then(Http::problem)
    }
}

/// `[sink.http]`: a receiver of CloudEvents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where events are posted.
    pub url: String,
    /// For one attempt, from connect to the answer, ms.
    #[serde(default = "Http::default_timeout_ms")]
    pub timeout_ms: u64,
    /// Events that may wait.
    #[serde(default = "Http::default_queue")]
    pub queue: usize,
    /// Upper bound of the wait before the first retry, ms.
    #[serde(default = "Http::default_retry_initial_ms")]
    pub retry_initial_ms: u64,
    /// Upper bound of the wait before any retry, ms.
    #[serde(default = "Http::default_retry_max_ms")]
    pub retry_max_ms: u64,
    /// File with the bearer token, readable by its owner and group only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// PEM file of the certificate authorities to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Http {
    /// Defaults for everything but the receiver.
    pub fn new(url: impl Into<String>) -> Http {
        Http {
            url: url.into(),
            timeout_ms: Http::default_timeout_ms(),
            queue: Http::default_queue(),
            retry_initial_ms: Http::default_retry_initial_ms(),
            retry_max_ms: Http::default_retry_max_ms(),
            bearer_token_file: None,
            ca_file: None,
        }
    }

    fn default_timeout_ms() -> u64 {
        5000
    }

    fn default_queue() -> usize {
        1024
    }

    fn default_retry_initial_ms() -> u64 {
        500
    }

    fn default_retry_max_ms() -> u64 {
        60_000
    }

    fn problem(&self) -> Problem {
        let key = "sink.http.url";
        match reqwest::Url::parse(&self.url) {
            Err(error) => return problem(key, format!("not a URL: {error}")),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                return problem(key, "must begin with http:// or https://");
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                return problem(
                    key,
                    "holds credentials, which would end in logs: use bearer_token_file",
                );
            }
            Ok(_) => {}
        }
        if self.retry_max_ms < self.retry_initial_ms {
            return problem(
                "sink.http.retry_max_ms",
                format!("is less than retry_initial_ms ({})", self.retry_initial_ms),
            );
        }
        between("sink.http.timeout_ms", self.timeout_ms, 1, 300_000)
            .or_else(|| between("sink.http.queue", self.queue as u64, 1, 1 << 20))
            .or_else(|| {
                between(
                    "sink.http.retry_initial_ms",
                    self.retry_initial_ms,
                    1,
                    3_600_000,
                )
            })
            .or_else(|| between("sink.http.retry_max_ms", self.retry_max_ms, 1, 3_600_000))
    }
}

fn between(key: &str, value: u64, low: u64, high: u64) -> Problem {
    if (low..=high).contains(&value) {
        return None;
    }
    problem(key, format!("{value} is not between {low} and {high}"))
}
