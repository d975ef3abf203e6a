//! `impact.cpu_saturation`: one culprit keeps the CPUs of the host busy.
//!
//! Judged per lineage group and per cgroup, because load is split over processes that come and go:
//! over the window its mean is at least `host_share` of all CPUs and nearly every pass is above half of
//! that. The blame goes to the most specific culprit that explains `culprit_share` of it: one process,
//! else the processes of one executable, else the group, else the cgroup. Kernel threads, nice and
//! `SCHED_IDLE` time count in full. Over when below for `clear_after_s`, or when the blamed process is gone
//! and nothing took its place.
//!
//! Evidence: `culprit`, `cores`, `host_share`, `window_s`, `since_ns`. Victims are the others who had to
//! wait: `run_delay / (run_delay + cpu)` over the window.
//!
//! False positives: any legitimate heavy work. Alone it is a warning, never a page.

use std::collections::BTreeMap;

use crate::{
    detect::{
        config::Config,
        cpu::Totals,
        hash::Map,
        process::Table,
        window::{Mean, Pass, Windows, share},
    },
    incident::{CpuEvidence, Culprit},
    input::{ExecutableId, ProcessKey},
};

/// Something whose load is judged as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A lineage group, by its root.
    Group(ProcessKey),
    /// A cgroup, by id.
    Cgroup(u64),
}

/// Somebody who had to wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waiting {
    /// Root of the group.
    pub group: ProcessKey,
    /// Share of the time it wanted to run (0–1).
    pub run_delay_share: f64,
    /// Time waited over the window, ns.
    pub run_delay_ns: u64,
}

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
    below_since_ns: Option<u64>,
}

/// The rule's memory.
#[derive(Debug)]
pub struct CpuSaturation {
    processes: Windows<ProcessKey>,
    groups: Windows<ProcessKey>,
    cgroups: Windows<u64>,
    active: BTreeMap<Scope, Active>,
}

/// Waiting below this share is everyday life.
const VICTIM_SHARE: f64 = 0.2;
/// Waiting below this part of the window hurts nobody (a process that hardly runs).
const VICTIM_WAIT_SHARE: f64 = 0.05;
/// Victims named.
const MAX_VICTIMS: usize = 16;

impl CpuSaturation {
    /// No passes yet.
    pub fn new(config: &Config) -> CpuSaturation {
        let length = config.window_s as usize;
        CpuSaturation {
            processes: Windows::new(length),
            groups: Windows::new(length),
            cgroups: Windows::new(length),
            active: BTreeMap::new(),
        }
    }

    /// Closes a pass: takes every process's interval and judges.
    pub fn pass(
        &mut self,
        at_ns: u64,
        pass: Pass,
        table: &mut Table,
        config: &Config,
    ) -> Vec<Signal> {
        self.close(at_ns, pass, table);
        let threshold = config.host_share;
        let mut hot: BTreeMap<Scope, Mean> = BTreeMap::new();
        for (group, window) in self.groups.sorted() {
            if is_saturated(window, config, threshold) {
                hot.insert(Scope::Group(group), window.mean());
            }
        }
        for (cgroup, window) in self.cgroups.sorted() {
            let mean = window.mean();
            if is_saturated(window, config, threshold)
                && !self.explained(cgroup, mean, table, config)
            {
                hot.insert(Scope::Cgroup(cgroup), mean);
            }
        }
        let mut signals = Vec::new();
        for (scope, mean) in &hot {
            let active = self.keep_or_blame(at_ns, *scope, *mean, table, config);
            signals.push(self.saturated(*scope, active, *mean, table));
            self.active.insert(*scope, active);
        }
        let clear_ns = config_ns(config.clear_after_s);
        self.active.retain(|scope, active| {
            if hot.contains_key(scope) {
                return true;
            }
            let since_ns = *active.below_since_ns.get_or_insert(at_ns);
            let gone = table
                .get(active.process)
                .is_none_or(|process| !process.is_alive());
            let over = gone || at_ns.saturating_sub(since_ns) >= clear_ns;
            if over {
                signals.push(Signal::Cleared { scope: *scope });
            }
            !over
        });
        signals
    }

    fn close(&mut self, at_ns: u64, pass: Pass, table: &mut Table) {
        let mut processes: Map<ProcessKey, Totals> = Map::default();
        let mut groups: Map<ProcessKey, Totals> = Map::default();
        let mut cgroups: Map<u64, Totals> = Map::default();
        for process in table.iter_mut() {
            let used = process.cpu.close_interval(at_ns);
            if used.is_zero() {
                continue;
            }
            processes.insert(process.key, used);
            groups.entry(process.group).or_default().add(used);
            if let Some(cgroup) = process.cgroup_id {
                cgroups.entry(cgroup).or_default().add(used);
            }
        }
        self.processes.close(pass, &mut processes);
        self.groups.close(pass, &mut groups);
        self.cgroups.close(pass, &mut cgroups);
    }

    /// Whether one group inside a cgroup is already blamed for its load.
    fn explained(&self, cgroup: u64, mean: Mean, table: &Table, config: &Config) -> bool {
        self.groups.sorted().into_iter().any(|(group, window)| {
            let inside = table
                .get(group)
                .is_none_or(|root| root.cgroup_id == Some(cgroup));
            let of_it = share(window.mean().used.cpu_ns, mean.used.cpu_ns);
            inside
                && of_it >= config.culprit_share
                && is_saturated(window, config, config.host_share)
        })
    }

    /// The culprit named before, while it still runs; else the one to blame now.
    fn keep_or_blame(
        &self,
        at_ns: u64,
        scope: Scope,
        mean: Mean,
        table: &Table,
        config: &Config,
    ) -> Active {
        let known = self.active.get(&scope);
        if let Some(active) = known
            && table
                .get(active.process)
                .is_some_and(|process| process.is_alive())
            && (active.culprit != Culprit::Process || self.share_of(active.process, mean) >= 0.5)
        {
            return Active {
                below_since_ns: None,
                ..*active
            };
        }
        let (process, culprit) = self.blame(scope, mean, table, config);
        Active {
            process,
            culprit,
            since_ns: known.map_or(at_ns.saturating_sub(mean.elapsed_ns), |active| {
                active.since_ns
            }),
            below_since_ns: None,
        }
    }

    fn share_of(&self, process: ProcessKey, mean: Mean) -> f64 {
        let used = self
            .processes
            .get(process)
            .map(|window| window.mean().used.cpu_ns);
        share(used.unwrap_or(0), mean.used.cpu_ns)
    }

    fn blame(
        &self,
        scope: Scope,
        mean: Mean,
        table: &Table,
        config: &Config,
    ) -> (ProcessKey, Culprit) {
        let mut top: Option<(u64, ProcessKey)> = None;
        let mut images: BTreeMap<ExecutableId, (u64, ProcessKey)> = BTreeMap::new();
        for (key, window) in self.processes.sorted() {
            let Some(process) = table.get(key) else {
                continue;
            };
            let inside = match scope {
                Scope::Group(group) => process.group == group,
                Scope::Cgroup(cgroup) => process.cgroup_id == Some(cgroup),
            };
            if !inside {
                continue;
            }
            let used_ns = window.mean().used.cpu_ns;
            if top.is_none_or(|(most_ns, _)| used_ns > most_ns) {
                top = Some((used_ns, key));
            }
            if let Some(image) = &process.image {
                let (sum_ns, oldest) = images.entry(image.executable.id).or_insert((0, key));
                *sum_ns += used_ns;
                let rank = |key: ProcessKey| (!is_alive(table, key), key.start_ns);
                if rank(key) < rank(*oldest) {
                    *oldest = key;
                }
            }
        }
        let enough = |used_ns: u64| share(used_ns, mean.used.cpu_ns) >= config.culprit_share;
        if let Some((_, key)) = top.filter(|(used_ns, _)| enough(*used_ns)) {
            return (key, Culprit::Process);
        }
        if let Some((_, key)) = images.into_values().find(|(used_ns, _)| enough(*used_ns)) {
            return (key, Culprit::Executable);
        }
        match (scope, top) {
            (Scope::Group(root), top) => (top.map_or(root, |(_, key)| key), Culprit::Group),
            (Scope::Cgroup(_), Some((_, key))) => (key, Culprit::Cgroup),
            (Scope::Cgroup(cgroup), None) => {
                let member = table
                    .iter()
                    .filter(|process| process.cgroup_id == Some(cgroup))
                    .map(|process| process.key)
                    .min();
                let nobody = ProcessKey {
                    tgid: 0,
                    start_ns: 0,
                };
                (member.unwrap_or(nobody), Culprit::Cgroup)
            }
        }
    }

    fn saturated(&self, scope: Scope, active: Active, mean: Mean, table: &Table) -> Signal {
        let blamed = match active.culprit {
            Culprit::Process => self
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
            },
            victims: self.victims(scope, active, table),
        }
    }

    /// Other groups, and what is left of the culprit's own group when one process is blamed.
    fn victims(&self, scope: Scope, active: Active, table: &Table) -> Vec<Waiting> {
        let own_group = table.get(active.process).map(|process| process.group);
        let mut victims: Vec<Waiting> = Vec::new();
        for (group, window) in self.groups.sorted() {
            let mut mean = window.mean();
            if scope == Scope::Group(group) || own_group == Some(group) {
                let Some(own) = self.processes.get(active.process) else {
                    continue;
                };
                if active.culprit != Culprit::Process {
                    continue;
                }
                let used = own.mean().used;
                mean.used.cpu_ns = mean.used.cpu_ns.saturating_sub(used.cpu_ns);
                mean.used.run_delay_ns = mean.used.run_delay_ns.saturating_sub(used.run_delay_ns);
            }
            let waited = share(mean.used.run_delay_ns, mean.elapsed_ns);
            let kernel = table.get(group).is_some_and(|root| root.kernel_thread);
            if mean.run_delay_share() >= VICTIM_SHARE && waited >= VICTIM_WAIT_SHARE && !kernel {
                victims.push(Waiting {
                    group,
                    run_delay_share: mean.run_delay_share(),
                    run_delay_ns: mean.used.run_delay_ns,
                });
            }
        }
        victims.sort_by_key(|victim| (std::cmp::Reverse(victim.run_delay_ns), victim.group));
        victims.truncate(MAX_VICTIMS);
        victims
    }
}

fn is_saturated(window: &crate::detect::window::Window, config: &Config, threshold: f64) -> bool {
    let mean = window.mean();
    let passes = config.window_s as usize;
    let steady = (config.steady_share * f64::from(config.window_s)).ceil();
    mean.passes >= passes
        && mean.host_share() >= threshold
        && usize_as_f64(window.passes_above(threshold / 2.0)) >= steady
}

fn is_alive(table: &Table, key: ProcessKey) -> bool {
    table.get(key).is_some_and(|process| process.is_alive())
}

fn usize_as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn config_ns(seconds: u32) -> u64 {
    u64::from(seconds) * 1_000_000_000
}

/// ns as seconds.
pub fn seconds(ns: u64) -> f64 {
    share(ns, 1_000_000_000)
}
