//! A marked test incident, to try the way from this host to whoever is woken (`detector test-alert`).

use std::collections::BTreeMap;

use super::{
    CloudEvent, Data, EventFields, FindingFields, HostInfo, IncidentData, IncidentFields,
    MomentFields, Sequence, from, timestamp,
};
use crate::{incident::Severity, output::Change};

/// How every text of the test begins, so that nobody takes it for more.
pub const MARK: &str = "TEST";

/// What a test says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drill {
    /// The incident's id, the same from opened to resolved.
    pub incident: String,
    /// How loud.
    pub severity: Severity,
    /// When it was opened, ns since 1970.
    pub opened_unix_ns: i64,
}

impl Drill {
    /// The event of one step of its life.
    pub fn event(
        &self,
        change: Change,
        now_unix_ns: i64,
        host: &HostInfo,
        sequence: &mut Sequence,
    ) -> CloudEvent {
        let (action, status) = match change {
            Change::Opened => ("opened", "open"),
            Change::Updated => ("updated", "open"),
            Change::Resolved => ("resolved", "resolved"),
        };
        let now = timestamp(now_unix_ns);
        let resolved_at = (change == Change::Resolved).then(|| now.clone());
        let data = IncidentData {
            timestamp: now.clone(),
            event: EventFields {
                kind: "alert".to_owned(),
                action: action.to_owned(),
                severity: from::severity(self.severity),
                risk_score: Some(0),
                reason: Some(format!(
                    "{MARK}: somebody on this host runs `detector test-alert` to see whether you hear of it. Nothing has happened."
                )),
                start: Some(timestamp(self.opened_unix_ns)),
                end: resolved_at.clone(),
            },
            host: from::host(host),
            cloud: host.cloud.clone(),
            agent: from::agent(host),
            incident: IncidentFields {
                id: self.incident.clone(),
                status: status.to_owned(),
                title: format!("{MARK} alert of the detector on {}", from::host(host).name),
                severity: self.severity.name().to_owned(),
                confidence: 1.0,
                group_key: "test-alert".to_owned(),
                opened_at: timestamp(self.opened_unix_ns),
                updated_at: now.clone(),
                resolved_at,
                findings: vec![FindingFields {
                    kind: "agent.test".to_owned(),
                    severity: self.severity.name().to_owned(),
                    first_seen: timestamp(self.opened_unix_ns),
                    last_seen: now.clone(),
                    process: None,
                    evidence: BTreeMap::new(),
                    accepted: None,
                }],
                timeline: vec![MomentFields {
                    at: now,
                    what: format!("{MARK}: {action}"),
                }],
                victims: Vec::new(),
                impact: None,
                next_steps: vec![format!("{MARK}: nothing to do; it resolves itself")],
                loss: None,
                truncated: None,
            },
            process: None,
            destination: None,
            network: None,
            detector: None,
            threat: None,
        };
        CloudEvent::wrap(
            &format!("detector.incident.{action}"),
            Some(self.incident.clone()),
            now_unix_ns,
            host,
            sequence,
            Data::Incident(Box::new(data)),
        )
    }
}
