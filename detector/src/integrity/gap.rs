//! Whether the loop was kept from running.
//!
//! Passes come once a second. When one is late, either the loop worked or waited for a CPU, which the scheduler counts
//! (load); or a stop signal was on it, which ends by SIGCONT (somebody's doing); or neither, and then a frozen cgroup, a
//! debugger, a disk that hangs and a paused machine look alike from inside. A machine that was suspended makes no gap:
//! the clock that is used stands still meanwhile.

/// Later than this, and a stop signal is told, ns: shorter ones blind nobody, the rings hold that long.
const STOPPED_NS: u64 = 2_000_000_000;
/// Later than this, and it is told without one, ns.
const ABSENT_NS: u64 = 5_000_000_000;

/// One pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// `CLOCK_MONOTONIC`, ns.
    pub monotonic_ns: u64,
    /// CPU time of the loop's thread, ns.
    pub cpu_ns: u64,
    /// Time it was runnable and waited, ns; `None`: this kernel does not tell.
    pub waited_ns: Option<u64>,
}

/// Why a pass was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// By a stop signal: for so long, ns.
    Stopped(u64),
    /// Nobody knows: for so long, ns.
    Absent(u64),
    /// By load: for so long, ns.
    Starved(u64),
}

/// Watches passes.
#[derive(Debug, Default)]
pub struct Gaps {
    last: Option<Moment>,
    /// A gap, and how much of it load explains, ns. Judged one pass later: the signal that explains it may be told
    /// after the timer.
    held: Option<(u64, u64)>,
    continued: bool,
}

impl Gaps {
    /// SIGCONT arrived.
    pub fn continued(&mut self) {
        self.continued = true;
    }

    /// A pass, due `period_ns` after the last one.
    pub fn pass(&mut self, now: Moment, period_ns: u64) -> Option<Gap> {
        let judged = self.held.take().and_then(|(late, explained)| {
            if explained >= late / 2 {
                return Some(Gap::Starved(late));
            }
            match self.continued {
                true => Some(Gap::Stopped(late)),
                false => (late >= ABSENT_NS).then_some(Gap::Absent(late)),
            }
        });
        let last = self.last.replace(now);
        if let Some(last) = last {
            let late = now
                .monotonic_ns
                .saturating_sub(last.monotonic_ns)
                .saturating_sub(period_ns);
            let worked = now.cpu_ns.saturating_sub(last.cpu_ns);
            let waited = now.waited_ns.zip(last.waited_ns);
            let waited = waited.map_or(0, |(now, last)| now.saturating_sub(last));
            if late >= STOPPED_NS {
                self.held = Some((late, worked + waited));
            }
        }
        if self.held.is_none() {
            self.continued = false;
        }
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// Passes at these seconds of (clock, CPU, waiting); SIGCONT before the pass of that number.
    fn told(passes: &[(u64, u64, u64)], continued: Option<usize>) -> Vec<(usize, Gap)> {
        let mut gaps = Gaps::default();
        let mut told = Vec::new();
        for (number, &(clock, cpu, waited)) in passes.iter().enumerate() {
            if continued == Some(number) {
                gaps.continued();
            }
            let now = Moment {
                monotonic_ns: clock * S,
                cpu_ns: cpu * S,
                waited_ns: Some(waited * S),
            };
            told.extend(gaps.pass(now, S).map(|gap| (number, gap)));
        }
        told
    }

    #[test]
    fn stop_is_told_whether_the_signal_or_the_timer_is_seen_first() {
        let passes = [(1, 0, 0), (2, 0, 0), (7, 0, 0), (8, 0, 0), (9, 0, 0)];
        for first in [2, 3] {
            assert_eq!(told(&passes, Some(first)), [(3, Gap::Stopped(4 * S))]);
        }
    }

    #[test]
    fn signal_without_a_gap_and_a_gap_long_after_one_are_no_stop() {
        let even = [(1, 0, 0), (2, 0, 0), (3, 0, 0)];
        assert_eq!(told(&even, Some(1)), []);
        let late = [(1, 0, 0), (2, 0, 0), (3, 0, 0), (13, 0, 0), (14, 0, 0)];
        assert_eq!(told(&late, Some(1)), [(4, Gap::Absent(9 * S))]);
    }

    #[test]
    fn load_explains_a_gap_by_work_or_by_waiting() {
        for explained in [(20, 12, 0), (20, 0, 12), (20, 6, 5)] {
            let next = (21, explained.1, explained.2);
            assert_eq!(
                told(&[(1, 0, 0), explained, next], None),
                [(2, Gap::Starved(18 * S))]
            );
        }
    }

    #[test]
    fn short_gaps_are_nothing() {
        assert_eq!(told(&[(1, 0, 0), (3, 0, 0), (4, 0, 0)], Some(1)), []);
        // Long enough for a signal, too short without.
        assert_eq!(told(&[(1, 0, 0), (6, 0, 0), (7, 0, 0)], None), []);
    }

    #[test]
    fn kernel_that_does_not_tell_waiting_is_believed_to_have_made_none_wait() {
        let mut gaps = Gaps::default();
        let at = |s| Moment {
            monotonic_ns: s * S,
            ..Moment::default()
        };
        let told = [1, 9, 10].map(|s| gaps.pass(at(s), S));
        assert_eq!(told, [None, None, Some(Gap::Absent(7 * S))]);
    }
}
