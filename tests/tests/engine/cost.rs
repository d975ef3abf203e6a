//! What the engine costs grows with what there is to do, and not faster.

use std::time::Duration;

use detector::{
    detect::{Config, Engine, Seed},
    input::Input,
    simulate::Crowd,
};
use tests::heap::cpu_time;

/// The fastest of some passes of a crowd.
fn pass(crowd: Crowd) -> Duration {
    let mut engine = Engine::new(Config::default(), Seed(1));
    let mut out = Vec::new();
    crowd
        .take(6)
        .map(|scan| {
            let began = cpu_time();
            engine.apply(Input::Scan(&scan), &mut out);
            cpu_time() - began
        })
        .skip(2)
        .min()
        .expect("four passes")
}

#[test]
fn a_pass_over_eight_times_the_processes_takes_about_eight_times_as_long() {
    // What is quadratic takes 64 times as long.
    let busy = |processes| pass(Crowd::new(processes)).as_secs_f64();
    let ratio = busy(16_000) / busy(2_000);
    assert!(ratio < 24.0, "{ratio}");
}

#[test]
fn processes_that_do_not_run_cost_nothing_in_a_pass() {
    // What looks at all of them takes 32 times as long.
    let idle = |processes| pass(Crowd::idle(processes, 500)).as_secs_f64();
    let ratio = idle(32_000) / idle(1_000);
    assert!(ratio < 4.0, "{ratio}");
}
