//! Which incidents of an earlier run go on, and which are over.

use uuid::Uuid;

use super::StoredIncident;
use crate::{
    event::{CloudEvent, Data, IncidentData},
    incident::{Resumed, Severity},
    input::ProcessKey,
};

/// Why an incident is over whose process nobody could watch to its end.
pub const RESTARTED: &str = "the detector was restarted, and the process it was about is gone";

/// An open incident of an earlier run.
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    /// As it was stored.
    pub stored: StoredIncident,
    /// What was told last.
    pub data: Box<IncidentData>,
    /// It goes on: its process still runs.
    pub resumed: Option<Resumed>,
}

impl Earlier {
    /// Reads a stored incident. `is_running` says whether a process of this boot still runs. `None`: its event is not
    /// of this version.
    pub fn new(
        stored: StoredIncident,
        boot_id: Option<&str>,
        is_running: impl FnOnce(ProcessKey) -> bool,
    ) -> Option<Earlier> {
        let event: CloudEvent = serde_json::from_slice(&stored.event).ok()?;
        let Data::Incident(data) = event.data else {
            return None;
        };
        let this_boot = boot_id.is_some() && stored.boot_id.as_deref() == boot_id;
        let process = stored
            .process
            .filter(|process| this_boot && is_running(*process));
        let id = Uuid::try_parse(&stored.id).ok();
        let resumed = id.zip(process).map(|(id, process)| Resumed {
            id,
            process,
            suspect: data.incident.findings.iter().any(|finding| {
                !finding.kind.starts_with("impact.")
                    && Severity::from_name(&finding.severity) >= Some(Severity::Warning)
            }),
            severity: Severity::from_name(&stored.severity).unwrap_or(Severity::Warning),
            group_key: stored.group_key.clone(),
            started_unix_ns: data
                .event
                .start
                .as_deref()
                .and_then(|start| start.parse::<jiff::Timestamp>().ok())
                .and_then(|start| i64::try_from(start.as_nanosecond()).ok())
                .unwrap_or(stored.opened),
            opened_unix_ns: stored.opened,
        });
        Some(Earlier {
            stored,
            data,
            resumed,
        })
    }

    /// As it is kept once it is over.
    pub fn ended(&self, event: bytes::Bytes, at: i64) -> StoredIncident {
        StoredIncident {
            status: "resolved".to_owned(),
            updated: at,
            resolved: Some(at),
            event,
            ..self.stored.clone()
        }
    }
}
