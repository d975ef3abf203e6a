//! How many inputs a second the engine takes on one core: `cargo bench -p detector --bench engine`.

use std::time::{Duration, Instant};

use detector::{
    detect::{Config, Engine, Seed},
    input::Input,
    simulate::{Crowd, Scenario},
};

/// How long each case is measured.
const MEASURED: Duration = Duration::from_secs(3);

fn main() {
    println!("{:<28} {:>14} {:>12}", "case", "inputs/s", "ms a pass");
    for processes in [100, 1_000, 10_000, 50_000] {
        let config = Config {
            max_processes: 65_536,
            ..Config::default()
        };
        let name = format!("crowd of {processes}");
        measure(&name, Engine::new(config, Seed(1)), Crowd::new(processes));
    }
    for scenario in Scenario::BENIGN.iter().chain(Scenario::HOSTILE) {
        let mut engine = Engine::new(Config::default(), Seed(1));
        let host = scenario.host(1);
        let mut out = Vec::new();
        for (exec, facts) in &host.introduce() {
            engine.apply(Input::Exec(exec), &mut out);
            engine.apply(Input::Executable(exec.at_ns, facts), &mut out);
        }
        measure(scenario.name(), engine, host);
    }
}

/// Scans are made before the clock runs: what is measured is the engine.
fn measure(name: &str, mut engine: Engine, mut scans: impl Iterator<Item = detector::input::Scan>) {
    let mut out = Vec::new();
    let (mut inputs, mut passes, mut spent) = (0_u64, 0_u32, Duration::ZERO);
    while spent < MEASURED {
        let scan = scans.next().expect("endless");
        let began = Instant::now();
        engine.apply(Input::Scan(&scan), &mut out);
        spent += began.elapsed();
        out.clear();
        passes += 1;
        inputs += 1 + scan.tasks.len() as u64;
    }
    let seconds = spent.as_secs_f64();
    println!(
        "{name:<28} {:>14.0} {:>12.3}",
        inputs as f64 / seconds,
        seconds * 1_000.0 / f64::from(passes)
    );
}
