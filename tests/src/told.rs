//! What the daemon told about one thing: every incident that concerns it, and when.
//!
//! Reads events as a receiver would (see [`incident`]). An incident concerns a [`Suspect`] when its process, an
//! ancestor, its group's leader or the process of a finding is the suspect's, by id or by a path in its folder.
//! Victims do not count: to suffer from something is not to be accused.

use crate::daemon::Seen;
use crate::scenario::incident;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Whom to look for.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// Text that every path of its own contains.
    pub folder: String,
    /// Root of its processes.
    pub pid: u32,
    /// When it began.
    pub started: Instant,
}

/// What was told about it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Ids of the incidents, in order of appearance. One is right.
    pub ids: Vec<String>,
    /// From the start to the first event.
    pub opened: Option<Duration>,
    /// From the start to the first event of severity `critical`.
    pub critical: Option<Duration>,
    /// From the start to the first resolution.
    pub resolved: Option<Duration>,
    /// The last event of the first incident.
    pub last: Value,
}

impl Suspect {
    /// Reads what came so far.
    #[must_use]
    pub fn told(&self, events: &[Seen]) -> Told {
        let mut told = Told::default();
        for seen in events {
            let Some(id) = incident::id(&seen.event) else {
                continue;
            };
            let known = told.ids.iter().any(|known| known == id);
            if !known && !self.is_accused(&seen.event) {
                continue;
            }
            if !known {
                told.ids.push(id.to_owned());
            }
            let after = seen.at.saturating_duration_since(self.started);
            told.opened.get_or_insert(after);
            if incident::severity(&seen.event) == Some("critical") {
                told.critical.get_or_insert(after);
            }
            if incident::kind(&seen.event) == Some(incident::RESOLVED) {
                told.resolved.get_or_insert(after);
            }
            if told.ids.first().is_some_and(|first| first == id) {
                told.last.clone_from(&seen.event);
            }
        }
        told
    }

    fn is_accused(&self, event: &Value) -> bool {
        let process = event.pointer("/data/process");
        let of = |name: &str| process.and_then(|process| process.get(name));
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned();
        let findings = list(event.pointer("/data/incident/findings")).unwrap_or_default();
        process
            .into_iter()
            .chain(of("group_leader"))
            .cloned()
            .chain(list(of("ancestors")).unwrap_or_default())
            .chain(
                findings
                    .iter()
                    .filter_map(|finding| finding.get("process"))
                    .cloned(),
            )
            .any(|node| self.is_mine(&node))
    }

    fn is_mine(&self, process: &Value) -> bool {
        let executable = process.get("executable").and_then(Value::as_str);
        process.get("pid").and_then(Value::as_u64) == Some(u64::from(self.pid))
            || executable.is_some_and(|path| path.contains(&self.folder))
    }
}

impl Told {
    /// Severity in the last event.
    #[must_use]
    pub fn severity(&self) -> &str {
        incident::severity(&self.last).unwrap_or("none")
    }

    /// Title in the last event.
    #[must_use]
    pub fn title(&self) -> &str {
        incident::text(&self.last, "/incident/title").unwrap_or_default()
    }

    /// Types of the findings in the last event, in order of appearance, without repeats.
    #[must_use]
    pub fn findings(&self) -> Vec<&str> {
        let findings = self.last.pointer("/data/incident/findings");
        let mut types: Vec<&str> = Vec::new();
        for finding in findings.and_then(Value::as_array).into_iter().flatten() {
            let kind = finding.get("type").and_then(Value::as_str);
            if let Some(kind) = kind.filter(|kind| !types.contains(kind)) {
                types.push(kind);
            }
        }
        types
    }
}

/// A duration in seconds, or a dash: a cell of a table.
#[must_use]
pub fn seconds(at: Option<Duration>) -> String {
    at.map_or_else(|| "–".to_owned(), |at| format!("{:.1} s", at.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(index: usize, event: Value) -> Seen {
        let at = Instant::now() + Duration::from_secs(index as u64);
        Seen { index, at, event }
    }

    fn event(id: &str, process: Value, findings: Value) -> Value {
        json!({"type": "detector.incident.opened", "subject": id, "data": {
            "incident": {"id": id, "severity": "warning", "findings": findings, "victims": [{"executable": "/den/x"}]},
            "process": process,
        }})
    }

    #[test]
    fn an_incident_concerns_a_suspect_by_lineage_path_or_finding_and_not_as_a_victim() {
        let suspect = Suspect {
            folder: "/den/".into(),
            pid: 7,
            started: Instant::now(),
        };
        let events: Vec<Seen> = [
            event("a", json!({"pid": 9, "executable": "/den/x"}), json!([])),
            event("b", json!({"pid": 9, "ancestors": [{"pid": 7}]}), json!([])),
            event(
                "c",
                json!({"pid": 1, "group_leader": {"pid": 7}}),
                json!([]),
            ),
            event(
                "d",
                json!({"pid": 1}),
                json!([{"type": "t", "process": {"pid": 7}}]),
            ),
            event(
                "e",
                json!({"pid": 1, "executable": "/usr/bin/x"}),
                json!([]),
            ),
        ]
        .into_iter()
        .enumerate()
        .map(|(index, event)| seen(index, event))
        .collect();
        assert_eq!(suspect.told(&events).ids, ["a", "b", "c", "d"]);
    }
}
