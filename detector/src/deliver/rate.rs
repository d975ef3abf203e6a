//! How fast events may go to one receiver. Pure: the moment comes in as an argument.
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use tokio::time::Instant;

/// A bucket of as many events as may go in a second, refilled at that rate.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    per_s: f64,
    /// Events that may go now; below nothing: owed.
    left: f64,
    at: Instant,
}

impl Rate {
    /// `per_s` events a second, and as many at once.
    pub fn new(per_s: u32, now: Instant) -> Rate {
        let per_s = f64::from(per_s.max(1));
        Rate {
            per_s,
            left: per_s,
            at: now,
        }
    }

    /// Events that may go together without waiting for more than a second.
    pub fn at_once(&self) -> usize {
        self.per_s as usize
    }

    /// Takes `events`; gives how long to wait before sending them.
    pub fn take(&mut self, events: usize, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * self.per_s).min(self.per_s) - events as f64;
        Duration::from_secs_f64((-self.left).max(0.0) / self.per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an origin to count from")]
    fn a_second_of_events_goes_at_once_and_the_rest_at_the_rate() {
        let start = Instant::from_std(std::time::Instant::now());
        let mut rate = Rate::new(10, start);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(rate.take(10, at(0)), Duration::ZERO);
        assert_eq!(rate.take(1, at(0)), Duration::from_millis(100));
        assert_eq!(rate.take(1, at(100)), Duration::from_millis(100));
        // A long quiet time is worth no more than one second.
        assert_eq!(rate.take(10, at(60_000)), Duration::ZERO);
        assert_eq!(rate.take(20, at(60_000)), Duration::from_secs(2));
        assert_eq!((rate.at_once(), Rate::new(0, start).at_once()), (10, 1));
    }
}
