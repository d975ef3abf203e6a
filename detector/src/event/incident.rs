//! Payload of `detector.incident.*` and `detector.finding`. Text is escaped; see `text.rs`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Payload of an incident event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentData {
    /// When this state was told, RFC 3339 UTC.
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
    /// The incident.
    pub incident: IncidentFields,
    /// The process it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessFields>,
    /// The first outside destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<DestinationFields>,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkFields>,
    /// What ECS has no name for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<DetectorFields>,
    /// ATT&CK techniques the findings point to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threat: Option<ThreatFields>,
}

/// Payload of `detector.finding`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingData {
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
    /// The signal.
    pub finding: FindingFields,
    /// The process it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessFields>,
    /// ATT&CK techniques it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threat: Option<ThreatFields>,
}

/// ECS `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventFields {
    /// `alert`, `event` or `metric`.
    pub kind: String,
    /// `opened`, `updated`, `resolved`, or the event's type.
    pub action: String,
    /// 0–100: info 25, warning 50, critical 90.
    pub severity: u8,
    /// 0–100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_score: Option<u8>,
    /// Why, in sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// First sign, RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// End, RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// ECS `host`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostFields {
    /// Stable id.
    pub id: String,
    /// Name.
    pub name: String,
    /// This boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootFields>,
    /// Operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<OsFields>,
    /// CPUs.
    pub cpu: CpuFields,
}

/// ECS `host.boot`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BootFields {
    /// Id of this boot.
    pub id: String,
}

/// ECS `host.os`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OsFields {
    /// Kernel release.
    pub kernel: String,
}

/// CPUs of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuFields {
    /// CPUs online.
    pub count: u32,
}

/// ECS `cloud`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cloud {
    /// `aws`, `gcp`, `azure`, …
    pub provider: String,
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<CloudInstance>,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// ECS `cloud.instance`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CloudInstance {
    /// Id the provider gave.
    pub id: String,
}

/// ECS `agent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentFields {
    /// Constant over restarts.
    pub id: String,
    /// `detector`.
    pub name: String,
    /// Version of the program.
    pub version: String,
}

/// The incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentFields {
    /// The same through its whole life (UUIDv7): the receiver's dedup key.
    pub id: String,
    /// `open` or `resolved`.
    pub status: String,
    /// In plain words, one line.
    pub title: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// How sure, 0–1.
    pub confidence: f64,
    /// The same for incidents of one cause on this host.
    pub group_key: String,
    /// RFC 3339 UTC.
    pub opened_at: String,
    /// RFC 3339 UTC.
    pub updated_at: String,
    /// RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<String>,
    /// Signals, oldest first.
    pub findings: Vec<FindingFields>,
    /// What happened, oldest first.
    pub timeline: Vec<MomentFields>,
    /// Who has to wait.
    pub victims: Vec<VictimFields>,
    /// What it costs the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<ImpactFields>,
    /// What to do, in order.
    pub next_steps: Vec<String>,
    /// What was lost meanwhile: something may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossFields>,
    /// What did not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<TruncatedFields>,
}

/// One signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingFields {
    /// Stable name.
    #[serde(rename = "type")]
    pub kind: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// RFC 3339 UTC.
    pub first_seen: String,
    /// RFC 3339 UTC.
    pub last_seen: String,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessRef>,
    /// What it rests on; fields by type, documented with the rule.
    pub evidence: BTreeMap<String, serde_json::Value>,
    /// It is `info` because somebody accepted it: how, which acceptance, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

/// One entry of a timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MomentFields {
    /// RFC 3339 UTC.
    pub at: String,
    /// What happened.
    pub what: String,
}

/// Somebody who has to wait for a CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VictimFields {
    /// Name for people.
    pub name: String,
    /// systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// Share of the time it wanted to run in which it waited, 0–1; the worst seen.
    pub run_delay_share: f64,
}

/// What it costs the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImpactFields {
    /// CPUs used, mean over the busiest window so far.
    pub cpu_cores: f64,
    /// Share of all CPUs, 0–1.
    pub cpu_share_of_host: f64,
    /// Seconds of saturation so far.
    pub duration_s: f64,
    /// Share of all CPUs the hypervisor gave to others, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal_share: Option<f64>,
    /// Share of time in which some task waited for a CPU, 0–1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi: Option<f64>,
    /// Inbound connections per second that the service accepted meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepts_per_second: Option<f64>,
}

/// Losses that overlap the incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossFields {
    /// How many records or parts of records.
    pub dropped: u64,
    /// By counter.
    pub by_class: BTreeMap<String, u64>,
    /// When.
    pub window: LossWindow,
}

/// When losses were seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossWindow {
    /// RFC 3339 UTC.
    pub from: String,
    /// RFC 3339 UTC.
    pub to: String,
}

/// How much did not fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TruncatedFields {
    /// Findings.
    pub findings: u64,
    /// Timeline entries.
    pub timeline: u64,
    /// Connections.
    pub connections: u64,
    /// Processes.
    pub processes: u64,
}

/// A process, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessRef {
    /// Unique over reuse of ids and over boots.
    pub entity_id: String,
    /// Process id.
    pub pid: u32,
    /// RFC 3339 UTC.
    pub start: String,
    /// Name for people.
    pub name: String,
    /// Path of the executable, or of the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
}

/// ECS `process`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessFields {
    /// Unique over reuse of ids and over boots.
    pub entity_id: String,
    /// Process id.
    pub pid: u32,
    /// RFC 3339 UTC.
    pub start: String,
    /// RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Name for people: the file's own, a script's, or `title`.
    pub name: String,
    /// `comm`: what it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Path of the executable, or of the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// argv as far as it was kept.
    pub args: Vec<String>,
    /// argv was longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_truncated: Option<bool>,
    /// argv in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// Path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Of the executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<HashFields>,
    /// Real user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserFields>,
    /// Root of the lineage group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_leader: Option<ProcessRef>,
    /// Parent at birth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ProcessRef>,
    /// Parent first.
    pub ancestors: Vec<ProcessRef>,
    /// cgroup path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerFields>,
    /// What is known about the executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable_verdict: Option<VerdictFields>,
}

/// ECS `hash`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HashFields {
    /// Lower-case hex.
    pub sha256: String,
}

/// ECS `user`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UserFields {
    /// Numeric id.
    pub id: String,
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// ECS `container`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerFields {
    /// Id.
    pub id: String,
}

/// What is known about an executable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictFields {
    /// Package that ships it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_package: Option<String>,
    /// No package knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unowned: Option<bool>,
    /// Why ownership cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_unknown: Option<String>,
    /// Whether it still is what the package shipped: `intact`, `modified`, or `edited` for a configuration
    /// file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<String>,
    /// Why that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity_unknown: Option<String>,
    /// Why there is no hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_missing: Option<String>,
    /// Last change of the file's metadata, RFC 3339 UTC. Of a script: once it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctime: Option<String>,
    /// Last change of its content, RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Birth of the file's inode, RFC 3339 UTC, where the file system remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<String>,
    /// Seconds from `ctime` to the exec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_at_exec_s: Option<i64>,
    /// Who wrote it, as far as the file itself says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<WriterFields>,
    /// Exists in memory only.
    pub memfd: bool,
    /// Had no name left when executed.
    pub deleted: bool,
    /// Where it lies.
    pub path_class: String,
    /// Interpreter of the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// The script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Permission bits, octal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// Who wrote a file: its owner, which is all a file remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WriterFields {
    /// Numeric id of the owner.
    pub id: String,
    /// The owner's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Root of the process's lineage group, if it already ran when the file was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below_pid: Option<u32>,
}

/// ECS `destination`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationFields {
    /// Address.
    pub ip: String,
    /// Port.
    pub port: u16,
}

/// ECS `network`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkFields {
    /// `tcp`.
    pub transport: String,
    /// `egress`.
    pub direction: String,
    /// Application protocol, if recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// What ECS has no name for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DetectorFields {
    /// TCP connections of the incident's processes.
    pub connections: Vec<ConnectionFields>,
}

/// One TCP connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionFields {
    /// Whose.
    pub process: ProcessIdFields,
    /// Remote end.
    pub destination: DestinationFields,
    /// Local port.
    pub source_port: u16,
    /// Counts as the outside world.
    pub outside: bool,
    /// `attempted`, `established`, `failed` or `closed`.
    pub state: String,
    /// `errno` of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<u32>,
    /// RFC 3339 UTC.
    pub first_seen: String,
    /// RFC 3339 UTC.
    pub last_seen: String,
    /// Payload, once closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// Payload, once closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
}

/// A process by id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessIdFields {
    /// Process id.
    pub pid: u32,
    /// Name for people.
    pub name: String,
}

/// ECS `threat`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreatFields {
    /// Techniques.
    pub technique: Vec<TechniqueFields>,
}

/// ECS `threat.technique`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TechniqueFields {
    /// ATT&CK id.
    pub id: String,
    /// ATT&CK name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
