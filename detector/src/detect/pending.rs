//! Images whose verdict waits for facts.
//!
//! Bounded; of the oldest one whose process has ended goes first, else the oldest, and that is counted: a flood of short
//! programs must not push out the verdict on what runs on. An entry ends when the facts are there or after a
//! minute; at the deadline its verdict is given on what the kernel told.

use std::{collections::VecDeque, sync::Arc};

use super::{config::Config, size::Size};
use crate::{
    incident::FindingType,
    input::{Exec, ProcessKey},
};

/// Most images that wait.
const MAX: usize = 1_024;
/// How many of the oldest are looked through for one that nobody runs any more.
const LOOKED_THROUGH: usize = 64;
/// How long late facts are still waited for, ns.
const KEEP_NS: u64 = 60_000_000_000;

/// One image that waits.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Who runs it.
    pub process: ProcessKey,
    /// What.
    pub image: Arc<Exec>,
    /// Since when, ns since boot.
    pub since_ns: u64,
    /// The verdict on kernel facts alone was given.
    pub late: bool,
    /// What was said already.
    pub said: Vec<FindingType>,
}

impl Pending {
    /// Facts have been waited for long enough.
    pub fn is_late(&self, now_ns: u64, config: &Config) -> bool {
        let deadline_ns = config.facts_deadline_ms.saturating_mul(1_000_000);
        now_ns >= self.since_ns.saturating_add(deadline_ns)
    }

    /// Nobody will answer any more.
    pub fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.since_ns.saturating_add(KEEP_NS)
    }
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Pending>,
    /// Images that were given up because too many waited.
    pub dropped: u64,
}

impl Queue {
    /// How full it is.
    pub fn size(&self) -> Size {
        Size::of("images that wait", self.waiting.len(), MAX)
    }

    /// Adds one; `runs` says whether a process still does.
    pub fn push(&mut self, pending: Pending, runs: impl Fn(ProcessKey) -> bool) {
        if self.waiting.len() >= MAX {
            let mut oldest = self.waiting.iter().take(LOOKED_THROUGH);
            let ended = oldest.position(|pending| !runs(pending.process));
            self.waiting.remove(ended.unwrap_or(0));
            self.dropped += 1;
        }
        self.waiting.push_back(pending);
    }

    /// Takes out those for which `due` holds, oldest first.
    pub fn take(&mut self, due: impl Fn(&Pending) -> bool) -> Vec<Pending> {
        if !self.waiting.iter().any(&due) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        self.waiting.retain(|pending| {
            let due = due(pending);
            if due {
                taken.push(pending.clone());
            }
            !due
        });
        taken
    }
}
