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
}

/// Reads them: one small file.
pub fn own() -> Vitals {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let pages: u64 = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0);
    Vitals {
        cpu: Duration::try_from(cpu).unwrap_or_default(),
        rss_bytes: pages * rustix::param::page_size() as u64,
    }
}

/// Open descriptors, and how many there may be. `None`: cannot be told.
pub fn descriptors() -> (Option<usize>, Option<u64>) {
    let open = fs::read_dir("/proc/self/fd").ok();
    // One of them is that of the folder.
    let open = open.map(|entries| entries.count().saturating_sub(1));
    (open, getrlimit(Resource::Nofile).current)
}
