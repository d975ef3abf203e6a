//! The loop looks after itself: each pass whether it was stopped and whether the rings tell of what is there, every few
//! seconds whether its links are held and its files are what it runs.

use std::{os::unix::ffi::OsStrExt as _, path::PathBuf};

use rustix::time::{ClockId, clock_gettime};

use super::Runtime;
use crate::{
    config,
    enrich::{OwnFacts, OwnFiles, OwnProgram},
    event::text,
    input::{Integrity as Shipped, Owner, Sha256},
    integrity::{
        files::{GRACE_NS, Settled},
        gap::{Gap, Gaps, Moment},
        ring::Rings,
    },
    kernel::{Links, Loaded, Probe},
    reread::Reread,
    source::{decode::Record, scan::Clock},
};

/// Passes between two looks at links and files.
const LOOK: u64 = 10;
/// A run lasts this long before it ends to have a probe attached again, ns: whoever detaches it each time costs two starts
/// a minute, and not the machine.
const RUNS_AT_LEAST_NS: u64 = 30_000_000_000;

/// What is remembered of earlier looks.
#[derive(Debug)]
pub(super) struct Integrity {
    gaps: Gaps,
    schedstat: Reread,
    /// `None`: there is no fork probe to compare with.
    rings: Option<Rings>,
    links: Links,
    /// An essential probe that was detached.
    detached: Option<Probe>,
    config: Settled<Option<[u8; 32]>>,
    program: Settled<OwnProgram>,
    passes: u64,
}

impl Integrity {
    pub(super) fn new(loaded: &Loaded, now: Clock) -> Integrity {
        let has_forks = loaded.status.attached().any(|probe| probe == Probe::Fork);
        let mut program = Settled::default();
        program.look(OwnProgram::Same, now.boot_ns);
        Integrity {
            gaps: Gaps::default(),
            schedstat: Reread::open("/proc/self/schedstat"),
            rings: has_forks.then(|| Rings::since(now.boot_ns)),
            links: Links::held(loaded),
            detached: None,
            config: Settled::default(),
            program,
            passes: 0,
        }
    }

    pub(super) fn record(&mut self, record: &Record) {
        if let (Some(rings), Record::Fork(fork)) = (&mut self.rings, record) {
            rings.forked(fork.header.time_ns);
        }
    }

    pub(super) fn continued(&mut self) {
        self.gaps.continued();
    }

    /// The probe that only a new start can attach again, once this run has lasted long enough.
    pub(super) fn to_attach_again(&self, uptime_ns: u64) -> Option<Probe> {
        self.detached.filter(|_| uptime_ns >= RUNS_AT_LEAST_NS)
    }

    /// The configuration was read again: what lies there now is explained, in force or refused.
    pub(super) fn reloaded(&mut self) {
        self.config.explain_next();
    }
}

fn moment(schedstat: &mut Reread) -> Moment {
    let ns = |id| {
        let time = clock_gettime(id);
        u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
    };
    // proc_pid_schedstat: time on a CPU, time waiting for one, time slices.
    let text = schedstat.read();
    let waited = text.and_then(|text| text.split_whitespace().nth(1)?.parse().ok());
    Moment {
        monotonic_ns: ns(ClockId::Monotonic),
        cpu_ns: ns(ClockId::ThreadCPUTime),
        waited_ns: waited,
    }
}

fn seconds(ns: u64) -> String {
    format!("{:.1} s", ns as f64 / 1e9)
}

impl Runtime {
    /// After a pass.
    pub(super) fn look_after_itself(&mut self, now: Clock) {
        let period_ns = self.scan_interval.as_nanos() as u64;
        let moment = moment(&mut self.integrity.schedstat);
        match self.integrity.gaps.pass(moment, period_ns) {
            Some(Gap::Stopped(ns)) => {
                let reason = format!(
                    "stopped by a signal for {}: nothing was judged meanwhile",
                    seconds(ns)
                );
                self.tampered(&reason, now);
            }
            Some(Gap::Absent(ns)) => {
                let reason = format!(
                    "it did not run for {} and did not wait for a CPU either: its cgroup was frozen, a debugger or a disk \
                     held it, or the machine was paused",
                    seconds(ns)
                );
                self.report.degraded(&reason, None, now);
            }
            Some(Gap::Starved(ns)) => tracing::warn!(late = seconds(ns), "a pass was late: load"),
            None => {}
        }
        let lost = !self.scan.losses.is_empty() || self.left.processes;
        if let Some(rings) = &mut self.integrity.rings {
            let leaders = self
                .scan
                .tasks
                .iter()
                .filter(|task| task.pid == task.process.tgid);
            let starts = leaders.map(|task| task.process.start_boottime_ns);
            if let Some(age) = rings.pass(now.boot_ns, starts, lost) {
                let reason = format!(
                    "no record of a process that was started {} ago, and none was lost: its probes do not run, or something \
                     else empties its ring",
                    seconds(age)
                );
                self.tampered(&reason, now);
            }
        }
        self.integrity.passes += 1;
        if self.integrity.passes % LOOK != 1 {
            return;
        }
        for program in self.integrity.links.gone(&self.loaded) {
            let mut probes = Probe::ALL.into_iter();
            let essential = probes.find(|probe| probe.is_essential() && probe.name() == program);
            let what_now = match essential {
                Some(_) => "the detector ends, to be started again with it",
                None => "restart the detector",
            };
            self.integrity.detached = essential.or(self.integrity.detached);
            let reason = format!("the probe `{program}` was detached from outside: {what_now}");
            self.tampered(&reason, now);
        }
        self.enricher.own_files(self.config_path.clone());
    }

    /// How its files look.
    pub(super) fn own_files(&mut self, files: &OwnFiles, now: Clock) {
        let integrity = &mut self.integrity;
        if integrity.config.look(files.config, now.boot_ns) {
            integrity.config.explain();
            let how = match files.config {
                Some(_) => "was changed",
                None => "was removed",
            };
            let reason = format!(
                "the configuration {} {how} and not reloaded within {}: the old one is in force",
                text::plain(self.config_path.as_os_str().as_bytes()),
                seconds(GRACE_NS)
            );
            self.tampered(&reason, now);
        }
        if self.integrity.program.look(files.program, now.boot_ns) {
            match files.program {
                // Answered by `own_facts`, which may have to ask again.
                OwnProgram::Other(_) => self.enricher.own_facts(),
                OwnProgram::Same => self.integrity.program.explain(),
                OwnProgram::Missing => {
                    self.integrity.program.explain();
                    self.tampered("the program it was started from was removed", now);
                }
            }
        }
    }

    /// What lies where its program was.
    pub(super) fn own_facts(&mut self, facts: &OwnFacts, now: Clock) {
        let Some(there) = &facts.there else {
            return; // Replaced again: the next look says by what.
        };
        let is_same = matches!(
            (facts.running.sha256, there.sha256),
            (Sha256::Digest(running), Sha256::Digest(there)) if running == there
        );
        if !is_same {
            match (&there.owner, there.integrity) {
                // A package manager is at work: asked again by the next look.
                (_, Some(Shipped::Unknown(_))) => return,
                (Owner::Package(package), Some(Shipped::Intact)) => {
                    let reason = format!(
                        "package {} brought another version of the program: it runs from the next start on",
                        text::line(package)
                    );
                    self.report.degraded(&reason, None, now);
                }
                (owner, _) => {
                    let whose = match owner {
                        Owner::Package(_) => "it is not what its package shipped",
                        Owner::Unowned => "no package owns it",
                        Owner::Unknown(_) => "whose it is cannot be told",
                    };
                    let reason = format!("the program it was started from was replaced: {whose}");
                    self.tampered(&reason, now);
                }
            }
        }
        self.integrity.program.explain();
    }

    fn tampered(&mut self, reason: &str, now: Clock) {
        self.tally.tampered += 1;
        self.report.tampered(reason, now);
    }
}

/// Where the configuration is looked for.
pub(super) fn config_path(explicit: Option<&PathBuf>) -> PathBuf {
    explicit.map_or_else(|| config::DEFAULT_PATH.into(), PathBuf::clone)
}
