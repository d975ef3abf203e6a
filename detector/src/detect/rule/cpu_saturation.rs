//! `impact.cpu_saturation`: one culprit keeps the CPUs of the host busy.
//!
//! Judged per lineage group and per cgroup, because load is split over processes that come and go. A second
//! is busy when the scope uses at least [`BUSY_PART`] of `host_share` of all CPUs; a sequential test with a
//! stated false-alarm budget says when there are too many of those for the program that uses most
//! ([`super::super::sequential`]): ten in a row for one without history. Accused programs are judged apart as well, by
//! what they want ([`super::super::usage`]). Whose fault it is and who pays says
//! [`super::super::blame`]. Kernel threads, nice and `SCHED_IDLE` time count in full. Over by the test's own
//! windows, or when the blamed process is gone and nothing took its place for three seconds.
//!
//! Evidence: `culprit`, `cores`, `host_share`, `window_s`; `steal_share` (what the hypervisor gave to others
//! meanwhile is nobody's fault here); `accepts_per_s` and `usual_accepts_per_s` for a web service, where more load
//! without more inbound connections is not traffic (else it is `impact.traffic_saturation`).
//!
//! False positives: any legitimate heavy work that is no habit yet. Alone it is a warning, never a page. A new program of
//! the owner's own below a web service, of which a warning was told, pages on a crowded host sooner than on an idle one: from
//! 8 % of all CPUs for ten seconds on.

use std::collections::{BTreeMap, BTreeSet};

pub use crate::detect::{blame::Waiting, usage::Scope};
use crate::{
    detect::{
        blame,
        sequential::{Bank, Change, Identity, bank::Trial, model::SATURATION, test::Look},
        size::Size,
        usage::Usage,
        window::{Mean, share},
        world::World,
    },
    incident::{CpuEvidence, Culprit},
    input::ProcessKey,
};

/// What the rule says after a pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// Saturation began or goes on.
    Saturated {
        /// Of what.
        scope: Scope,
        /// The process that stands for the culprit.
        process: ProcessKey,
        /// The numbers.
        evidence: CpuEvidence,
        /// Who had to wait, worst first.
        victims: Vec<Waiting>,
    },
    /// Saturation is over.
    Cleared {
        /// Of what.
        scope: Scope,
    },
}

#[derive(Clone, Copy, Debug)]
struct Active {
    process: ProcessKey,
    culprit: Culprit,
    since_ns: u64,
    /// Another scope tells the same load.
    told_otherwise: bool,
}

/// The rule's memory: a test for each scope that was busy within a minute, of which there are at most 400.
#[derive(Debug, Default)]
pub struct CpuSaturation {
    trials: BTreeMap<Scope, Trial>,
    active: BTreeMap<Scope, Active>,
}

/// Most tests: six scopes can be busy in one pass, or twelve of accused programs, and each is remembered for a minute.
const MAX_TRIALS: usize = 400;
/// Part of `host_share` from which a second counts as busy: a load around the threshold is above it.
const BUSY_PART: f64 = 0.8;
/// Part of the load that keeps the blame on whom it is: less than it took, or it would go to and fro.
const KEPT_SHARE: f64 = 0.5;
/// Idle seconds after which a dead culprit is gone for good, s.
const GONE_S: u32 = 3;

impl CpuSaturation {
    /// How full it is.
    pub fn sizes(&self) -> [Size; 2] {
        let CpuSaturation { trials, active } = self;
        [
            Size::of("tests of saturation", trials.len(), MAX_TRIALS),
            Size::of("saturations", active.len(), MAX_TRIALS),
        ]
    }

    /// How many tests are going on.
    pub fn tests(&self) -> usize {
        self.trials.len()
    }

    /// Whether a process of that kind saturates the CPUs.
    pub fn is_open(&self, kind: impl Fn(ProcessKey) -> bool) -> bool {
        self.active.values().any(|active| kind(active.process))
    }

    /// Judges a pass that `usage` has closed. `look` is what all tests of the pass have in common.
    pub fn pass(
        &mut self,
        usage: &Usage,
        world: &World,
        bank: &mut Bank,
        look: Look,
    ) -> Vec<Signal> {
        let mut signals = Vec::new();
        self.look(usage, world, bank, look, &mut signals);
        let open: Vec<Scope> = self
            .trials
            .iter()
            .filter(|(_, trial)| trial.test.is_open())
            .map(|(scope, _)| *scope)
            .collect();
        let hot: BTreeSet<ProcessKey> = open
            .iter()
            .filter_map(|scope| match scope {
                Scope::Group(group) | Scope::Accused(group) => Some(*group),
                _ => None,
            })
            .collect();
        for scope in open {
            let Some(mean) = mean(scope, usage) else {
                continue;
            };
            let told = self.is_told(scope);
            if !told && explained(scope, mean, &hot, usage, world) {
                continue;
            }
            let mut active = self.keep_or_blame(scope, mean, usage, world);
            active.told_otherwise = !told && self.is_told_otherwise(scope, active.process, world);
            if !active.told_otherwise {
                signals.push(saturated(scope, active, mean, usage, world));
            }
            self.active.insert(scope, active);
        }
        signals
    }

    fn look(
        &mut self,
        usage: &Usage,
        world: &World,
        bank: &mut Bank,
        look: Look,
        signals: &mut Vec<Signal>,
    ) {
        let mut busy: BTreeMap<Scope, Identity> = BTreeMap::new();
        for scope in usage.scopes_above(world.config.host_share * BUSY_PART) {
            if let Some(identity) = blame::busiest(&SATURATION, scope, usage, world) {
                busy.insert(scope, identity);
                if self.trials.len() < MAX_TRIALS {
                    self.trials.entry(scope).or_default();
                }
            }
        }
        for (scope, trial) in &mut self.trials {
            let change = trial.look(bank, &SATURATION, busy.get(scope).copied(), look);
            let active = self.active.get(scope);
            let innocent = active.is_some_and(|active| is_innocent(active.process, world));
            let run = trial.test.run();
            let gone = trial.test.is_open()
                && !run.busy
                && run.age_s >= GONE_S
                && active.is_some_and(|active| !blame::is_alive(&world.table, active.process));
            let busy_s = match change {
                Change::Closed { busy_s } => busy_s,
                Change::None | Change::Opened if gone => trial.test.busy_s(),
                Change::None | Change::Opened => continue,
            };
            trial.settle(bank, busy_s, innocent);
            let over = self.active.remove(scope);
            if over.is_some_and(|over| !over.told_otherwise) {
                signals.push(Signal::Cleared { scope: *scope });
            }
        }
        self.trials.retain(|_, trial| !trial.test.is_spent());
    }

    /// A group and its accused programs are two scopes, but one load where the accused are to blame for both.
    fn is_told_otherwise(&self, scope: Scope, process: ProcessKey, world: &World) -> bool {
        let (Scope::Group(group) | Scope::Accused(group)) = scope else {
            return false;
        };
        let other = match scope {
            Scope::Group(_) => Scope::Accused(group),
            _ => Scope::Group(group),
        };
        let told = self.active.get(&other).filter(|_| self.is_told(other));
        told.is_some_and(|told| !is_innocent(told.process, world) && !is_innocent(process, world))
    }

    fn is_told(&self, scope: Scope) -> bool {
        let active = self.active.get(&scope);
        active.is_some_and(|active| !active.told_otherwise)
    }

    /// The culprit named before, while most of the load is still its; else the one to blame now.
    fn keep_or_blame(&self, scope: Scope, mean: Mean, usage: &Usage, world: &World) -> Active {
        let known = self.active.get(&scope);
        let mine = |active: &&Active| {
            blame::is_alive(&world.table, active.process)
                && match active.culprit {
                    Culprit::Process => share_of(active.process, mean, usage) >= KEPT_SHARE,
                    Culprit::Executable => {
                        blame::share_of_program(active.process, scope, mean, usage, world)
                            >= KEPT_SHARE
                    }
                    Culprit::Group | Culprit::Cgroup => false,
                }
        };
        if let Some(active) = known.filter(mine) {
            return *active;
        }
        let (process, culprit) = blame::blame(scope, mean, usage, world);
        let several = |culprit| matches!(culprit, Culprit::Group | Culprit::Cgroup);
        if let Some(active) = known
            && several(active.culprit)
            && several(culprit)
            && blame::is_alive(&world.table, active.process)
        {
            return *active;
        }
        let onset_ns = || self.trials.get(&scope).map(|trial| trial.test.since_ns());
        Active {
            process,
            culprit,
            since_ns: known
                .map(|active| active.since_ns)
                .or_else(onset_ns)
                .unwrap_or(usage.at_ns),
            told_otherwise: false,
        }
    }
}

fn mean(scope: Scope, usage: &Usage) -> Option<Mean> {
    match scope {
        Scope::Group(group) => usage.groups.get(group),
        Scope::Cgroup(cgroup) => usage.cgroups.get(cgroup),
        Scope::Accused(group) => usage.accused_of_groups.get(group),
        Scope::Storm(_) | Scope::Host => None,
    }
    .map(|window| window.mean())
}

/// Whether one group inside a cgroup is already blamed for its load.
fn explained(
    scope: Scope,
    mean: Mean,
    hot: &BTreeSet<ProcessKey>,
    usage: &Usage,
    world: &World,
) -> bool {
    let Scope::Cgroup(cgroup) = scope else {
        return false;
    };
    hot.iter().any(|group| {
        let root = world.table.get(*group);
        let inside = root.is_none_or(|root| root.cgroup_id == Some(cgroup));
        let window = usage.groups.get(*group);
        let used_ns = window.map_or(0, |window| window.mean().used.cpu_ns);
        inside && share(used_ns, mean.used.cpu_ns) >= world.config.culprit_share
    })
}

fn share_of(process: ProcessKey, mean: Mean, usage: &Usage) -> f64 {
    let window = usage.processes.get(process);
    share(
        window.map_or(0, |window| window.mean().used.cpu_ns),
        mean.used.cpu_ns,
    )
}

/// Nobody says anything loud about the image: its load may become a habit.
fn is_innocent(process: ProcessKey, world: &World) -> bool {
    let process = world.table.get(process);
    process.is_some_and(|process| !process.is_accused())
}

fn saturated(scope: Scope, active: Active, mean: Mean, usage: &Usage, world: &World) -> Signal {
    let blamed = match active.culprit {
        Culprit::Process => usage
            .processes
            .get(active.process)
            .map_or(mean, |window| window.mean()),
        _ => mean,
    };
    Signal::Saturated {
        scope,
        process: active.process,
        evidence: CpuEvidence {
            culprit: active.culprit,
            cores: blamed.cores(),
            host_share: blamed.host_share(),
            window_s: seconds(blamed.elapsed_ns),
            since_ns: match active.culprit {
                Culprit::Process => active.since_ns.max(active.process.start_ns),
                _ => active.since_ns,
            },
            steal_share: None,
            accepts_per_s: None,
            usual_accepts_per_s: None,
        },
        victims: blame::victims(scope, active.process, active.culprit, usage, &world.table),
    }
}

/// ns as seconds.
pub fn seconds(ns: u64) -> f64 {
    share(ns, 1_000_000_000)
}
