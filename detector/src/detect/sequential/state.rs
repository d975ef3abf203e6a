//! How long a scope has been busy or idle: the condition under which the next second is judged.

/// Ages of busy runs that are told apart: 1, 2–3, 4–7, … 2,048 s and more.
pub const BUSY: usize = 12;
/// Ages of idle gaps: 1, 2–3, … 32–63 s. After a longer gap a busy second is news for everybody.
pub const IDLE: usize = 6;
/// All conditions that are learned.
// mutate: the sum of the two above, which are tried
pub const CONDITIONS: usize = BUSY + IDLE;

/// A busy run or an idle gap, and its length so far in s (at least 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Busy or idle.
    pub busy: bool,
    /// Length, s.
    pub age_s: u32,
}

impl Run {
    /// Idle for longer than anybody remembers.
    pub const LONG_IDLE: Run = Run {
        busy: false,
        age_s: u32::MAX,
    };

    /// Which condition it is; `None`: idle for more than a minute.
    pub fn condition(self) -> Option<usize> {
        let bucket = self.age_s.max(1).ilog2() as usize;
        if self.busy {
            Some(bucket.min(BUSY - 1))
        } else {
            (bucket < IDLE).then_some(BUSY + bucket)
        }
    }

    /// The run after another second.
    pub fn next(self, busy: bool) -> Run {
        if busy == self.busy {
            Run {
                busy,
                age_s: self.age_s.saturating_add(1),
            }
        } else {
            Run { busy, age_s: 1 }
        }
    }
}

/// Seconds of a run of `length_s` that were spent in busy condition `bucket`, and after which it went on.
pub fn seconds_in(bucket: usize, length_s: u32) -> u32 {
    let first = 1_u32 << bucket;
    let last = if bucket + 1 >= BUSY {
        u32::MAX
    } else {
        (first << 1) - 1
    };
    length_s.min(last).saturating_sub(first - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_double_and_long_idleness_is_one_thing() {
        let busy = |age_s| Run { busy: true, age_s }.condition();
        let idle = |age_s| Run { busy: false, age_s }.condition();
        assert_eq!(
            [1, 2, 3, 4, 7, 8, 2_047, 2_048, 99_999].map(busy),
            [
                Some(0),
                Some(1),
                Some(1),
                Some(2),
                Some(2),
                Some(3),
                Some(10),
                Some(11),
                Some(11)
            ]
        );
        assert_eq!(
            [1, 32, 63, 64].map(idle),
            [Some(12), Some(17), Some(17), None]
        );
        assert_eq!(Run::LONG_IDLE.condition(), None);
    }

    #[test]
    fn a_run_is_divided_among_its_ages() {
        let parts: Vec<u32> = (0..BUSY).map(|bucket| seconds_in(bucket, 20)).collect();
        assert_eq!(parts, [1, 2, 4, 8, 5, 0, 0, 0, 0, 0, 0, 0]);
        let total: u32 = (0..BUSY).map(|bucket| seconds_in(bucket, 100_000)).sum();
        assert_eq!(total, 100_000);
    }
}
