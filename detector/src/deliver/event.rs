//! An event as queues and sinks handle it: finished, with what they choose by beside it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    event::{CloudEvent, Data},
    incident::Severity,
};

/// What an event is worth when not all can be kept or sent; the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A sign of life: the next one says more.
    Heartbeat,
    /// A signal that woke nobody.
    Finding,
    /// The detector about itself.
    Agent,
    /// The life of an incident: what somebody is woken for.
    Incident,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 4] = [
        Class::Heartbeat,
        Class::Finding,
        Class::Agent,
        Class::Incident,
    ];
}

/// One event, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// CloudEvents `sequence`: grows by one with every event of this host.
    pub sequence: u64,
    /// CloudEvents `id`: the receiver's key against duplicates.
    pub id: String,
    /// What it is worth.
    pub class: Class,
    /// Of an incident or a finding.
    pub severity: Option<Severity>,
    /// CloudEvents `subject`: the incident's id, or nothing.
    pub subject: String,
    /// The whole event in structured mode (JSON).
    pub body: Bytes,
}

impl Event {
    /// Writes the event down.
    pub fn new(event: &CloudEvent) -> Event {
        let (class, severity) = match &event.data {
            Data::Incident(data) => (
                Class::Incident,
                Severity::from_name(&data.incident.severity),
            ),
            Data::Finding(data) => (Class::Finding, Severity::from_name(&data.finding.severity)),
            Data::Heartbeat(_) => (Class::Heartbeat, None),
            Data::Agent(_) => (Class::Agent, None),
        };
        let body = serde_json::to_vec(event).expect("an event is made of strings and numbers");
        Event {
            sequence: event.sequence.parse().unwrap_or(0),
            id: event.id.clone(),
            class,
            severity,
            subject: event.subject.clone().unwrap_or_default(),
            body: Bytes::from(body),
        }
    }

    /// The event with its fields, for a sink that needs them.
    ///
    /// # Errors
    /// It is not of this version: it was stored by another one.
    pub fn parse(&self) -> Result<CloudEvent, String> {
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("not an event of this version: {error}"))
    }
}
