//! A process as an incident remembers it: everything known at one moment, still as bytes.

use std::sync::Arc;

use crate::{
    detect::path::PathClass,
    input::{Exec, ExecutableFacts, ExecutableId, ProcessFacts, ProcessKey},
};

/// A process and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Which.
    pub key: ProcessKey,
    /// When it started, ns since 1970.
    pub start_unix_ns: i64,
    /// Name for people: the file's own name, a script's name, or `comm`.
    pub name: Box<[u8]>,
    /// Best known path of the executable or script.
    pub path: Option<Box<[u8]>>,
    /// Where that lies.
    pub path_class: PathClass,
    /// Real user id.
    pub uid: Option<u32>,
    /// The image it runs.
    pub image: Option<Arc<Exec>>,
    /// Facts about the process.
    pub facts: Option<Arc<ProcessFacts>>,
    /// Identity of the file that matters: the script's for a script.
    pub file_id: Option<ExecutableId>,
    /// Facts about that file.
    pub file: Option<Arc<ExecutableFacts>>,
    /// Seconds from the file's last change to the exec.
    pub age_at_exec_s: Option<i64>,
    /// Root of the lineage group, if it already ran when the file was last changed.
    pub written_below: Option<ProcessKey>,
    /// Root of the lineage group.
    pub group: Ancestor,
    /// Ancestors, parent first.
    pub ancestors: Vec<Ancestor>,
    /// Ended; ns since 1970.
    pub ended_unix_ns: Option<i64>,
}

/// One step of a lineage.
#[derive(Clone, Debug, PartialEq)]
pub struct Ancestor {
    /// Which.
    pub key: ProcessKey,
    /// When it started, ns since 1970.
    pub start_unix_ns: i64,
    /// Name for people.
    pub name: Box<[u8]>,
    /// Path of the executable or script.
    pub path: Option<Box<[u8]>>,
}
