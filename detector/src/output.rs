//! What the engine asks for: the one vocabulary between policy and the world.
#![deny(clippy::disallowed_methods)]

use crate::{
    incident::{Finding, Incident},
    input::{Baseline, Destination, ExecutableId, Flow, ProcessKey},
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Find out more; the answer comes back as an input.
    Enrich(Enrich),
    /// Look into the packets of a process, or go on with a new limit; answered by inputs, or not at all.
    Watch(Watch),
    /// That is enough of it.
    Unwatch(ProcessKey),
    /// A signal that belongs to no incident, for the record.
    Finding(Finding),
    /// An incident began, changed in a way a responder would act on, or ended.
    Incident(Change, Box<Incident>),
    /// What was learned about one identity, to be kept for the next start.
    Baseline(Baseline),
    /// A program connected where it did not for a day, to be kept for the next start.
    Destination(Destination),
}

/// What happened to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// New.
    Opened,
    /// Severity, signals, victims or evidence changed.
    Updated,
    /// Over.
    Resolved,
}

/// Whose packets to look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Who.
    pub process: ProcessKey,
    /// Packets wanted of each of its connections, counted since that connection began.
    pub packets_per_connection: u32,
    /// Its connections that are older than the probes.
    pub older_flows: Vec<Flow>,
}

/// A request for enrichment, answered off the hot path or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrich {
    /// The process through which to look (`/proc/PID/exe` reaches deleted files too).
    pub process: ProcessKey,
    /// Real user id, for the name.
    pub uid: u32,
    /// The image it runs, if that is known.
    pub executable: Option<ExecutableId>,
    /// Whether the owner and hash of that file are wanted, or only the process's own facts.
    pub file_wanted: bool,
    /// Path of the executable as passed to `execve`, in case the process is gone. Empty for a script:
    /// its path says nothing about where the interpreter lies.
    pub filename: Box<[u8]>,
    /// The script, or the program given to the dynamic loader; may be relative.
    pub script: Option<Box<[u8]>>,
}
