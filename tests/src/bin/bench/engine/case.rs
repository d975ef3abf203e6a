//! What is measured.

use detector::{
    detect::Config,
    input::OwnedInput,
    simulate::{Crowd, Host, Mix, Scenario, Storm},
};

/// Inputs without end.
type Stream = Box<dyn Iterator<Item = OwnedInput>>;

/// What a row is about, and which table it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A server at work.
    Mix,
    /// Passes over many processes.
    Crowd,
    /// Passes over a handful, with incidents open.
    Scenario,
    /// Records without end.
    Storm,
}

/// One row.
pub struct Case {
    /// As in the table.
    pub name: String,
    /// Which table.
    pub kind: Kind,
    /// Settings.
    pub config: Config,
    /// Inputs before anything counts.
    pub warm_up: u64,
    /// Makes the inputs.
    pub stream: Box<dyn Fn() -> Stream>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}", self.name)
    }
}

/// Seconds of a scenario before anything counts: its miner begins after an hour.
const WARM_UP_S: u64 = 4_000;

/// All of them.
pub fn cases() -> Vec<Case> {
    let scenarios = || Scenario::BENIGN.iter().chain(Scenario::HOSTILE).copied();
    let mixes = [Scenario::WebShop, Scenario::FullSpeed];
    mixes
        .into_iter()
        .map(mix)
        .chain([100, 1_000, 10_000, 50_000].map(busy))
        .chain([1_000, 10_000, 50_000].map(idle))
        .chain(scenarios().map(scenario))
        .chain(Storm::ALL.map(storm))
        .collect()
}

fn mix(scenario: Scenario) -> Case {
    let seconds = move || Mix::new(scenario, 1);
    let stream = move || {
        let seconds = seconds();
        let introduced = seconds.introduce();
        let stream: Stream = Box::new(introduced.into_iter().chain(seconds.flatten()));
        stream
    };
    let a_second = Mix::new(scenario, 1)
        .nth(1)
        .map_or(0, |inputs| inputs.iter().map(super::inputs).sum::<u64>());
    Case {
        name: format!("server, {}", scenario.name().replace('_', " ")),
        kind: Kind::Mix,
        config: Config::default(),
        warm_up: WARM_UP_S * a_second,
        stream: Box::new(stream),
    }
}

fn crowd(name: String, crowd: Crowd, processes: u32) -> Case {
    Case {
        name,
        kind: Kind::Crowd,
        config: Config {
            max_processes: 65_536,
            ..Config::default()
        },
        warm_up: u64::from(processes) * 12,
        stream: Box::new(move || {
            let passes = crowd.clone().map(|scan| OwnedInput::Scan(Box::new(scan)));
            Box::new(passes)
        }),
    }
}

fn busy(processes: u32) -> Case {
    let name = format!("{processes} run");
    crowd(name, Crowd::new(processes), processes)
}

fn idle(processes: u32) -> Case {
    let running = processes / 100;
    let name = format!("{running} of {processes} run");
    crowd(name, Crowd::idle(processes, running), processes)
}

fn scenario(scenario: Scenario) -> Case {
    let stream = move || {
        let host: Host = scenario.host(1);
        let told = host.introduce().into_iter().flat_map(|(exec, facts)| {
            let at_ns = exec.at_ns;
            [
                OwnedInput::Exec(Box::new(exec)),
                OwnedInput::Executable(at_ns, Box::new(facts)),
            ]
        });
        let told: Vec<OwnedInput> = told.collect();
        let passes = host.map(|scan| OwnedInput::Scan(Box::new(scan)));
        let stream: Stream = Box::new(told.into_iter().chain(passes));
        stream
    };
    let tasks = scenario.host(1).next().map_or(0, |scan| scan.tasks.len());
    Case {
        name: scenario.name().replace('_', " "),
        kind: Kind::Scenario,
        config: Config::default(),
        warm_up: WARM_UP_S * (1 + tasks as u64),
        stream: Box::new(stream),
    }
}

fn storm(storm: Storm) -> Case {
    Case {
        name: storm.name().replace('_', " "),
        kind: Kind::Storm,
        config: Config::default(),
        warm_up: 100_000,
        stream: Box::new(move || {
            let records = (0..).map(move |n| storm.record(n));
            Box::new(storm.introduce().into_iter().chain(records))
        }),
    }
}
