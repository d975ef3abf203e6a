//! From events to alerts, and which alerts have to be told again. Pure: the moment comes in as an argument.
//!
//! Alertmanager tells alerts apart by their labels alone, so labels are identity and whatever moves is an annotation.
//! Two labels may still change once or twice in an incident's life, since routing and grouping need them: `severity` and
//! `executable_sha256`. Then the alert with the old labels ends in the same request that opens the one with the new.
#![deny(clippy::disallowed_methods)]

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::{
    config,
    event::{self, AgentEvent, CloudEvent, Data, Heartbeat, HostFields, IncidentData},
};

/// Alerts remembered; the engine keeps 256 incidents open.
pub(super) const FIRING_MAX: usize = 512;
/// How often an end is told again.
const ENDS_AGAIN: u32 = 3;
/// An alert ends by itself after this many repetitions were missed.
const MISSED_MAX: u32 = 5;
/// How long a detector that is degraded or tampered with stays an alert after it said so.
const AGENT: Duration = Duration::from_secs(900);
/// How long the alert of a silent host outlives its host.
const SILENT: Duration = Duration::from_secs(24 * 3600);

/// One alert as `POST /api/v2/alerts` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
}

/// What fires, and how often its end was told.
#[derive(Debug)]
pub(super) struct Book {
    labels: BTreeMap<String, String>,
    expires: Duration,
    dead_mans_switch: bool,
    silent_after: Duration,
    /// When the first heartbeat was told.
    alive_since: Option<SystemTime>,
    incidents: BTreeMap<String, Told>,
}

#[derive(Debug)]
struct Told {
    alert: Alert,
    at: SystemTime,
    /// Repetitions of the end that are left; `None`: it fires.
    ends_left: Option<u32>,
}

impl Book {
    pub(super) fn new(config: &config::AlertmanagerSink) -> Book {
        Book {
            labels: config.labels.clone(),
            expires: Duration::from_secs(config.resend_s) * MISSED_MAX,
            dead_mans_switch: config.dead_mans_switch,
            silent_after: Duration::from_secs(config.silent_after_s),
            alive_since: None,
            incidents: BTreeMap::new(),
        }
    }

    /// Nothing has to be told again.
    pub(super) fn is_empty(&self) -> bool {
        self.incidents.is_empty()
    }

    /// The alerts that say what the event says.
    pub(super) fn tell(&mut self, event: &CloudEvent, now: SystemTime) -> Vec<Alert> {
        match &event.data {
            Data::Incident(data) => self.incident(data, now),
            Data::Heartbeat(data) if self.dead_mans_switch => self.alive(data, now),
            Data::Agent(data) if event.kind == "detector.agent.degraded" => {
                vec![self.agent("DetectorDegraded", "warning", data, &event.time, now)]
            }
            Data::Agent(data) if event.kind == event::TAMPERED => {
                vec![self.agent("DetectorTampered", "critical", data, &event.time, now)]
            }
            Data::Heartbeat(_) | Data::Agent(_) | Data::Finding(_) => Vec::new(),
        }
    }

    /// What fires, and the ends that are told once more.
    pub(super) fn again(&mut self, now: SystemTime) -> Vec<Alert> {
        let expires = time(now + self.expires);
        self.incidents.retain(|_, told| told.ends_left != Some(0));
        let again = self.incidents.values_mut().map(|told| {
            match &mut told.ends_left {
                Some(left) => *left -= 1,
                None => told.alert.ends_at.clone_from(&expires),
            }
            told.alert.clone()
        });
        again.collect()
    }

    fn incident(&mut self, data: &IncidentData, now: SystemTime) -> Vec<Alert> {
        let incident = &data.incident;
        let mut labels = self.identity("DetectorIncident", &data.host);
        labels.insert("severity".to_owned(), incident.severity.clone());
        labels.insert("incident".to_owned(), incident.id.clone());
        let process = data.process.as_ref();
        if let Some(hash) = process.and_then(|process| process.hash.as_ref()) {
            labels.insert("executable_sha256".to_owned(), hash.sha256.clone());
        }
        let resolved = incident.resolved_at.as_ref();
        let alert = Alert {
            labels,
            annotations: annotations(data),
            starts_at: incident.opened_at.clone(),
            ends_at: match resolved {
                // An end before the beginning is refused.
                Some(at) => at.max(&incident.opened_at).clone(),
                None => time(now + self.expires),
            },
        };
        let mut out = Vec::new();
        if let Some(before) = self.incidents.get(&incident.id)
            && before.alert.labels != alert.labels
        {
            let ends_at = incident
                .updated_at
                .clone()
                .max(before.alert.starts_at.clone());
            out.push(Alert {
                ends_at,
                ..before.alert.clone()
            });
        }
        out.push(alert.clone());
        let told = Told {
            alert,
            at: now,
            ends_left: resolved.map(|_| ENDS_AGAIN),
        };
        self.incidents.insert(incident.id.clone(), told);
        self.forget();
        out
    }

    /// Keeps the bound: what was told of longest ago goes.
    fn forget(&mut self) {
        if self.incidents.len() <= FIRING_MAX {
            return;
        }
        let oldest = self.incidents.iter().min_by_key(|(_, told)| told.at);
        if let Some(id) = oldest.map(|(id, _)| id.clone()) {
            tracing::warn!(id, "an alert too many to be repeated: it will expire");
            self.incidents.remove(&id);
        }
    }

    /// Two alerts: "it lives", which ends soon, and "it is silent", which does not and is inhibited by the other.
    fn alive(&mut self, data: &Heartbeat, now: SystemTime) -> Vec<Alert> {
        let since = *self.alive_since.get_or_insert(now);
        let alive = Alert {
            labels: self.identity("DetectorHeartbeat", &data.host),
            annotations: BTreeMap::from([(
                "summary",
                "the detector of this host lives".to_owned(),
            )]),
            starts_at: time(since),
            ends_at: time(now + self.silent_after),
        };
        let mut labels = self.identity("DetectorSilent", &data.host);
        labels.insert("severity".to_owned(), "critical".to_owned());
        let last = format!(
            "the last heartbeat came at {}: the host is down or cut off, or somebody stopped the detector",
            data.timestamp
        );
        let silent = Alert {
            labels,
            annotations: BTreeMap::from([
                ("summary", format!("{} has fallen silent", data.host.name)),
                ("description", last),
            ]),
            starts_at: time(since),
            ends_at: time(now + SILENT),
        };
        vec![alive, silent]
    }

    /// What the detector says about itself.
    fn agent(
        &self,
        name: &str,
        severity: &str,
        data: &AgentEvent,
        at: &str,
        now: SystemTime,
    ) -> Alert {
        let mut labels = self.identity(name, &data.host);
        labels.insert("severity".to_owned(), severity.to_owned());
        let reason = data.event.reason.clone().unwrap_or_default();
        Alert {
            labels,
            annotations: BTreeMap::from([("summary", reason)]),
            starts_at: at.to_owned(),
            ends_at: time(now + AGENT),
        }
    }

    fn identity(&self, name: &str, host: &HostFields) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert("alertname".to_owned(), name.to_owned());
        labels.insert("instance".to_owned(), host.name.clone());
        labels
    }
}

/// What a responder wants to read, and may change from one event to the next.
fn annotations(data: &IncidentData) -> BTreeMap<&'static str, String> {
    let incident = &data.incident;
    let mut out = BTreeMap::from([
        ("summary", incident.title.clone()),
        ("status", incident.status.clone()),
        ("confidence", incident.confidence.to_string()),
    ]);
    let mut add = |name, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.insert(name, value);
        }
    };
    add("description", data.event.reason.clone());
    add("next_steps", Some(incident.next_steps.join("\n")));
    let kinds: Vec<&str> = incident.findings.iter().map(|f| f.kind.as_str()).collect();
    add("findings", Some(kinds.join(", ")));
    if let Some(process) = &data.process {
        add("executable", process.executable.clone());
        add("command_line", process.command_line.clone());
        add("pid", Some(process.pid.to_string()));
        add("unit", process.unit.clone());
        add(
            "user",
            process.user.as_ref().and_then(|user| user.name.clone()),
        );
    }
    add(
        "destination",
        data.destination
            .as_ref()
            .map(|to| match to.ip.contains(':') {
                true => format!("[{}]:{}", to.ip, to.port),
                false => format!("{}:{}", to.ip, to.port),
            }),
    );
    let impact = incident.impact.as_ref();
    add(
        "cpu_cores",
        impact.map(|impact| impact.cpu_cores.to_string()),
    );
    out
}

/// RFC 3339 in UTC.
fn time(at: SystemTime) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    crate::event::timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
