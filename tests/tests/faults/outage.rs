//! A receiver that is away, and one that gets much at once.
//!
//! The whole day (864,000 events) takes minutes in a build with checks: here the outage lasts half an hour with a bound
//! of the outbox that is as much smaller.

use tests::faults::{
    memory,
    outage::{Outcome, Plan, burst, day},
};

const MIB: u64 = 1 << 20;

fn shown(outcome: &Outcome) {
    eprintln!(
        "{} events in {:.1} s, at most {} waited; {} collapsed, {} given up and declared, {} arrived in {:.1} s",
        outcome.produced,
        outcome.making.as_secs_f64(),
        outcome.deepest,
        outcome.collapsed,
        outcome.declared,
        outcome.arrivals.distinct(),
        outcome.took.as_secs_f64(),
    );
    let arrivals = &outcome.arrivals;
    assert_eq!((arrivals.renumbered, arrivals.disordered), (0, 0));
    assert_eq!(outcome.unaccounted(), 0, "{outcome:?}");
    assert_eq!(outcome.dropped, 0);
}

#[test]
fn what_is_produced_while_a_receiver_is_away_is_delivered_collapsed_or_declared() {
    let plan = Plan {
        folder: memory(),
        events: 18_000,
        per_s: 10,
        outbox_bytes: 64 * MIB / 48,
        rate_per_s: 400,
    };
    let outcome = day(&plan).expect("it can be played");
    shown(&outcome);
    assert!(outcome.collapsed > 0 && outcome.declared > 0);
    // An event has more than 1,200 bytes; a thousand of them wait to be stored.
    let bound = plan.outbox_bytes / 1_200 + 1_000;
    assert!(outcome.deepest < bound, "{} waited", outcome.deepest);
    // What the clock of two processes may differ by.
    let slack = f64::from(plan.rate_per_s) / 2.0;
    assert!(outcome.above_rate < slack, "{}", outcome.above_rate);
}

#[test]
fn ten_thousand_events_in_a_second_all_arrive_in_order_at_the_receivers_rate() {
    let plan = Plan {
        folder: memory(),
        events: 10_000,
        per_s: 10_000,
        outbox_bytes: 64 * MIB,
        rate_per_s: 2_000,
    };
    let outcome = burst(&plan).expect("it can be played");
    shown(&outcome);
    assert_eq!(outcome.arrivals.distinct(), plan.events);
    let slack = f64::from(plan.rate_per_s) / 2.0;
    assert!(outcome.above_rate < slack, "{}", outcome.above_rate);
}
