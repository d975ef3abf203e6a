//! Payloads about the detector itself, and their constructors.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AgentFields, Cloud, CloudEvent, Data, EventFields, FindingData, HostFields, HostInfo, Sequence,
    from, timestamp,
};
use crate::incident::Finding;

/// Payload of `detector.agent.*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentEvent {
    /// When, RFC 3339 UTC.
    #[serde(rename = "@timestamp")]
    pub timestamp: String,
    /// What kind of event; `reason` says why.
    pub event: EventFields,
    /// The host.
    pub host: HostFields,
    /// The cloud it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Cloud>,
    /// The detector.
    pub agent: AgentFields,
}

/// Payload of `detector.heartbeat`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// When, RFC 3339 UTC.
    #[serde(rename = "@timestamp")]
    pub timestamp: String,
    /// What kind of event.
    pub event: EventFields,
    /// The host.
    pub host: HostFields,
    /// The cloud it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Cloud>,
    /// The detector.
    pub agent: AgentFields,
    /// How it is.
    pub detector: HeartbeatDetector,
}

/// How the detector is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatDetector {
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Digest of the configuration in force.
    pub config_digest: String,
    /// Number of the last event made before this one.
    pub last_sequence: u64,
    /// Events not yet acknowledged by every sink.
    pub outbox_depth: u64,
    /// Events are written to disk before they are sent; `false`: the state file cannot be used.
    #[serde(default)]
    pub state_durable: bool,
    /// Events that receivers refused for good.
    #[serde(default)]
    pub dead_letters: u64,
    /// Updates that collapsed into a later one of their incident because a receiver was away, since the
    /// state file was made.
    #[serde(default)]
    pub collapsed: u64,
    /// Heartbeats that a newer one replaced because a receiver was away, since the start.
    #[serde(default)]
    pub superseded: u64,
    /// Milliseconds since the last kernel event; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_kernel_event_age_ms: Option<u64>,
    /// Losses since it started, by class.
    pub losses: BTreeMap<String, u64>,
    /// CPU time used since it started, ms.
    pub own_cpu_ms: u64,
    /// Resident memory, bytes.
    pub own_rss_bytes: u64,
    /// Probes attached.
    pub probes: Vec<String>,
    /// Incidents open.
    pub open_incidents: u32,
    /// Processes in the table.
    pub processes: u32,
}

/// Type of the event that tells that somebody keeps the detector from seeing.
pub const TAMPERED: &str = "detector.agent.tampered";

fn agent_event(
    kind: &str,
    severity: u8,
    reason: &str,
    at_unix_ns: i64,
    host: &HostInfo,
    sequence: &mut Sequence,
) -> CloudEvent {
    let data = AgentEvent {
        timestamp: timestamp(at_unix_ns),
        event: from::plain_event("event", kind, severity, Some(reason)),
        host: from::host(host),
        cloud: host.cloud.clone(),
        agent: from::agent(host),
    };
    CloudEvent::wrap(
        kind,
        None,
        at_unix_ns,
        host,
        sequence,
        Data::Agent(Box::new(data)),
    )
}

/// `detector.agent.started`.
pub fn started(
    reason: &str,
    at_unix_ns: i64,
    host: &HostInfo,
    sequence: &mut Sequence,
) -> CloudEvent {
    agent_event(
        "detector.agent.started",
        0,
        reason,
        at_unix_ns,
        host,
        sequence,
    )
}

/// `detector.agent.stopped`.
pub fn stopped(
    reason: &str,
    at_unix_ns: i64,
    host: &HostInfo,
    sequence: &mut Sequence,
) -> CloudEvent {
    agent_event(
        "detector.agent.stopped",
        50,
        reason,
        at_unix_ns,
        host,
        sequence,
    )
}

/// `detector.agent.degraded`.
pub fn degraded(
    reason: &str,
    at_unix_ns: i64,
    host: &HostInfo,
    sequence: &mut Sequence,
) -> CloudEvent {
    agent_event(
        "detector.agent.degraded",
        50,
        reason,
        at_unix_ns,
        host,
        sequence,
    )
}

/// `detector.agent.tampered`.
pub fn tampered(
    reason: &str,
    at_unix_ns: i64,
    host: &HostInfo,
    sequence: &mut Sequence,
) -> CloudEvent {
    agent_event(TAMPERED, 90, reason, at_unix_ns, host, sequence)
}

/// `detector.heartbeat`.
pub fn heartbeat(
    detector: HeartbeatDetector,
    at_unix_ns: i64,
    host: &HostInfo,
    sequence: &mut Sequence,
) -> CloudEvent {
    let kind = "detector.heartbeat";
    let data = Heartbeat {
        timestamp: timestamp(at_unix_ns),
        event: from::plain_event("metric", kind, 0, None),
        host: from::host(host),
        cloud: host.cloud.clone(),
        agent: from::agent(host),
        detector,
    };
    CloudEvent::wrap(
        kind,
        None,
        at_unix_ns,
        host,
        sequence,
        Data::Heartbeat(Box::new(data)),
    )
}

/// What is kept of a finding, and sent to whoever asks for them.
pub fn finding_data(finding: &Finding, host: &HostInfo) -> FindingData {
    FindingData {
        timestamp: timestamp(finding.last_seen_unix_ns),
        event: EventFields {
            start: Some(timestamp(finding.first_seen_unix_ns)),
            ..from::plain_event(
                "event",
                finding.kind.name(),
                from::severity(finding.severity),
                None,
            )
        },
        host: from::host(host),
        cloud: host.cloud.clone(),
        agent: from::agent(host),
        finding: from::finding(finding, host),
        process: finding
            .subject
            .as_deref()
            .map(|subject| from::process(subject, host)),
        threat: from::threat(std::slice::from_ref(finding)),
    }
}

/// `detector.finding`.
pub fn finding(
    at_unix_ns: i64,
    data: FindingData,
    host: &HostInfo,
    sequence: &mut Sequence,
) -> CloudEvent {
    CloudEvent::wrap(
        "detector.finding",
        None,
        at_unix_ns,
        host,
        sequence,
        Data::Finding(Box::new(data)),
    )
}
