//! `impact.process_storm`: a lineage group makes processes faster than anybody needs them.
//!
//! Charged to the group, because the children are gone before anybody looks. A second counts when the group makes
//! [`FORKS_PER_S`] processes or executes as many programs; the sequential test needs fifteen of them for a program
//! without history. Fork bombs, scanners written in shell, and miners that respawn to dodge accounting do it.
//!
//! Warning, unless somebody who logged in does it with programs of a package (`configure`, `make`), or a package
//! manager is at work: info. Evidence: `forks_per_s`, `execs_per_s`, `cores`.
//!
//! False positives: CGI and test suites run by a service account.

use std::collections::BTreeMap;

use crate::{
    detect::{
        blame, lineage,
        process::Process,
        sequential::{Bank, Change, bank::Trial, model::STORM, test::Look},
        size::Size,
        usage::Usage,
        world::World,
    },
    incident::{Severity, StormEvidence},
    input::ProcessKey,
};

/// Processes a second from which a second counts. Three hundred jobs started at once are one second; a busy CGI
/// server makes twenty.
const FORKS_PER_S: u64 = 50;
/// Seconds over which the rates are averaged.
const MEAN_S: f64 = 10.0;
/// Groups counted in one pass. More cannot each make that many.
const MAX_GROUPS: usize = 4_096;
/// Most tests. One that goes on is tested when there is room.
const MAX_STORMS: usize = 1_024;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    forks: u64,
    execs: u64,
}

#[derive(Debug, Default)]
struct Storm {
    trial: Trial,
    forks_per_s: f64,
    execs_per_s: f64,
    told: bool,
}

/// What the rule says after a pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// A storm began or goes on.
    Storms {
        /// Root of the group.
        group: ProcessKey,
        /// How loud.
        severity: Severity,
        /// The numbers.
        evidence: StormEvidence,
        /// It was not told before.
        new: bool,
    },
    /// It is over.
    Over {
        /// Root of the group.
        group: ProcessKey,
    },
}

/// The rule's memory: a test for each group that stormed within a minute.
#[derive(Debug, Default)]
pub struct ProcessStorm {
    counts: crate::detect::hash::Map<ProcessKey, Count>,
    storms: BTreeMap<ProcessKey, Storm>,
}

impl ProcessStorm {
    /// How full it is.
    pub fn sizes(&self) -> [Size; 2] {
        let ProcessStorm { counts, storms } = self;
        [
            Size::of("groups that fork", counts.len(), MAX_GROUPS),
            Size::of("tests of storms", storms.len(), MAX_STORMS),
        ]
    }

    /// How many tests are going on.
    pub fn tests(&self) -> usize {
        self.storms.len()
    }

    /// The group made a process.
    pub fn forked(&mut self, group: ProcessKey) {
        if let Some(count) = self.count(group) {
            count.forks += 1;
        }
    }

    /// The group executed a program.
    pub fn executed(&mut self, group: ProcessKey) {
        if let Some(count) = self.count(group) {
            count.execs += 1;
        }
    }

    fn count(&mut self, group: ProcessKey) -> Option<&mut Count> {
        if self.counts.len() < MAX_GROUPS {
            return Some(self.counts.entry(group).or_default());
        }
        self.counts.get_mut(&group)
    }

    /// Judges a pass.
    pub fn pass(
        &mut self,
        usage: &Usage,
        world: &World,
        bank: &mut Bank,
        look: Look,
    ) -> Vec<Signal> {
        let seconds = usage.pass.elapsed_ns.max(1).div_ceil(1_000_000_000);
        let stormy = |count: &Count| count.forks.max(count.execs) >= FORKS_PER_S * seconds;
        let mut counts = std::mem::take(&mut self.counts);
        for (group, _) in counts.iter().filter(|(_, count)| stormy(count)) {
            if self.storms.len() < MAX_STORMS {
                self.storms.entry(*group).or_default();
            }
        }
        let mut signals = Vec::new();
        for (group, storm) in &mut self.storms {
            let count = counts.get(group).copied().unwrap_or_default();
            storm.average(count, usage.pass.elapsed_ns);
            let root = world.table.get(*group);
            let identity = root.map(|root| blame::identity(&STORM, root, world));
            let busy = identity.filter(|_| stormy(&count));
            let severity = severity(*group, usage, world);
            if let Change::Closed { busy_s } = storm.trial.look(bank, &STORM, busy, look) {
                let innocent = severity < Severity::Warning || !is_accused(*group, world);
                storm.trial.settle(bank, busy_s, innocent);
                storm.told = false;
                signals.push(Signal::Over { group: *group });
            }
            if storm.trial.test.is_open() {
                let window = usage.groups.get(*group).map(|window| window.mean());
                signals.push(Signal::Storms {
                    group: *group,
                    severity,
                    evidence: StormEvidence {
                        forks_per_s: storm.forks_per_s,
                        execs_per_s: storm.execs_per_s,
                        cores: window.map_or(0.0, |mean| mean.cores()),
                        since_ns: storm.trial.test.since_ns(),
                    },
                    new: !std::mem::replace(&mut storm.told, true),
                });
            }
        }
        self.storms.retain(|_, storm| !storm.trial.test.is_spent());
        counts.clear();
        self.counts = counts; // with its room
        signals
    }
}

impl Storm {
    #[expect(clippy::cast_precision_loss, reason = "processes of a second")]
    fn average(&mut self, count: Count, elapsed_ns: u64) {
        let seconds = elapsed_ns.max(1) as f64 / 1e9;
        let weight = (seconds / MEAN_S).min(1.0);
        for (mean, count) in [
            (&mut self.forks_per_s, count.forks),
            (&mut self.execs_per_s, count.execs),
        ] {
            let rate = count as f64 / seconds;
            *mean = if *mean == 0.0 {
                rate
            } else {
                *mean + weight * (rate - *mean)
            };
        }
    }
}

/// Whether somebody in the group is suspect.
fn is_accused(group: ProcessKey, world: &World) -> bool {
    let root = world.table.get(group);
    root.is_some_and(Process::is_accused)
}

/// The one of the group that used most in the pass stands for all: the root of a login's group is its shell.
fn severity(group: ProcessKey, usage: &Usage, world: &World) -> Severity {
    let in_group = usage.used.iter().filter(|used| used.group == group);
    let top = in_group.max_by_key(|used| used.totals.cpu_ns);
    let key = top.map_or(group, |used| used.process);
    let suspect = world
        .table
        .get(key)
        .is_some_and(|process| process.suspicion.is_some());
    let at_work = lineage::in_package_manager(&world.table, key)
        || lineage::in_session(&world.table, key) && !suspect;
    if at_work && !is_accused(group, world) {
        Severity::Info
    } else {
        Severity::Warning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_thousand_groups_are_counted_in_one_pass() {
        let mut rule = ProcessStorm::default();
        for tgid in 0..5_000 {
            rule.forked(ProcessKey { tgid, start_ns: 1 });
        }
        assert_eq!(rule.counts.len(), 4_096);
    }
}
