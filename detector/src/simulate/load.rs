//! What programs use: seasonal and autocorrelated, in bursts with heavy tails, in batches, steadily.

/// A kind of load, in CPUs (or, for connections, in a second).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// Nothing.
    None,
    /// Follows the day, with noise that remembers: `mean × (1 + swing × cos)`, times the exponential of an AR(1) of
    /// standard deviation `sigma` whose value of a second ago counts `memory`.
    Seasonal {
        /// Mean over the day.
        mean: f64,
        /// Part of the mean that the day adds and takes (0–1).
        swing: f64,
        /// Hour of most load, UTC.
        peak_hour: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// Autocorrelation at one second.
        memory: f64,
    },
    /// Bursts at random moments whose lengths follow a Pareto law, cut at `longest_s`.
    Bursts {
        /// A day.
        per_day: f64,
        /// Shortest, s.
        shortest_s: f64,
        /// Exponent: the smaller the heavier the tail.
        alpha: f64,
        /// Longest, s.
        longest_s: f64,
        /// During a burst.
        cores: f64,
    },
    /// Once a day, give or take a quarter of an hour and a tenth of its length.
    Batch {
        /// Hour, UTC.
        hour: f64,
        /// Length, s.
        length_s: f64,
        /// While it lasts.
        cores: f64,
    },
    /// Every so many s, for a random length.
    Periodic {
        /// Period, s.
        every_s: u64,
        /// Shortest and longest, s.
        length_s: (f64, f64),
        /// While it lasts.
        cores: f64,
    },
    /// From a moment on, all the time, with noise of that standard deviation relative to the mean.
    Steady {
        /// s since boot.
        from_s: u64,
        /// Used.
        cores: f64,
        /// Relative standard deviation of a second.
        noise: f64,
    },
    /// From a moment on, busy with that probability in each second, independently. Before: with another.
    Coin {
        /// s since boot.
        from_s: u64,
        /// Probability before.
        before: f64,
        /// Probability after.
        after: f64,
        /// In a busy second.
        cores: f64,
    },
    /// From a moment on, rising to all of it.
    Ramp {
        /// s since boot.
        from_s: u64,
        /// Length of the rise, s.
        rise_s: f64,
        /// At its end.
        cores: f64,
    },
}

/// A load and where it is.
#[derive(Debug)]
pub(super) struct Generator {
    load: Load,
    random: fastrand::Rng,
    state: f64,
    /// Busy until this second.
    until_s: f64,
    /// Begins at this second.
    next_s: f64,
}

const DAY_S: f64 = 86_400.0;

impl Generator {
    pub(super) fn new(load: Load, seed: u64) -> Generator {
        let mut random = fastrand::Rng::with_seed(seed);
        let next_s = match load {
            Load::Bursts { per_day, .. } => exponential(&mut random) * DAY_S / per_day,
            _ => 0.0,
        };
        Generator {
            load,
            random,
            state: 0.0,
            until_s: 0.0,
            next_s,
        }
    }

    /// Used in that second since boot.
    #[expect(clippy::cast_precision_loss, reason = "seconds of some years")]
    pub(super) fn cores(&mut self, second: u64, boot_unix_s: u64) -> f64 {
        let now_s = second as f64;
        let unix_s = (boot_unix_s + second) as f64;
        let random = &mut self.random;
        match self.load {
            Load::None => 0.0,
            Load::Seasonal {
                mean,
                swing,
                peak_hour,
                sigma,
                memory,
            } => {
                let shock = sigma * (1.0 - memory * memory).sqrt();
                self.state = memory * self.state + shock * normal(random);
                let hour = unix_s.rem_euclid(DAY_S) / 3_600.0;
                let angle = (hour - peak_hour) / 24.0 * std::f64::consts::TAU;
                mean * (1.0 + swing * angle.cos()) * self.state.exp()
            }
            Load::Bursts {
                per_day,
                shortest_s,
                alpha,
                longest_s,
                cores,
            } => {
                if now_s >= self.next_s {
                    let length_s = shortest_s * (1.0 - random.f64()).powf(-1.0 / alpha);
                    self.until_s = now_s + length_s.min(longest_s);
                    self.next_s = self.until_s + exponential(random) * DAY_S / per_day;
                }
                self.during(now_s, cores)
            }
            Load::Batch {
                hour,
                length_s,
                cores,
            } => {
                let day = (unix_s / DAY_S).floor();
                if self.state < day && unix_s.rem_euclid(DAY_S) >= hour * 3_600.0 {
                    self.state = day;
                    self.next_s = now_s + random.f64() * 900.0;
                    self.until_s = self.next_s + length_s * (0.9 + 0.2 * random.f64());
                }
                if now_s >= self.next_s {
                    self.during(now_s, cores)
                } else {
                    0.0
                }
            }
            Load::Periodic {
                every_s,
                length_s: (shortest_s, longest_s),
                cores,
            } => {
                if second.is_multiple_of(every_s) {
                    self.until_s = now_s + shortest_s + (longest_s - shortest_s) * random.f64();
                }
                self.during(now_s, cores)
            }
            Load::Steady {
                from_s,
                cores,
                noise,
            } if second >= from_s => (cores * (1.0 + noise * normal(random))).max(0.0),
            Load::Coin {
                from_s,
                before,
                after,
                cores,
            } => {
                let p = if second >= from_s { after } else { before };
                if random.f64() < p { cores } else { 0.0 }
            }
            Load::Ramp {
                from_s,
                rise_s,
                cores,
            } if second >= from_s => cores * (((second - from_s) as f64 + 1.0) / rise_s).min(1.0),
            Load::Steady { .. } | Load::Ramp { .. } => 0.0,
        }
    }

    /// The part of this second that lies before the end.
    fn during(&self, now_s: f64, cores: f64) -> f64 {
        cores * (self.until_s - now_s).clamp(0.0, 1.0)
    }
}

fn exponential(random: &mut fastrand::Rng) -> f64 {
    -(1.0 - random.f64()).ln()
}

/// Box and Muller's.
fn normal(random: &mut fastrand::Rng) -> f64 {
    let radius = (2.0 * exponential(random)).sqrt();
    radius * (std::f64::consts::TAU * random.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday, 00:00 UTC.
    const MONDAY: u64 = 1_700_438_400;

    fn day(load: Load) -> Vec<f64> {
        let mut generator = Generator::new(load, 1);
        (0..86_400).map(|s| generator.cores(s, MONDAY)).collect()
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn a_season_peaks_when_it_should_and_its_noise_remembers() {
        let seconds = day(Load::Seasonal {
            mean: 1.0,
            swing: 0.5,
            peak_hour: 18.0,
            sigma: 0.3,
            memory: 0.9,
        });
        let hour = |h: usize| mean(&seconds[h * 3_600..(h + 1) * 3_600]);
        assert!(hour(18) > 2.0 * hour(6), "{} {}", hour(18), hour(6));
        let noise: Vec<f64> = seconds[64_000..67_000].to_vec();
        let middle = mean(&noise);
        let product = |lag: usize| {
            let pairs = noise.iter().zip(&noise[lag..]);
            pairs.map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>()
        };
        let memory = product(1) / product(0);
        assert!((0.8..0.97).contains(&memory), "{memory}");
    }

    #[test]
    fn bursts_are_as_many_as_said_and_have_a_tail() {
        let seconds = day(Load::Bursts {
            per_day: 200.0,
            shortest_s: 2.0,
            alpha: 1.2,
            longest_s: 60.0,
            cores: 1.0,
        });
        let runs: Vec<usize> = seconds
            .split(|cores| *cores < 0.5)
            .map(<[f64]>::len)
            .filter(|length| *length > 0)
            .collect();
        assert!((140..260).contains(&runs.len()), "{}", runs.len());
        assert!(runs.iter().any(|length| *length > 20) && runs.iter().all(|length| *length <= 61));
    }

    #[test]
    fn a_batch_comes_once_a_day() {
        let seconds = day(Load::Batch {
            hour: 3.0,
            length_s: 600.0,
            cores: 2.0,
        });
        let busy: f64 = seconds.iter().sum::<f64>() / 2.0;
        assert!((540.0..=660.0).contains(&busy), "{busy}");
        assert!(mean(&seconds[..3 * 3_600]) == 0.0 && mean(&seconds[4 * 3_600..]) == 0.0);
    }

    #[test]
    fn the_same_seed_gives_the_same_seconds() {
        let load = Load::Coin {
            from_s: 0,
            before: 0.0,
            after: 0.3,
            cores: 1.0,
        };
        assert_eq!(day(load), day(load));
        assert!((mean(&day(load)) - 0.3).abs() < 0.01);
    }
}
