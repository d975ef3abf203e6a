//! CPU time of one process from running totals per thread and final bills of ended threads.
//!
//! Owns: what each thread was last seen to have used, and what the process was charged. Invariants:
//! a nanosecond is charged once, a charge is never negative, and what a thread used before the
//! engine's first pass is never charged.
//!
//! An exec by a thread other than the leader swaps the two threads' ids in the kernel: the caller
//! takes over the leader's id *and start time*; the old leader's last record carries the caller's
//! old id with the leader's start. The exec record, that last record and the next pass may arrive in
//! any order.

use detector_common::event::{Task, ThreadEnd};

use crate::input::ProcessKey;

/// A thread's counter may be this far ahead of the clock: the pass itself takes time.
const SLACK_NS: u64 = 100_000_000;
/// How long the exact bill of an ended thread is waited for: the kernel frees most within 0.1 s and
/// one in a few hundred not within a minute.
const BILL_AWAITED_NS: u64 = 120_000_000_000;
/// Threads remembered per process; more are not accounted (the default `threads-max` of a 16 GB
/// host is about 128,000 for all processes together).
pub const MAX_THREADS: usize = 65_536;

/// Time used and time waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// On a CPU, ns.
    pub cpu_ns: u64,
    /// Runnable but waiting, ns.
    pub run_delay_ns: u64,
    /// Times it went to sleep by itself. Only passes tell: a last bill does not.
    pub voluntary_switches: u64,
}

impl Totals {
    /// What came after `earlier`.
    pub fn since(self, earlier: Totals) -> Totals {
        Totals {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            run_delay_ns: self.run_delay_ns.saturating_sub(earlier.run_delay_ns),
            voluntary_switches: self
                .voluntary_switches
                .saturating_sub(earlier.voluntary_switches),
        }
    }

    /// Adds without wrapping.
    pub fn add(&mut self, other: Totals) {
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.run_delay_ns = self.run_delay_ns.saturating_add(other.run_delay_ns);
        self.voluntary_switches = self
            .voluntary_switches
            .saturating_add(other.voluntary_switches);
    }

    /// Neither used nor waited.
    pub fn is_zero(self) -> bool {
        self.cpu_ns == 0 && self.run_delay_ns == 0
    }
}

impl From<&Task> for Totals {
    fn from(task: &Task) -> Self {
        Totals {
            cpu_ns: task.cpu_ns,
            run_delay_ns: task.run_delay_ns,
            voluntary_switches: task.voluntary_switches,
        }
    }
}

impl From<&ThreadEnd> for Totals {
    fn from(end: &ThreadEnd) -> Self {
        Totals {
            cpu_ns: end.cpu_ns,
            run_delay_ns: end.run_delay_ns,
            voluntary_switches: 0,
        }
    }
}

/// When the engine looked, ns since boot. `None`: not yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passes {
    /// The first pass: the baseline.
    pub first_ns: Option<u64>,
    /// The pass before the one being read.
    pub last_ns: Option<u64>,
    /// The latest time any input told.
    pub now_ns: u64,
}

impl Passes {
    /// What one thread can have used since the last pass.
    fn limit_ns(&self) -> u64 {
        match self.last_ns {
            Some(last) => self.now_ns.saturating_sub(last).saturating_add(SLACK_NS),
            None => u64::MAX,
        }
    }

    /// The charge for a thread never seen before.
    fn first_sight(&self, start_ns: u64, totals: Totals) -> Totals {
        let (Some(first), Some(last)) = (self.first_ns, self.last_ns) else {
            return Totals::default();
        };
        if start_ns < first {
            Totals::default()
        } else if start_ns >= last {
            totals
        } else {
            // It was there at the last pass and is new all the same: forgotten, or asleep since.
            Totals {
                cpu_ns: totals.cpu_ns.min(self.limit_ns()),
                run_delay_ns: totals.run_delay_ns.min(self.limit_ns()),
                voluntary_switches: 0,
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread {
    pid: u32,
    start_ns: u64,
    last: Totals,
    /// When it began to end; its exact bill is still to come.
    ending_since_ns: Option<u64>,
}

/// One process's account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Sorted by `pid`.
    threads: Vec<Thread>,
    /// Charged so far.
    pub total: Totals,
    /// Charged since the last pass.
    pub interval: Totals,
    /// At least as many threads as are still to be billed exactly.
    ending: usize,
    /// The leader's totals, when a pass showed that another thread took its place before the exec
    /// record said which.
    displaced: Option<Totals>,
    /// The old id of a thread whose exec is already settled although its record is still to come.
    settled: Option<u32>,
    /// Whoever closes the interval knows that there is something to close.
    listed: bool,
}

impl Account {
    /// A pass saw the thread.
    pub fn running(&mut self, process: ProcessKey, task: &Task, passes: &Passes) {
        let totals = Totals::from(task);
        let leader = task.pid == process.tgid;
        if !leader && task.start_boottime_ns == process.start_ns {
            return; // the old leader on its way out: its last record brings the bill
        }
        match self.find(task.pid) {
            Ok(at) if self.threads[at].start_ns == task.start_boottime_ns => {
                let last = self.threads[at].last;
                let delta = totals.since(last);
                let impossible = totals.cpu_ns < last.cpu_ns || delta.cpu_ns > passes.limit_ns();
                self.threads[at].last = totals;
                if leader && impossible && self.threads.len() > 1 && self.displaced.is_none() {
                    self.displaced = Some(last);
                } else {
                    self.charge(delta);
                }
            }
            found => {
                let thread = Thread {
                    pid: task.pid,
                    start_ns: task.start_boottime_ns,
                    last: totals,
                    ending_since_ns: None,
                };
                match found {
                    Ok(at) => self.threads[at] = thread,
                    Err(_) if self.threads.len() >= MAX_THREADS => return,
                    Err(at) => self.insert(at, thread),
                }
                self.charge(passes.first_sight(task.start_boottime_ns, totals));
            }
        }
    }

    /// The thread ends: what is known of its bill, or all of it.
    pub fn ended(&mut self, process: ProcessKey, end: &ThreadEnd, passes: &Passes) {
        let totals = Totals::from(end);
        if end.is_final == 0 {
            self.ending(end, totals, passes);
            return;
        }
        if end.pid != process.tgid && end.start_boottime_ns == process.start_ns {
            self.old_leader_ended(process, end.pid, totals, passes);
            return;
        }
        match self.find(end.pid) {
            Ok(at) if self.threads[at].start_ns == end.start_boottime_ns => {
                let thread = self.threads.remove(at);
                self.charge(totals.since(thread.last));
            }
            _ => self.charge(passes.first_sight(end.start_boottime_ns, totals)),
        }
    }

    fn ending(&mut self, end: &ThreadEnd, totals: Totals, passes: &Passes) {
        let thread = Thread {
            pid: end.pid,
            start_ns: end.start_boottime_ns,
            last: totals,
            ending_since_ns: Some(passes.now_ns),
        };
        match self.find(end.pid) {
            Ok(at) if self.threads[at].start_ns == thread.start_ns => {
                let known = &mut self.threads[at];
                let delta = totals.since(known.last);
                known.last.add(delta);
                known.ending_since_ns = thread.ending_since_ns;
                self.charge(delta);
            }
            found => {
                match found {
                    Ok(at) => self.threads[at] = thread,
                    Err(_) if self.threads.len() >= MAX_THREADS => return,
                    Err(at) => self.insert(at, thread),
                }
                self.charge(passes.first_sight(thread.start_ns, totals));
            }
        }
        self.ending += 1;
    }

    /// Whether it has to be put on the list of those whose interval is to be closed; if so, it is on it from now on.
    pub fn list(&mut self) -> bool {
        let new = !self.listed && self.is_open();
        self.listed |= new;
        new
    }

    /// Whether it stays on that list after the pass: it waits for bills that may never come.
    pub fn stays_listed(&mut self) -> bool {
        self.listed = self.is_open();
        self.listed
    }

    fn is_open(&self) -> bool {
        self.ending > 0 || self.interval != Totals::default()
    }

    /// The pass is over: gives what was charged since the last one, and forgets threads whose exact
    /// bill never came.
    pub fn close_interval(&mut self, now_ns: u64) -> Totals {
        let used = std::mem::take(&mut self.interval);
        if self.ending == 0 {
            return used;
        }
        let old_ns = now_ns.saturating_sub(BILL_AWAITED_NS);
        self.threads
            .retain(|thread| thread.ending_since_ns.is_none_or(|since| since > old_ns));
        let ending = self
            .threads
            .iter()
            .filter(|thread| thread.ending_since_ns.is_some());
        self.ending = ending.count();
        used
    }

    fn old_leader_ended(&mut self, process: ProcessKey, pid: u32, totals: Totals, passes: &Passes) {
        if let Some(at) = self.swapped(process, pid) {
            let thread = self.threads.remove(at);
            self.charge(totals.since(thread.last));
            return;
        }
        // The exec record is still to come: settle the swap here.
        match self.swap(process, pid, passes) {
            Some(leader) => self.charge(totals.since(leader)),
            None => self.charge(passes.first_sight(process.start_ns, totals)),
        }
        self.settled = Some(pid);
    }

    /// The thread `old_pid` called `execve` and is now the leader.
    pub fn exec_by(&mut self, process: ProcessKey, old_pid: u32, passes: &Passes) {
        if old_pid == process.tgid || old_pid == 0 {
            return;
        }
        if self.settled == Some(old_pid) {
            self.settled = None;
            return;
        }
        if self.swapped(process, old_pid).is_some() {
            return;
        }
        if let Some(leader) = self.swap(process, old_pid, passes) {
            let thread = Thread {
                pid: old_pid,
                start_ns: process.start_ns,
                last: leader,
                ending_since_ns: Some(passes.now_ns),
            };
            self.ending += 1;
            match self.find(old_pid) {
                Ok(at) => self.threads[at] = thread,
                Err(at) => self.insert(at, thread),
            }
        }
    }

    /// Gives the leader's entry to the thread that called exec; returns the old leader's totals.
    fn swap(&mut self, process: ProcessKey, old_pid: u32, passes: &Passes) -> Option<Totals> {
        let caller = match self.find(old_pid) {
            Ok(at) => self.threads.remove(at).last,
            Err(_) => Totals::default(),
        };
        let at = self.find(process.tgid).ok();
        match (self.displaced.take(), at) {
            (Some(leader), Some(at)) => {
                // The pass already showed the caller under the leader's id.
                let delta = self.threads[at].last.since(caller);
                self.charge(Totals {
                    cpu_ns: delta.cpu_ns.min(passes.limit_ns()),
                    run_delay_ns: delta.run_delay_ns.min(passes.limit_ns()),
                    voluntary_switches: 0,
                });
                Some(leader)
            }
            (None, Some(at)) => {
                self.threads[at].ending_since_ns = None;
                Some(std::mem::replace(&mut self.threads[at].last, caller))
            }
            (displaced, None) => displaced,
        }
    }

    /// Where the old leader waits under the caller's old id.
    fn swapped(&self, process: ProcessKey, old_pid: u32) -> Option<usize> {
        let at = self.find(old_pid).ok()?;
        (self.threads[at].start_ns == process.start_ns).then_some(at)
    }

    /// Threads remembered.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    fn insert(&mut self, at: usize, thread: Thread) {
        if self.threads.is_empty() {
            self.threads.reserve_exact(1); // most processes have one, and room for four would be 224 bytes
        }
        self.threads.insert(at, thread);
    }

    fn find(&self, pid: u32) -> Result<usize, usize> {
        self.threads.binary_search_by_key(&pid, |thread| thread.pid)
    }

    fn charge(&mut self, delta: Totals) {
        self.total.add(delta);
        self.interval.add(delta);
    }
}
