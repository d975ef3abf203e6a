//! Power that fails: un-synced writes lost, reordered and torn.

use tests::faults::{
    memory,
    power::{CROWDED, Outcome, Plan, ROOMY, play},
};

fn failures(failures: u64, outbox_bytes: u64) -> Outcome {
    let plan = Plan {
        folder: memory(),
        failures,
        seed: 1,
        outbox_bytes,
    };
    let outcome = play(&plan).expect("it can be played");
    eprintln!(
        "{} failures within {} steps ({} writes, {} syncs): {} durable events, {} given up, {} found undelivered",
        outcome.failures,
        outcome.steps,
        outcome.writes,
        outcome.syncs,
        outcome.durable,
        outcome.given_up,
        outcome.found,
    );
    assert_eq!(outcome.broken, Vec::<String>::new());
    assert!(outcome.found > 0 && outcome.durable > outcome.failures);
    outcome
}

#[test]
fn what_was_durable_before_a_power_failure_is_there_afterwards() {
    let outcome = failures(800, ROOMY);
    assert_eq!((outcome.failures, outcome.given_up), (1_000, 0));
}

#[test]
fn what_a_full_outbox_gave_up_before_a_power_failure_is_counted_afterwards() {
    let outcome = failures(160, CROWDED);
    assert!(outcome.given_up > 0);
}
