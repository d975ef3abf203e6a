//! The pass of one second: the task iterator, accept counts, host files, losses.
//!
//! Owns what must be remembered to turn running totals into "since the last pass".

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
};

use aya::programs::ProgramError;
use detector_common::{
    counter::Counter,
    event::{self, connection::ListenKey},
    throttle::KEPT_OUT,
};
use zerocopy::FromBytes as _;

use crate::{
    input::{Accepts, Host, Loss, Scan},
    kernel::Loaded,
    loss::Losses,
    reread::Reread,
    source::throttle::Throttles,
};

/// The kernel hands out at most 32 KiB a read.
const CHUNK: usize = 32 << 10;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The kernel refused to start the iterator.
    #[error("cannot start the task iterator: {0}")]
    Open(#[from] ProgramError),
    /// Reading it failed in the middle.
    #[error("cannot read the task iterator: {0}")]
    Read(io::Error),
    /// The last record is cut: the object is not of this version.
    #[error("the task iterator gave {0} bytes that are no record")]
    Cut(usize),
}

/// Makes passes.
#[derive(Debug)]
pub struct Scanner {
    buffer: Vec<u8>,
    losses: Losses,
    throttles: Throttles,
    accepts: HashMap<ListenKey, u64>,
    user_hz: u64,
    online: Reread,
    stat: Reread,
    pressure: Reread,
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner {
            buffer: Vec::new(),
            losses: Losses::default(),
            throttles: Throttles::default(),
            accepts: HashMap::new(),
            user_hz: rustix::param::clock_ticks_per_second(),
            online: Reread::open("/sys/devices/system/cpu/online"),
            stat: Reread::open("/proc/stat"),
            pressure: Reread::open("/proc/pressure/cpu"),
        }
    }
}

impl Scanner {
    /// Fills `scan` with what happened since the last call. `own` are losses counted by the daemon
    /// itself since then.
    ///
    /// # Errors
    /// The task iterator failed: `scan` is then incomplete and must not be used.
    pub fn pass(
        &mut self,
        loaded: &mut Loaded,
        clock: Clock,
        own: &[Loss],
        scan: &mut Scan,
    ) -> Result<(), ScanError> {
        scan.at_ns = clock.boot_ns;
        scan.unix_ns = clock.unix_ns;
        // Changes with hotplug, hence per pass.
        let online = self.online.read().unwrap_or_default();
        scan.cpus = count_ranges(online.trim()).unwrap_or(1);
        self.read_tasks(loaded, &mut scan.tasks)?;
        self.read_accepts(loaded, &mut scan.accepts);
        self.read_losses(loaded, &mut scan.losses);
        let kept_out = |loss: &Loss| KEPT_OUT.iter().any(|name| name.name() == loss.class);
        scan.throttled.clear();
        if scan.losses.iter().any(kept_out) {
            scan.throttled = self.throttles.since_last(loaded);
        }
        scan.losses.extend(own.iter().filter(|loss| loss.count > 0));
        scan.host = Host {
            steal_ns: steal_ns(self.stat.read().unwrap_or_default(), self.user_hz),
            pressure_ns: self.pressure.read().and_then(pressure_ns),
        };
        Ok(())
    }

    fn read_tasks(
        &mut self,
        loaded: &mut Loaded,
        tasks: &mut Vec<event::Task>,
    ) -> Result<(), ScanError> {
        let mut file: File = loaded.open_scan()?;
        let mut filled = 0;
        loop {
            if self.buffer.len() < filled + CHUNK {
                self.buffer.resize(filled + CHUNK, 0);
            }
            match file.read(&mut self.buffer[filled..]) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                // -EAGAIN, -EINTR: the same task comes again.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) => {}
                Err(error) => return Err(ScanError::Read(error)),
            }
        }
        let records = self.buffer[..filled].chunks_exact(size_of::<event::Task>());
        if !records.remainder().is_empty() {
            return Err(ScanError::Cut(records.remainder().len()));
        }
        tasks.clear();
        tasks.extend(records.map(|record| {
            event::Task::read_from_bytes(record).expect("the chunk has the record's size")
        }));
        Ok(())
    }

    fn read_accepts(&mut self, loaded: &Loaded, accepts: &mut Vec<Accepts>) {
        accepts.clear();
        for (key, total) in loaded.accepts().filter_map(Result::ok) {
            let last = self.accepts.insert(key, total).unwrap_or(0);
            if total > last {
                let count = total - last;
                accepts.push(Accepts { key, count });
            }
        }
    }

    fn read_losses(&mut self, loaded: &mut Loaded, losses: &mut Vec<Loss>) {
        losses.clear();
        let mut counters = Vec::with_capacity(Counter::ALL.len() + 1);
        for counter in Counter::ALL {
            match loaded.counter(*counter) {
                Ok(now) => counters.push((counter.name(), now)),
                // Itself a loss that nothing else would tell.
                Err(_) => losses.push(Loss {
                    class: "counter_unreadable",
                    count: 1,
                }),
            }
        }
        counters.extend(loaded.missed_runs().map(|now| ("probe_missed", now)));
        losses.extend(self.losses.since_last(&counters));
    }
}

/// The two clocks, read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// `CLOCK_BOOTTIME`, ns.
    pub boot_ns: u64,
    /// `CLOCK_REALTIME`, ns since 1970.
    pub unix_ns: i64,
}

impl Clock {
    /// Reads both.
    pub fn now() -> Self {
        use rustix::time::{ClockId, clock_gettime};
        let ns = |id| {
            let time = clock_gettime(id);
            time.tv_sec * 1_000_000_000 + time.tv_nsec
        };
        Clock {
            boot_ns: u64::try_from(ns(ClockId::Boottime)).expect("boot time is never negative"),
            unix_ns: ns(ClockId::Realtime),
        }
    }
}

/// CPUs in a list such as `0-3,8`.
fn count_ranges(list: &str) -> Option<u32> {
    list.split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
            Some(last.checked_sub(first)? + 1)
        })
        .sum()
}

/// Eighth number of `/proc/stat`'s first line, as ns.
fn steal_ns(stat: &str, user_hz: u64) -> Option<u64> {
    let ticks: u64 = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .nth(7)?
        .parse()
        .ok()?;
    Some(ticks * 1_000_000_000 / user_hz)
}

/// `total=` of the `some` line of a pressure file, as ns.
fn pressure_ns(text: &str) -> Option<u64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let us: u64 = some.split_once("total=")?.1.trim().parse().ok()?;
    Some(us * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_files_are_read_by_meaning() {
        assert_eq!(
            steal_ns("cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 …", 100),
            Some(2_500_000_000)
        );
        assert_eq!(
            pressure_ns("some avg10=0.10 avg60=1.78 avg300=0.81 total=3280696\nfull …"),
            Some(3_280_696_000)
        );
        assert_eq!(count_ranges("0-3,8,10-11"), Some(7));
        assert_eq!(
            (steal_ns("", 100), pressure_ns(""), count_ranges("")),
            (None, None, None)
        );
    }
}
