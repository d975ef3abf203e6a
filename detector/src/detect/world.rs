//! What the engine believes about the host: processes, executables, time. Policy reads it.

use std::sync::Arc;

use detector_common::event::ThreadEnd;

use super::{
    config::Config,
    cpu::Passes,
    executable::Executables,
    hash::Map,
    lineage,
    listener::{Listeners, Served},
    path::{self, PathClass},
    process::{ParentFrom, Process, Table},
};
use crate::{
    incident::{Ancestor, Subject},
    input::{Exec, ExecutableFacts, ProcessKey},
    output::{Enrich, Output},
};

/// Final bills kept for processes that are not known yet.
const MAX_UNCLAIMED: usize = 4_096;
/// How long, ns. An exec record is at most a drain interval behind.
const UNCLAIMED_NS: u64 = 10_000_000_000;

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
            config,
            passes: Passes::default(),
            unclaimed_dropped: 0,
            unclaimed: Map::default(),
            unclaimed_count: 0,
            wall_offset_ns: None,
        }
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
        let (_, new) = self.table.ensure(key, now_ns);
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
        match owner.and_then(|key| self.table.get_mut(key)) {
            Some(process) => {
                let key = process.key;
                process.cpu.ended(key, end, &passes);
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
        let process = self.table.get_mut(key).expect("claims for known processes");
        let before = bills.len();
        bills.retain(|(_, end)| {
            let mine = end.start_boottime_ns >= key.start_ns;
            if mine {
                process.cpu.ended(key, end, &self.passes);
            }
            !mine
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
        out.push(Output::Enrich(Enrich {
            process: key,
            uid: process.uid.unwrap_or(u32::MAX),
            executable: image
                .filter(|_| with_executable)
                .map(|image| image.executable.id),
            filename: image
                .map(|image| image.filename.clone())
                .unwrap_or_default(),
            script: image.is_some_and(|image| image.interpreter.is_some()),
        }));
    }

    /// Inbound connections that a process's load may come from: those of its lineage group; for a web
    /// service that is handed its requests by another (php-fpm behind nginx), those of all web services.
    pub fn served(&self, key: ProcessKey) -> Option<Served> {
        let group = self.table.get(key)?.group;
        let is_web = |key: ProcessKey| {
            let image = self
                .table
                .get(key)
                .and_then(|process| process.image.as_deref());
            image.is_some_and(lineage::is_web_service)
        };
        self.listeners
            .of_group(group)
            .or_else(|| is_web(group).then(|| self.listeners.sum_of(is_web))?)
    }

    /// What is known about the executable of an image.
    pub fn file(&self, image: &Exec) -> Option<&Arc<ExecutableFacts>> {
        self.executables.get(image.executable.id)
    }

    /// Best known path of what a process runs: the script for a script.
    pub fn path<'a>(&'a self, process: &'a Process, image: &'a Exec) -> Option<&'a [u8]> {
        let runs_it = process
            .image
            .as_deref()
            .is_some_and(|own| std::ptr::eq(own, image));
        let current = process.facts_current && runs_it;
        let facts = process.facts.as_deref().filter(|_| current);
        let absolute = || Some(&*image.filename).filter(|path| path.starts_with(b"/"));
        if image.interpreter.is_some() {
            return facts
                .and_then(|facts| facts.script_path.as_deref())
                .or_else(absolute);
        }
        facts
            .and_then(|facts| facts.executable_path.as_deref())
            .or_else(|| self.file(image).and_then(|file| file.path.as_deref()))
            .or_else(|| {
                absolute()
                    .filter(|path| !path.starts_with(b"/proc/") && !path.starts_with(b"/dev/fd/"))
            })
    }

    /// Where that lies.
    pub fn path_class(&self, process: &Process, image: &Exec) -> PathClass {
        if image.interpreter.is_none()
            && image.executable.nlink == 0
            && image.name.starts_with(b"memfd:")
        {
            return PathClass::Memfd;
        }
        self.path(process, image)
            .map_or(PathClass::Unknown, path::classify)
    }

    /// Seconds from the executable's last change to its execution.
    pub fn age_at_exec_s(&self, image: &Exec) -> Option<i64> {
        let offset_ns = self.wall_offset_ns?;
        let at_ns = i64::try_from(image.at_ns).ok()?;
        let executed_s = at_ns.saturating_add(offset_ns).div_euclid(1_000_000_000);
        Some(executed_s.saturating_sub(image.executable.id.ctime_sec))
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
            file: of_image.and_then(|image| self.file(image)).cloned(),
            age_at_exec_s: of_image.and_then(|image| self.age_at_exec_s(image)),
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
