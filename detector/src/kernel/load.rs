//! Loads what the plan says and holds it. Dumb: decides nothing.
//!
//! Dropping [`Loaded`] detaches every probe and frees every map.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuHashMap, RingBuf},
    programs::{BtfTracePoint, Iter, ProgramError},
};
use detector_common::{
    counter::Counter, event::connection::ListenKey, offsets::Offsets, throttle::Throttle,
};

use super::{
    fdinfo,
    plan::{Decision, Plan},
    probe::{Hook, Probe},
    runs::Runs,
    status::{State, Status},
    support::{BTF_PATH, Facts},
    watch::{WatchError, Watcher},
};
use crate::{input::ProcessKey, output::Watch, reread::Reread};

/// The object the kernel side was compiled to.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("DETECTOR_BPF_OBJECT"));

/// Sizes of what a flood could fill. Of a ring: bytes, a power of two and a multiple of the page size.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Exec, fork, exit and thread-end records.
    pub process_ring_bytes: u32,
    /// Connection records.
    pub network_ring_bytes: u32,
    /// Outbound sockets remembered while they are open.
    pub open_sockets: u32,
    /// Ports whose inbound connections are counted.
    pub listening_ports: u32,
}

impl From<&crate::config::Kernel> for Sizes {
    fn from(config: &crate::config::Kernel) -> Self {
        Sizes {
            process_ring_bytes: config.process_ring_bytes,
            network_ring_bytes: config.network_ring_bytes,
            open_sockets: 16_384,
            listening_ports: 1_024,
        }
    }
}

/// Why nothing could be loaded at all. A single refused probe is no error but a [`State`].
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No kernel type information.
    #[error("cannot use {BTF_PATH}: {0}")]
    Types(String),
    /// The object or a map was refused.
    #[error("cannot load the BPF object: {0}")]
    Object(#[from] EbpfError),
    /// A map is missing or of another shape: the object is not of this version.
    #[error("map {name}: {source}")]
    Map {
        /// Name of the map.
        name: &'static str,
        /// Why.
        source: MapError,
    },
    /// A map is missing: the object is not of this version.
    #[error("the BPF object has no map {0}")]
    NoMap(&'static str),
}

/// Programs in the kernel and their maps.
pub struct Loaded {
    ebpf: Ebpf,
    /// State of each probe.
    pub status: Status,
    /// Exec, fork, exit and thread-end records.
    pub process_ring: RingBuf<MapData>,
    /// Connection records.
    pub network_ring: RingBuf<MapData>,
    dozing: Array<MapData, u32>,
    counters: PerCpuArray<MapData, u64>,
    accepts: PerCpuHashMap<MapData, [u32; 2], u64>,
    throttles: HashMap<MapData, u64, [u64; Throttle::WORDS]>,
    cgroup_root: Option<PathBuf>,
    watcher: Watcher,
    /// What the kernel tells of each program; opened at the first look.
    missed: Vec<Reread>,
    /// `None`: the probes were built without logging.
    #[cfg(feature = "bpf-log")]
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
}

impl Loaded {
    /// Loads and attaches what the plan says.
    ///
    /// # Errors
    /// No BTF, or the object's maps were refused. A refused program is told in `status`.
    pub fn new(facts: &Facts, plan: &Plan, sizes: Sizes) -> Result<Self, LoadError> {
        let types = facts
            .types
            .as_ref()
            .map_err(|reason| LoadError::Types(reason.clone()))?;
        let words: [u32; Offsets::SPECS.len()] = zerocopy::transmute!(types.found.offsets);
        let btf = Btf::from_sys_fs().map_err(|error| LoadError::Types(error.to_string()))?;
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global("OFFSETS", &words, true)
            .override_global("THROTTLE", &u32::from(plan.throttle), true)
            .map_max_entries("PROCESS_RING", sizes.process_ring_bytes)
            .map_max_entries("NETWORK_RING", sizes.network_ring_bytes)
            .map_max_entries("SOCKETS", sizes.open_sockets)
            .map_max_entries("ACCEPTS", sizes.listening_ports)
            .load(OBJECT)?;
        let process_ring = take(&mut ebpf, "PROCESS_RING")?;
        let network_ring = take(&mut ebpf, "NETWORK_RING")?;
        let dozing = take(&mut ebpf, "DOZING")?;
        let counters = take(&mut ebpf, "COUNTERS")?;
        let accepts = take(&mut ebpf, "ACCEPTS")?;
        let throttles = take(&mut ebpf, "THROTTLES")?;
        let mut watcher = Watcher::new(
            take(&mut ebpf, "WATCHED")?,
            take(&mut ebpf, "WATCHED_FLOWS")?,
        );
        let attach = |(probe, decision): &(Probe, Decision)| {
            let state = match decision {
                Decision::Skip(reason) => State::Skipped(reason.clone()),
                Decision::Load if *probe == Probe::Payload => {
                    let root = facts.cgroup_v2.as_deref();
                    let root = root.expect("planned only where it is mounted");
                    match watcher.prepare(&mut ebpf, root) {
                        Ok(()) => State::Standby,
                        Err(WatchError::Attach(error)) => State::Refused(explain(&error)),
                        Err(error) => State::Refused(error.to_string()),
                    }
                }
                Decision::Load => match attach(&mut ebpf, *probe, &btf) {
                    Ok(()) => State::Attached,
                    Err(error) => State::Refused(explain(&error)),
                },
            };
            (*probe, state)
        };
        let status = Status {
            probes: plan.probes.iter().map(attach).collect(),
        };
        drop(btf);
        super::give_memory_back();
        #[cfg(feature = "bpf-log")]
        let logger = aya_log::EbpfLogger::init(&mut ebpf)
            .inspect_err(|error| tracing::warn!(%error, "the probes do not log"))
            .ok();
        Ok(Loaded {
            ebpf,
            status,
            process_ring,
            network_ring,
            dozing,
            missed: Vec::new(),
            counters,
            accepts,
            throttles,
            cgroup_root: facts.cgroup_v2.clone(),
            watcher,
            #[cfg(feature = "bpf-log")]
            logger,
        })
    }

    /// Does once what the daemon does for as long as it runs: whether the kernel lets it.
    pub(super) fn rehearse(&mut self) -> bool {
        let reads = self.counter(Counter::ExecDropped).is_ok() && self.open_scan().is_ok();
        reads && self.doze().is_ok() && self.watcher.rehearse(&mut self.ebpf).is_ok()
    }

    /// Whether packets can be looked into when somebody is to be watched.
    pub(super) fn can_watch(&self) -> bool {
        self.watcher.is_prepared()
    }

    /// Passes on what the probes logged since the last call. Debug builds only.
    #[cfg(feature = "bpf-log")]
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// Opens one pass of the task iterator: a file that yields [`event::Task`] records.
    ///
    /// # Errors
    /// The kernel refused the pass.
    ///
    /// [`event::Task`]: detector_common::event::Task
    pub fn open_scan(&mut self) -> Result<fs::File, ProgramError> {
        let program: &mut Iter = self.program(Probe::Task)?;
        let link = program.attach()?;
        let link = program.take_link(link)?;
        link.into_file()
            .map_err(|error| ProgramError::IOError(std::io::Error::other(error)))
    }

    /// Looks into the packets of a process, until told otherwise.
    ///
    /// # Errors
    /// The probe is not there, was refused, or a map is full.
    pub fn watch(&mut self, watch: &Watch) -> Result<(), WatchError> {
        self.watcher.watch(&mut self.ebpf, watch)
    }

    /// Looks no longer into the packets of a process; with the last one, into none.
    ///
    /// # Errors
    /// A map cannot be changed.
    pub fn unwatch(&mut self, process: ProcessKey) -> Result<(), WatchError> {
        self.watcher.unwatch(process)
    }

    /// Looks into nobody's packets any more.
    pub fn unwatch_all(&mut self) {
        self.watcher.unwatch_all();
    }

    /// Whether packets are looked into right now.
    pub fn is_watching(&self) -> bool {
        self.watcher.is_attached()
    }

    /// A loss counter, summed over CPUs. Only grows.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counter(&self, counter: Counter) -> Result<u64, MapError> {
        let values = self.counters.get(&(counter as u32), 0)?;
        Ok(values.iter().sum())
    }

    /// Inbound connections per listening port since the start, summed over CPUs.
    pub fn accepts(&self) -> impl Iterator<Item = Result<(ListenKey, u64), MapError>> {
        self.accepts.iter().map(|entry| {
            let ([network_namespace, port], values) = entry?;
            let key = ListenKey {
                network_namespace,
                port,
            };
            Ok((key, values.iter().sum()))
        })
    }

    /// From now on the next record wakes whoever waits for its ring to be readable.
    ///
    /// # Errors
    /// The map cannot be changed: nobody will be woken.
    pub fn doze(&mut self) -> Result<(), MapError> {
        self.dozing.set(0, 1, 0)
    }

    /// Each cgroup that wrote while a ring was filling.
    pub fn throttles(&self) -> impl Iterator<Item = Result<(u64, Throttle), MapError>> {
        self.throttles.iter().map(|entry| {
            let (cgroup_id, words) = entry?;
            Ok((cgroup_id, zerocopy::transmute!(words)))
        })
    }

    /// Where the cgroup v2 hierarchy is mounted.
    pub fn cgroup_root(&self) -> Option<&Path> {
        self.cgroup_root.as_deref()
    }

    /// What the kernel counts of each program that is loaded, by name.
    pub fn runs(&self) -> impl Iterator<Item = (&str, Runs)> {
        self.told().map(|(name, text)| (name, Runs::parse(&text)))
    }

    /// Numbers of the programs that are loaded, by name.
    pub(super) fn program_ids(&self) -> Vec<(String, u64)> {
        let id = |(name, text): (&str, String)| {
            Some((name.to_owned(), fdinfo::number(&text, "prog_id")?))
        };
        self.told().filter_map(id).collect()
    }

    fn told(&self) -> impl Iterator<Item = (&str, String)> {
        self.ebpf.programs().filter_map(|(name, program)| {
            let fd = program.fd().ok()?.as_fd().as_raw_fd();
            Some((name, fdinfo::read(fd)?))
        })
    }

    /// Events that found their probe already running on that CPU and were therefore not seen
    /// (`recursion_misses`, 5.12 and later), over all probes. `None`: this kernel does not tell.
    pub fn missed_runs(&mut self) -> Option<u64> {
        if self.missed.is_empty() {
            let fds = self.ebpf.programs().filter_map(|(_, p)| p.fd().ok());
            let numbers = fds.map(|fd| fd.as_fd().as_raw_fd());
            let infos = numbers.map(|fd| Reread::open(format!("/proc/self/fdinfo/{fd}")));
            self.missed = infos.collect();
        }
        let infos = self.missed.iter_mut();
        let misses = infos.filter_map(|info| fdinfo::number(info.read()?, "recursion_misses"));
        misses.fold(None, |total, misses| Some(total.unwrap_or(0) + misses))
    }

    fn program<'a, P>(&'a mut self, probe: Probe) -> Result<&'a mut P, ProgramError>
    where
        &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
    {
        program(&mut self.ebpf, probe)
    }
}

fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, LoadError>
where
    T: TryFrom<aya::maps::Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(LoadError::NoMap(name))?;
    T::try_from(map).map_err(|source| LoadError::Map { name, source })
}

fn program<'a, P>(ebpf: &'a mut Ebpf, probe: Probe) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(probe.name())
        .ok_or(ProgramError::NotLoaded)?
        .try_into()
}

fn attach(ebpf: &mut Ebpf, probe: Probe, btf: &Btf) -> Result<(), ProgramError> {
    match probe.hook() {
        Hook::Tracepoint(name) => {
            let program: &mut BtfTracePoint = program(ebpf, probe)?;
            program.load(name, btf)?;
            program.attach()?;
        }
        // Attached anew for each pass.
        Hook::Packets => return Err(ProgramError::NotLoaded), // `Watcher` loads those
        Hook::Iterator(name) => program::<Iter>(ebpf, probe)?.load(name, btf)?,
    }
    Ok(())
}

/// The error with the verifier's last words; its whole log can be megabytes.
fn explain(error: &ProgramError) -> String {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return error.to_string();
    };
    let log = verifier_log.to_string();
    let lines: Vec<&str> = log.lines().filter(|l| !l.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(4)..];
    format!("{io_error}; verifier: {}", last.join(" | "))
}
