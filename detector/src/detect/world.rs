//! What the engine believes about the host: processes, executables, time. Policy reads it.

use std::sync::Arc;

use detector_common::event::ThreadEnd;

use super::{
    config::Config,
    cpu::Passes,
    executable::Executables,
    hash::Map,
    indicator::Indicators,
    interpreter, lineage,
    listener::{Listeners, Served},
    path::{self, PathClass},
    process::{ParentFrom, Process},
    script::Scripts,
    size::Size,
    table::Table,
};
use crate::{
    incident::{Ancestor, Subject},
    input::{Exec, ExecutableFacts, ExecutableId, ProcessKey, ScriptFacts},
    output::{Enrich, Output},
};

/// Final bills kept for processes that are not known yet.
const MAX_UNCLAIMED: usize = 4_096;
/// How long, ns. An exec record is at most a drain interval behind.
const UNCLAIMED_NS: u64 = 10_000_000_000;

/// When a suspect's command line is looked at again, ns after its exec.
const LOOKS_NS: [u64; 3] = [3_000_000_000, 30_000_000_000, 300_000_000_000];

/// The host as known.
#[derive(Debug)]
pub struct World {
    /// Numbers to judge by.
    pub config: Config,
    /// Processes.
    pub table: Table,
    /// Executables.
    pub executables: Executables,
    /// Who listens, and how many came.
    pub listeners: Listeners,
    /// Scripts, by path.
    pub scripts: Scripts,
    /// What miners are known by.
    pub indicators: Indicators,
    /// When the engine looked.
    pub passes: Passes,
    /// Final bills nobody claimed in time, or at all.
    pub unclaimed_dropped: u64,
    unclaimed: Map<u32, Vec<(u64, ThreadEnd)>>,
    unclaimed_count: usize,
    /// `unix - boottime`, ns; `None` before the first pass.
    wall_offset_ns: Option<i64>,
}

impl World {
    /// Nothing is known.
    pub fn new(config: Config) -> World {
        World {
            table: Table::new(config.max_processes),
            executables: Executables::new(
                config.max_executables,
                config.facts_deadline_ms.saturating_mul(1_000_000),
            ),
            listeners: Listeners::new(config.window_s as usize),
            scripts: Scripts::default(),
            indicators: Indicators::default(),
            config,
            passes: Passes::default(),
            unclaimed_dropped: 0,
            unclaimed: Map::default(),
            unclaimed_count: 0,
            wall_offset_ns: None,
        }
    }

    /// How full its tables are.
    pub fn sizes(&self) -> Vec<Size> {
        let World {
            config: _,
            table,
            executables,
            listeners,
            scripts,
            indicators: _,
            passes: _,
            unclaimed_dropped: _,
            unclaimed,
            unclaimed_count,
            wall_offset_ns: _,
        } = self;
        let mut sizes = table.sizes();
        sizes.extend(listeners.sizes());
        sizes.extend([
            executables.size(),
            scripts.size(),
            Size::of("bills without a process", *unclaimed_count, MAX_UNCLAIMED),
            Size::of("processes of such bills", unclaimed.len(), MAX_UNCLAIMED),
        ]);
        sizes
    }

    /// The latest time any input told.
    pub fn now_ns(&self) -> u64 {
        self.passes.now_ns
    }

    /// Time goes on; it never goes back.
    pub fn advance(&mut self, at_ns: u64) {
        self.passes.now_ns = self.passes.now_ns.max(at_ns);
    }

    /// Whether a wall clock is known.
    pub fn has_wall_clock(&self) -> bool {
        self.wall_offset_ns.is_some()
    }

    /// A pass told both clocks.
    pub fn set_wall_clock(&mut self, at_ns: u64, unix_ns: i64) {
        let at_ns = i64::try_from(at_ns).unwrap_or(i64::MAX);
        self.wall_offset_ns = Some(unix_ns.saturating_sub(at_ns));
    }

    /// Boot time as wall time, by the offset of the last pass.
    pub fn unix_ns(&self, at_ns: u64) -> i64 {
        let at_ns = i64::try_from(at_ns).unwrap_or(i64::MAX);
        at_ns.saturating_add(self.wall_offset_ns.unwrap_or(0))
    }

    /// Makes a process known and gives it the bills that came before it.
    pub fn ensure(&mut self, key: ProcessKey) -> &mut Process {
        let now_ns = self.passes.now_ns;
        let new = self.table.ensure(key, now_ns);
        if new && self.unclaimed_count > 0 {
            self.claim(key);
        }
        self.table.get_mut(key).expect("made known above")
    }

    /// Makes a process and its parent's name known.
    pub fn ensure_child(&mut self, key: ProcessKey, parent: ProcessKey, from: ParentFrom) {
        self.ensure(key);
        self.table.set_parent(key, parent, from);
    }

    /// A thread's bill, charged or kept until its process is known. The leader's final one is also
    /// the process's end, in case the exit record was lost: a leader is freed last.
    pub fn thread_ended(&mut self, end: &ThreadEnd) -> Option<ProcessKey> {
        let owner = self.table.of_thread(end.tgid, end.start_boottime_ns);
        let passes = self.passes;
        let charged = owner.and_then(|key| {
            self.table
                .charge(key, |process| process.cpu.ended(key, end, &passes))?;
            Some(key)
        });
        match charged {
            Some(key) => {
                let leader = end.pid == key.tgid && end.start_boottime_ns == key.start_ns;
                (leader && end.is_final == 1).then_some(key)
            }
            None if self.unclaimed_count < MAX_UNCLAIMED => {
                let bills = self.unclaimed.entry(end.tgid).or_default();
                bills.push((passes.now_ns, *end));
                self.unclaimed_count += 1;
                None
            }
            None => {
                self.unclaimed_dropped += 1;
                None
            }
        }
    }

    fn claim(&mut self, key: ProcessKey) {
        let Some(bills) = self.unclaimed.get_mut(&key.tgid) else {
            return;
        };
        let before = bills.len();
        self.table.charge(key, |process| {
            bills.retain(|(_, end)| {
                let mine = end.start_boottime_ns >= key.start_ns;
                if mine {
                    process.cpu.ended(key, end, &self.passes);
                }
                !mine
            });
        });
        self.unclaimed_count -= before - bills.len();
        if bills.is_empty() {
            self.unclaimed.remove(&key.tgid);
        }
    }

    /// Drops what nobody claimed. Of threads older than the first pass nothing would have been
    /// charged: they ended before it and are no loss.
    pub fn expire_unclaimed(&mut self) {
        let first_ns = self.passes.first_ns.unwrap_or(u64::MAX);
        let before_ns = self.passes.now_ns.saturating_sub(UNCLAIMED_NS);
        let (mut dropped, mut lost) = (0, 0);
        self.unclaimed.retain(|_, bills| {
            bills.retain(|(at_ns, end)| {
                let waits = *at_ns >= before_ns;
                dropped += usize::from(!waits);
                lost += u64::from(!waits && end.start_boottime_ns >= first_ns);
                waits
            });
            !bills.is_empty()
        });
        self.unclaimed_count -= dropped;
        self.unclaimed_dropped += lost;
    }

    /// Asks for a process's facts, once, and for an executable's where `executable` says so.
    pub fn enrich(&mut self, key: ProcessKey, with_executable: bool, out: &mut Vec<Output>) {
        let Some(process) = self.table.get_mut(key) else {
            return;
        };
        if process.kernel_thread || process.asked && !with_executable {
            return;
        }
        process.asked = true;
        let image = process.image.as_deref();
        let operand = image.and_then(|image| interpreter::runs(image).file());
        let is_script = image.is_some_and(|image| image.interpreter.is_some());
        out.push(Output::Enrich(Enrich {
            process: key,
            uid: process.uid.unwrap_or(u32::MAX),
            executable: image.map(|image| image.executable.id),
            file_wanted: with_executable,
            filename: image
                .filter(|_| !is_script)
                .map(|image| image.filename.clone())
                .unwrap_or_default(),
            script: operand.map(Into::into),
        }));
    }

    /// Inbound connections that a process's load may come from: those of its lineage group; for a web
    /// service that is handed its requests by another (php-fpm behind nginx), those of all web services.
    pub fn served(&self, key: ProcessKey) -> Option<Served> {
        let group = self.table.get(key)?.group;
        let is_web = |key: ProcessKey| {
            let process = self.table.get(key);
            process.is_some_and(|process| process.roles.web_service)
        };
        self.listeners
            .of_group(group)
            .or_else(|| is_web(group).then(|| self.listeners.sum_of(is_web))?)
    }

    /// Whether the script a process runs has to be looked at; else it is known what it is. What runs below
    /// a web service or for a service's account is looked at every time.
    pub fn wants_script(&mut self, key: ProcessKey) -> bool {
        let now_ns = self.now_ns();
        let Some(process) = self.table.get(key) else {
            return false;
        };
        let Some(image) = process.image.as_deref() else {
            return false;
        };
        let Some(operand) = interpreter::runs(image).file() else {
            return false;
        };
        let suspect =
            (1..1_000).contains(&image.uid) || lineage::web_ancestor(&self.table, key).is_some();
        let known = self.scripts.get(image.cgroup_id, operand, now_ns);
        let known = known.filter(|id| !suspect && self.executables.get(*id).is_some());
        let Some(process) = self.table.get_mut(key) else {
            return false;
        };
        process.script = known;
        known.is_none()
    }

    /// Notes which script a process runs; not if it runs another image by now.
    pub fn runs_script(&mut self, facts: &ScriptFacts, now_ns: u64) -> bool {
        let Some(process) = self.table.get_mut(facts.process) else {
            return false;
        };
        let Some(image) = process.image.as_deref() else {
            return false;
        };
        let asked = process
            .facts
            .as_ref()
            .and_then(|facts| facts.script_path.as_deref());
        let Some(operand) = interpreter::runs(image).file() else {
            return false;
        };
        if asked != Some(&*facts.path) || path::base_name(operand) != path::base_name(&facts.path) {
            return false;
        }
        self.scripts
            .looked(image.cgroup_id, operand, facts.file.id, now_ns);
        process.script = Some(facts.file.id);
        true
    }

    /// Asks once more what a suspect, or a busy process that runs code nobody shipped, shows of itself:
    /// `LOOKS_NS` after its exec, when whoever renames itself has done so.
    pub fn look_again(&mut self, key: ProcessKey, busy: bool, out: &mut Vec<Output>) {
        let now_ns = self.now_ns();
        let Some(process) = self.table.get(key) else {
            return;
        };
        let Some(after_ns) = LOOKS_NS.get(usize::from(process.looks)).copied() else {
            return;
        };
        let Some(image) = process.image.as_deref() else {
            return;
        };
        let due = now_ns >= image.at_ns.saturating_add(after_ns);
        let suspect = process.suspicion.is_some()
            || busy && interpreter::runs(image) != interpreter::Runs::Itself;
        if !due || !suspect {
            return;
        }
        if let Some(process) = self.table.get_mut(key) {
            process.looks += 1;
            process.asked = false;
        }
        self.enrich(key, false, out);
    }

    /// What is known about the loaded file of an image.
    pub fn file(&self, image: &Exec) -> Option<&Arc<ExecutableFacts>> {
        self.executables.get(image.executable.id)
    }

    /// What is known about the script an image runs, or about the program behind the dynamic loader.
    pub fn script(&self, process: &Process, image: &Exec) -> Option<&Arc<ExecutableFacts>> {
        let id = process.script.filter(|_| runs_it(process, image))?;
        self.executables.get(id)
    }

    /// Identity of the file that matters: the operand's where there is one.
    pub fn main_id(&self, process: &Process, image: &Exec) -> Option<ExecutableId> {
        match interpreter::runs(image).file() {
            Some(_) => process.script.filter(|_| runs_it(process, image)),
            None => Some(image.executable.id),
        }
    }

    /// What is known about the file that matters.
    pub fn main_file(&self, process: &Process, image: &Exec) -> Option<&Arc<ExecutableFacts>> {
        self.executables.get(self.main_id(process, image)?)
    }

    /// Best known path of the file that matters: the script for a script.
    pub fn path<'a>(&'a self, process: &'a Process, image: &'a Exec) -> Option<&'a [u8]> {
        let Some(operand) = interpreter::runs(image).file() else {
            return self.loaded_path(process, image);
        };
        let current = process.facts_current && runs_it(process, image);
        let facts = process.facts.as_deref().filter(|_| current);
        facts
            .and_then(|facts| facts.script_path.as_deref())
            .or_else(|| Some(operand).filter(|path| path.starts_with(b"/")))
    }

    /// Best known path of the loaded file.
    pub fn loaded_path<'a>(&'a self, process: &'a Process, image: &'a Exec) -> Option<&'a [u8]> {
        let current = process.facts_current && runs_it(process, image);
        let facts = process.facts.as_deref().filter(|_| current);
        let absolute = |path: &'a [u8]| {
            let somewhere = path.starts_with(b"/") && !interpreter::is_descriptor(path);
            somewhere.then_some(path)
        };
        facts
            .and_then(|facts| facts.executable_path.as_deref())
            .or_else(|| self.file(image).and_then(|file| file.path.as_deref()))
            .or_else(|| match &image.interpreter {
                Some(interpreter) => absolute(interpreter),
                None => absolute(&image.filename).filter(|path| !path.starts_with(b"/proc/")),
            })
    }

    /// Where the loaded file lies.
    pub fn loaded_class(&self, process: &Process, image: &Exec) -> PathClass {
        if image.executable.nlink == 0 && image.name.starts_with(b"memfd:") {
            return PathClass::Memfd;
        }
        self.loaded_path(process, image)
            .map_or(PathClass::Unknown, path::classify)
    }

    /// Where the file that matters lies.
    pub fn path_class(&self, process: &Process, image: &Exec) -> PathClass {
        if interpreter::runs(image).file().is_none() {
            return self.loaded_class(process, image);
        }
        self.path(process, image)
            .map_or(PathClass::Unknown, path::classify)
    }

    /// Seconds from a file's last change to the execution of an image.
    pub fn age_at_exec_s(&self, image: &Exec, id: ExecutableId) -> Option<i64> {
        let offset_ns = self.wall_offset_ns?;
        let at_ns = i64::try_from(image.at_ns).ok()?;
        let executed_s = at_ns.saturating_add(offset_ns).div_euclid(1_000_000_000);
        Some(executed_s.saturating_sub(id.ctime_sec))
    }

    /// The root of the lineage group, if it already ran when the file was last changed: then something
    /// below it may have written the file.
    pub fn written_below(&self, process: &Process, id: ExecutableId) -> Option<ProcessKey> {
        let root = self.table.get(process.group)?;
        let older = self.wall_offset_ns.is_some() && root.key.tgid > 2 && root.key != process.key;
        let changed_ns = id.ctime_sec.saturating_mul(1_000_000_000);
        (older && changed_ns > self.unix_ns(root.key.start_ns)).then_some(root.key)
    }

    /// Describes a process with all that is known.
    pub fn subject(&self, key: ProcessKey) -> Option<Subject> {
        let process = self.table.get(key)?;
        let image = process.image.clone();
        let of_image = image.as_deref();
        Some(Subject {
            key,
            start_unix_ns: self.unix_ns(key.start_ns),
            name: process.short_name().into(),
            path: of_image
                .and_then(|image| self.path(process, image))
                .map(Into::into),
            path_class: of_image
                .map_or(PathClass::Unknown, |image| self.path_class(process, image)),
            uid: process.uid,
            facts: process.facts.clone(),
            file: of_image
                .and_then(|image| self.main_file(process, image))
                .cloned(),
            file_id: of_image.and_then(|image| self.main_id(process, image)),
            age_at_exec_s: of_image.and_then(|image| {
                let id = self.main_id(process, image)?;
                self.age_at_exec_s(image, id)
            }),
            written_below: of_image.and_then(|image| {
                let id = self.main_id(process, image)?;
                self.written_below(process, id)
            }),
            group: match self.table.get(process.group) {
                Some(root) => self.ancestor(root),
                None => self.ancestor(process),
            },
            ancestors: self
                .table
                .ancestors(key)
                .map(|process| self.ancestor(process))
                .collect(),
            ended_unix_ns: process.ended.map(|ended| self.unix_ns(ended.at_ns)),
            image,
        })
    }

    fn ancestor(&self, process: &Process) -> Ancestor {
        Ancestor {
            key: process.key,
            start_unix_ns: self.unix_ns(process.key.start_ns),
            name: process.short_name().into(),
            path: process
                .image
                .as_deref()
                .and_then(|image| self.path(process, image))
                .filter(|path| !path.is_empty())
                .map(Into::into),
        }
    }
}

/// Whether an image is the one the process runs now.
fn runs_it(process: &Process, image: &Exec) -> bool {
    let own = process.image.as_deref();
    own.is_some_and(|own| std::ptr::eq(own, image))
}
