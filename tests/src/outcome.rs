//! What was said about a trace or a recording: incidents over their lives.

use std::collections::BTreeSet;

use detector::{
    config::Config,
    detect::Seed,
    event::{CloudEvent, Data, IncidentData},
    judge::Judge,
};
use serde_json::{Value, json};

use crate::trace::{self, Trace};

/// Everything that was said, by incident.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// In the order in which they were opened.
    pub lives: Vec<Life>,
}

/// One incident.
#[derive(Clone, Debug)]
pub struct Life {
    /// The last state told.
    pub last: IncidentData,
    /// When it first was at least `warning`, RFC 3339.
    pub warned_at: Option<String>,
    /// When it first was `critical`, RFC 3339.
    pub paged_at: Option<String>,
    /// When it first said that CPU time is taken (`impact.…`), RFC 3339.
    pub impact_at: Option<String>,
    /// Programs that it or its findings were about at any time, by path.
    pub programs: BTreeSet<String>,
}

impl Outcome {
    /// Plays a trace to an engine with the default settings.
    pub fn of_trace(trace: Trace, seconds: u32) -> Outcome {
        let host = trace::host(trace.cpu_count());
        let mut judge = Judge::new(Config::default().for_engine(&[]), Seed(7), host);
        let mut outcome = Outcome::default();
        trace
            .play(seconds)
            .drive(&mut judge, |event| outcome.add(event));
        outcome
    }

    /// Takes an event in; only incidents count.
    pub fn add(&mut self, event: CloudEvent) {
        let Data::Incident(data) = event.data else {
            return;
        };
        let known = |life: &Life| life.last.incident.id == data.incident.id;
        let at = match self.lives.iter().rposition(known) {
            Some(at) => at,
            None => {
                self.lives.push(Life {
                    last: (*data).clone(),
                    warned_at: None,
                    paged_at: None,
                    impact_at: None,
                    programs: BTreeSet::new(),
                });
                self.lives.len() - 1
            }
        };
        let life = &mut self.lives[at];
        if data.incident.severity != "info" {
            life.warned_at.get_or_insert_with(|| event.time.clone());
        }
        if data.incident.severity == "critical" {
            life.paged_at.get_or_insert_with(|| event.time.clone());
        }
        let is_impact = |kind: &str| kind.starts_with("impact.");
        if data
            .incident
            .findings
            .iter()
            .any(|finding| is_impact(&finding.kind))
        {
            life.impact_at.get_or_insert_with(|| event.time.clone());
        }
        let of_process = data.process.iter().flat_map(|process| {
            let verdict = process.executable_verdict.as_ref();
            let script = verdict.and_then(|verdict| verdict.script.clone());
            process.executable.clone().into_iter().chain(script)
        });
        let of_findings = data.incident.findings.iter();
        let of_findings =
            of_findings.filter_map(|finding| finding.process.as_ref()?.executable.clone());
        life.programs.extend(of_process.chain(of_findings));
        life.last = *data;
    }

    /// The incidents whole, as text to be stored: without what is the same in all of them.
    pub fn text(&self) -> String {
        let lives = self.lives.iter().map(|life| {
            let mut data = serde_json::to_value(&life.last).expect("an event");
            let fields = data.as_object_mut().expect("an object");
            fields.remove("host");
            fields.remove("agent");
            json!({
                "warned_at": life.warned_at,
                "paged_at": life.paged_at,
                "last": data,
            })
        });
        let lives: Vec<Value> = lives.collect();
        format!("{:#}\n", Value::from(lives))
    }
}
