//! The few statistics that the tables state.

/// The value below which `share` of the values lie, nearest rank; `None` of nothing.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among few values"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Wilson's interval of a share, 95 %.
#[expect(clippy::cast_precision_loss, reason = "thousands of runs at most")]
pub fn wilson(hits: usize, of: usize) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, z) = (of as f64, 1.96_f64);
    let p = hits as f64 / n;
    let middle = p + z * z / (2.0 * n);
    let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    (
        ((middle - spread) / scale).max(0.0),
        ((middle + spread) / scale).min(1.0),
    )
}

/// Exact Poisson interval of a count, 95 %, by bisection.
pub fn poisson(count: u64) -> (f64, f64) {
    let low = if count == 0 {
        0.0
    } else {
        bisect(|mean| 1.0 - cumulative(count - 1, mean) < 0.025)
    };
    (low, bisect(|mean| cumulative(count, mean) > 0.025))
}

/// P(X ≤ count).
fn cumulative(count: u64, mean: f64) -> f64 {
    let mut term = (-mean).exp();
    let mut sum = term;
    for k in 1..=count {
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let divisor = k as f64;
        term *= mean / divisor;
        sum += term;
    }
    sum
}

/// The mean up to which `holds`.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1_000.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Poisson: Ulm 1990, table of exact limits. Wilson: worked by hand for 9 of 10.
        for (count, expected) in [(0, (0.0, 3.689)), (1, (0.025, 5.572)), (5, (1.623, 11.668))] {
            let (low, high) = poisson(count);
            assert!(
                (low - expected.0).abs() < 0.001 && (high - expected.1).abs() < 0.001,
                "{count}: {low} {high}"
            );
        }
        let (low, high) = wilson(9, 10);
        assert!(
            (low - 0.596).abs() < 0.001 && (high - 0.982).abs() < 0.001,
            "{low} {high}"
        );
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let values = [3.0, 1.0, 2.0, 4.0];
        assert_eq!(quantile(&values, 0.5), Some(2.0));
        assert_eq!(quantile(&values, 0.99), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
