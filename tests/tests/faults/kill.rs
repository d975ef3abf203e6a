//! kill −9 of a program that records and delivers.

use tests::faults::{
    kill::{Plan, play},
    memory,
};

#[test]
fn what_was_durable_before_each_of_a_thousand_kills_arrives_and_in_order() {
    let plan = Plan {
        folder: memory(),
        rounds: 1_000,
        seed: 1,
        program: env!("CARGO_BIN_EXE_victim").into(),
    };
    let outcome = play(&plan).expect("it can be played");
    eprintln!(
        "{} kills, {} before the first event was stored; {} events, {} durable, {} arrived, {} repetitions dropped",
        outcome.rounds,
        outcome.early,
        outcome.produced,
        outcome.durable.len(),
        outcome.arrivals.total,
        outcome.arrivals.repetitions(),
    );
    assert_eq!(outcome.trouble, Vec::<String>::new());
    assert_eq!(outcome.lost(), Vec::<u64>::new());
    let arrivals = &outcome.arrivals;
    assert_eq!((arrivals.renumbered, arrivals.disordered), (0, 0));
    assert_eq!(outcome.torn, Vec::<String>::new());
    // It was killed while it wrote and while it delivered, not only while it started.
    assert!(outcome.early < outcome.rounds / 2, "{}", outcome.early);
    assert!(arrivals.repetitions() > 0);
    assert!(outcome.durable.len() as u64 > outcome.rounds);
}
