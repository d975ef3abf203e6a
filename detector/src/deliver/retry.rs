//! Whether and when an attempt is repeated. Pure: chance comes in as an argument.
//!
//! An event is repeated for as long as it is kept; what bounds that is the queue behind it. The wait grows
//! exponentially and is drawn from nothing up to its bound ("full jitter"), so that a fleet does not
//! come back in step when its receiver does.
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

/// Bounds of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Upper bound of the wait after the first failure.
    pub initial: Duration,
    /// Upper bound of any wait that the receiver did not ask for.
    pub max: Duration,
    /// Longest wait a receiver may ask for.
    pub retry_after_max: Duration,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver answered.
    Answered {
        /// HTTP status.
        status: u16,
        /// What `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// No answer: connection, TLS or time-out.
    Unanswered,
}

/// What to do with the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The receiver has it.
    Delivered,
    /// Again, after this long.
    Retry(Duration),
    /// The receiver will never take it.
    DeadLetter,
}

/// Decides after attempt number `attempt` (from 0). `random` is uniform over all of `u64`.
///
/// A redirect (3xx) is not followed, since it would carry the token to another host; it says nothing about the
/// event and is repeated until somebody repairs the address.
pub fn decide(policy: &Policy, attempt: u32, outcome: Outcome, random: u64) -> Decision {
    let bound = policy
        .initial
        .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX))
        .min(policy.max);
    match outcome {
        Outcome::Answered { status, .. } if (200..300).contains(&status) => Decision::Delivered,
        Outcome::Answered { status, .. } if (400..500).contains(&status) && status != 429 => {
            Decision::DeadLetter
        }
        Outcome::Answered {
            retry_after: Some(asked),
            ..
        } => {
            // Never earlier than asked, and not all at that very moment.
            let asked = asked.min(policy.retry_after_max);
            Decision::Retry(asked + part(policy.initial.min(policy.max), random))
        }
        Outcome::Answered { .. } | Outcome::Unanswered => Decision::Retry(part(bound, random)),
    }
}

/// `random / 2^64` of `bound`.
fn part(bound: Duration, random: u64) -> Duration {
    let nanos = bound.as_nanos().min(u128::from(u64::MAX));
    let nanos = (nanos * u128::from(random)) >> 64;
    Duration::from_nanos(nanos as u64)
}

/// `Retry-After`: seconds, or an HTTP date compared with `now_unix_s`. Anything else is ignored.
pub fn retry_after(header: &str, now_unix_s: i64) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(header)
        .ok()?;
    let seconds = date.as_second().saturating_sub(now_unix_s).max(0);
    Some(Duration::from_secs(seconds.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        initial: Duration::from_millis(500),
        max: Duration::from_secs(60),
        retry_after_max: Duration::from_secs(300),
    };

    fn answered(status: u16) -> Outcome {
        Outcome::Answered {
            status,
            retry_after: None,
        }
    }

    #[test]
    fn status_decides_between_delivered_retry_and_dead_letter() {
        let kind = |outcome| match decide(&POLICY, 0, outcome, 0) {
            Decision::Delivered => "delivered",
            Decision::Retry(_) => "retry",
            Decision::DeadLetter => "dead letter",
        };
        for (statuses, expected) in [
            (&[200, 202, 204, 299][..], "delivered"),
            (&[429, 500, 502, 503, 504, 599, 301, 307], "retry"),
            (&[400, 401, 403, 404, 413, 422], "dead letter"),
        ] {
            for status in statuses {
                assert_eq!(kind(answered(*status)), expected, "{status}");
            }
        }
        assert_eq!(kind(Outcome::Unanswered), "retry");
    }

    #[test]
    fn wait_doubles_up_to_its_bound_and_starts_at_nothing() {
        let wait = |attempt, random| decide(&POLICY, attempt, Outcome::Unanswered, random);
        let half = 1 << 63;
        let waits: Vec<Decision> = [0, 1, 2, 6, 7, 31, 32, u32::MAX]
            .into_iter()
            .map(|attempt| wait(attempt, half))
            .collect();
        let expected = [250, 500, 1000, 16_000, 30_000, 30_000, 30_000, 30_000]
            .map(|ms| Decision::Retry(Duration::from_millis(ms)));
        assert_eq!(waits, expected);
        assert_eq!(wait(9, 0), Decision::Retry(Duration::ZERO));
        let Decision::Retry(longest) = wait(9, u64::MAX) else {
            panic!("not a retry");
        };
        assert!(longest < POLICY.max);
    }

    #[test]
    fn receiver_that_asks_for_a_wait_gets_it_up_to_the_cap() {
        let wait = |status, seconds, random| {
            let retry_after = Some(Duration::from_secs(seconds));
            let outcome = Outcome::Answered {
                status,
                retry_after,
            };
            decide(&POLICY, 0, outcome, random)
        };
        let ms = |ms| Decision::Retry(Duration::from_millis(ms));
        assert_eq!(wait(429, 7, 0), ms(7000));
        assert_eq!(wait(503, 7, 1 << 63), ms(7250));
        assert_eq!(wait(429, u64::MAX, 0), ms(300_000));
        assert_eq!(wait(200, 7, 0), Decision::Delivered);
        assert_eq!(wait(400, 7, 0), Decision::DeadLetter);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 1994-11-06T08:49:37Z
        let date = 784_111_777;
        for (header, now, expected) in [
            ("120", 0, Some(120)),
            (" 0 ", 0, Some(0)),
            ("99999999999999999999999", 0, Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", date - 30, Some(30)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", date + 30, Some(0)),
            ("-1", 0, None),
            ("1.5", 0, None),
            ("soon", 0, None),
            ("", 0, None),
        ] {
            assert_eq!(
                retry_after(header, now),
                expected.map(Duration::from_secs),
                "{header}"
            );
        }
    }
}
