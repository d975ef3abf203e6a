//! One process: who made it, what it runs, what it used, what is held against it.

use std::sync::Arc;

use detector_common::event::{self, task::PF_KTHREAD};

use super::{
    cpu::{Account, Passes},
    lineage::{self, Roles},
};
use crate::{
    incident::Severity,
    input::{Exec, ExecutableId, ProcessFacts, ProcessKey},
};

/// `SCHED_IDLE`, and nice 19 as the kernel has it.
const SCHED_IDLE: u32 = 5;
const LOWEST_PRIO: i32 = 139;

/// First connections remembered of a process whose image is not judged yet.
pub const MAX_EARLY_CONNECTIONS: usize = 4;

/// How the parent is known; a better source replaces a worse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ParentFrom {
    /// A pass or an exit: it may have been reparented.
    Seen,
    /// An exec: it may have been reparented before.
    Exec,
    /// The fork itself.
    Fork,
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When, ns since boot.
    pub at_ns: u64,
    /// As `wait(2)` gives it; `None`: the exit record was lost.
    pub wait_status: Option<u32>,
}

/// Why an image is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// No package knows the file.
    Unowned,
    /// It lives in memory only.
    Fileless,
    /// It was deleted when it was executed.
    Deleted,
    /// A package ships it with another content.
    Modified,
}

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Which.
    pub key: ProcessKey,
    /// Who made it, at birth as far as known.
    pub parent: Option<ProcessKey>,
    pub(super) parent_from: ParentFrom,
    /// The last exec, its own or inherited by fork.
    pub image: Option<Arc<Exec>>,
    /// What that image is by its names.
    pub roles: Roles,
    /// Real user id.
    pub uid: Option<u32>,
    /// Name, NUL-padded.
    pub comm: [u8; 16],
    /// cgroup v2 id.
    pub cgroup_id: Option<u64>,
    /// What enrichment found.
    pub facts: Option<Arc<ProcessFacts>>,
    /// Its paths are those of the present image.
    pub facts_current: bool,
    /// Enrichment was asked for its facts.
    pub asked: bool,
    /// The script it runs, or the program behind the dynamic loader, once that was looked at.
    pub script: Option<ExecutableId>,
    /// How often it was looked at again, to see whether it renamed itself.
    pub looks: u8,
    /// It was said that it calls itself something else.
    pub name_told: Option<Severity>,
    /// Root of its lineage group.
    pub group: ProcessKey,
    /// A thread of the kernel.
    pub kernel_thread: bool,
    /// Everybody else goes first: nice 19 or `SCHED_IDLE`, as of the last pass.
    pub low_priority: bool,
    /// `None`: alive.
    pub ended: Option<Ended>,
    /// Last sign of life, ns since boot.
    pub active_ns: u64,
    /// CPU time.
    pub cpu: Account,
    /// First outbound connections while its image was not known to be packaged.
    pub connections: Vec<event::Connection>,
    /// Verdict on the image, and how loud it is.
    pub suspicion: Option<(Suspicion, Severity)>,
    /// The open incident it belongs to.
    pub incident: Option<u64>,
    /// Those in the table that it made.
    pub(super) children: u32,
    /// Who had its id before.
    pub(super) previous: Option<ProcessKey>,
}

impl Process {
    pub(super) fn new(key: ProcessKey, now_ns: u64) -> Process {
        Process {
            key,
            parent: None,
            parent_from: ParentFrom::Seen,
            image: None,
            roles: Roles::default(),
            uid: None,
            comm: [0; 16],
            cgroup_id: None,
            facts: None,
            facts_current: false,
            asked: false,
            script: None,
            looks: 0,
            name_told: None,
            group: key,
            kernel_thread: false,
            low_priority: false,
            ended: None,
            active_ns: now_ns,
            cpu: Account::default(),
            connections: Vec::new(),
            suspicion: None,
            incident: None,
            children: 0,
            previous: None,
        }
    }

    /// Whether it still runs, as far as known.
    pub fn is_alive(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether something loud is known of what it runs.
    pub fn is_accused(&self) -> bool {
        self.suspicion
            .is_some_and(|(_, severity)| severity >= Severity::Warning)
    }

    /// The process runs an image of its own now.
    pub fn run(&mut self, image: Arc<Exec>) {
        self.uid = Some(image.uid);
        self.comm = image.comm;
        self.set_cgroup(image.cgroup_id);
        self.facts_current = false;
        self.asked = false;
        self.script = None;
        self.looks = 0;
        self.name_told = None;
        self.suspicion = None;
        self.connections = Vec::new();
        self.roles = Roles::of(&image);
        self.image = Some(image);
    }

    /// A pass saw one of its threads; `true`: it calls itself something else than before.
    pub fn seen(&mut self, task: &event::Task, passes: &Passes) -> bool {
        self.active_ns = self.active_ns.max(passes.now_ns);
        self.kernel_thread = task.flags & PF_KTHREAD != 0;
        self.uid = Some(task.uid);
        self.low_priority = task.policy == SCHED_IDLE || task.static_prio == LOWEST_PRIO;
        let mut renamed = false;
        if task.pid == self.key.tgid {
            renamed = self.comm != task.comm && !self.kernel_thread;
            self.comm = task.comm;
            self.set_cgroup((task.cgroup_id != 0).then_some(task.cgroup_id));
        }
        self.cpu.running(self.key, task, passes);
        renamed
    }

    /// The cgroup it is in; another one outdates what was found.
    pub fn set_cgroup(&mut self, cgroup_id: Option<u64>) {
        if cgroup_id.is_some() && cgroup_id != self.cgroup_id {
            self.cgroup_id = cgroup_id;
            self.facts = None;
            self.facts_current = false;
            self.asked = false;
        }
    }

    /// Short name for people: the script's or executable's own name, else `comm`.
    pub fn short_name(&self) -> &[u8] {
        match &self.image {
            Some(image) => lineage::image_name(image),
            None => crate::event::text::until_nul(&self.comm),
        }
    }
}
