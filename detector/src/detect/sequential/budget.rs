//! From a budget of false alarms to a threshold, and the bound no test can beat.

/// One-second looks in the 30 days the budget is stated for.
const LOOKS: f64 = 30.0 * 86_400.0;
/// Scopes a threshold is made for when fewer are judged: an idle host must not be jumpier than a busy one.
const MIN_SCOPES: usize = 300;

/// `ln γ`: the score at which an alarm is due, so that a host that judges `scopes` sequences once a second has
/// at most `false_alarms_per_30_days` of them.
pub fn threshold(scopes: usize, false_alarms_per_30_days: f64) -> f64 {
    let scopes = f64::from(u32::try_from(scopes.max(MIN_SCOPES)).unwrap_or(u32::MAX));
    (scopes * LOOKS / false_alarms_per_30_days).ln()
}

/// Lorden's lower bound on the mean delay, s: `ln γ / KL` for a busy second whose probability changes from
/// `before` to `after` (both strictly between 0 and 1), independent seconds.
pub fn lorden_s(before: f64, after: f64, ln_gamma: f64) -> f64 {
    let kl = after * (after / before).ln() + (1.0 - after) * ((1.0 - after) / (1.0 - before)).ln();
    ln_gamma / kl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_hundred_scopes_and_one_alarm_in_thirty_days_make_twenty_and_a_half() {
        // exp(20.47) = 7.8e8 looks = 300 scopes × 2,592,000 s.
        assert!((threshold(1, 1.0) - 20.472).abs() < 0.001);
        assert!((threshold(300, 1.0) - 20.472).abs() < 0.001);
        assert!((threshold(3_000, 1.0) - 22.774).abs() < 0.001);
    }

    #[test]
    fn a_thousandfold_stricter_budget_costs_a_third() {
        let ratio = threshold(300, 0.001) / threshold(300, 1.0);
        assert!((ratio - 1.34).abs() < 0.01, "{ratio}");
    }

    #[test]
    fn the_bound_is_that_of_the_literature() {
        // From ln γ / KL worked by hand for ln γ = 20.5.
        for (before, after, expected_s) in [(0.05, 0.95, 7.7), (0.1, 0.95, 10.3), (0.2, 0.9, 17.9)]
        {
            let bound_s = lorden_s(before, after, 20.5);
            assert!(
                (bound_s - expected_s).abs() < 0.06,
                "{before} → {after}: {bound_s}"
            );
        }
    }
}
