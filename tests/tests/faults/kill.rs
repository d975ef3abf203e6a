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
        "{} kills, {} before the first event was stored; {} events, {} durable, {} arrived, {} of them again",
        outcome.rounds,
        outcome.early,
        outcome.produced,
        outcome.durable,
        outcome.arrived,
        outcome.arrived - outcome.distinct,
    );
    assert_eq!(outcome.trouble, Vec::<String>::new());
    assert_eq!(outcome.lost, Vec::<u64>::new());
    assert_eq!((outcome.renumbered, outcome.disordered), (0, 0));
    assert_eq!(outcome.torn, Vec::<String>::new());
    // It was killed while it wrote and while it delivered, not only while it started.
    assert!(outcome.early < outcome.rounds / 2, "{}", outcome.early);
    assert!(outcome.arrived > outcome.distinct);
    assert!(outcome.durable > outcome.rounds);
}
