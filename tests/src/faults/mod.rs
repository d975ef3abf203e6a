//! Faults of the machine that the delivery guarantee is held against: produced = delivered + declared lost.
//!
//! Owns what plays them with the daemon's own state and workers: programs that are killed ([`kill`]), power that fails
//! ([`power`]: [`disk`] remembers every write, [`image`] is what is left of them), receivers that are away for a day ([`outage`]); the events
//! ([`Story`]) and the account of what came of them ([`Arrivals`]). The tests play a short version of each, `cargo xtask
//! bench faults` the whole.

mod arrivals;
pub mod disk;
pub mod image;
pub mod kill;
pub mod outage;
pub mod power;
mod story;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

pub use arrivals::Arrivals;
use detector::config::{self, Config};
pub use story::Story;

/// Name of the only receiver.
pub const SINK: &str = "receiver";
/// A moment in 2026, ns since 1970, from which simulated clocks go on.
pub const NOW: i64 = 1_790_000_000_000_000_000;
/// One second of a simulated clock, ns.
pub const SECOND: i64 = 1_000_000_000;
/// Longer than any step takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A folder whose files are never written to a disk, where there is one.
#[must_use]
pub fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    match shared.is_dir() {
        true => shared,
        false => std::env::temp_dir(),
    }
}

/// The receiver at `url` that takes events in `mode` (`structured` or `batch`), with short waits after a failure.
#[must_use]
pub fn receiver(url: &str, mode: &str, rate_per_s: u32) -> BTreeMap<String, config::Sink> {
    let text = format!(
        "[sink.{SINK}]\ntype = \"http\"\nurl = \"{url}\"\nmode = \"{mode}\"\nretry_initial_ms = 1\n\
         retry_max_ms = 50\nrate_per_s = {rate_per_s}\n"
    );
    let config = Config::parse(Path::new("faults.toml"), &text);
    config.expect("every key is known").sink
}

/// The part of a whole in percent, for progress.
pub(crate) fn progress(what: &str, done: u64, of: u64) {
    use std::io::IsTerminal as _;
    let step = (of / 100).max(1);
    if std::io::stderr().is_terminal() && (done.is_multiple_of(step) || done == of) {
        eprint!("\r{what}: {done} of {of}");
        if done == of {
            eprintln!();
        }
    }
}
