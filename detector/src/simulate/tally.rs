//! What an engine says about a simulated host.

use super::Scenario;
use crate::{
    detect::{Config, Engine, Seed},
    incident::{Finding, FindingType, Severity},
    input::{Input, Scan},
    output::Output,
};

/// One finding that was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What.
    pub kind: FindingType,
    /// How loud.
    pub severity: Severity,
    /// Which process, by id.
    pub tgid: Option<u32>,
    /// When, s after the first pass.
    pub at_s: u64,
    /// When it was first seen, ns since 1970.
    pub first_unix_ns: i64,
}

/// Everything that was told in a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Looked at, s.
    pub seconds: u64,
    /// Inputs the engine took.
    pub inputs: u64,
    /// Findings, in the order in which they were told; each episode of one kind about one process once.
    pub told: Vec<Told>,
    /// Incidents that were critical.
    pub pages: u64,
}

impl Tally {
    /// Findings of that loudness or more, told from that second on.
    pub fn alarms(&self, from_s: u64, severity: Severity) -> usize {
        let counts = |told: &&Told| told.at_s >= from_s && told.severity >= severity;
        self.told.iter().filter(counts).count()
    }
}

/// Watches a scenario for that long, or until `enough` of what was told.
pub fn watch(scenario: Scenario, seed: u64, seconds: u64, enough: impl Fn(&Told) -> bool) -> Tally {
    let mut engine = Engine::new(Config::default(), Seed(seed));
    let mut tally = Tally::default();
    let mut out = Vec::new();
    let host = scenario.host(seed);
    for (exec, facts) in &host.introduce() {
        engine.apply(Input::Exec(exec), &mut out);
        engine.apply(Input::Executable(exec.at_ns, facts), &mut out);
    }
    for (scan, at_s) in host.zip(0..=seconds) {
        tally.seconds = at_s;
        tally.inputs += 1 + scan.tasks.len() as u64;
        engine.apply(Input::Scan(&scan), &mut out);
        for output in out.drain(..) {
            tally.take(output, &scan, at_s);
        }
        if tally.told.last().is_some_and(&enough) {
            break;
        }
    }
    tally
}

impl Tally {
    fn take(&mut self, output: Output, scan: &Scan, at_s: u64) {
        match output {
            Output::Finding(finding) => self.tell(&finding, at_s),
            Output::Incident(_, incident) => {
                let just_critical = incident.severity == Severity::Critical
                    && incident.opened_unix_ns == scan.unix_ns;
                self.pages += u64::from(just_critical);
                for finding in &incident.findings {
                    self.tell(finding, at_s);
                }
            }
            // Errands to the world.
            Output::Enrich(_)
            | Output::Watch(_)
            | Output::Unwatch(_)
            | Output::Baseline(_)
            | Output::Destination(_) => {}
        }
    }

    fn tell(&mut self, finding: &Finding, at_s: u64) {
        let tgid = finding.process.map(|key| key.tgid);
        let known = self.told.iter().rev().any(|told| {
            told.kind == finding.kind
                && told.tgid == tgid
                && told.severity >= finding.severity
                && told.first_unix_ns == finding.first_seen_unix_ns
        });
        if !known {
            self.told.push(Told {
                kind: finding.kind,
                severity: finding.severity,
                tgid,
                at_s,
                first_unix_ns: finding.first_seen_unix_ns,
            });
        }
    }
}
