//! The process table: who is there, who made whom.
//!
//! A process is its [`ProcessKey`]; a reused id is another process, and a late record of the old one
//! finds the old one. Bounded: when full, the oldest ended process is forgotten, then the one idle
//! longest (second chance, so it costs O(1)); both are counted. Ended processes stay for a minute,
//! or as long as a child is alive, so that lineage survives double forks. Processes of an open
//! incident are pinned.

use std::collections::VecDeque;

use super::{
    cpu::{MAX_THREADS, Totals},
    hash::Map,
    lineage,
    process::{Ended, MAX_EARLY_CONNECTIONS, ParentFrom, Process},
    size::Size,
};
use crate::input::ProcessKey;

/// What the table had to forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Ended processes forgotten early.
    pub dead: u64,
    /// Live processes forgotten.
    pub idle: u64,
}

/// All processes.
#[derive(Debug)]
pub struct Table {
    /// Boxed: room to grow costs a pointer each, and a storm uses the same warm memory again.
    processes: Map<ProcessKey, Box<Process>>,
    by_id: Map<u32, ProcessKey>,
    /// Ended, oldest first.
    dead: VecDeque<(u64, ProcessKey)>,
    /// All, in the order of their last chance.
    queue: VecDeque<(u64, ProcessKey)>,
    /// Those with an interval to close: each once, and some that are forgotten by now.
    charged: Vec<ProcessKey>,
    capacity: usize,
    /// Counted evictions.
    pub forgotten: Forgotten,
}

/// Which part of the table those may be that ended: with the defaults 8,192, as many as a minute of 136 a second. A storm
/// of programs fills it in a second, and each with its image and arguments takes a kilobyte and more.
const DEAD_PART: usize = 4;
/// Steps of one walk up the tree.
const MAX_DEPTH: usize = 64;

impl Table {
    /// An empty table of at most `capacity` processes.
    pub fn new(capacity: usize) -> Table {
        Table {
            processes: Map::default(),
            by_id: Map::default(),
            dead: VecDeque::new(),
            queue: VecDeque::new(),
            charged: Vec::new(),
            capacity: capacity.max(2),
            forgotten: Forgotten::default(),
        }
    }

    /// How full it is.
    pub fn sizes(&self) -> Vec<Size> {
        let Table {
            processes,
            by_id,
            dead,
            queue,
            charged,
            capacity,
            forgotten: _,
        } = self;
        let most = |of: fn(&Process) -> usize| self.iter().map(of).max().unwrap_or(0);
        let threads = most(|process| process.cpu.threads());
        let early = most(|process| process.connections.len());
        vec![
            Size::of("processes", processes.len(), *capacity),
            Size::of("process ids", by_id.len(), *capacity),
            Size::of("ended processes", dead.len(), *capacity),
            Size::of("queue of processes", queue.len(), 2 * capacity + 1),
            Size::of("charged processes", charged.len(), 2 * capacity),
            Size::of("threads of one", threads, MAX_THREADS),
            Size::of("early connections of one", early, MAX_EARLY_CONNECTIONS),
        ]
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// One process.
    pub fn get(&self, key: ProcessKey) -> Option<&Process> {
        self.processes.get(&key).map(|process| &**process)
    }

    /// One process, to change.
    pub fn get_mut(&mut self, key: ProcessKey) -> Option<&mut Process> {
        self.processes.get_mut(&key).map(|process| &mut **process)
    }

    /// All, in no useful order.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().map(|process| &**process)
    }

    /// Charges a known process. Only here: the end of a pass looks at nobody else.
    pub fn charge<T>(&mut self, key: ProcessKey, by: impl FnOnce(&mut Process) -> T) -> Option<T> {
        let process = self.processes.get_mut(&key)?;
        let result = by(process);
        if process.cpu.list() {
            if self.charged.len() >= self.capacity.saturating_mul(2) {
                let processes = &self.processes;
                self.charged.retain(|key| processes.contains_key(key));
            }
            self.charged.push(key);
        }
        Some(result)
    }

    /// The pass is over: tells what each process used in it, in the order in which they were charged.
    pub fn close_intervals(&mut self, now_ns: u64, mut told: impl FnMut(&Process, Totals)) {
        let processes = &mut self.processes;
        self.charged.retain(|key| {
            let Some(process) = processes.get_mut(key) else {
                return false;
            };
            let totals = process.cpu.close_interval(now_ns);
            if !totals.is_zero() {
                told(process, totals);
            }
            process.cpu.stays_listed()
        });
    }

    /// All, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.processes.values_mut().map(|process| &mut **process)
    }

    /// The process a thread belongs to: of those that had the id, the youngest not younger than it.
    pub fn of_thread(&self, tgid: u32, start_ns: u64) -> Option<ProcessKey> {
        let mut key = *self.by_id.get(&tgid)?;
        while key.start_ns > start_ns {
            key = self.processes.get(&key)?.previous?;
        }
        Some(key)
    }

    /// Makes a process known if it is not; `true`: it is new.
    pub fn ensure(&mut self, key: ProcessKey, now_ns: u64) -> bool {
        if let Some(process) = self.processes.get_mut(&key) {
            process.active_ns = process.active_ns.max(now_ns);
            return false;
        }
        self.make_room();
        // Passes clean it as well, but a storm does not wait for them.
        if self.queue.len() > self.capacity.saturating_mul(2) {
            self.clean_queue();
        }
        self.queue.push_back((now_ns, key));
        let mut process = Box::new(Process::new(key, now_ns));
        let newest = self.by_id.entry(key.tgid).or_insert(key);
        if newest.start_ns < key.start_ns {
            let previous = std::mem::replace(newest, key);
            process.previous = Some(previous);
            // Its exit was lost: the id would not be free otherwise.
            self.end(previous, now_ns, None);
        }
        self.processes.insert(key, process);
        true
    }

    /// Says who made `child`. On first knowledge the child takes its place in a group and, from a
    /// fork, inherits what a fork inherits.
    pub fn set_parent(&mut self, child: ProcessKey, parent: ProcessKey, from: ParentFrom) {
        let Some(process) = self.processes.get_mut(&child) else {
            return;
        };
        let known = process.parent;
        let better = known.is_none() || from > process.parent_from;
        // A parent is never younger than its child; that also rules out cycles.
        if !better || parent == child || parent.tgid == 0 || parent.start_ns > child.start_ns {
            return;
        }
        process.parent = Some(parent);
        process.parent_from = from;
        if known != Some(parent) {
            if let Some(old) = known.and_then(|key| self.processes.get_mut(&key)) {
                old.children = old.children.saturating_sub(1);
            }
            if let Some(new) = self.processes.get_mut(&parent) {
                new.children += 1;
            }
        }
        let group = self.group_of(child);
        let inherited = self.processes.get(&parent).map(|made_by| {
            (
                made_by.image.clone(),
                made_by.roles,
                made_by.uid,
                made_by.comm,
                made_by.cgroup_id,
                made_by.suspicion,
                made_by.script,
                made_by.facts.clone().filter(|_| made_by.facts_current),
            )
        });
        let process = self
            .processes
            .get_mut(&child)
            .expect("looked up at the start");
        process.group = group;
        let Some((image, roles, uid, comm, cgroup_id, suspicion, script, facts)) = inherited else {
            return;
        };
        if from == ParentFrom::Fork && process.image.is_none() {
            process.image = image;
            process.roles = roles;
            process.uid = process.uid.or(uid);
            process.cgroup_id = process.cgroup_id.or(cgroup_id);
            process.suspicion = suspicion;
            process.script = script;
            if process.comm == [0; 16] {
                process.comm = comm;
            }
            // The same image in the same cgroup; only the key differs.
            process.facts_current = facts.is_some();
            process.facts = facts;
        }
    }

    fn group_of(&self, child: ProcessKey) -> ProcessKey {
        if self.begins_service(child) {
            return child;
        }
        let Some(parent) = self.get(child).and_then(|process| process.parent) else {
            return child;
        };
        match self.get(parent) {
            Some(made_by) if !lineage::children_start_groups(made_by) => made_by.group,
            _ => child,
        }
    }

    /// Whether a process is a system's web service that no web service started.
    fn begins_service(&self, key: ProcessKey) -> bool {
        self.get(key)
            .is_some_and(|process| process.roles.system_web_service)
            && lineage::web_ancestor(self, key).is_none()
    }

    /// Makes a process that became a service the root of a group; gives everybody who moved.
    pub fn regroup_service(&mut self, key: ProcessKey) -> Vec<ProcessKey> {
        let moves = self.begins_service(key) && self.get(key).is_some_and(|p| p.group != key);
        if !moves {
            return Vec::new();
        }
        // A service just started has no children; one found at start-up has.
        self.regroup();
        let mut moved: Vec<_> = self
            .iter()
            .filter(|p| p.group == key)
            .map(|p| p.key)
            .collect();
        moved.sort_unstable();
        moved
    }

    /// Places every process anew: at the first pass, when parents may be known later than children.
    pub fn regroup(&mut self) {
        let mut keys: Vec<ProcessKey> = self.processes.keys().copied().collect();
        keys.sort_by_key(|key| (key.start_ns, key.tgid));
        for key in keys {
            let group = self.group_of(key);
            if let Some(process) = self.processes.get_mut(&key) {
                process.group = group;
            }
        }
    }

    /// The process ended; `true`: this is news.
    pub fn end(&mut self, key: ProcessKey, at_ns: u64, wait_status: Option<u32>) -> bool {
        let Some(process) = self.processes.get_mut(&key) else {
            return false;
        };
        if let Some(ended) = &mut process.ended {
            ended.wait_status = ended.wait_status.or(wait_status);
            return false;
        }
        process.ended = Some(Ended { at_ns, wait_status });
        self.dead.push_back((at_ns, key));
        true
    }

    /// Forgets those that ended before `before_ns` and have no child in the table; sooner, the oldest first, where they
    /// are more than a part of the table. To be called when the intervals are closed: what was charged is accounted for.
    pub fn purge(&mut self, before_ns: u64) {
        let too_many = self.dead.len().saturating_sub(self.capacity / DEAD_PART);
        for looked_at in 0..self.dead.len() {
            let Some((at_ns, key)) = self.dead.pop_front() else {
                break;
            };
            let early = at_ns >= before_ns;
            if early && looked_at >= too_many {
                self.dead.push_front((at_ns, key));
                break;
            }
            match self.processes.get(&key) {
                None => {}
                Some(process) if process.children > 0 || process.incident.is_some() => {
                    self.dead.push_back((before_ns, key));
                }
                Some(_) => {
                    self.forgotten.dead += u64::from(early);
                    self.remove(key);
                }
            }
        }
        if self.queue.len() > 2 * self.processes.len() + 1_024 {
            self.clean_queue();
        }
    }

    fn clean_queue(&mut self) {
        self.queue
            .retain(|(_, key)| self.processes.contains_key(key));
    }

    /// The ancestors, parent first; ends where knowledge ends.
    pub fn ancestors(&self, key: ProcessKey) -> impl Iterator<Item = &Process> {
        let first = self.get(key).and_then(|process| process.parent);
        std::iter::successors(first.and_then(|parent| self.get(parent)), |process| {
            self.get(process.parent?)
        })
        .take(MAX_DEPTH)
    }

    /// Whether it made processes that are still in the table.
    pub fn has_children(&self, key: ProcessKey) -> bool {
        self.get(key).is_some_and(|process| process.children > 0)
    }

    /// Whether `ancestor` is above `key`.
    pub fn descends(&self, key: ProcessKey, ancestor: ProcessKey) -> bool {
        self.ancestors(key).any(|process| process.key == ancestor)
    }

    fn make_room(&mut self) {
        while self.processes.len() >= self.capacity {
            if self.forget_dead() || self.forget_idle() {
                continue;
            }
            break; // everything is pinned: bounded by the incidents
        }
    }

    fn forget_dead(&mut self) -> bool {
        for _ in 0..self.dead.len() {
            let Some((at_ns, key)) = self.dead.pop_front() else {
                return false;
            };
            match self.processes.get(&key) {
                None => {}
                Some(process) if process.incident.is_some() => self.dead.push_back((at_ns, key)),
                Some(_) => {
                    self.remove(key);
                    self.forgotten.dead += 1;
                    return true;
                }
            }
        }
        false
    }

    fn forget_idle(&mut self) -> bool {
        for _ in 0..2 * self.queue.len() {
            let Some((since_ns, key)) = self.queue.pop_front() else {
                return false;
            };
            match self.processes.get(&key) {
                None => {}
                Some(process) if process.incident.is_some() || process.active_ns > since_ns => {
                    self.queue.push_back((process.active_ns, key));
                }
                Some(_) => {
                    self.remove(key);
                    self.forgotten.idle += 1;
                    return true;
                }
            }
        }
        false
    }

    fn remove(&mut self, key: ProcessKey) {
        let Some(process) = self.processes.remove(&key) else {
            return;
        };
        if let Some(parent) = process
            .parent
            .and_then(|parent| self.processes.get_mut(&parent))
        {
            parent.children = parent.children.saturating_sub(1);
        }
        if self.by_id.get(&key.tgid) == Some(&key) {
            match process
                .previous
                .filter(|key| self.processes.contains_key(key))
            {
                Some(previous) => self.by_id.insert(key.tgid, previous),
                None => self.by_id.remove(&key.tgid),
            };
        }
    }
}
