//! What the engine costs grows with what there is to do, and not faster.

use std::time::{Duration, Instant};

use detector::{
    detect::{Config, Engine, Seed},
    input::Input,
    simulate::Crowd,
};

/// The fastest of some passes over that many processes.
fn pass(processes: u32) -> Duration {
    let mut engine = Engine::new(Config::default(), Seed(1));
    let mut out = Vec::new();
    Crowd::new(processes)
        .take(6)
        .map(|scan| {
            let began = Instant::now();
            engine.apply(Input::Scan(&scan), &mut out);
            began.elapsed()
        })
        .skip(2)
        .min()
        .expect("four passes")
}

#[test]
fn a_pass_over_eight_times_the_processes_takes_about_eight_times_as_long() {
    // What is quadratic takes 64 times as long.
    let ratio = pass(16_000).as_secs_f64() / pass(2_000).as_secs_f64();
    assert!(ratio < 24.0, "{ratio}");
}
