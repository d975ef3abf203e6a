//! The envelope, and what every payload needs to know about where it comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AgentEvent, Cloud, FindingData, Heartbeat, HostFields, IncidentData, Redactor,
    schema::SCHEMA_ID,
};

/// `source` is this and the host's id.
pub const SOURCE_PREFIX: &str = "urn:detector:host:";

/// One event. (`source`, `id`) is unique: receivers drop what they have already seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CloudEvent {
    /// `1.0`.
    pub specversion: String,
    /// Unique within `source`.
    pub id: String,
    /// The host.
    pub source: String,
    /// `detector.…`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The incident's id, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// RFC 3339, UTC.
    pub time: String,
    /// `application/json`.
    pub datacontenttype: String,
    /// Which schema `data` follows.
    pub dataschema: String,
    /// Grows by one with every event of this source; decimal, as the CloudEvents extension wants it.
    pub sequence: String,
    /// The payload.
    pub data: Data,
}

/// The payload, by type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Data {
    /// `detector.incident.*`.
    Incident(Box<IncidentData>),
    /// `detector.finding`.
    Finding(Box<FindingData>),
    /// `detector.heartbeat`.
    Heartbeat(Box<Heartbeat>),
    /// `detector.agent.*`.
    Agent(Box<AgentEvent>),
}

impl Data {
    /// The host it is about.
    pub fn host(&self) -> &HostFields {
        match self {
            Data::Incident(data) => &data.host,
            Data::Finding(data) => &data.host,
            Data::Heartbeat(data) => &data.host,
            Data::Agent(data) => &data.host,
        }
    }
}

/// Where events come from. Plain values, found by whoever starts the program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Stable id of the host (`/etc/machine-id`, hashed or not).
    pub id: String,
    /// Its name.
    pub name: String,
    /// Id of this boot.
    pub boot_id: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// CPUs online.
    pub cpu_count: u32,
    /// Cloud it runs in.
    pub cloud: Option<Cloud>,
    /// Id of this agent; constant over restarts.
    pub agent_id: String,
    /// What is left out of its command lines. Belongs to the configuration, not to a recording.
    #[serde(skip)]
    pub redactor: Redactor,
}

/// Numbers events. The last number has to outlive the program: resume with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    last: u64,
}

impl Sequence {
    /// Goes on after `last` (0: none yet).
    pub fn after(last: u64) -> Sequence {
        Sequence { last }
    }

    /// The number given last; 0: none yet.
    pub fn last(&self) -> u64 {
        self.last
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl CloudEvent {
    /// Wraps a payload. The id is made of the subject or type and the sequence number, so it is
    /// unique as long as sequence numbers are.
    pub(super) fn wrap(
        kind: &str,
        subject: Option<String>,
        at_unix_ns: i64,
        host: &HostInfo,
        sequence: &mut Sequence,
        data: Data,
    ) -> CloudEvent {
        let number = sequence.next();
        let id = match &subject {
            Some(subject) => format!("{subject}/{number}"),
            None => format!("{kind}/{number}"),
        };
        CloudEvent {
            specversion: "1.0".to_owned(),
            id,
            source: format!("{SOURCE_PREFIX}{}", host.id),
            kind: kind.to_owned(),
            subject,
            time: timestamp(at_unix_ns),
            datacontenttype: "application/json".to_owned(),
            dataschema: SCHEMA_ID.to_owned(),
            sequence: number.to_string(),
            data,
        }
    }
}

/// RFC 3339 in UTC, to the microsecond.
pub fn timestamp(unix_ns: i64) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(unix_ns))
        .expect("64-bit nanoseconds are within the years 1677 to 2262");
    format!("{at:.6}")
}
