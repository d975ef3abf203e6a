//! Incidents: findings that belong together, with a life.
//!
//! [`Book`] owns the open incidents: which finding joins which (`correlate.rs`), how loud they are
//! (`score.rs`), what is missing from them (`lost.rs`), when they are told, changed and over (`life.rs`), and what a person is told about them
//! (`narrate.rs`). Everything is bounded, and says so when something did not fit. Text in an
//! [`Incident`] is already escaped; bytes in a [`Subject`] are not.
#![deny(clippy::disallowed_methods)]

use std::net::IpAddr;

use uuid::Uuid;

mod acceptance;
mod book;
mod case;
mod correlate;
mod finding;
mod id;
mod life;
mod lost;
mod narrate;
mod next_steps;
mod reason;
mod resume;
mod score;
mod subject;

#[cfg(test)]
mod tests;

pub use acceptance::{Acceptance, AcceptedBy};
pub use book::Book;
pub use finding::{
    Class, ConnectionStormEvidence, CpuEvidence, Culprit, DestinationEvidence, Evidence,
    FileEvidence, Finding, FindingType, Imitates, LossEvidence, MasqueradeEvidence, MiningEvidence,
    PreloadEvidence, RespawnEvidence, Restarter, Severity, Shape, ShellEvidence, ShownIn, Spoken,
    SteadyEvidence, StealEvidence, StormEvidence, technique_name,
};
pub use resume::{Resolve, Resumed};
pub use subject::{Ancestor, Subject};

use crate::input::{Loss, ProcessKey};

/// Most findings, connections and timeline entries of one incident.
pub const MAX_PARTS: usize = 64;

/// Where an incident is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Going on.
    Open,
    /// Over.
    Resolved,
}

/// Findings that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// The same through its whole life (UUIDv7).
    pub id: Uuid,
    /// Where it is in its life.
    pub status: Status,
    /// How loud.
    pub severity: Severity,
    /// How sure (0–1).
    pub confidence: f64,
    /// 0–100, for receivers that sort by one number.
    pub risk_score: u8,
    /// In plain words, one line.
    pub title: String,
    /// Why, one or more sentences in one line.
    pub reason: String,
    /// The same for incidents of one cause on this host.
    pub group_key: String,
    /// When the first of it was seen, ns since 1970.
    pub started_unix_ns: i64,
    /// When it was opened, ns since 1970.
    pub opened_unix_ns: i64,
    /// When this state was told, ns since 1970.
    pub updated_unix_ns: i64,
    /// When it was over, ns since 1970.
    pub resolved_unix_ns: Option<i64>,
    /// The process it is about.
    pub subject: Option<Box<Subject>>,
    /// Signals, oldest first.
    pub findings: Vec<Finding>,
    /// What happened, oldest first.
    pub timeline: Vec<Moment>,
    /// TCP connections of its processes.
    pub connections: Vec<Contact>,
    /// Who suffers.
    pub victims: Vec<Victim>,
    /// What it costs the host.
    pub impact: Option<Impact>,
    /// What to do, in order.
    pub next_steps: Vec<String>,
    /// What was lost while it went on.
    pub loss: Option<LossSeen>,
    /// What did not fit.
    pub truncated: Truncated,
}

impl Incident {
    /// An open one with nothing in it yet.
    fn begun(
        id: Uuid,
        severity: Severity,
        group_key: String,
        started_unix_ns: i64,
        opened_unix_ns: i64,
    ) -> Incident {
        Incident {
            id,
            status: Status::Open,
            severity,
            confidence: 0.0,
            risk_score: 0,
            title: String::new(),
            reason: String::new(),
            group_key,
            started_unix_ns,
            opened_unix_ns,
            updated_unix_ns: opened_unix_ns,
            resolved_unix_ns: None,
            subject: None,
            findings: Vec::new(),
            timeline: Vec::new(),
            connections: Vec::new(),
            victims: Vec::new(),
            impact: None,
            next_steps: Vec::new(),
            loss: None,
            truncated: Truncated::default(),
        }
    }
}

/// One entry of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When, ns since 1970.
    pub at_unix_ns: i64,
    /// What, escaped.
    pub what: String,
}

/// State of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactState {
    /// No answer yet.
    Attempted,
    /// The peer answered.
    Established,
    /// It never did.
    Failed,
    /// Over.
    Closed,
}

impl ContactState {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            ContactState::Attempted => "attempted",
            ContactState::Established => "established",
            ContactState::Failed => "failed",
            ContactState::Closed => "closed",
        }
    }
}

/// One TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub process: ProcessKey,
    /// Its name for people, escaped.
    pub process_name: String,
    /// The kernel's identity of the socket.
    pub socket: u64,
    /// Remote address.
    pub ip: IpAddr,
    /// Remote port.
    pub port: u16,
    /// Local port.
    pub local_port: u16,
    /// Counts as the outside world.
    pub outside: bool,
    /// How far it came.
    pub state: ContactState,
    /// `errno` of a failure.
    pub error: Option<u32>,
    /// First record, ns since 1970.
    pub first_unix_ns: i64,
    /// Last record, ns since 1970.
    pub last_unix_ns: i64,
    /// Payload bytes sent and acknowledged, once it is closed.
    pub bytes_sent: Option<u64>,
    /// Payload bytes received, once it is closed.
    pub bytes_received: Option<u64>,
}

/// Somebody who had to wait for a CPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Victim {
    /// Root of its lineage group.
    pub group: ProcessKey,
    /// Name for people, escaped.
    pub name: String,
    /// systemd unit.
    pub unit: Option<String>,
    /// Path of the executable.
    pub executable: Option<Box<[u8]>>,
    /// Share of the time it wanted to run in which it waited (0–1); the worst seen.
    pub run_delay_share: f64,
}

/// What it costs the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impact {
    /// CPUs used, mean over the busiest window so far.
    pub cpu_cores: f64,
    /// Share of all CPUs (0–1).
    pub cpu_share_of_host: f64,
    /// Since when, ns since 1970.
    pub since_unix_ns: i64,
    /// Until when as far as known, ns since 1970.
    pub until_unix_ns: i64,
    /// Share of all CPUs the hypervisor gave to others (0–1).
    pub steal_share: Option<f64>,
    /// Share of time in which some task waited for a CPU (0–1).
    pub psi: Option<f64>,
    /// Inbound connections per second of the service it happens in. `None`: it listens nowhere.
    pub accepts_per_second: Option<f64>,
}

/// Losses that overlap an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossSeen {
    /// By class.
    pub losses: Vec<Loss>,
    /// First, ns since 1970.
    pub from_unix_ns: i64,
    /// Last, ns since 1970.
    pub to_unix_ns: i64,
}

/// How much did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncated {
    /// Findings.
    pub findings: u64,
    /// Timeline entries.
    pub timeline: u64,
    /// Connections.
    pub connections: u64,
    /// Processes watched for the end of the incident.
    pub processes: u64,
}
