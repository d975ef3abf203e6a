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

/// Whose rules say what a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// CloudEvents over HTTP, and Alertmanager: 429 and 5xx pass, any other 4xx is about the event.
    Http,
    /// PagerDuty's Events API v2: the same; 400 must never be repeated.
    Pagerduty,
    /// OTLP/HTTP: only 429, 502, 503 and 504 may be repeated.
    Otlp,
}

/// What a status means for the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The receiver has it.
    Delivered,
    /// Not now.
    Retry,
    /// The receiver will never take it.
    Refused,
}

/// What an HTTP status means.
///
/// A redirect (3xx) is not followed, since it would carry the token to another host. It says nothing about the
/// event and is repeated until somebody repairs the address; OTLP alone forbids even that.
pub fn meaning(protocol: Protocol, status: u16) -> Meaning {
    match (protocol, status) {
        (_, 200..300) => Meaning::Delivered,
        (_, 429 | 502 | 503 | 504) => Meaning::Retry,
        (Protocol::Otlp, _) | (_, 400..500) => Meaning::Refused,
        _ => Meaning::Retry,
    }
}

/// How long to wait after failure number `attempt` (from 0). `asked` is what the receiver asks for; `random` is
/// uniform over all of `u64`.
pub fn wait(policy: &Policy, attempt: u32, asked: Option<Duration>, random: u64) -> Duration {
    let bound = policy
        .initial
        .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX))
        .min(policy.max);
    match asked {
        // Never earlier than asked, and not all at that very moment.
        Some(asked) => {
            let asked = asked.min(policy.retry_after_max);
            asked + part(policy.initial.min(policy.max), random)
        }
        None => part(bound, random),
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

    #[test]
    fn protocol_and_status_decide_between_delivered_retry_and_refused() {
        use Meaning::{Delivered, Refused, Retry};
        for (statuses, http, pagerduty, otlp) in [
            (&[200, 202, 204, 299][..], Delivered, Delivered, Delivered),
            (&[429, 502, 503, 504], Retry, Retry, Retry),
            (&[500, 501, 505, 599], Retry, Retry, Refused),
            (&[100, 301, 307], Retry, Retry, Refused),
            (
                &[400, 401, 403, 404, 408, 413, 422],
                Refused,
                Refused,
                Refused,
            ),
        ] {
            for status in statuses {
                let found = [Protocol::Http, Protocol::Pagerduty, Protocol::Otlp]
                    .map(|protocol| meaning(protocol, *status));
                assert_eq!(found, [http, pagerduty, otlp], "{status}");
            }
        }
    }

    #[test]
    fn wait_doubles_up_to_its_bound_and_starts_at_nothing() {
        let wait = |attempt, random| wait(&POLICY, attempt, None, random);
        let half = 1 << 63;
        let waits: Vec<Duration> = [0, 1, 2, 6, 7, 31, 32, u32::MAX]
            .into_iter()
            .map(|attempt| wait(attempt, half))
            .collect();
        let expected =
            [250, 500, 1000, 16_000, 30_000, 30_000, 30_000, 30_000].map(Duration::from_millis);
        assert_eq!(waits, expected);
        assert_eq!(wait(9, 0), Duration::ZERO);
        assert!(wait(9, u64::MAX) < POLICY.max);
    }

    #[test]
    fn receiver_that_asks_for_a_wait_gets_it_up_to_the_cap() {
        let wait = |seconds, random| wait(&POLICY, 0, Some(Duration::from_secs(seconds)), random);
        assert_eq!(wait(7, 0), Duration::from_millis(7000));
        assert_eq!(wait(7, 1 << 63), Duration::from_millis(7250));
        assert_eq!(wait(u64::MAX, 0), Duration::from_secs(300));
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
