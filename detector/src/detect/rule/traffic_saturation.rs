//! `impact.traffic_saturation`: a web service saturates the CPUs because more people come.
//!
//! Replaces `impact.cpu_saturation` where the culprit is a web service itself (the program, not what it started) and
//! inbound connections are at least [`RISE`] times as many as in the hours before, and [`MIN_PER_S`] a second. It
//! names the rate. It is true of the innocent, so it never counts towards a page: another person is to be woken,
//! or none. The same CPU time without more connections is not traffic, and its evidence says so. What was traffic
//! and is no more while the load goes on is told as saturation then.
//!
//! Evidence: that of `impact.cpu_saturation`.
//!
//! False negatives: somebody who runs code *inside* the web service can connect to it as well; connections that are
//! kept alive carry many requests each.

use std::collections::VecDeque;

use crate::detect::{process::Process, size::Size, window::Pass};

/// How many times as many connections as usual are traffic.
const RISE: f64 = 2.0;
/// Fewer connections a second explain nothing.
const MIN_PER_S: f64 = 5.0;
/// Seconds over which the present rate is taken: as long as the shortest saturation.
const RECENT: usize = 10;
/// Seconds over which the usual rate is taken: an hour.
const USUAL_S: f64 = 3_600.0;
/// Seconds until it is known: before, nothing is called traffic. A minute, because only the name depends on it:
/// a saturated web service is a warning by either.
const WARM_UP: u32 = 60;

/// Inbound connections of the host, now and usually.
#[derive(Debug, Default)]
pub struct Inbound {
    recent: VecDeque<(u64, u64)>,
    usual: f64,
    seen: u32,
}

impl Inbound {
    /// How full it is.
    pub fn size(&self) -> Size {
        Size::of("passes of connections", self.recent.len(), RECENT)
    }

    /// A pass in which `count` connections came. What comes while the CPUs are saturated is not usual.
    pub fn pass(&mut self, count: u64, pass: Pass, saturated: bool) {
        self.recent.push_back((count, pass.elapsed_ns));
        if self.recent.len() > RECENT {
            let (count, elapsed_ns) = self.recent.pop_front().expect("not empty");
            if !saturated {
                // Only what is ten seconds old: the beginning of a rush must not become usual.
                self.seen = self.seen.saturating_add(1);
                let weight = (1.0 / f64::from(self.seen)).max(1.0 / USUAL_S);
                self.usual += weight * (per_s(count, elapsed_ns) - self.usual);
            }
        }
    }

    /// Connections a second over the last ten seconds.
    pub fn per_s(&self) -> f64 {
        let count = self.recent.iter().map(|(count, _)| count).sum();
        let elapsed_ns = self.recent.iter().map(|(_, elapsed_ns)| elapsed_ns).sum();
        per_s(count, elapsed_ns)
    }

    /// Connections a second over the hour before; `None`: not known yet.
    pub fn usual_per_s(&self) -> Option<f64> {
        (self.seen >= WARM_UP).then_some(self.usual)
    }

    /// Whether more people come than usual.
    pub fn is_rush(&self) -> bool {
        let now = self.per_s();
        let usual = self.usual_per_s();
        now >= MIN_PER_S && usual.is_some_and(|usual| now >= RISE * usual)
    }
}

/// Connections a second.
#[expect(clippy::cast_precision_loss, reason = "connections of some seconds")]
pub fn per_s(count: u64, elapsed_ns: u64) -> f64 {
    count as f64 * 1e9 / (elapsed_ns.max(1) as f64)
}

/// Whether connections are what a process lives on.
pub fn serves(process: &Process) -> bool {
    process.roles.system_web_service
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: Pass = Pass {
        elapsed_ns: 1_000_000_000,
        cpus: 2,
    };

    fn after(seconds: u32, count: u64) -> Inbound {
        let mut inbound = Inbound::default();
        for _ in 0..seconds {
            inbound.pass(count, PASS, false);
        }
        inbound
    }

    #[test]
    fn the_usual_rate_is_known_after_a_minute_and_ten_seconds() {
        assert_eq!(after(69, 7).usual_per_s(), None);
        let known = after(70, 7);
        assert!(
            known
                .usual_per_s()
                .is_some_and(|usual| (usual - 7.0).abs() < 1e-9)
        );
    }

    #[test]
    fn twice_the_usual_rate_is_a_rush_and_a_little_less_is_none() {
        for (count, expected) in [(20, true), (19, false)] {
            let mut inbound = after(700, 10);
            for _ in 0..10 {
                inbound.pass(count, PASS, true);
            }
            assert_eq!(inbound.is_rush(), expected, "{count}");
        }
        let mut inbound = after(700, 0);
        for _ in 0..10 {
            inbound.pass(4, PASS, true);
        }
        assert!(
            !inbound.is_rush(),
            "four connections a second explain nothing"
        );
    }

    #[test]
    fn a_rush_is_not_usual_while_it_saturates() {
        let mut inbound = after(700, 10);
        for _ in 0..7_200 {
            inbound.pass(50, PASS, true);
        }
        assert!(inbound.usual_per_s().is_some_and(|usual| usual < 10.1));
        for _ in 0..7_200 {
            inbound.pass(50, PASS, false);
        }
        assert!(!inbound.is_rush(), "an hour later it is");
    }

    #[test]
    fn five_connections_a_second_may_be_a_rush() {
        for (count, expected) in [(50, true), (49, false)] {
            let mut inbound = after(700, 0);
            inbound.pass(count, PASS, true);
            assert_eq!(inbound.is_rush(), expected, "{count} in ten seconds");
        }
    }

    #[test]
    fn an_hour_later_a_second_counts_as_one_of_an_hour() {
        let mut inbound = after(7_210, 4);
        inbound.pass(40, PASS, false);
        for _ in 0..10 {
            inbound.pass(4, PASS, false);
        }
        // 4 + 36 / 3,600
        let usual = inbound.usual_per_s().unwrap_or_default();
        assert!((usual - 4.01).abs() < 1e-6, "{usual}");
    }
}
