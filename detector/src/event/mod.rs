//! Events as they leave the program: CloudEvents 1.0 around nested JSON with ECS field names.
//!
//! Owns the wire types, their JSON Schema ([`schema()`]) and the one place where attacker bytes become
//! text ([`text`]). Absent is absent: no nulls, no placeholders. Compatibility: within one `dataschema`
//! version fields are added, never renamed or retyped; receivers ignore what they do not know.
#![deny(clippy::disallowed_methods)]

mod agent;
mod drill;
mod envelope;
mod from;
mod incident;
mod loss;
mod redact;
pub mod restart;
mod schema;
pub mod text;

#[cfg(test)]
mod tests;

pub use agent::{
    AgentEvent, Heartbeat, HeartbeatDetector, TAMPERED, degraded, finding, finding_data, heartbeat,
    started, stopped, tampered,
};
pub use drill::{Drill, MARK};
pub use envelope::{CloudEvent, Data, HostInfo, SOURCE_PREFIX, Sequence, timestamp};
pub use from::{from_incident, hex};
pub use incident::*;
pub use redact::Redactor;
pub use schema::{SCHEMA_ID, schema};
