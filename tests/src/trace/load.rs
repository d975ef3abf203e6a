//! How much CPU a process wants.

use super::SECOND;

/// A wish for CPU time over a span of the trace.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// From when, ns since boot.
    pub from_ns: u64,
    /// Until when, ns since boot.
    pub to_ns: u64,
    /// How much.
    pub shape: Shape,
}

/// The course of a wish.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// The same all the time.
    Steady {
        /// CPUs.
        cores: f64,
    },
    /// On and off.
    Square {
        /// CPUs while on.
        cores: f64,
        /// Share of the time it is on (0–1).
        duty: f64,
        /// Length of on and off together, seconds.
        period_s: f64,
    },
    /// Linear growth, then steady.
    Ramp {
        /// CPUs at the end.
        cores: f64,
        /// Length of the growth, seconds.
        over_s: f64,
    },
    /// Log-normal with memory: `exp` of a first-order autoregression.
    Noise {
        /// CPUs, mean.
        mean: f64,
        /// Correlation from one second to the next (0–1).
        rho: f64,
        /// Spread of the logarithm.
        sigma: f64,
    },
}

impl Load {
    /// CPU seconds wanted in the second that begins at `at_ns`. `state` is the noise's memory; `normal` a standard
    /// normal number.
    pub(super) fn wanted_s(&self, at_ns: u64, state: &mut f64, normal: f64) -> f64 {
        let from_ns = self.from_ns.max(at_ns);
        let to_ns = self.to_ns.min(at_ns + SECOND);
        if to_ns <= from_ns {
            return 0.0;
        }
        let (from_s, to_s) = (self.since_s(from_ns), self.since_s(to_ns));
        let span_s = to_s - from_s;
        match self.shape {
            Shape::Steady { cores } => cores * span_s,
            Shape::Square {
                cores,
                duty,
                period_s,
            } => {
                let on_until = |s: f64| {
                    let whole = (s / period_s).floor();
                    whole * duty * period_s + (s - whole * period_s).min(duty * period_s)
                };
                cores * (on_until(to_s) - on_until(from_s))
            }
            Shape::Ramp { cores, over_s } => {
                let risen_until =
                    |s: f64| s.min(over_s).powi(2) / (2.0 * over_s) + (s - over_s).max(0.0);
                cores * (risen_until(to_s) - risen_until(from_s))
            }
            Shape::Noise { mean, rho, sigma } => {
                *state = rho * *state + (1.0 - rho * rho).sqrt() * normal;
                mean * (sigma * *state - sigma * sigma / 2.0).exp() * span_s
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds of a trace")]
    fn since_s(&self, at_ns: u64) -> f64 {
        (at_ns - self.from_ns) as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(load: Load, seconds: u64) -> Vec<f64> {
        let mut state = 0.0;
        (0..seconds)
            .map(|s| (load.wanted_s(s * SECOND, &mut state, 0.0) * 1_000.0).round() / 1_000.0)
            .collect()
    }

    #[test]
    fn a_load_wants_what_its_shape_says_in_each_second() {
        let load = |shape| Load {
            from_ns: SECOND / 2,
            to_ns: 3 * SECOND,
            shape,
        };
        assert_eq!(
            over(load(Shape::Steady { cores: 2.0 }), 4),
            [1.0, 2.0, 2.0, 0.0]
        );
        let square = Shape::Square {
            cores: 1.0,
            duty: 0.5,
            period_s: 2.0,
        };
        assert_eq!(over(load(square), 4), [0.5, 0.5, 0.5, 0.0]);
        let ramp = Shape::Ramp {
            cores: 1.0,
            over_s: 2.0,
        };
        assert_eq!(over(load(ramp), 4), [0.063, 0.5, 0.938, 0.0]);
    }
}
