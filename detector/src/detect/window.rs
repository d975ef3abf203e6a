//! Sliding windows of CPU use and waiting, one sample per pass, for whoever matters.
//!
//! A window is opened by a sample above a floor and dropped when its last sample fell out, so there
//! are few: at 5 % of the host at most twenty can begin per pass for CPU; those that only wait are
//! capped.

use std::{collections::VecDeque, hash::Hash};

use super::{cpu::Totals, hash::Map, size::Size};

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

/// The last samples of one subject, oldest first, and their sum.
#[derive(Clone, Debug, Default)]
pub struct Window {
    samples: VecDeque<Sample>,
    mean: Mean,
    /// How many of them matter.
    mattering: usize,
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
        self.mean
    }

    fn push(&mut self, sample: Sample, length: usize) {
        if self.samples.len() >= length
            && let Some(oldest) = self.samples.pop_front()
        {
            self.mean.remove(oldest);
            self.mattering -= usize::from(oldest.matters());
        }
        self.mean.add(sample);
        self.mattering += usize::from(sample.matters());
        self.samples.push_back(sample);
    }

    /// What was taken for an idle pass was another one.
    fn correct(&mut self, sample: Sample) {
        if let Some(idle) = self.samples.back_mut() {
            self.mean.used.add(sample.used);
            self.mattering += usize::from(sample.matters());
            self.mattering -= usize::from(idle.matters());
            *idle = sample;
        }
    }
}

impl Mean {
    fn add(&mut self, sample: Sample) {
        self.used.add(sample.used);
        self.capacity_ns = self.capacity_ns.saturating_add(sample.pass.capacity_ns());
        self.elapsed_ns = self.elapsed_ns.saturating_add(sample.pass.elapsed_ns);
        self.passes += 1;
    }

    fn remove(&mut self, sample: Sample) {
        self.used = self.used.since(sample.used);
        self.capacity_ns = self.capacity_ns.saturating_sub(sample.pass.capacity_ns());
        self.elapsed_ns = self.elapsed_ns.saturating_sub(sample.pass.elapsed_ns);
        self.passes -= 1;
    }
}

/// Windows by subject.
#[derive(Debug)]
pub struct Windows<K> {
    map: Map<K, Window>,
    /// The keys, in order.
    order: Vec<K>,
    /// Of the pass that is being closed: who is new and matters.
    new: Vec<(K, Totals)>,
    length: usize,
}

impl<K: Copy + Eq + Hash + Ord> Windows<K> {
    /// No windows yet, each of `length` passes.
    pub fn new(length: usize) -> Windows<K> {
        Windows {
            map: Map::default(),
            order: Vec::new(),
            new: Vec::new(),
            length: length.max(1),
        }
    }

    /// One subject's window.
    pub fn get(&self, key: K) -> Option<&Window> {
        self.map.get(&key)
    }

    /// How full it is: those that only wait fill it up, and twenty that are busy may begin in each pass.
    pub fn size(&self, table: &'static str) -> Size {
        Size::of(table, self.map.len(), MAX_WINDOWS + 20 * self.length)
    }

    /// All, by key.
    pub fn sorted(&self) -> impl Iterator<Item = (K, &Window)> {
        let window = |key: &K| Some((*key, self.map.get(key)?));
        self.order.iter().filter_map(window)
    }

    /// Adds a pass: what each subject used in it, each once. Subjects that are missing used nothing.
    pub fn close(&mut self, pass: Pass, used: impl Iterator<Item = (K, Totals)>) {
        let length = self.length;
        for window in self.map.values_mut() {
            let used = Totals::default();
            window.push(Sample { used, pass }, length);
        }
        for (key, used) in used {
            let sample = Sample { used, pass };
            match self.map.get_mut(&key) {
                Some(window) => window.correct(sample),
                None if sample.matters() => self.new.push((key, used)),
                None => {}
            }
        }
        let before = self.map.len();
        self.map.retain(|_, window| window.mattering > 0);
        let changes = self.map.len() < before || !self.new.is_empty();
        self.new
            .sort_unstable_by_key(|(key, used)| (std::cmp::Reverse(used.cpu_ns), *key));
        for (key, used) in self.new.drain(..) {
            let sample = Sample { used, pass };
            if self.map.len() >= MAX_WINDOWS && !sample.is_busy() {
                break; // sorted by CPU time: only those that merely wait are left
            }
            self.map.entry(key).or_default().push(sample, length);
        }
        if changes {
            self.order.clear();
            self.order.extend(self.map.keys());
            self.order.sort_unstable();
        }
    }
}
