//! What the detector itself costs.

use std::{fs, time::Duration};

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Of this process, now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// CPU time of all its threads since it started.
    pub cpu: Duration,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// The part of it that is not a file's: what the program itself asked for, bytes.
    pub anonymous_bytes: u64,
}

/// Where the kernel tells how much memory this process has.
pub const STATM: &str = "/proc/self/statm";

/// Reads them: one small file.
pub fn own() -> Vitals {
    with(&fs::read_to_string(STATM).unwrap_or_default())
}

/// The same, with what [`STATM`] says.
pub fn with(statm: &str) -> Vitals {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    // proc_pid_statm: size, resident, of which shared with files.
    let mut pages = statm
        .split_whitespace()
        .skip(1)
        .map_while(|pages| pages.parse().ok());
    let (resident, shared): (u64, u64) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    let page_bytes = rustix::param::page_size() as u64;
    Vitals {
        cpu: Duration::try_from(cpu).unwrap_or_default(),
        rss_bytes: resident * page_bytes,
        anonymous_bytes: resident.saturating_sub(shared) * page_bytes,
    }
}

/// Open descriptors, and how many there may be. `None`: cannot be told.
pub fn descriptors() -> (Option<usize>, Option<u64>) {
    let open = fs::read_dir("/proc/self/fd").ok();
    // One of them is that of the folder.
    let open = open.map(|entries| entries.count().saturating_sub(1));
    (open, getrlimit(Resource::Nofile).current)
}
