//! An image and its circumstances, as the rules see them.
//!
//! An image is one file or two: the loaded one and, where that is an interpreter or the dynamic loader,
//! the operand it runs. Both are judged: a packaged script does not excuse an interpreter in `/tmp`.

use std::cell::OnceCell;

use crate::{
    detect::{
        excuse::{self, Excuse},
        interpreter::{self, Runs},
        lineage,
        path::{PathClass, classify},
        process::Process,
        world::World,
    },
    incident::{Evidence, FileEvidence, Severity},
    input::{Exec, ExecutableFacts, ExecutableId, Integrity, Observed, Owner, ProcessKey},
};

/// One file of an image.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// An interpreter reads it; else the kernel or the loader maps it.
    pub script: bool,
    /// Best known path.
    pub path: Option<&'a [u8]>,
    /// Where it lies.
    pub class: PathClass,
    /// Its identity, once that is known.
    pub id: Option<ExecutableId>,
    /// Facts, if there are any yet.
    pub facts: Option<&'a ExecutableFacts>,
    /// Owner of the file.
    pub uid: Option<u32>,
    /// Nothing more is to be expected: facts are there, or the deadline passed.
    pub settled: bool,
}

impl View<'_> {
    /// Whether a package is known to own it, and it is not known to be another content.
    pub fn is_packaged(&self) -> bool {
        self.facts.is_some_and(|facts| {
            matches!(facts.owner, Owner::Package(_)) && facts.integrity != Some(Integrity::Modified)
        })
    }

    /// Whether no package knows it.
    pub fn is_unowned(&self) -> bool {
        self.facts
            .is_some_and(|facts| facts.owner == Owner::Unowned)
    }

    /// Whether this host is used to it: it ran here for long without an incident.
    pub fn is_known(&self) -> bool {
        self.facts.is_some_and(|facts| facts.known.is_some())
    }

    /// The last component of its path.
    pub fn name(&self) -> &[u8] {
        crate::detect::path::base_name(self.path.unwrap_or_default())
    }
}

/// An image and its circumstances.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// The world around it.
    pub world: &'a World,
    /// The process.
    pub process: &'a Process,
    /// The exec.
    pub exec: &'a Exec,
    /// What it runs.
    pub runs: Runs<'a>,
    /// The loaded file.
    pub loaded: View<'a>,
    /// The file that was given to an interpreter or the loader.
    pub operand: Option<View<'a>>,
    /// Nearest web service above it.
    pub web_service: Option<ProcessKey>,
    excuse: OnceCell<Option<Excuse>>,
}

impl<'a> Image<'a> {
    /// Collects the circumstances. `late`: facts have been waited for long enough.
    pub fn new(world: &'a World, process: &'a Process, exec: &'a Exec, late: bool) -> Image<'a> {
        let runs = interpreter::runs(exec);
        let facts = world.file(exec).map(|file| &**file);
        let loaded = View {
            script: false,
            path: world.loaded_path(process, exec),
            class: world.loaded_class(process, exec),
            id: Some(exec.executable.id),
            facts,
            uid: Some(exec.executable.uid),
            settled: late || facts.is_some(),
        };
        let operand = runs.file().map(|_| {
            let facts = world.script(process, exec).map(|file| &**file);
            let path = world.path(process, exec);
            View {
                script: runs.is_script(),
                path,
                class: path.map_or(PathClass::Unknown, classify),
                id: facts.map(|facts| facts.id),
                facts,
                uid: facts.and_then(|facts| Some(facts.stat.as_ref()?.uid)),
                settled: late || facts.is_some(),
            }
        });
        Image {
            world,
            process,
            exec,
            runs,
            loaded,
            operand,
            web_service: lineage::web_ancestor(&world.table, process.key),
            excuse: OnceCell::new(),
        }
    }

    /// What explains it, and is proven. Looked for when the first rule wants to know: nearly every exec is of a
    /// packaged program, and needs none.
    pub fn excuse(&self) -> Option<Excuse> {
        *self.excuse.get_or_init(|| excuse::find(self))
    }

    /// The file that matters: the operand of an interpreter, else the loaded file.
    pub fn main(&self) -> &View<'a> {
        self.operand.as_ref().unwrap_or(&self.loaded)
    }

    /// Both files, the one that matters first.
    pub fn views(&self) -> impl Iterator<Item = &View<'a>> {
        self.operand.iter().chain([&self.loaded])
    }

    /// How loud a verdict is: what is excused is never loud.
    pub fn severity(&self, loud: bool) -> Severity {
        if loud && self.excuse().is_none() {
            Severity::Warning
        } else {
            Severity::Info
        }
    }

    /// Whether an account of a service runs it: not root, and below the first human uid.
    pub fn by_service_account(&self) -> bool {
        (1..1_000).contains(&self.exec.uid)
    }

    /// Seconds from a file's last change to the exec.
    pub fn age_at_exec_s(&self, view: &View<'_>) -> Option<i64> {
        self.world.age_at_exec_s(self.exec, view.id?)
    }

    /// Whether a file changed shortly before it was executed. A change after the exec (negative
    /// age) is a clock that was set, or `touch`: it does not count as fresh.
    pub fn is_fresh(&self, view: &View<'_>) -> bool {
        let limit_s = i64::try_from(self.world.config.fresh_s).unwrap_or(i64::MAX);
        self.age_at_exec_s(view)
            .is_some_and(|age_s| (-1..limit_s).contains(&age_s))
    }

    /// Whether somebody who logged in compiles in `/tmp` (`configure` runs what it has just built).
    pub fn is_build_in_tmp(&self, view: &View<'_>) -> bool {
        view.class == PathClass::WorldWritable
            && self.exec.loginuid.is_some()
            && self.web_service.is_none()
            && !self.by_service_account()
            && !view
                .path
                .unwrap_or_default()
                .windows(2)
                .any(|pair| pair == b"/.")
    }

    /// Evidence about one of its files.
    pub fn evidence(&self, view: &View<'_>) -> Evidence {
        let facts = view.facts;
        Evidence::File(FileEvidence {
            path: view.path.map(Into::into),
            path_class: view.class,
            age_at_exec_s: self.age_at_exec_s(view),
            fresh: self.is_fresh(view),
            written_below: view
                .id
                .and_then(|id| self.world.written_below(self.process, id)),
            uid: view.uid,
            user_name: facts.and_then(|facts| facts.stat.as_ref()?.user_name.clone()),
            package: facts.and_then(|facts| match &facts.owner {
                Owner::Package(name) => Some(name.clone()),
                _ => None,
            }),
            web_service: self.web_service,
            excuse: self.excuse(),
            from_snapshot: self.exec.observed == Observed::Snapshot,
        })
    }
}
