//! What the loop counts as it goes: plain integers, written out when somebody asks.
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use super::Page;
use crate::{incident::Severity, output::Change, source::decode::Record};

/// Counters of the loop. All only grow, but the last durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records of the rings.
    pub records: Records,
    /// Incidents told, by change and severity.
    incidents: [[u64; 3]; 3],
    /// Times it was told that somebody keeps it from seeing.
    pub tampered: u64,
    /// Passes made.
    pub passes: u64,
    /// Taking records out of the rings, the engine's work on each included.
    pub drain: Spent,
    /// Reading the tasks, the counters and the host's files in a pass.
    pub scan: Spent,
    /// The engine's work on a pass.
    pub judge: Spent,
}

/// Records of the rings, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    exec: u64,
    fork: u64,
    exit: u64,
    thread_end: u64,
    connection: u64,
    payload: u64,
}

/// Time spent on one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    total: Duration,
    last: Duration,
}

impl Spent {
    /// It took this long.
    pub fn add(&mut self, took: Duration) {
        self.total += took;
        self.last = took;
    }
}

impl Records {
    /// One more.
    pub fn count(&mut self, record: &Record) {
        *match record {
            Record::Exec(_) => &mut self.exec,
            Record::Fork(_) => &mut self.fork,
            Record::Exit(_) => &mut self.exit,
            Record::ThreadEnd(_) => &mut self.thread_end,
            Record::Connection(_) => &mut self.connection,
            Record::Payload(_) => &mut self.payload,
        } += 1;
    }
}

const CHANGES: [(Change, &str); 3] = [
    (Change::Opened, "opened"),
    (Change::Updated, "updated"),
    (Change::Resolved, "resolved"),
];

impl Tally {
    /// An incident was told.
    pub fn incident(&mut self, change: Change, severity: Severity) {
        self.incidents[change as usize][severity as usize] += 1;
    }

    /// Writes everything.
    pub fn tell(&self, page: &mut Page) {
        let Tally {
            records,
            incidents,
            tampered,
            passes,
            drain,
            scan,
            judge,
        } = self;
        page.counter("detector_events", "Records taken from the kernel.")
            .with([("class", "exec")], records.exec)
            .with([("class", "fork")], records.fork)
            .with([("class", "exit")], records.exit)
            .with([("class", "thread_end")], records.thread_end)
            .with([("class", "connection")], records.connection)
            .with([("class", "payload")], records.payload);
        page.counter("detector_passes", "Passes over all tasks.")
            .is(*passes);
        page.counter(
            "detector_tampered",
            "Times somebody was found to keep it from seeing.",
        )
        .is(*tampered);
        let steps = [("drain", drain), ("scan", scan), ("judge", judge)];
        let total = page.counter(
            "detector_step_seconds",
            "Time of the loop: draining the rings (the engine's work on each record included), scanning tasks, judging a pass.",
        );
        for (step, spent) in steps {
            total.with([("step", step)], spent.total.as_secs_f64());
        }
        let last = page.gauge(
            "detector_step_last_seconds",
            "The same, of the last time it was done.",
        );
        for (step, spent) in steps {
            last.with([("step", step)], spent.last.as_secs_f64());
        }
        let told = page.counter("detector_incidents", "Incidents told.");
        for (change, name) in CHANGES {
            for severity in Severity::ALL {
                let count = incidents[change as usize][severity as usize];
                told.with([("change", name), ("severity", severity.name())], count);
            }
        }
    }
}
