//! Looking into packets: the one probe that is attached on demand.
//!
//! Its two programs (egress, ingress) hang at the root of the cgroup v2 hierarchy only while a process is
//! watched; otherwise they cost nothing. They are attached by links, which never displace a program of
//! somebody else: where one insists on being alone there, the kernel refuses ours. Dropping
//! [`Watcher`] detaches them.

use std::{fs::File, io, path::Path};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, ProgramError, cgroup_skb::CgroupSkbLink,
    },
};
use detector_common::event::payload::{FlowKey, Watched, WatchedFlow};

use crate::{input::ProcessKey, output::Watch};

/// The programs, and where each hangs.
const PROGRAMS: [(&str, CgroupSkbAttachType); 2] = [
    ("payload_out", CgroupSkbAttachType::Egress),
    ("payload_in", CgroupSkbAttachType::Ingress),
];
/// Packets of one process kept per watch: with 592 bytes each, half of the network ring.
const PACKETS_PER_PROCESS: u32 = 1_024;

/// Why a process cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The programs are not loaded: the plan or the kernel said no.
    #[error("packets cannot be looked into here")]
    Unavailable,
    /// The root of the hierarchy cannot be opened.
    #[error("cannot open {path}: {source}")]
    Cgroup {
        /// Where it is mounted.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused to attach.
    #[error("cannot look into packets: {0}")]
    Attach(#[from] ProgramError),
    /// A map is full or gone.
    #[error("cannot say whom to watch: {0}")]
    Map(#[from] MapError),
}

/// The maps of the probe, and its links while it is attached.
#[derive(Debug)]
pub(super) struct Watcher {
    processes: HashMap<MapData, u32, [u64; 2]>,
    flows: HashMap<MapData, [u32; 5], [u64; 3]>,
    links: Vec<CgroupSkbLink>,
    root: Option<File>,
}

impl Watcher {
    pub(super) fn new(
        processes: HashMap<MapData, u32, [u64; 2]>,
        flows: HashMap<MapData, [u32; 5], [u64; 3]>,
    ) -> Watcher {
        Watcher {
            processes,
            flows,
            links: Vec::new(),
            root: None,
        }
    }

    /// Loads the programs, attaches them once and detaches them again: later it will work.
    pub(super) fn prepare(&mut self, ebpf: &mut Ebpf, root: &Path) -> Result<(), WatchError> {
        for (name, _) in PROGRAMS {
            program(ebpf, name)?.load()?;
        }
        let opened = File::open(root).map_err(|source| WatchError::Cgroup {
            path: root.display().to_string(),
            source,
        })?;
        self.root = Some(opened);
        let tried = self.rehearse(ebpf);
        if tried.is_err() {
            self.root = None;
        }
        tried
    }

    /// Attaches and detaches, where that was possible before.
    pub(super) fn rehearse(&mut self, ebpf: &mut Ebpf) -> Result<(), WatchError> {
        if !self.is_prepared() {
            return Ok(());
        }
        let tried = self.attach(ebpf);
        self.links.clear();
        tried
    }

    /// Whether the programs are loaded and can be attached.
    pub(super) fn is_prepared(&self) -> bool {
        self.root.is_some()
    }

    fn attach(&mut self, ebpf: &mut Ebpf) -> Result<(), WatchError> {
        let root = self.root.as_ref().ok_or(WatchError::Unavailable)?;
        if !self.links.is_empty() {
            return Ok(());
        }
        for (name, at) in PROGRAMS {
            let program = program(ebpf, name)?;
            // Links know no mode: any number of them share a place. A mode would be refused.
            let attached = program.attach(root, at, CgroupAttachMode::Single);
            match attached.and_then(|link| program.take_link(link)) {
                Ok(link) => self.links.push(link),
                Err(error) => {
                    self.links.clear();
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    pub(super) fn watch(&mut self, ebpf: &mut Ebpf, watch: &Watch) -> Result<(), WatchError> {
        if self.root.is_none() {
            return Err(WatchError::Unavailable);
        }
        let process = watch.process;
        let watched = Watched {
            start_boottime_ns: process.start_ns,
            limit: watch.packets_per_connection,
            left: PACKETS_PER_PROCESS,
        };
        let watched: [u64; 2] = zerocopy::transmute!(watched);
        self.processes.insert(process.tgid, watched, 0)?;
        for flow in &watch.older_flows {
            let key = FlowKey {
                remote: flow.remote,
                remote_port: flow.remote_port,
                local_port: flow.local_port,
            };
            let value = WatchedFlow {
                process: process.into(),
                left: watch.packets_per_connection,
                reserved: 0,
            };
            let (key, value): ([u32; 5], [u64; 3]) =
                (zerocopy::transmute!(key), zerocopy::transmute!(value));
            self.flows.insert(key, value, 0)?;
        }
        self.attach(ebpf)
    }

    /// Detaches when it was the last one.
    pub(super) fn unwatch(&mut self, process: ProcessKey) -> Result<(), WatchError> {
        let gone = |error| match error {
            MapError::KeyNotFound => Ok(()),
            error => Err(error),
        };
        self.processes.remove(&process.tgid).or_else(gone)?;
        let own = |entry: Result<([u32; 5], [u64; 3]), MapError>| {
            let (key, value) = entry.ok()?;
            let value: WatchedFlow = zerocopy::transmute!(value);
            (ProcessKey::from(value.process) == process).then_some(key)
        };
        let flows: Vec<[u32; 5]> = self.flows.iter().filter_map(own).collect();
        for key in flows {
            self.flows.remove(&key).or_else(gone)?;
        }
        if self.processes.keys().next().is_none() {
            self.links.clear();
        }
        Ok(())
    }

    /// Looks into nobody's packets any more.
    pub(super) fn unwatch_all(&mut self) {
        self.links.clear();
        let watched: Vec<u32> = self.processes.keys().filter_map(Result::ok).collect();
        let flows: Vec<[u32; 5]> = self.flows.keys().filter_map(Result::ok).collect();
        // What cannot be removed waits for nothing: without links nobody looks it up.
        watched
            .iter()
            .for_each(|key| drop(self.processes.remove(key)));
        flows.iter().for_each(|key| drop(self.flows.remove(key)));
    }

    /// Whether packets are looked into right now.
    pub(super) fn is_attached(&self) -> bool {
        !self.links.is_empty()
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut CgroupSkb, ProgramError> {
    ebpf.program_mut(name)
        .ok_or(ProgramError::NotLoaded)?
        .try_into()
}
