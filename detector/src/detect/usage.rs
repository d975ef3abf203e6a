//! What everybody used in a pass, and over the last ones: worked out once, read by every rule of load.
//!
//! What somebody gets on a crowded host says how many others there are, not what it is after: two threads that never
//! rest get a sixth of two CPUs beside a flood of connections, and less beside a shop on its busiest day. So what an
//! accused program waits for counts as well ([`Scope::Accused`]). Only of the accused: of everybody else it would make
//! culprits out of victims. And some of the CPUs it must really get, because who only waits takes nothing from anybody.
//!
//! Bounded by the processes that ran since the last pass; windows by [`super::window`].

use super::{
    cpu::Totals,
    hash::Map,
    process::Process,
    size::Size,
    table::Table,
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
    /// Those processes of a lineage group that run something of which loud things are known, by its root.
    Accused(ProcessKey),
    /// The processes a lineage group makes, by its root.
    Storm(ProcessKey),
    /// The host and its hypervisor.
    Host,
}

/// Part that an accused program must get of what it must want. With the defaults: 8 % of all CPUs of 32 %.
const TAKEN_PART: f64 = 0.25;

/// What one process used in the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Who.
    pub process: ProcessKey,
    /// Root of its group.
    pub group: ProcessKey,
    /// Its cgroup.
    pub cgroup: Option<u64>,
    /// Whether something loud is known of what it runs.
    pub accused: bool,
    /// How much.
    pub totals: Totals,
}

impl Used {
    /// What it used.
    pub fn of(process: &Process, totals: Totals) -> Used {
        Used {
            process: process.key,
            group: process.group,
            cgroup: process.cgroup_id,
            accused: process.is_accused(),
            totals,
        }
    }

    /// Whether it counts for a scope.
    pub fn is_in(&self, scope: Scope) -> bool {
        match scope {
            Scope::Group(group) | Scope::Storm(group) => self.group == group,
            Scope::Cgroup(cgroup) => self.cgroup == Some(cgroup),
            Scope::Accused(group) => self.group == group && self.accused,
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
    /// Everybody who ran or waited in it, in the order in which they were charged first.
    pub used: Vec<Used>,
    /// Sums of the pass by group.
    pub group: Map<ProcessKey, Totals>,
    /// Sums of the pass by cgroup.
    pub cgroup: Map<u64, Totals>,
    /// Sums of the pass by group, of its accused processes only.
    pub accused: Map<ProcessKey, Totals>,
    /// The last passes of each process that matters.
    pub processes: Windows<ProcessKey>,
    /// The last passes of each group that matters.
    pub groups: Windows<ProcessKey>,
    /// The last passes of each cgroup that matters.
    pub cgroups: Windows<u64>,
    /// The last passes of each group's accused processes, if they matter.
    pub accused_of_groups: Windows<ProcessKey>,
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
            accused: Map::default(),
            processes: Windows::new(length),
            groups: Windows::new(length),
            cgroups: Windows::new(length),
            accused_of_groups: Windows::new(length),
        }
    }

    /// How full it is. `most` is how many processes there can be.
    pub fn sizes(&self, most: usize) -> Vec<Size> {
        let Usage {
            at_ns: _,
            pass: _,
            used,
            group,
            cgroup,
            accused,
            processes,
            groups,
            cgroups,
            accused_of_groups,
        } = self;
        vec![
            Size::of("who ran", used.len(), most),
            Size::of("groups that ran", group.len(), most),
            Size::of("cgroups that ran", cgroup.len(), most),
            Size::of("groups whose accused ran", accused.len(), most),
            processes.size("windows of processes"),
            groups.size("windows of groups"),
            cgroups.size("windows of cgroups"),
            accused_of_groups.size("windows of the accused"),
        ]
    }

    /// Closes a pass: takes the interval of every process that was charged in it.
    pub fn close(&mut self, at_ns: u64, pass: Pass, table: &mut Table) {
        self.at_ns = at_ns;
        self.pass = pass;
        let Usage {
            used,
            group,
            cgroup,
            accused,
            ..
        } = self;
        used.clear();
        group.clear();
        cgroup.clear();
        accused.clear();
        table.close_intervals(at_ns, |process, totals| {
            group.entry(process.group).or_default().add(totals);
            if let Some(id) = process.cgroup_id {
                cgroup.entry(id).or_default().add(totals);
            }
            if process.is_accused() {
                accused.entry(process.group).or_default().add(totals);
            }
            used.push(Used::of(process, totals));
        });
        let by_process = self.used.iter().map(|used| (used.process, used.totals));
        self.processes.close(pass, by_process);
        self.groups.close(pass, sums(&self.group));
        self.cgroups.close(pass, sums(&self.cgroup));
        self.accused_of_groups.close(pass, sums(&self.accused));
    }

    /// Groups and cgroups that used at least that share of all CPUs in the pass, and the greedy accused: no more than
    /// `6 / floor`.
    pub fn scopes_above(&self, floor: f64) -> Vec<Scope> {
        let capacity_ns = self.pass.capacity_ns();
        let enough = |totals: &Totals| share(totals.cpu_ns, capacity_ns) >= floor;
        let greedy = |totals: &Totals| {
            let wanted_ns = totals.cpu_ns.saturating_add(totals.run_delay_ns);
            share(wanted_ns, capacity_ns) >= floor
                && share(totals.cpu_ns, capacity_ns) >= floor * TAKEN_PART
        };
        let groups = self.group.iter().filter(|(_, totals)| enough(totals));
        let cgroups = self.cgroup.iter().filter(|(_, totals)| enough(totals));
        let accused = self.accused.iter().filter(|(_, totals)| greedy(totals));
        let mut scopes: Vec<Scope> = groups
            .map(|(group, _)| Scope::Group(*group))
            .chain(cgroups.map(|(cgroup, _)| Scope::Cgroup(*cgroup)))
            .chain(accused.map(|(group, _)| Scope::Accused(*group)))
            .collect();
        scopes.sort_unstable();
        scopes
    }
}

fn sums<K: Copy>(of: &Map<K, Totals>) -> impl Iterator<Item = (K, Totals)> {
    of.iter().map(|(key, totals)| (*key, *totals))
}
