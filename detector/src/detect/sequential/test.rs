//! One scope's test: the run it is in, the score, the alarm and its end.

use super::{model::Model, state::Run};

/// What a step changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing worth telling.
    None,
    /// The alarm began.
    Opened,
    /// The alarm is over; the busy part of the episode took this long, s.
    Closed {
        /// Length, s.
        busy_s: u32,
    },
}

/// The state of one scope.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    run: Run,
    score: f64,
    /// When the score left zero, ns since boot: the likeliest onset.
    since_ns: u64,
    last_busy_ns: u64,
    /// The last 64 seconds, the latest in bit 0; set: busy.
    history: u64,
    /// Share of busy seconds over the long window, exponentially weighted (0–1); 1 when the alarm begins.
    long: f64,
    open: bool,
}

/// How an alarm ends: at most this many of the last `clear_s` seconds were busy,
const STILL_QUIET: u32 = 1;
/// and fewer than this share over the long window: one window would flap with a load that comes and goes.
const LONG_QUIET: f64 = 0.25;
/// The long window is at least this many short ones,
const LONG: f64 = 1.5;
/// a quarter of the episode: what took an hour is not over after a minute,
const LONG_PART: f64 = 0.25;
/// and at most this, s.
const LONGEST_S: f64 = 600.0;

impl Test {
    /// Idle for ever.
    pub fn new() -> Test {
        Test {
            run: Run::LONG_IDLE,
            score: 0.0,
            since_ns: 0,
            last_busy_ns: 0,
            history: 0,
            long: 0.0,
            open: false,
        }
    }

    /// The run so far.
    pub fn run(&self) -> Run {
        self.run
    }

    /// Whether the alarm is on.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The likeliest onset of what goes on, ns since boot.
    pub fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// The score, nats.
    pub fn score(&self) -> f64 {
        self.score
    }

    /// From the likeliest onset to the last busy second, s.
    pub fn busy_s(&self) -> u32 {
        let busy_ns = self.last_busy_ns.saturating_sub(self.since_ns);
        u32::try_from(busy_ns / 1_000_000_000).unwrap_or(u32::MAX)
    }

    /// Nothing is left to remember.
    pub fn is_spent(&self) -> bool {
        !self.open && self.score <= 0.0 && self.run.condition().is_none()
    }

    /// Takes a look at `[at_ns - elapsed_s, at_ns]`. `p` is the probability that it would be busy, `h` the
    /// threshold, `clear_s` the short window of the end. A look of more than a second is one look; of less,
    /// a part of one.
    pub fn step(&mut self, model: &Model, busy: bool, p: f64, look: Look) -> Change {
        let gain = if busy {
            (model.q / p).ln()
        } else {
            ((1.0 - model.q) / (1.0 - p)).ln()
        };
        if self.score <= 0.0 && !self.open {
            self.since_ns = look.at_ns.saturating_sub(look.elapsed_ns);
        }
        // Bounded: a fault that lasted for hours must not take as long to be forgotten.
        self.score = (self.score + gain * look.weight()).clamp(0.0, look.h);
        self.run = self.run.next(busy);
        self.history = self.history << 1 | u64::from(busy);
        if busy {
            self.last_busy_ns = look.at_ns;
        }
        if !self.open && busy && self.score >= look.h {
            self.open = true;
            self.long = 1.0;
            return Change::Opened;
        }
        if self.open && self.is_quiet(look.clear_s) {
            let busy_s = self.busy_s();
            self.close();
            return Change::Closed { busy_s };
        }
        Change::None
    }

    /// Ends the alarm, whatever the windows say: the culprit is gone.
    pub fn close(&mut self) {
        self.open = false;
        self.score = 0.0;
    }

    fn is_quiet(&mut self, clear_s: u32) -> bool {
        let window_s =
            (f64::from(self.busy_s()) * LONG_PART).clamp(f64::from(clear_s) * LONG, LONGEST_S);
        let busy = f64::from(u8::from(self.run.busy));
        self.long += (busy - self.long) / window_s;
        let mask = u64::MAX
            .checked_shr(64_u32.saturating_sub(clear_s))
            .unwrap_or(u64::MAX);
        let short = (self.history & mask).count_ones();
        !self.run.busy && short <= STILL_QUIET && self.long < LONG_QUIET
    }
}

impl Default for Test {
    fn default() -> Self {
        Test::new()
    }
}

/// When a test looks, and by what it judges.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Now, ns since boot.
    pub at_ns: u64,
    /// Since the look before, ns.
    pub elapsed_ns: u64,
    /// The score that is an alarm.
    pub h: f64,
    /// The short window of the end, s (1–21).
    pub clear_s: u32,
}

impl Look {
    #[expect(clippy::cast_precision_loss, reason = "seconds of a short interval")]
    fn weight(&self) -> f64 {
        (self.elapsed_ns as f64 / 1e9).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{budget::threshold, model::SATURATION},
        *,
    };

    const SECOND: u64 = 1_000_000_000;

    fn look(second: u64) -> Look {
        Look {
            at_ns: second * SECOND,
            elapsed_ns: SECOND,
            h: threshold(300, 1.0),
            clear_s: 10,
        }
    }

    /// Seconds until the alarm when nobody has a history.
    fn steps(model: &Model, pattern: impl Fn(u64) -> bool) -> Option<u64> {
        let mut test = Test::new();
        (1..=3_600).find(|second| {
            let p = if test.run().busy {
                model.p_busy
            } else {
                model.p_idle
            };
            test.step(model, pattern(*second), p, look(*second)) == Change::Opened
        })
    }

    #[test]
    fn without_history_ten_busy_seconds_are_an_alarm() {
        assert_eq!(steps(&SATURATION, |_| true), Some(10));
        assert_eq!(steps(&super::super::model::STEAL, |_| true), Some(19));
        assert_eq!(steps(&super::super::model::STORM, |_| true), Some(15));
        assert_eq!(steps(&super::super::model::STEADY, |_| true), Some(101));
    }

    #[test]
    fn whatever_was_learned_before_the_third_day_two_minutes_are_an_alarm() {
        let until = |model: &Model| {
            let mut test = Test::new();
            (1..=3_600)
                .find(|second| test.step(model, true, model.p_max, look(*second)) == Change::Opened)
        };
        assert_eq!(until(&SATURATION), Some(120));
        assert_eq!(until(&super::super::model::STEADY), Some(201));
    }

    #[test]
    fn a_confirmed_habit_never_adds_up() {
        let mut test = Test::new();
        for second in 1..=100_000 {
            let change = test.step(&SATURATION, true, SATURATION.p_confirmed, look(second));
            assert_eq!((change, test.score()), (Change::None, 0.0));
        }
    }

    #[test]
    fn one_second_in_six_may_be_idle_and_every_other_takes_minutes() {
        assert_eq!(steps(&SATURATION, |second| second % 6 != 0), Some(14));
        assert_eq!(steps(&SATURATION, |second| second % 2 == 0), Some(460));
    }

    #[test]
    fn the_onset_is_when_the_score_left_zero() {
        let mut test = Test::new();
        for second in 1..=30 {
            let _ = test.step(&SATURATION, second > 20, 0.12, look(second));
        }
        assert_eq!(test.since_ns(), 20 * SECOND);
        assert!(test.is_open());
    }

    #[test]
    fn a_long_look_is_one_look_and_a_short_one_a_part() {
        let alarm = |elapsed_ns: u64| {
            let mut test = Test::new();
            (1..=1_000).find(|n| {
                let look = Look {
                    elapsed_ns,
                    ..look(*n)
                };
                test.step(&SATURATION, true, 0.12, look) == Change::Opened
            })
        };
        assert_eq!(
            (alarm(SECOND), alarm(60 * SECOND), alarm(SECOND / 10)),
            (Some(10), Some(10), Some(99))
        );
    }

    fn episode(
        test: &mut Test,
        from: u64,
        to: u64,
        busy: impl Fn(u64) -> bool,
    ) -> Vec<(u64, Change)> {
        (from..to)
            .map(|second| {
                (
                    second,
                    test.step(&SATURATION, busy(second), 0.12, look(second)),
                )
            })
            .filter(|(_, change)| *change != Change::None)
            .collect()
    }

    #[test]
    fn an_alarm_ends_when_both_windows_are_quiet_and_does_not_flap() {
        let mut test = Test::new();
        let all = |_| true;
        let none = |_| false;
        assert_eq!(episode(&mut test, 0, 60, all), [(9, Change::Opened)]);
        assert_eq!(
            episode(&mut test, 60, 69, none),
            [],
            "nine seconds of silence"
        );
        assert_eq!(episode(&mut test, 69, 100, all), []);
        let third = |second| second % 3 == 0;
        assert_eq!(
            episode(&mut test, 100, 1_000, third),
            [],
            "a third of the time"
        );
        assert_eq!(
            episode(&mut test, 1_000, 2_000, |second| second % 40 < 2),
            [(1_094, Change::Closed { busy_s: 1_081 })]
        );
    }

    #[test]
    fn what_was_short_is_over_soon_and_what_was_long_is_not() {
        for (busy_s, quiet_s) in [(12, 21), (100, 34), (1_000, 346), (100_000, 832)] {
            let mut test = Test::new();
            let _opened = episode(&mut test, 1, busy_s + 1, |_| true);
            let closed = episode(&mut test, busy_s + 1, busy_s + 2_000, |_| false);
            assert_eq!(
                closed.first().map(|(at, _)| at - busy_s),
                Some(quiet_s),
                "{busy_s}"
            );
        }
    }

    #[test]
    fn one_busy_second_of_ten_is_quiet_and_two_are_not() {
        let closes = |every: u64| {
            let mut test = Test::new();
            let _opened = episode(&mut test, 1, 21, |_| true);
            !episode(&mut test, 21, 1_000, |second| second % every == 0).is_empty()
        };
        assert_eq!([10, 5].map(closes), [true, false]);
    }
}
