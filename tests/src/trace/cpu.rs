//! Who gets the CPUs of one second.

/// A wish for one second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wish {
    /// CPU seconds.
    pub wanted_s: f64,
    /// Threads that want them: more threads, a larger share.
    pub threads: f64,
    /// Gets what others leave (nice 19, `SCHED_IDLE`).
    pub low: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Share {
    /// CPU seconds.
    pub got_s: f64,
    /// Seconds it was ready and did not run.
    pub waited_s: f64,
}

/// Shares `capacity_s` among the wishes: everybody the same for each thread, nobody more than it wants, low ones
/// after the others. Who wants a CPU while all are wanted waits, also if it gets its share in the end.
pub(super) fn share(wishes: &[Wish], capacity_s: f64) -> Vec<Share> {
    let mut shares = vec![Share::default(); wishes.len()];
    let mut left_s = capacity_s;
    for low in [false, true] {
        let mut open: Vec<usize> = (0..wishes.len())
            .filter(|&at| wishes[at].low == low && wishes[at].wanted_s > 0.0)
            .collect();
        while !open.is_empty() && left_s > 1e-9 {
            let threads: f64 = open.iter().map(|&at| wishes[at].threads).sum();
            let each_s = left_s / threads;
            let wants_less = |at: &usize| {
                wishes[*at].wanted_s - shares[*at].got_s <= each_s * wishes[*at].threads
            };
            let (done, more): (Vec<usize>, Vec<usize>) = open.iter().partition(|at| wants_less(at));
            for &at in if done.is_empty() { &more } else { &done } {
                let missing_s = wishes[at].wanted_s - shares[at].got_s;
                let given_s = missing_s.min(each_s * wishes[at].threads);
                shares[at].got_s += given_s;
                left_s -= given_s;
            }
            open = if done.is_empty() { Vec::new() } else { more };
        }
    }
    let wanted_s: f64 = wishes.iter().map(|wish| wish.wanted_s).sum();
    let crowd = (wanted_s / capacity_s - 1.0).max(0.0);
    for (share, wish) in shares.iter_mut().zip(wishes) {
        let refused_s = (wish.wanted_s - share.got_s).max(0.0);
        share.waited_s = (refused_s + share.got_s * crowd)
            .min(wish.threads - share.got_s)
            .max(0.0);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(wanted_s: f64, threads: f64, low: bool) -> Wish {
        Wish {
            wanted_s,
            threads,
            low,
        }
    }

    fn got(wishes: &[Wish], capacity_s: f64) -> Vec<f64> {
        let tenth = |s: f64| (s * 1_000.0).round() / 1_000.0;
        share(wishes, capacity_s)
            .iter()
            .map(|share| tenth(share.got_s))
            .collect()
    }

    #[test]
    fn nobody_gets_more_than_it_wants_and_the_rest_is_shared_by_threads() {
        assert_eq!(
            got(&[wish(0.1, 1.0, false), wish(2.0, 2.0, false)], 2.0),
            [0.1, 1.9]
        );
        assert_eq!(
            got(&[wish(2.0, 2.0, false), wish(1.0, 1.0, false)], 2.0),
            [1.333, 0.667]
        );
        assert_eq!(
            got(&[wish(1.5, 2.0, false), wish(2.0, 2.0, true)], 2.0),
            [1.5, 0.5]
        );
        assert_eq!(got(&[wish(0.2, 1.0, false)], 2.0), [0.2]);
    }

    #[test]
    fn waiting_begins_where_more_is_wanted_than_there_is() {
        let alone = share(&[wish(1.0, 1.0, false)], 2.0);
        assert_eq!(alone[0].waited_s, 0.0);
        let crowd = share(&[wish(0.2, 1.0, false), wish(3.8, 4.0, false)], 2.0);
        assert!(crowd[0].waited_s >= 0.2, "as long as it ran: {crowd:?}");
    }
}
