//! A server at work: the pass of each second, and the records of what began and ended before it.

use super::{Crowd, Host, SECOND_NS, Scenario, storm};
use crate::input::{OwnedInput, ProcessKey};

/// Threads that run in each second, beside the programs of the scenario.
const RUNNING: u32 = 400;
/// Programs started in each second: cron jobs, CGI, health checks.
const LIVES: u64 = 25;
/// Outbound connections of each second.
const CONNECTIONS: u64 = 100;

/// A server that runs the programs of a [`Scenario`], some hundred other processes, starts programs and connects.
#[derive(Debug)]
pub struct Mix {
    host: Host,
    crowd: Crowd,
    second: u64,
}

impl Mix {
    /// The same seed gives the same seconds.
    pub fn new(scenario: Scenario, seed: u64) -> Mix {
        Mix {
            host: scenario.host(seed),
            crowd: Crowd::new(RUNNING),
            second: 0,
        }
    }

    /// The programs of the scenario, to be told before the first second.
    pub fn introduce(&self) -> Vec<OwnedInput> {
        let told = self.host.introduce().into_iter().flat_map(|(exec, facts)| {
            let at_ns = exec.at_ns;
            [
                OwnedInput::Exec(Box::new(exec)),
                OwnedInput::Executable(at_ns, Box::new(facts)),
            ]
        });
        told.collect()
    }
}

impl Iterator for Mix {
    type Item = Vec<OwnedInput>;

    /// The inputs of one second.
    fn next(&mut self) -> Option<Vec<OwnedInput>> {
        let mut scan = self.host.next()?;
        self.second += 1;
        let at_ns = |n: u64, of: u64| scan.at_ns - SECOND_NS + SECOND_NS * n / of;
        let mut inputs = Vec::new();
        if self.second > 1 {
            let jobs = self.host.running_key(0);
            for n in 0..LIVES {
                let start_ns = at_ns(n, LIVES);
                let number = self.second * LIVES + n;
                let child = ProcessKey {
                    tgid: 100_000 + storm::low(number % 1_000_000),
                    start_ns,
                };
                inputs.extend(storm::life(jobs, child, n));
            }
            for n in 0..CONNECTIONS {
                let begun = at_ns(n, CONNECTIONS);
                let number = self.second * CONNECTIONS + n;
                inputs.extend((0..3).map(|step| storm::connected(jobs, number * 3 + step, begun)));
            }
        }
        let second = scan.at_ns / SECOND_NS;
        scan.tasks
            .extend((10_000..10_000 + RUNNING).map(|n| self.crowd.task(n, second)));
        inputs.push(OwnedInput::Scan(Box::new(scan)));
        Some(inputs)
    }
}
