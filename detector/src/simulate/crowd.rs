//! Many processes at once, each in a cgroup of its own: what the engine costs where there is most to do.

use detector_common::event;

use super::{BOOT_UNIX_S, FIRST_S, SECOND_NS};
use crate::input::Scan;

/// A host on which every process, or some of them, run a little in every second.
#[derive(Clone, Debug)]
pub struct Crowd {
    processes: u32,
    running: u32,
    second: u64,
}

impl Crowd {
    /// That many processes of one thread.
    pub fn new(processes: u32) -> Crowd {
        Crowd {
            processes,
            running: processes,
            second: FIRST_S,
        }
    }

    /// Of which only the first `running` run after the first pass.
    pub fn idle(processes: u32, running: u32) -> Crowd {
        Crowd {
            running,
            ..Crowd::new(processes)
        }
    }
}

impl Iterator for Crowd {
    type Item = Scan;

    fn next(&mut self) -> Option<Scan> {
        self.second += 1;
        let first = self.second == FIRST_S + 1;
        let there = if first { self.processes } else { self.running };
        let at_ns = self.second * SECOND_NS;
        Some(Scan {
            at_ns,
            unix_ns: i64::try_from(BOOT_UNIX_S * SECOND_NS + at_ns).expect("a few years"),
            cpus: 64,
            tasks: (0..there).map(|n| self.task(n, self.second)).collect(),
            ..Scan::default()
        })
    }
}

impl Crowd {
    pub(super) fn task(&self, n: u32, second: u64) -> event::Task {
        let process = event::Process {
            start_boottime_ns: SECOND_NS + u64::from(n),
            tgid: 1_000 + n,
            reserved: 0,
        };
        event::Task {
            process,
            parent: event::Process {
                start_boottime_ns: 0,
                tgid: 1,
                reserved: 0,
            },
            start_boottime_ns: process.start_boottime_ns,
            cpu_ns: second * u64::from(1 + n % 20) * 50_000,
            run_delay_ns: second * 100_000,
            voluntary_switches: second,
            involuntary_switches: 0,
            cgroup_id: 1 + u64::from(n),
            pid: process.tgid,
            flags: 0,
            uid: 1_000,
            policy: 0,
            static_prio: 120,
            reserved: 0,
            comm: *b"crowd\0\0\0\0\0\0\0\0\0\0\0",
        }
    }
}
