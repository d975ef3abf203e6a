//! What everybody used in a pass, and over the last ones: worked out once, read by every rule of load.
//!
//! Bounded by the processes that ran since the last pass; windows by [`super::window`].

use super::{
    cpu::Totals,
    hash::Map,
    process::Table,
    window::{Pass, Windows, share},
};
use crate::input::ProcessKey;

/// Something whose load is judged as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A lineage group, by its root.
    Group(ProcessKey),
    /// A cgroup, by id.
    Cgroup(u64),
    /// The processes a lineage group makes, by its root.
    Storm(ProcessKey),
    /// The host and its hypervisor.
    Host,
}

/// What one process used in the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Who.
    pub process: ProcessKey,
    /// Root of its group.
    pub group: ProcessKey,
    /// Its cgroup.
    pub cgroup: Option<u64>,
    /// How much.
    pub totals: Totals,
}

impl Used {
    /// Whether it counts for a scope.
    pub fn is_in(&self, scope: Scope) -> bool {
        match scope {
            Scope::Group(group) | Scope::Storm(group) => self.group == group,
            Scope::Cgroup(cgroup) => self.cgroup == Some(cgroup),
            Scope::Host => true,
        }
    }
}

/// The pass, and the last ones.
#[derive(Debug)]
pub struct Usage {
    /// When, ns since boot.
    pub at_ns: u64,
    /// The pass.
    pub pass: Pass,
    /// Everybody who ran or waited in it, in the order of the table: the same for the same inputs.
    pub used: Vec<Used>,
    /// Sums of the pass by group.
    pub group: Map<ProcessKey, Totals>,
    /// Sums of the pass by cgroup.
    pub cgroup: Map<u64, Totals>,
    /// The last passes of each process that matters.
    pub processes: Windows<ProcessKey>,
    /// The last passes of each group that matters.
    pub groups: Windows<ProcessKey>,
    /// The last passes of each cgroup that matters.
    pub cgroups: Windows<u64>,
    by_process: Map<ProcessKey, Totals>,
}

impl Usage {
    /// No passes yet; windows of `length` passes.
    pub fn new(length: usize) -> Usage {
        Usage {
            at_ns: 0,
            pass: Pass {
                elapsed_ns: 0,
                cpus: 1,
            },
            used: Vec::new(),
            group: Map::default(),
            cgroup: Map::default(),
            processes: Windows::new(length),
            groups: Windows::new(length),
            cgroups: Windows::new(length),
            by_process: Map::default(),
        }
    }

    /// Closes a pass: takes every process's interval.
    pub fn close(&mut self, at_ns: u64, pass: Pass, table: &mut Table) {
        self.at_ns = at_ns;
        self.pass = pass;
        self.used.clear();
        self.group.clear();
        self.cgroup.clear();
        self.by_process.clear();
        for process in table.iter_mut() {
            let totals = process.cpu.close_interval(at_ns);
            if totals.is_zero() {
                continue;
            }
            self.by_process.insert(process.key, totals);
            self.group.entry(process.group).or_default().add(totals);
            if let Some(cgroup) = process.cgroup_id {
                self.cgroup.entry(cgroup).or_default().add(totals);
            }
            self.used.push(Used {
                process: process.key,
                group: process.group,
                cgroup: process.cgroup_id,
                totals,
            });
        }
        self.processes.close(pass, &self.by_process);
        self.groups.close(pass, &self.group);
        self.cgroups.close(pass, &self.cgroup);
    }

    /// Groups and cgroups that used at least that share of all CPUs in the pass: no more than `2 / floor`.
    pub fn scopes_above(&self, floor: f64) -> Vec<Scope> {
        let enough = |totals: &Totals| share(totals.cpu_ns, self.pass.capacity_ns()) >= floor;
        let groups = self.group.iter().filter(|(_, totals)| enough(totals));
        let cgroups = self.cgroup.iter().filter(|(_, totals)| enough(totals));
        let mut scopes: Vec<Scope> = groups
            .map(|(group, _)| Scope::Group(*group))
            .chain(cgroups.map(|(cgroup, _)| Scope::Cgroup(*cgroup)))
            .collect();
        scopes.sort_unstable();
        scopes
    }
}
