//! Sliding windows of CPU use and waiting, one sample per pass, for whoever matters.
//!
//! A window is opened by a sample above a floor and dropped when its last sample fell out, so there
//! are few: at 5 % of the host at most twenty can begin per pass for CPU; those that only wait are
//! capped.

use std::{collections::VecDeque, hash::Hash};

use super::{cpu::Totals, hash::Map};

/// Most windows of one kind.
const MAX_WINDOWS: usize = 1_024;

/// One pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// Time since the pass before, ns.
    pub elapsed_ns: u64,
    /// CPUs online.
    pub cpus: u32,
}

impl Pass {
    /// CPU time there was, ns.
    pub fn capacity_ns(self) -> u64 {
        self.elapsed_ns.saturating_mul(u64::from(self.cpus))
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    used: Totals,
    pass: Pass,
}

impl Sample {
    /// At least 5 % of all CPUs.
    fn is_busy(&self) -> bool {
        self.used.cpu_ns >= self.pass.capacity_ns() / 20
    }

    /// Busy, or waiting for at least 5 % of the time.
    fn matters(&self) -> bool {
        self.is_busy() || self.used.run_delay_ns >= self.pass.elapsed_ns / 20
    }
}

/// The last samples of one subject, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Window {
    samples: VecDeque<Sample>,
}

/// What a window says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    /// CPU time, ns.
    pub used: Totals,
    /// CPU time there was, ns.
    pub capacity_ns: u64,
    /// Length, ns.
    pub elapsed_ns: u64,
    /// Passes.
    pub passes: usize,
}

impl Mean {
    /// Share of all CPUs (0–1).
    pub fn host_share(&self) -> f64 {
        share(self.used.cpu_ns, self.capacity_ns)
    }

    /// CPUs used.
    pub fn cores(&self) -> f64 {
        share(self.used.cpu_ns, self.elapsed_ns)
    }

    /// Share of the time it wanted to run in which it had to wait.
    pub fn run_delay_share(&self) -> f64 {
        let wanted = self.used.run_delay_ns.saturating_add(self.used.cpu_ns);
        share(self.used.run_delay_ns, wanted)
    }
}

/// `part / whole`, 0 for an empty whole.
#[expect(
    clippy::cast_precision_loss,
    reason = "shares of ns totals; 53 bits hold 104 days of ns exactly"
)]
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

impl Window {
    /// Sums up.
    pub fn mean(&self) -> Mean {
        let mut mean = Mean::default();
        for sample in &self.samples {
            mean.used.add(sample.used);
            mean.capacity_ns += sample.pass.capacity_ns();
            mean.elapsed_ns += sample.pass.elapsed_ns;
            mean.passes += 1;
        }
        mean
    }
}

/// Windows by subject.
#[derive(Debug)]
pub struct Windows<K> {
    map: Map<K, Window>,
    length: usize,
}

impl<K: Copy + Eq + Hash + Ord> Windows<K> {
    /// No windows yet, each of `length` passes.
    pub fn new(length: usize) -> Windows<K> {
        Windows {
            map: Map::default(),
            length: length.max(1),
        }
    }

    /// One subject's window.
    pub fn get(&self, key: K) -> Option<&Window> {
        self.map.get(&key)
    }

    /// All, by key.
    pub fn sorted(&self) -> Vec<(K, &Window)> {
        let mut all: Vec<_> = self
            .map
            .iter()
            .map(|(key, window)| (*key, window))
            .collect();
        all.sort_by_key(|(key, _)| *key);
        all
    }

    /// Adds a pass: what each subject used in it. Subjects that are missing used nothing.
    pub fn close(&mut self, pass: Pass, used: &Map<K, Totals>) {
        let length = self.length;
        self.map.retain(|key, window| {
            let used = used.get(key).copied().unwrap_or_default();
            window.samples.push_back(Sample { used, pass });
            if window.samples.len() > length {
                window.samples.pop_front();
            }
            window.samples.iter().any(Sample::matters)
        });
        let mut new: Vec<_> = used
            .iter()
            .map(|(key, used)| (*key, *used))
            .filter(|(key, used)| {
                Sample { used: *used, pass }.matters() && !self.map.contains_key(key)
            })
            .collect();
        new.sort_by_key(|(key, used)| (std::cmp::Reverse(used.cpu_ns), *key));
        for (key, used) in new {
            if self.map.len() >= MAX_WINDOWS && !(Sample { used, pass }).is_busy() {
                break; // sorted by CPU time: only those that merely wait are left
            }
            let samples = VecDeque::from([Sample { used, pass }]);
            self.map.insert(key, Window { samples });
        }
    }
}
