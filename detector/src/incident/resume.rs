//! What people and earlier runs decide about incidents: accepted, resolved by hand, resumed after a restart.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Acceptance, AcceptedBy, Book, Finding, FindingType, Incident, Moment, Severity, Status,
    case::Case,
};
use crate::{
    detect::world::World,
    input::ProcessKey,
    output::{Change, Output},
};

/// An incident of an earlier run whose process still runs: it goes on under the same id.
///
/// Its findings come again from the snapshot of running processes; what does not come again is kept by whoever
/// stored it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The incident.
    pub id: Uuid,
    /// The process it is about.
    pub process: ProcessKey,
    /// Something in it is more than load: it goes on for as long as the process lives.
    pub suspect: bool,
    /// As last told.
    pub severity: Severity,
    /// As last told.
    pub group_key: String,
    /// When the first of it was seen, ns since 1970.
    pub started_unix_ns: i64,
    /// When it was opened, ns since 1970.
    pub opened_unix_ns: i64,
}

/// Somebody says that an incident is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolve {
    /// The incident.
    pub id: Uuid,
    /// Why, escaped.
    pub reason: String,
}

impl Book {
    /// Takes an incident up again. It is told as an update when the snapshot had time to say what it knows.
    pub fn resume(&mut self, resumed: &Resumed, world: &mut World) {
        if self.cases.iter().any(|case| case.incident.id == resumed.id) {
            return;
        }
        let now_ns = world.now_ns();
        world.ensure(resumed.process);
        let begun = Incident::begun(
            resumed.id,
            resumed.severity,
            resumed.group_key.clone(),
            resumed.started_unix_ns,
            resumed.opened_unix_ns,
        );
        let updated_unix_ns = world.unix_ns(now_ns);
        let mut case = self.case(
            Incident {
                updated_unix_ns,
                ..begun
            },
            now_ns,
        );
        case.told = true;
        case.dirty = true;
        case.sent_severity = resumed.severity;
        case.subject = Some(resumed.process);
        case.enlist(resumed.process, resumed.suspect, world);
        case.note(Moment {
            at_unix_ns: world.unix_ns(now_ns),
            what: "the detector was restarted while this went on".to_owned(),
        });
        self.cases.push(case);
        self.restless = true;
    }

    /// Ends an incident because somebody said so. What comes back is a new one.
    pub fn resolve(&mut self, resolve: &Resolve, world: &mut World, out: &mut Vec<Output>) {
        let is_it = |case: &Case| case.incident.id == resolve.id;
        if let Some(at) = self.cases.iter().position(is_it) {
            let what = match resolve.reason.as_str() {
                "" => "resolved by hand".to_owned(),
                reason => format!("resolved by hand: {reason}"),
            };
            self.end(at, Some(what), world, out);
        }
    }

    /// Replaces what is accepted. An open incident of which nothing above `info` is left is over.
    pub fn accept(&mut self, acceptances: &[Acceptance], world: &mut World, out: &mut Vec<Output>) {
        self.acceptances = acceptances.to_vec();
        self.restless = true;
        let mut at = 0;
        while at < self.cases.len() {
            let case = &mut self.cases[at];
            let mut by = None;
            // A finding may be older than what is known of its process by now: its hash, its unit.
            case.refresh(world);
            let subject = case.incident.subject.as_deref().cloned().map(Arc::new);
            for finding in &mut case.incident.findings {
                if let Some(subject) = &subject
                    && finding.process == Some(subject.key)
                {
                    finding.subject = Some(Arc::clone(subject));
                }
                if excuse(finding, acceptances) {
                    by.clone_from(&finding.accepted);
                }
            }
            let loud = |finding: &Finding| finding.severity >= Severity::Warning;
            match by {
                Some(by) if !case.incident.findings.iter().any(loud) => {
                    self.end(at, Some(by.to_string()), world, out);
                }
                changed => {
                    case.dirty |= changed.is_some();
                    at += 1;
                }
            }
        }
    }
}

/// Lowers a finding that is accepted, and says so on it. `true`: it is and was not before.
pub(super) fn excuse(finding: &mut Finding, acceptances: &[Acceptance]) -> bool {
    if finding.severity < Severity::Warning {
        return false;
    }
    let Some(acceptance) = acceptances
        .iter()
        .find(|acceptance| acceptance.covers(finding))
    else {
        return false;
    };
    finding.severity = Severity::Info;
    finding.accepted = Some(acceptance.to_string().into());
    true
}

impl Book {
    /// Whether a finding of this type could be excused by the content of the program, once that is known.
    pub fn may_excuse(&self, kind: FindingType) -> bool {
        let by_hash = |acceptance: &Acceptance| matches!(acceptance.by, AcceptedBy::Hash(_));
        self.acceptances
            .iter()
            .any(|acceptance| by_hash(acceptance) && acceptance.findings.contains(&kind))
    }

    /// Ends the case at `at`.
    pub(super) fn end(
        &mut self,
        at: usize,
        why: Option<String>,
        world: &mut World,
        out: &mut Vec<Output>,
    ) {
        let mut case = self.cases.remove(at);
        let now_ns = world.now_ns();
        let now_unix_ns = world.unix_ns(now_ns);
        if let Some(what) = why {
            case.note(Moment {
                at_unix_ns: now_unix_ns,
                what,
            });
        }
        case.incident.status = Status::Resolved;
        case.incident.resolved_unix_ns = Some(now_unix_ns);
        // One that nobody was told of ends as quietly.
        if case.told {
            case.emit(Change::Resolved, world, out);
        }
        case.release(world);
        self.remember(case, now_ns);
    }
}

#[cfg(test)]
mod tests;
