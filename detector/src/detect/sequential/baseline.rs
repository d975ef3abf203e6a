//! What is known about one identity: how probable it is that it goes on, or begins, to be busy.
//!
//! Counts per condition ([`super::state`]) with an assumed prior of [`PRIOR_S`] seconds, shifted by what the hour of
//! the week adds to the odds, which is itself shrunk towards the whole week. Days are learned whole: today's
//! counts wait until the day after tomorrow, then join, weighted at most [`MAX_DAY_S`] per condition, while
//! what was known fades by a tenth. So nothing can be trained within hours, and a week is most of the memory. Only an
//! established program learns by the hour, for two days after it was first seen.

use super::{
    model::{CONFIRMED_DAYS, Model},
    state::{BUSY, CONDITIONS, Run, seconds_in},
};

/// Hours of a week.
pub(super) const HOURS: usize = 168;
/// Weight of the assumption about a condition that was hardly seen, s.
const PRIOR_S: f64 = 4.0;
/// Weight of the whole week against one of its hours, s.
const WEEK_S: f64 = 120.0;
/// Most an hour adds to the log-odds, a factor of 4.5, and takes from them: it may excuse more than it accuses.
const MAX_SHIFT: f64 = 1.5;
const MIN_SHIFT: f64 = -0.5;
/// Most a day teaches about one condition, s: a day of an hour-long storm weighs no more than ten minutes.
const MAX_DAY_S: f64 = 600.0;
/// What is left of what was known after a day: a memory of ten days.
const FADE: f32 = 0.9;
/// Days that are gone through one by one when nobody looked for long: after these nothing is left.
const MAX_DAYS: u32 = 90;
/// Hours for which an established program learns by the hour when it is new: or the first days of a host would be
/// one alarm after another.
const EAGER_HOURS: u32 = 48;
/// Standard errors added to an estimate: to be too high costs delay, to be too low costs the budget.
const ERRORS: f64 = 1.0;
/// Counts below this are forgotten, with the days they came from.
const FORGOTTEN: f32 = 0.25;

/// Seconds seen in one hour, and those after which the scope was busy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Hour<T> {
    /// Idle: seconds, then busy.
    pub(super) idle: [T; 2],
    /// Busy: seconds, then busy.
    pub(super) busy: [T; 2],
}

/// Seconds seen on one day.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Day {
    pub(super) seen: [u32; CONDITIONS],
    pub(super) busy: [u32; CONDITIONS],
    pub(super) hours: [Hour<u32>; 24],
    /// An episode was counted.
    pub(super) episode: bool,
}

impl Day {
    pub(super) const EMPTY: Day = Day {
        seen: [0; CONDITIONS],
        busy: [0; CONDITIONS],
        hours: [Hour {
            idle: [0; 2],
            busy: [0; 2],
        }; 24],
        episode: false,
    };
}

/// What is known about one identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// Seconds in each condition, faded.
    pub(super) seen: [f32; CONDITIONS],
    /// Those after which it was busy.
    pub(super) busy: [f32; CONDITIONS],
    /// Days on which it went on being busy in that condition.
    pub(super) days: [u8; CONDITIONS],
    pub(super) hours: Box<[Hour<f32>; HOURS]>,
    /// Number of the hour since 1970 in which it was first seen.
    pub(super) first_hour: u32,
    /// Number of the hour since 1970 it was last looked at; `today` is of its day.
    pub(super) hour: u32,
    pub(super) today: Box<Day>,
    /// The day before it.
    pub(super) yesterday: Box<Day>,
}

impl Baseline {
    /// Nothing is known; `hour` is the number of this hour since 1970.
    pub fn new(hour: u32) -> Baseline {
        Baseline {
            seen: [0.0; CONDITIONS],
            busy: [0.0; CONDITIONS],
            days: [0; CONDITIONS],
            hours: Box::new([Hour::default(); HOURS]),
            first_hour: hour,
            hour,
            today: Box::new(Day::EMPTY),
            yesterday: Box::new(Day::EMPTY),
        }
    }

    /// Time goes on: `hour` is its number since 1970. `true` if something was learned. A clock that is set back
    /// changes nothing. `eager`: it may learn by the hour while it is new.
    pub fn turn(&mut self, hour: u32, eager: bool) -> bool {
        if hour <= self.hour {
            return false;
        }
        if eager && self.hour < self.first_hour.saturating_add(EAGER_HOURS) {
            let told = std::mem::replace(&mut self.today, Box::new(Day::EMPTY));
            self.learn_day(&told, self.hour / 24, 1.0);
            self.hour = hour;
            return true;
        }
        let (mut day, to) = (self.hour / 24, hour / 24);
        self.hour = hour;
        if to == day {
            return false;
        }
        for _ in 0..(to - day).min(MAX_DAYS) {
            let before_yesterday = std::mem::replace(
                &mut self.yesterday,
                std::mem::replace(&mut self.today, Box::new(Day::EMPTY)),
            );
            self.learn_day(&before_yesterday, day.wrapping_sub(1), FADE);
            day += 1;
        }
        true
    }

    #[expect(clippy::cast_possible_truncation, reason = "counts of at most 600")]
    fn learn_day(&mut self, day: &Day, number: u32, fade: f32) {
        for condition in 0..CONDITIONS {
            let seen = f64::from(day.seen[condition]);
            let busy = f64::from(day.busy[condition]);
            let weight = if seen > MAX_DAY_S {
                MAX_DAY_S / seen
            } else {
                1.0
            };
            self.seen[condition] = self.seen[condition] * fade + (seen * weight) as f32;
            self.busy[condition] = self.busy[condition] * fade + (busy * weight) as f32;
            if day.busy[condition] > 0 {
                self.days[condition] = self.days[condition].saturating_add(1);
            } else if self.seen[condition] < FORGOTTEN {
                self.days[condition] = 0;
            }
        }
        for (hour, told) in day.hours.iter().enumerate() {
            let at = (number as usize * 24 + hour) % HOURS;
            let known = &mut self.hours[at];
            // An hour comes once a week.
            let fade = fade.powi(7);
            for (known, told) in [(&mut known.idle, told.idle), (&mut known.busy, told.busy)] {
                for (known, told) in known.iter_mut().zip(told) {
                    *known = if told > 0 { *known * fade } else { *known } + told as f32;
                }
            }
        }
    }

    /// An idle second was seen, and whether the scope was busy after it. `hour` is that of the day.
    pub fn learn_idle(&mut self, run: Run, busy: bool, hour: usize) {
        let Some(condition) = run.condition() else {
            return;
        };
        let after = u32::from(busy);
        self.today.seen[condition] += 1;
        self.today.busy[condition] += after;
        let counts = &mut self.today.hours[hour % 24].idle;
        counts[0] += 1;
        counts[1] += after;
    }

    /// A busy run of that length ended.
    pub fn learn_run(&mut self, length_s: u32, hour: usize) {
        self.learn_busy(length_s, hour);
        let last = Run {
            busy: true,
            age_s: length_s,
        };
        if let Some(condition) = last.condition() {
            self.today.busy[condition] -= 1;
            self.today.hours[hour % 24].busy[1] -= 1;
        }
    }

    fn learn_busy(&mut self, length_s: u32, hour: usize) {
        let length_s = length_s.max(1);
        for bucket in 0..BUSY {
            let seconds = seconds_in(bucket, length_s);
            self.today.seen[bucket] = self.today.seen[bucket].saturating_add(seconds);
            self.today.busy[bucket] = self.today.busy[bucket].saturating_add(seconds);
        }
        let counts = &mut self.today.hours[hour % 24].busy;
        counts[0] = counts[0].saturating_add(length_s);
        counts[1] = counts[1].saturating_add(length_s);
    }

    /// An episode that nobody has to answer for: one observation, at most one a day.
    pub fn learn_episode(&mut self, busy_s: u32, hour: usize) -> bool {
        if std::mem::replace(&mut self.today.episode, true) {
            return false;
        }
        self.learn_busy(busy_s, hour);
        true
    }

    /// For every condition: how probable a busy second is, held for as probable as the evidence allows.
    /// `hour` is that of the week.
    pub fn table(&self, model: &Model, hour: usize) -> [f64; CONDITIONS] {
        let mut week = Hour::<f32>::default();
        for told in self.hours.iter() {
            for at in 0..2 {
                week.idle[at] += told.idle[at];
                week.busy[at] += told.busy[at];
            }
        }
        let cell = self.hours[hour % HOURS];
        let shift_busy = shift(week.busy, cell.busy);
        let shift_idle = shift(week.idle, cell.idle);
        let mut prior = model.p_busy;
        let mut habit = false;
        std::array::from_fn(|condition| {
            let shift = if condition < BUSY {
                shift_busy
            } else {
                if condition == BUSY {
                    habit = false;
                }
                prior = model.p_idle;
                shift_idle
            };
            // A habit excuses twice its length.
            let confirmed = self.days[condition] >= CONFIRMED_DAYS;
            let most = if confirmed || habit {
                model.p_confirmed
            } else {
                model.p_max
            };
            habit = confirmed;
            let seen = f64::from(self.seen[condition]);
            if seen < 1.0 {
                let p = prior.min(most);
                prior = prior.min(model.p_max);
                return p;
            }
            let busy = f64::from(self.busy[condition]);
            let weight = seen + PRIOR_S;
            let mean = (busy + PRIOR_S * prior) / weight;
            // Tails are heavy: what went on until now is assumed to go on at an age that was never seen.
            prior = mean.clamp(model.p_busy, model.p_confirmed);
            let error = (mean * (1.0 - mean) / (weight + 1.0)).sqrt();
            let p = logistic(log_odds(mean + ERRORS * error) + shift);
            p.clamp(model.p_min, most)
        })
    }
}

/// What an hour adds to the log-odds of the week.
fn shift(week: [f32; 2], hour: [f32; 2]) -> f64 {
    let [seen, busy] = week.map(f64::from);
    if seen < 1.0 {
        return 0.0;
    }
    let mean = (busy / seen).clamp(0.001, 0.999);
    let [hour_seen, hour_busy] = hour.map(f64::from);
    let shrunk = (hour_busy + WEEK_S * mean) / (hour_seen + WEEK_S);
    (log_odds(shrunk) - log_odds(mean)).clamp(MIN_SHIFT, MAX_SHIFT)
}

fn log_odds(p: f64) -> f64 {
    let p = p.clamp(0.001, 0.999);
    (p / (1.0 - p)).ln()
}

fn logistic(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

#[cfg(test)]
mod tests {
    use super::{
        super::model::{self, SATURATION},
        *,
    };

    /// Days in which every burst lasts `length_s` and there are `bursts` of them.
    fn days(days: u32, bursts: u32, length_s: u32) -> Baseline {
        let mut baseline = Baseline::new(0);
        for day in 0..days {
            let _ = baseline.turn(day * 24, false);
            for _ in 0..bursts {
                baseline.learn_run(length_s, 3);
            }
        }
        baseline
    }

    #[test]
    fn what_is_seen_today_counts_from_the_day_after_tomorrow() {
        let mut baseline = days(1, 1_000, 9);
        let untaught = Baseline::new(0).table(&SATURATION, 3);
        assert_eq!(baseline.table(&SATURATION, 3), untaught);
        assert!(baseline.turn(24, false));
        assert_eq!(baseline.table(&SATURATION, 3), untaught);
        assert!(baseline.turn(2 * 24, false));
        assert!(baseline.table(&SATURATION, 3)[1] > 0.79);
    }

    #[test]
    fn an_established_program_learns_by_the_hour_for_two_days() {
        let mut baseline = Baseline::new(100);
        let untaught = baseline.table(&SATURATION, 3);
        baseline.learn_run(9, 4);
        assert!(baseline.turn(101, true));
        assert_ne!(baseline.table(&SATURATION, 3), untaught);
        let mut old = Baseline::new(100);
        assert!(old.turn(148, true));
        old.learn_run(9, 4);
        let _ = old.turn(149, true);
        assert_eq!(old.table(&SATURATION, 3), untaught);
    }

    #[test]
    fn a_clock_that_is_set_back_teaches_nothing() {
        let mut baseline = days(1, 1_000, 9);
        baseline.hour = 240;
        assert!(!baseline.turn(9 * 24, false));
        assert!(!baseline.turn(10 * 24, false));
    }

    #[test]
    fn bursts_of_five_seconds_excuse_five_seconds_and_age_excuses_a_little() {
        let mut baseline = days(1, 200, 5);
        let _ = baseline.turn(2 * 24, false);
        let table = baseline.table(&SATURATION, 100);
        assert_eq!((table[0], table[1]), (SATURATION.p_max, SATURATION.p_max));
        assert!((table[2] - 0.5).abs() < 0.05, "one of two ends: {table:?}");
        assert!(
            (table[3] - 0.5).abs() < 0.05,
            "as likely as before: {table:?}"
        );
        assert_eq!(table[3], table[11]);
    }

    #[test]
    fn a_habit_takes_three_days() {
        for (taught, expected, twice) in [
            (1, SATURATION.p_max, SATURATION.p_max),
            (2, SATURATION.p_max, SATURATION.p_max),
            (3, SATURATION.p_confirmed, SATURATION.p_confirmed),
        ] {
            let mut baseline = Baseline::new(0);
            for day in 0..taught {
                let _ = baseline.turn(day * 24, false);
                assert!(baseline.learn_episode(600, 3));
                assert!(!baseline.learn_episode(600, 3), "one a day");
            }
            let _ = baseline.turn((taught + 1) * 24, false);
            let table = baseline.table(&SATURATION, 3);
            assert_eq!(table[7], expected, "after {taught} days");
            assert!(
                (table[10] - twice).abs() < 0.02,
                "up to twice as long: {table:?}"
            );
            assert_eq!(table[11], SATURATION.p_max, "longer than that");
        }
    }

    #[test]
    fn habits_fade_when_they_are_not_kept() {
        let mut baseline = days(5, 10, 9);
        let _ = baseline.turn(6 * 24, false);
        assert_eq!(baseline.days[1], 5);
        for day in 7..70 {
            let _ = baseline.turn(day * 24, false);
        }
        assert_eq!(
            (baseline.days[1], baseline.table(&SATURATION, 3)[1]),
            (0, SATURATION.p_busy)
        );
    }

    #[test]
    fn a_busy_hour_is_no_excuse_for_a_quiet_one() {
        let mut baseline = Baseline::new(0);
        for hour in 0..24 {
            // At noon a run lasts three seconds, else one.
            for _ in 0..1_000 {
                baseline.learn_run(if hour == 12 { 3 } else { 1 }, hour);
            }
        }
        let _ = baseline.turn(2 * 24, false);
        let at = |hour| baseline.table(&SATURATION, hour)[0];
        assert!(at(12) > 0.15 && at(4) < 0.051, "{} {}", at(12), at(4));
        assert!(
            (at(12 + 24) - at(4 + 24)).abs() < 1e-9,
            "another day of the week was not seen"
        );
        assert_eq!(at(12), at(12 + 168), "a week later");
        assert_eq!(
            at(12 + 84),
            at(12 + 24),
            "half a week later it was not seen"
        );
    }

    #[test]
    fn a_day_teaches_ten_minutes_of_one_condition_at_most() {
        let mut baseline = days(1, 80_000, 1);
        let _ = baseline.turn(2 * 24, false);
        assert!((baseline.seen[0] - 600.0).abs() < 0.1);
    }

    #[test]
    fn an_estimate_is_an_upper_bound() {
        let mut baseline = Baseline::new(0);
        for _ in 0..50 {
            baseline.learn_run(1, 0);
            baseline.learn_run(2, 0);
        }
        let _ = baseline.turn(2 * 24, false);
        // (50 + 4 × 0.12) / 104 = 0.485, and one standard error of 0.049.
        assert!((baseline.table(&SATURATION, 50)[0] - 0.534).abs() < 0.002);
    }

    /// What one day, or three, of runs of that length teach a model about its first second.
    fn taught(model: &Model, days: u32, length_s: u32) -> f64 {
        let mut baseline = Baseline::new(0);
        for day in 0..days {
            let _ = baseline.turn(day * 24, false);
            for _ in 0..1_000 {
                baseline.learn_run(length_s, 3);
            }
        }
        let _ = baseline.turn((days + 1) * 24, false);
        baseline.table(model, 100)[0]
    }

    #[test]
    fn what_a_second_is_worth_is_held_within_the_limits_of_its_kind() {
        // Without history after a busy second and after an idle one; never seen to go on, always seen to, for three days.
        for (model, expected) in [
            (&model::SATURATION, [0.12, 0.05, 0.05, 0.8, 0.97]),
            (&model::STEADY, [0.8, 0.8, 0.8, 0.885, 0.99]),
            (&model::STEAL, [0.35, 0.05, 0.05, 0.8, 0.97]),
            (&model::STORM, [0.25, 0.05, 0.05, 0.8, 0.97]),
        ] {
            let unknown = Baseline::new(0).table(model, 3);
            let probabilities = [
                unknown[0],
                unknown[12],
                taught(model, 1, 1),
                taught(model, 1, 600),
                taught(model, 3, 600),
            ];
            assert_eq!(probabilities, expected, "{}", model.name);
        }
    }

    #[test]
    fn an_hour_is_shrunk_towards_two_minutes_of_its_week_and_excuses_more_than_it_accuses() {
        let week = [1_000.0, 500.0];
        // (120 + 120 / 2) / 240 = 3/4: odds of three.
        assert!((shift(week, [120.0, 120.0]) - 3_f64.ln()).abs() < 1e-9);
        assert_eq!(
            (shift(week, [1e6, 1e6]), shift(week, [1e6, 0.0])),
            (1.5, -0.5)
        );
    }

    #[test]
    fn what_was_known_fades_by_a_tenth_a_day_and_is_forgotten_below_a_quarter_of_a_second() {
        let mut baseline = days(1, 600, 2);
        let _ = baseline.turn(2 * 24, false);
        assert_eq!((baseline.seen[0], baseline.days[0]), (600.0, 1));
        let _ = baseline.turn(3 * 24, false);
        assert!((baseline.seen[0] - 540.0).abs() < 1e-3);
        // 600 × 0.9^73 = 0.27, and a tenth less is 0.247.
        let forgotten = (4..200).find(|day| {
            let _ = baseline.turn(day * 24, false);
            baseline.days[0] == 0
        });
        assert_eq!(forgotten, Some(2 + 74));
    }

    #[test]
    fn of_an_absence_ninety_days_are_gone_through() {
        let mut baseline = days(1, 600, 2);
        let _ = baseline.turn(1_000 * 24, false);
        // Two to learn, then 600 × 0.9^88.
        assert!(
            (baseline.seen[0] - 0.0565).abs() < 0.0005,
            "{}",
            baseline.seen[0]
        );
    }

    #[test]
    fn an_established_program_learns_by_the_hour_until_its_last_new_hour() {
        let untaught = Baseline::new(100).table(&SATURATION, 3);
        let mut baseline = Baseline::new(100);
        assert!(baseline.turn(147, true));
        baseline.learn_run(9, 4);
        assert!(baseline.turn(148, true));
        assert_ne!(baseline.table(&SATURATION, 3), untaught);
    }
}
