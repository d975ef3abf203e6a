//! The baselines of all identities, and a scope's test tied to them.
//!
//! Bounded: [`MAX_BASELINES`], about 5 KB each; the one unused longest goes first, which is counted. What
//! changed is told a few at a time, to be stored by whoever can.

use lru::LruCache;

use super::{
    baseline::Baseline,
    identity::Identity,
    model::Model,
    state::{CONDITIONS, Run},
    stored,
    test::{Change, Look, Test},
};
use crate::{
    detect::{
        hash::{Fixed, cache},
        size::Size,
    },
    input,
};

/// Most baselines. A server has a dozen programs that ever take a third of it.
pub const MAX_BASELINES: usize = 256;
/// Told per pass at most, and how long a changed one waits, ns: it is stored, not transmitted.
const TOLD_PER_PASS: usize = 8;
const TELL_AFTER_NS: u64 = 300_000_000_000;
/// ns of an hour.
const HOUR_NS: i64 = 3_600_000_000_000;

#[derive(Clone, Debug)]
struct Entry {
    baseline: Baseline,
    /// Alarms of it that are on: nothing is learned meanwhile.
    open: u32,
    /// The table, and the hour since 1970 it was made for.
    table: [f64; CONDITIONS],
    made_for: Option<u32>,
    /// Since when there is something to tell, ns since boot.
    changed_ns: Option<u64>,
}

/// The baselines.
#[derive(Debug)]
pub struct Bank {
    entries: LruCache<Identity, Entry, Fixed>,
    /// Baselines forgotten for want of room.
    pub forgotten: u64,
    hour: u32,
    now_ns: u64,
}

impl Default for Bank {
    fn default() -> Self {
        Bank {
            entries: cache(MAX_BASELINES),
            forgotten: 0,
            hour: 0,
            now_ns: 0,
        }
    }
}

impl Bank {
    /// A pass begins.
    pub fn advance(&mut self, at_ns: u64, unix_ns: i64) {
        self.now_ns = at_ns;
        self.hour = u32::try_from(unix_ns.div_euclid(HOUR_NS)).unwrap_or(0);
    }

    /// How full it is.
    pub fn size(&self) -> Size {
        Size::of("baselines", self.entries.len(), MAX_BASELINES)
    }

    /// How many baselines there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How probable a busy second is after `run`.
    pub fn probability(&mut self, model: &Model, identity: Identity, run: Run) -> f64 {
        let Some(condition) = run.condition() else {
            return model.p_idle;
        };
        let hour = self.hour;
        let Some(entry) = self.entries.get_mut(&identity) else {
            return if run.busy { model.p_busy } else { model.p_idle };
        };
        if entry.made_for != Some(hour) {
            let _learned = entry.baseline.turn(hour, identity.is_established());
            entry.table = entry.baseline.table(model, hour as usize);
            entry.made_for = Some(hour);
        }
        entry.table[condition]
    }

    fn entry(&mut self, identity: Identity) -> &mut Entry {
        if !self.entries.contains(&identity) {
            let entry = Entry {
                baseline: Baseline::new(self.hour),
                open: 0,
                table: [0.0; CONDITIONS],
                made_for: None,
                changed_ns: None,
            };
            self.put(identity, entry);
        }
        let now_ns = self.now_ns;
        let entry = self.entries.get_mut(&identity).expect("put above");
        entry.changed_ns.get_or_insert(now_ns);
        entry
    }

    fn put(&mut self, identity: Identity, entry: Entry) {
        let evicted = self.entries.push(identity, entry);
        self.forgotten += u64::from(evicted.is_some_and(|(key, _)| key != identity));
    }

    /// After `run` the scope was busy or not, and no alarm is on. A busy run is learned at its end: until
    /// then it may be the beginning of an alarm.
    fn learn(&mut self, identity: Identity, run: Run, busy: bool) {
        // Idleness alone makes nobody known.
        let known = self.entries.contains(&identity);
        if run.busy == busy && (busy || !known) || run.condition().is_none() {
            return;
        }
        let hour = self.hour;
        let entry = self.entry(identity);
        if entry.open > 0 {
            return;
        }
        let _learned = entry.baseline.turn(hour, identity.is_established());
        let hour = (hour % 24) as usize;
        if run.busy {
            entry.baseline.learn_run(run.age_s, hour);
        } else {
            entry.baseline.learn_idle(run, busy, hour);
        }
    }

    fn opened(&mut self, identity: Identity) {
        self.entry(identity).open += 1;
    }

    /// An alarm is over. An innocent episode is a habit in the making.
    fn closed(&mut self, identity: Identity, busy_s: u32, innocent: bool) {
        let hour = self.hour;
        let entry = self.entry(identity);
        entry.open = entry.open.saturating_sub(1);
        if innocent {
            let _learned = entry.baseline.turn(hour, identity.is_established());
            let _counted = entry.baseline.learn_episode(busy_s, (hour % 24) as usize);
        }
    }

    /// Takes back what was stored; what makes no sense is ignored.
    pub fn load(&mut self, stored: &input::Baseline) {
        let decoded =
            Identity::parse(&stored.identity).zip(stored::decode(stored.version, &stored.body));
        if let Some((identity, baseline)) = decoded {
            let entry = Entry {
                baseline,
                open: 0,
                table: [0.0; CONDITIONS],
                made_for: None,
                changed_ns: None,
            };
            self.put(identity, entry);
        }
    }

    /// Some of those that changed a while ago.
    pub fn due(&mut self) -> Vec<input::Baseline> {
        let due_ns = self.now_ns.saturating_sub(TELL_AFTER_NS);
        self.tell(|changed_ns| changed_ns <= due_ns, TOLD_PER_PASS)
    }

    /// All that changed: before the end.
    pub fn changed(&mut self) -> Vec<input::Baseline> {
        self.tell(|_| true, MAX_BASELINES)
    }

    fn tell(&mut self, due: impl Fn(u64) -> bool, most: usize) -> Vec<input::Baseline> {
        self.entries
            .iter_mut()
            .filter(|(_, entry)| entry.changed_ns.is_some_and(&due))
            .take(most)
            .map(|(identity, entry)| {
                entry.changed_ns = None;
                input::Baseline {
                    identity: identity.text(),
                    version: stored::VERSION,
                    body: stored::encode(&entry.baseline),
                }
            })
            .collect()
    }
}

/// A scope's test, and whose alarm is on.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// The test.
    pub test: Test,
    last: Option<Identity>,
    blamed: Option<Identity>,
}

impl Trial {
    /// Looks at one second, and learns from it where nothing is wrong. `busy`: whose busy second it was;
    /// `None`: an idle one, of whoever was busy last.
    pub fn look(
        &mut self,
        bank: &mut Bank,
        model: &Model,
        busy: Option<Identity>,
        look: Look,
    ) -> Change {
        self.last = busy.or(self.last);
        let (busy, Some(identity)) = (busy.is_some(), self.last) else {
            return Change::None; // never busy so far
        };
        let run = self.test.run();
        let p = bank.probability(model, identity, run);
        let change = self.test.step(model, busy, p, look);
        if change == Change::Opened {
            self.blamed = Some(identity);
            bank.opened(identity);
        } else if !self.test.is_open() {
            bank.learn(identity, run, busy);
        }
        change
    }

    /// The alarm is over, by the test's own word or because the culprit is gone. `busy_s` is the length of
    /// the episode; innocent is what nobody accused.
    pub fn settle(&mut self, bank: &mut Bank, busy_s: u32, innocent: bool) {
        self.test.close();
        if let Some(identity) = self.blamed.take() {
            bank.closed(identity, busy_s, innocent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::sequential::{budget::threshold, model::SATURATION};

    const SECOND: u64 = 1_000_000_000;
    const DAY_S: u64 = 86_400;

    struct Host {
        bank: Bank,
        trial: Trial,
        second: u64,
    }

    impl Host {
        fn new() -> Host {
            Host {
                bank: Bank::default(),
                trial: Trial::default(),
                second: 0,
            }
        }

        /// Seconds of that kind; the number of the one in which an alarm began.
        fn run(
            &mut self,
            identity: Identity,
            seconds: u64,
            busy: bool,
            innocent: bool,
        ) -> Option<u64> {
            let mut opened = None;
            for n in 1..=seconds {
                self.second += 1;
                let at_ns = self.second * SECOND;
                self.bank
                    .advance(at_ns, i64::try_from(at_ns).expect("small"));
                let look = Look {
                    at_ns,
                    elapsed_ns: SECOND,
                    h: threshold(300, 1.0),
                    clear_s: 10,
                };
                match self
                    .trial
                    .look(&mut self.bank, &SATURATION, busy.then_some(identity), look)
                {
                    Change::Opened => opened = Some(n),
                    Change::Closed { busy_s } => {
                        self.trial.settle(&mut self.bank, busy_s, innocent)
                    }
                    Change::None => {}
                }
            }
            opened
        }

        fn rest_of_day(&mut self, identity: Identity, innocent: bool) {
            let _ = self.run(identity, 1_000, false, innocent);
            let rest = DAY_S - self.second % DAY_S;
            self.second += rest - 10;
            let _ = self.run(identity, 10, false, innocent);
        }
    }

    #[test]
    fn a_nightly_backup_is_told_until_it_is_a_habit_and_again_when_it_is_much_longer() {
        let mut host = Host::new();
        let backup = Identity::named("saturation", b"/usr/bin/xz");
        let mut told = Vec::new();
        for _ in 0..8 {
            told.push(host.run(backup, 600, true, true));
            host.rest_of_day(backup, true);
        }
        assert_eq!(
            told[..3],
            [Some(10), Some(10), told[2]],
            "nothing counts before the third day"
        );
        assert_eq!(told[5..], [None, None, None]);
        assert!(
            host.run(backup, 3_600, true, true)
                .is_some_and(|s| (2_048..2_200).contains(&s))
        );
        let other = Identity::named("saturation", b"/usr/bin/gzip");
        host.rest_of_day(backup, true);
        assert_eq!(
            host.run(other, 600, true, true),
            Some(10),
            "another's habit is no excuse"
        );
    }

    #[test]
    fn an_accused_episode_is_never_a_habit() {
        let mut host = Host::new();
        let miner = Identity::named("saturation", b"/usr/bin/php");
        for day in 0..10 {
            assert_eq!(host.run(miner, 600, true, false), Some(10), "day {day}");
            host.rest_of_day(miner, false);
        }
    }

    #[test]
    fn hours_of_training_change_nothing_on_the_same_day() {
        let mut host = Host::new();
        let php = Identity::named("saturation", b"/usr/sbin/php-fpm8.2");
        for _ in 0..500 {
            assert_eq!(host.run(php, 9, true, true), None);
            let _ = host.run(php, 25, false, true);
        }
        assert_eq!(host.run(php, 60, true, true), Some(10));
    }

    #[test]
    fn baselines_are_bounded_and_the_one_unused_longest_goes_first() {
        let mut host = Host::new();
        let of = |n: usize| Identity::named("saturation", &n.to_le_bytes());
        for n in 0..1_000 {
            let _ = host.run(of(n), 2, true, true);
            let _ = host.run(of(n), 65, false, true);
        }
        assert_eq!((host.bank.len(), host.bank.forgotten), (256, 744));
        assert!(
            host.bank.entries.peek(&of(999)).is_some()
                && host.bank.entries.peek(&of(743)).is_none()
        );
    }

    #[test]
    fn what_changed_is_told_once_and_comes_back_as_it_was() {
        let mut host = Host::new();
        let php = Identity::named("saturation", b"/usr/sbin/php-fpm8.2");
        let _ = host.run(php, 5, true, true);
        assert_eq!(host.bank.due(), []);
        let _ = host.run(php, 301, false, true);
        let told = host.bank.due();
        assert_eq!(told.len(), 1);
        assert_eq!((host.bank.due(), host.bank.changed()), (vec![], vec![]));
        let mut again = Bank::default();
        again.load(&told[0]);
        let baseline = |bank: &Bank| bank.entries.peek(&php).expect("known").baseline.clone();
        assert_eq!(baseline(&again), baseline(&host.bank));
    }

    #[test]
    fn what_changed_is_told_after_five_minutes_eight_at_a_time() {
        let mut host = Host::new();
        let of = |n: usize| Identity::named("saturation", &n.to_le_bytes());
        for n in 0..9 {
            let _ = host.run(of(n), 1, true, true);
            let _ = host.run(of(n), 1, false, true);
        }
        let since = host.second - 16;
        let mut due = |second: u64| {
            let at_ns = second * SECOND;
            host.bank
                .advance(at_ns, i64::try_from(at_ns).expect("small"));
            host.bank.due().len()
        };
        assert_eq!([due(since + 299), due(since + 300)], [0, 1], "the first");
        assert_eq!([due(since + 400), due(since + 400)], [8, 0]);
    }

    #[test]
    fn all_that_changed_is_told_eight_a_pass() {
        let mut host = Host::new();
        for n in 0..20_usize {
            let of = Identity::named("saturation", &n.to_le_bytes());
            let _ = host.run(of, 1, true, true);
            let _ = host.run(of, 1, false, true);
        }
        let at_ns = (host.second + 600) * SECOND;
        host.bank
            .advance(at_ns, i64::try_from(at_ns).expect("small"));
        let told = [0; 4].map(|_| host.bank.due().len());
        assert_eq!(told, [8, 8, 4, 0]);
    }
}
