//! Rules: one file per finding type, each saying what it means, what it rests on and when it is wrong.
//!
//! Rules about images are functions of an [`Image`]; they hold no state. The rules of load and `event_loss`
//! judge passes and remember what they have already said.

use super::{
    lineage,
    path::PathClass,
    process::{Process, Suspicion},
    world::World,
};
use crate::{
    incident::{Evidence, FileEvidence, FindingType, Severity},
    input::{Exec, ExecutableFacts, Observed, Owner, ProcessKey},
};

pub mod compute_hijacking;
pub mod connection_storm;
pub mod cpu_saturation;
pub mod cpu_steal;
pub mod deleted_executable;
pub mod event_loss;
pub mod fileless;
pub mod from_writable_dir;
pub mod mining_protocol;
pub mod new_binary;
pub mod new_destination;
pub mod new_script;
pub mod process_storm;
pub mod traffic_saturation;
pub mod web_server_spawned_shell;

/// What a rule says.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What.
    pub kind: FindingType,
    /// How loud.
    pub severity: Severity,
    /// Resting on.
    pub evidence: Evidence,
    /// Whether the image is suspect from now on.
    pub suspicion: Option<Suspicion>,
}

/// An image and its circumstances, as a rule sees them.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// The world around it.
    pub world: &'a World,
    /// The process.
    pub process: &'a Process,
    /// The exec.
    pub exec: &'a Exec,
    /// Best known path.
    pub path: Option<&'a [u8]>,
    /// Where it lies.
    pub class: PathClass,
    /// Facts about the executable, if there are any yet.
    pub file: Option<&'a ExecutableFacts>,
    /// Nothing more is to be expected: facts are there, or the deadline passed.
    pub settled: bool,
    /// Nearest web service above it.
    pub web_service: Option<ProcessKey>,
    /// A package manager is at work.
    pub package_manager: bool,
}

impl<'a> Image<'a> {
    /// Collects the circumstances.
    pub fn new(world: &'a World, process: &'a Process, exec: &'a Exec, late: bool) -> Image<'a> {
        let file = world.file(exec).map(|file| &**file);
        Image {
            world,
            process,
            exec,
            path: world.path(process, exec),
            class: world.path_class(process, exec),
            file,
            settled: late || file.is_some(),
            web_service: lineage::web_ancestor(&world.table, process.key),
            package_manager: lineage::in_package_manager(&world.table, process.key),
        }
    }

    /// Everything the image rules say.
    pub fn judge(&self) -> impl Iterator<Item = Verdict> {
        [
            fileless::judge(self),
            deleted_executable::judge(self),
            web_server_spawned_shell::judge(self),
            new_binary::judge(self),
            new_script::judge(self),
            from_writable_dir::judge(self),
        ]
        .into_iter()
        .flatten()
    }

    /// Whether a package is known to own the executable.
    pub fn is_packaged(&self) -> bool {
        self.file
            .is_some_and(|file| matches!(file.owner, Owner::Package(_)))
    }

    /// How loud a verdict is: what a package manager does is never loud.
    pub fn severity(&self, loud: bool) -> Severity {
        if loud && !self.package_manager {
            Severity::Warning
        } else {
            Severity::Info
        }
    }

    /// Whether an account of a service runs it: not root, and below the first human uid.
    pub fn by_service_account(&self) -> bool {
        (1..1_000).contains(&self.exec.uid)
    }

    /// Whether the file changed shortly before it was executed. A change after the exec (negative
    /// age) is a clock that was set, or `touch`: it does not count as fresh.
    pub fn is_fresh(&self) -> bool {
        let limit_s = i64::try_from(self.world.config.fresh_s).unwrap_or(i64::MAX);
        self.world
            .age_at_exec_s(self.exec)
            .is_some_and(|age_s| (-1..limit_s).contains(&age_s))
    }

    /// Evidence about the file.
    pub fn evidence(&self) -> Evidence {
        Evidence::File(FileEvidence {
            path: self.path.map(Into::into),
            path_class: self.class,
            age_at_exec_s: self.world.age_at_exec_s(self.exec),
            fresh: self.is_fresh(),
            web_service: self.web_service,
            package_manager: self.package_manager,
            from_snapshot: self.exec.observed == Observed::Snapshot,
        })
    }
}
