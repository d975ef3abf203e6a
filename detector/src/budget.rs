//! What the detector may cost, and what it gives up when it costs more. PURE: measurements come in, decisions come out.
//!
//! Whoever watches for programs that eat the machine must not be one. Over its share of a CPU for long enough, it gives up
//! hashing; still over, it gives up network detail; it never gives up execs, forks, exits and CPU time, without which it
//! could not say who eats the machine. Each step is told, and so is its end, which waits longer each time it did not last.
#![deny(clippy::disallowed_methods)]

use serde::{Deserialize, Serialize};

/// Passes over the share, less those below it, until something is given up: a burst of hashing that the configuration
/// allows at once (128 MiB) is over in two.
const OVER: u32 = 15;
/// Passes in a row below half of the share until something is taken up again, the first time. What is given up costs, so
/// half leaves room for it.
const UNDER: u32 = 30;
/// Longest such wait, passes: a load that goes on for hours is tried four times an hour.
const UNDER_MAX: u32 = 900;
/// Passes over the memory budget until it is said: a burst may be gone by then.
const HEAVY: u32 = 5;
/// Part of the memory budget below which it is over, in sixteenths: what is freed comes and goes by that much.
const LIGHT_SIXTEENTHS: u64 = 15;

/// `[budget]`: what the detector itself may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Share of one CPU.
    pub cpu_share: f64,
    /// Memory that is no file's, bytes.
    pub memory_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            cpu_share: 0.2,
            memory_bytes: 48 << 20,
        }
    }
}

impl Config {
    /// # Errors
    /// Key and reason of a value that cannot work.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let share = self.cpu_share;
        if !(0.001..=64.0).contains(&share) {
            return Err(("cpu_share", format!("{share} is not between 0.001 and 64")));
        }
        let bytes = self.memory_bytes;
        if bytes < 8 << 20 {
            return Err((
                "memory_bytes",
                format!("{bytes} is less than 8 MiB: it cannot run in that"),
            ));
        }
        Ok(())
    }
}

/// What is given up, and all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing.
    #[default]
    Full,
    /// Hashes of programs, and with them whether a package's file is what was shipped.
    NoHashes,
    /// Connections, and what suspects say in them.
    NoNetwork,
}

impl Stage {
    /// All, the best first.
    pub const ALL: [Stage; 3] = [Stage::Full, Stage::NoHashes, Stage::NoNetwork];

    fn next(self) -> Option<Stage> {
        Stage::ALL.get(self as usize + 1).copied()
    }

    fn previous(self) -> Option<Stage> {
        Stage::ALL.get((self as usize).checked_sub(1)?).copied()
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// When, ns of a clock that only runs while the machine does.
    pub at_ns: u64,
    /// CPU time of all threads so far, ns.
    pub cpu_ns: u64,
    /// Memory that is no file's, bytes.
    pub memory_bytes: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Give up what this stage gives up; the share of a CPU that was used last.
    GiveUp(Stage, f64),
    /// This is given up no longer.
    TakeUp(Stage),
    /// Free what can be had again, and say that memory is short.
    Shrink,
    /// Memory is within its budget again.
    Roomy,
}

/// Decides.
#[derive(Debug, Default)]
pub struct Budget {
    stage: Stage,
    last: Option<Use>,
    over: u32,
    under: u32,
    /// Passes to wait below the share before something is taken up again, beyond [`UNDER`].
    patience: u32,
    heavy: u32,
    is_short: bool,
}

impl Budget {
    /// What is given up now.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether memory is over its budget.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// A pass.
    pub fn pass(&mut self, now: Use, config: &Config) -> [Option<Order>; 2] {
        let last = self.last.replace(now);
        let cpu = last.and_then(|last| {
            let time = now.at_ns.saturating_sub(last.at_ns);
            let used = now.cpu_ns.saturating_sub(last.cpu_ns);
            let share = used as f64 / time.max(1) as f64;
            self.share(share, config.cpu_share)
        });
        [cpu, self.memory(now.memory_bytes, config.memory_bytes)]
    }

    fn share(&mut self, share: f64, allowed: f64) -> Option<Order> {
        if share > allowed {
            self.under = 0;
            self.over += 1;
        } else {
            self.over = self.over.saturating_sub(1);
            // Half a share is not yet room for what was given up, but no reason to begin anew either.
            self.under += u32::from(share <= allowed / 2.0);
        }
        if self.over >= OVER {
            self.over = 0;
            self.stage = self.stage.next()?;
            // It did not last, or got worse.
            self.patience = (self.patience.max(UNDER / 2) * 2).min(UNDER_MAX);
            return Some(Order::GiveUp(self.stage, share));
        }
        if self.under >= self.patience.max(UNDER) {
            self.under = 0;
            let Some(stage) = self.stage.previous() else {
                // Nothing was given up for as long as that: what comes now is new.
                self.patience = 0;
                return None;
            };
            self.stage = stage;
            return Some(Order::TakeUp(stage));
        }
        None
    }

    fn memory(&mut self, used: u64, allowed: u64) -> Option<Order> {
        if self.is_short {
            self.is_short = used > allowed / 16 * LIGHT_SIXTEENTHS;
            return (!self.is_short).then_some(Order::Roomy);
        }
        self.heavy = if used > allowed { self.heavy + 1 } else { 0 };
        if self.heavy < HEAVY {
            return None;
        }
        self.heavy = 0;
        self.is_short = true;
        Some(Order::Shrink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays passes of a second, so many at each share of a CPU; what was decided, and when.
    fn play(parts: &[(u32, f64)]) -> Vec<(u32, Order)> {
        let config = Config {
            cpu_share: 0.2,
            ..Config::default()
        };
        let (mut budget, mut now, mut orders) = (Budget::default(), Use::default(), Vec::new());
        budget.pass(now, &config);
        let mut second = 0;
        for &(passes, share) in parts {
            for _ in 0..passes {
                second += 1;
                now.at_ns += 1_000_000_000;
                now.cpu_ns += (share * 1e9) as u64;
                let decided = budget.pass(now, &config);
                orders.extend(decided.into_iter().flatten().map(|order| (second, order)));
            }
        }
        orders
    }

    use Stage::{Full, NoHashes, NoNetwork};

    #[test]
    fn hashes_go_first_then_the_network_and_nothing_after_that() {
        assert_eq!(
            play(&[(300, 0.5)]),
            [
                (15, Order::GiveUp(NoHashes, 0.5)),
                (30, Order::GiveUp(NoNetwork, 0.5))
            ]
        );
    }

    #[test]
    fn what_was_given_up_is_taken_up_in_reverse_once_there_is_room_for_it() {
        let told = play(&[(30, 0.5), (200, 0.05)]);
        let after: Vec<(u32, Order)> = told[2..].to_vec();
        // Given up twice in a row: sixty passes each.
        assert_eq!(
            after,
            [(90, Order::TakeUp(NoHashes)), (150, Order::TakeUp(Full))]
        );
        // Below the share, but without room.
        assert_eq!(play(&[(15, 0.5), (500, 0.15)]).len(), 1);
    }

    #[test]
    fn bursts_and_the_share_itself_are_allowed() {
        assert_eq!(play(&[(14, 3.0), (14, 0.0), (14, 3.0), (300, 0.2)]), []);
        let bursts: Vec<(u32, f64)> = (0..100).flat_map(|_| [(3, 1.0), (3, 0.1)]).collect();
        assert_eq!(play(&bursts), []);
    }

    #[test]
    fn load_that_comes_back_is_tried_ever_more_rarely() {
        // Whenever hashing is taken up again, it is too much again.
        let config = Config::default();
        let (mut budget, mut now) = (Budget::default(), Use::default());
        let mut taken = Vec::new();
        for second in 0..20_000_u32 {
            let share = if budget.stage() == Full { 0.5 } else { 0.05 };
            now.at_ns += 1_000_000_000;
            now.cpu_ns += (share * 1e9) as u64;
            let [order, _] = budget.pass(now, &config);
            if let Some(Order::TakeUp(_)) = order {
                taken.push(second);
            }
        }
        let waits: Vec<u32> = taken.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits[..4], [75, 135, 255, 495]);
        assert_eq!(waits.last(), Some(&915));
    }

    #[test]
    fn memory_is_said_to_be_short_once_and_roomy_below_a_margin() {
        let config = Config::default();
        let mut budget = Budget::default();
        let mut at = |mib: u64| {
            let now = Use {
                memory_bytes: mib << 20,
                ..Use::default()
            };
            budget.pass(now, &config)[1]
        };
        let told: Vec<Option<Order>> = [49, 49, 49, 49, 40, 49, 49, 49, 49, 49, 60, 46, 45, 49]
            .map(&mut at)
            .into();
        let mut expected = vec![None; 14];
        expected[9] = Some(Order::Shrink);
        expected[12] = Some(Order::Roomy);
        assert_eq!(told, expected);
    }
}
