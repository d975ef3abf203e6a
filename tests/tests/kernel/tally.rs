//! Records counted by kind: what was produced must be what was seen and what is declared lost.

use std::time::Instant;

use detector::{
    input::Loss,
    source::{decode::Record, scan::Clock},
};
use detector_common::counter::Counter;

use crate::{program::soon, watch::Watch};

/// What a watch saw of each kind between two moments, and what it says it lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub exec: u64,
    pub fork: u64,
    pub exit: u64,
    pub thread_end: u64,
    pub connection: u64,
}

impl Tally {
    fn zip(self, other: Tally, with: impl Fn(u64, u64) -> u64) -> Tally {
        Tally {
            exec: with(self.exec, other.exec),
            fork: with(self.fork, other.fork),
            exit: with(self.exit, other.exit),
            thread_end: with(self.thread_end, other.thread_end),
            connection: with(self.connection, other.connection),
        }
    }
}

impl Tally {
    /// Ends of processes and of threads together. Two threads of one process that end at once may each be taken for the
    /// last, and two watches need not agree on which was: a thread's end in the one is a process's in the other.
    pub fn ends_together(self) -> Tally {
        Tally {
            exit: self.exit + self.thread_end,
            thread_end: 0,
            ..self
        }
    }

    /// How many there are of the one and not of the other, of all kinds.
    fn apart(self, other: Tally) -> u64 {
        let Tally {
            exec,
            fork,
            exit,
            thread_end,
            connection,
        } = self.zip(other, u64::abs_diff);
        exec + fork + exit + thread_end + connection
    }
}

impl std::ops::Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        self.zip(other, |a, b| a + b)
    }
}

impl std::ops::Sub for Tally {
    type Output = Tally;

    fn sub(self, other: Tally) -> Tally {
        self.zip(other, |a, b| a - b)
    }
}

/// A counter for each kind.
pub type Counters = [Counter; 5];

/// The ring was full.
pub const DROPPED: Counters = [
    Counter::ExecDropped,
    Counter::ForkDropped,
    Counter::ExitDropped,
    Counter::ThreadEndDropped,
    Counter::ConnectionDropped,
];

/// What a watch says it lost since it was loaded.
pub fn losses(watch: &Watch, counters: Counters) -> Tally {
    let [exec, fork, exit, thread_end, connection] = counters.map(|counter| watch.lost(counter));
    Tally {
        exec,
        fork,
        exit,
        thread_end,
        connection,
    }
}

/// How many of that name there are among losses.
pub fn count_of(losses: &[Loss], class: &str) -> u64 {
    let mut losses = losses.iter();
    losses
        .find(|loss| loss.class == class)
        .map_or(0, |loss| loss.count)
}

/// What a watch saw of each kind from `after` until `before`, ns since boot.
fn tally(watch: &Watch, after: u64, before: u64) -> Tally {
    let mut tally = Tally {
        exec: 0,
        fork: 0,
        exit: 0,
        thread_end: 0,
        connection: 0,
    };
    for record in &watch.records {
        let count = match record {
            Record::Exec(_) => &mut tally.exec,
            Record::Fork(_) => &mut tally.fork,
            Record::Exit(_) => &mut tally.exit,
            Record::ThreadEnd(_) => &mut tally.thread_end,
            Record::Connection(_) => &mut tally.connection,
            // Nobody is watched.
            Record::Payload(_) => continue,
        };
        *count += u64::from((after..before).contains(&record.at_ns()));
    }
    tally
}

/// Two watches at one moment.
#[derive(Debug)]
pub struct Cut {
    /// What the first one saw.
    pub seen: Tally,
    /// What it says that it lost.
    pub lost: Tally,
    /// What the second one saw, whose rings were large enough.
    pub produced: Tally,
    /// Runs of a probe of either that the kernel says it left out since the watch began: it runs none inside itself.
    pub missed: u64,
}

impl Cut {
    /// What was seen and what was lost is what was produced, to the record, but for what the kernel says it left out.
    pub fn is_whole(&self) -> bool {
        let (found, produced) = (self.seen + self.lost, self.produced);
        let apart = found.ends_together().apart(produced.ends_together());
        apart <= self.missed
    }

    /// Fails unless it is.
    pub fn assert_whole(&self) {
        assert!(self.is_whole(), "{self:?}");
    }
}

/// What two watches say of the time since `after`, when the first had lost `lost_before`. Threads are freed some
/// milliseconds after they end, on a slow machine long after: one that is freed between a look at the one watch and the
/// other makes the cut a bad one, and another is made.
pub fn cut(
    small: &mut Watch,
    large: &mut Watch,
    counters: Counters,
    lost_before: Tally,
    after: u64,
) -> Cut {
    let deadline = soon();
    loop {
        let before = Clock::now().boot_ns;
        let lost = losses(small, counters) - lost_before;
        small.drain();
        large.drain();
        let cut = Cut {
            seen: tally(small, after, before),
            lost,
            produced: tally(large, after, before),
            missed: [&mut *small, large]
                .map(|watch| watch.missed_runs().unwrap_or(0))
                .iter()
                .sum(),
        };
        if cut.is_whole() || Instant::now() > deadline {
            return cut;
        }
    }
}
