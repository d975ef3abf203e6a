//! What a process and its programs in the kernel have used.
//!
//! CPU time is the scheduler's (`schedstat` of each thread), the kernel's part what it counts of each program while
//! statistics are on (`fdinfo`), which they are for as long as a [`Meter`] lives. A peer is measured with all its descendants.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{Read as _, Seek as _},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Btf, EbpfLoader,
    maps::loaded_maps,
    programs::{BtfTracePoint, Iter, ProgramFd, loaded_programs},
    sys::{Stats, enable_stats},
};

/// The hooks of the programs that do nothing, by name.
const HOOKS: [(&str, &str); 5] = [
    ("exec", "sched_process_exec"),
    ("fork", "sched_process_fork"),
    ("exit", "sched_process_exit"),
    ("thread_end", "sched_process_free"),
    ("connection", "inet_sock_set_state"),
];

/// Programs and maps in the kernel.
#[derive(Debug, Default)]
pub struct Ids {
    programs: HashSet<u32>,
    maps: HashSet<u32>,
}

/// Those that are loaded now.
///
/// # Errors
/// The kernel does not tell.
pub fn ids() -> Result<Ids> {
    let programs = loaded_programs().map(|info| Ok(info?.id()));
    let maps = loaded_maps().map(|info| Ok(info?.id()));
    Ok(Ids {
        programs: programs.collect::<Result<_>>()?,
        maps: maps.collect::<Result<_>>()?,
    })
}

/// Runs of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    pub count: u64,
    pub ns: u64,
}

impl Runs {
    /// ns a run.
    pub fn mean(self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "statistics")]
        (self.count > 0).then(|| self.ns as f64 / self.count as f64)
    }
}

/// What was used at a moment, or between two.
#[derive(Clone, Debug)]
pub struct Spent {
    at: Instant,
    /// In between.
    pub passed: Duration,
    /// CPU time of the processes.
    pub cpu: Duration,
    /// By program.
    pub runs: BTreeMap<String, Runs>,
    /// The same hooks, doing nothing, since they were attached.
    pub empty: BTreeMap<String, Runs>,
    /// Resident now, bytes: pages of this process alone, and its share of those that others have too.
    pub resident: u64,
    /// What the load did meanwhile.
    pub done: u64,
}

impl Spent {
    /// Between `from` and this.
    pub fn since(mut self, from: &Spent) -> Spent {
        for (name, runs) in &mut self.runs {
            let before = from.runs.get(name).copied().unwrap_or_default();
            runs.count -= before.count;
            runs.ns -= before.ns;
        }
        self.passed = self.at - from.at;
        self.cpu = self.cpu.saturating_sub(from.cpu);
        self
    }

    /// CPU time of the processes, ms a second.
    pub fn cpu_ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / self.passed.as_secs_f64()
    }

    /// ns that a program's runs cost, less as many runs of one that does nothing.
    pub fn net_ns(&self, name: &str) -> f64 {
        let Some(runs) = self.runs.get(name) else {
            return 0.0;
        };
        let empty = self.empty.get(name).and_then(|runs| runs.mean());
        #[expect(clippy::cast_precision_loss, reason = "statistics")]
        let net = runs.ns as f64 - empty.unwrap_or(0.0) * runs.count as f64;
        net.max(0.0)
    }

    /// The kernel's part besides the iterator, which runs in the daemon's own time: ms a second.
    pub fn kernel_ms(&self) -> f64 {
        let hooks = self.runs.keys().filter(|name| *name != "task");
        let ns: f64 = hooks.map(|name| self.net_ns(name)).sum();
        ns / 1e6 / self.passed.as_secs_f64()
    }
}

/// Reads it.
pub struct Meter {
    pid: u32,
    programs: Vec<(String, File, ProgramFd)>,
    maps: Vec<u64>,
    _statistics: OwnedFd,
}

impl Meter {
    /// Of a process, its descendants, and what came into the kernel since `before`.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn new(pid: u32, before: &Ids) -> Result<Meter> {
        let mut programs = Vec::new();
        for info in loaded_programs() {
            let info = info?;
            if before.programs.contains(&info.id()) {
                continue;
            }
            let name = info.name_as_str().unwrap_or("?").to_owned();
            let fd = info.fd()?;
            programs.push((name, fdinfo(fd.as_fd().as_raw_fd())?, fd));
        }
        let mut maps = Vec::new();
        for info in loaded_maps() {
            let info = info?;
            if before.maps.contains(&info.id()) {
                continue;
            }
            let fd = info.fd()?;
            let text = text(&mut fdinfo(fd.as_fd().as_raw_fd())?)?;
            maps.push(field(&text, "memlock:").unwrap_or(0));
        }
        Ok(Meter {
            pid,
            programs,
            maps,
            _statistics: enable_stats(Stats::RunTime)?,
        })
    }

    /// Memory of the maps in the kernel, bytes.
    pub fn map_bytes(&self) -> Result<u64> {
        Ok(self.maps.iter().sum())
    }

    /// Everything so far.
    ///
    /// # Errors
    /// The process is gone.
    pub fn read(&mut self, empty: Option<&Empty>) -> Result<Spent> {
        let mut runs = BTreeMap::<String, Runs>::new();
        for (name, info, _) in &mut self.programs {
            let text = text(info)?;
            let of = runs.entry(name.clone()).or_default();
            of.count += field(&text, "run_cnt:").unwrap_or(0);
            of.ns += field(&text, "run_time_ns:").unwrap_or(0);
        }
        let mut cpu = Duration::ZERO;
        let mut resident = 0;
        for pid in family(self.pid) {
            cpu += cpu_time(pid);
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
            resident += field(&rollup.unwrap_or_default(), "Pss:").unwrap_or(0) * 1_024;
        }
        anyhow::ensure!(!cpu.is_zero(), "process {} is gone", self.pid);
        Ok(Spent {
            at: Instant::now(),
            passed: Duration::ZERO,
            cpu,
            runs,
            empty: empty.map_or(Ok(BTreeMap::new()), Empty::read)?,
            resident,
            done: 0,
        })
    }
}

fn fdinfo(fd: i32) -> Result<File> {
    let path = format!("/proc/self/fdinfo/{fd}");
    File::open(&path).with_context(|| format!("cannot open {path}"))
}

fn text(info: &mut File) -> Result<String> {
    let mut text = String::new();
    info.rewind()?;
    info.read_to_string(&mut text)?;
    Ok(text)
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A process and what descends from it.
fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(pid) = family.get(at) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        family.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        at += 1;
    }
    family
}

/// What the threads of a process have used that still run; all of a daemon's do.
fn cpu_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let stats = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
    Duration::from_nanos(stats.sum())
}

/// The programs that do nothing, attached.
pub struct Empty {
    programs: Vec<(&'static str, i32)>,
    ebpf: aya::Ebpf,
}

impl Empty {
    /// Loads and attaches them.
    ///
    /// # Errors
    /// There is no such object, or the kernel refuses it.
    pub fn attach() -> Result<Empty> {
        let path = std::env::var_os("DETECTOR_EMPTY_OBJECT");
        let path =
            path.context("DETECTOR_EMPTY_OBJECT names no file: run `cargo xtask bench cost`")?;
        let types = Btf::from_sys_fs()?;
        let mut ebpf = EbpfLoader::new().btf(Some(&types)).load_file(&path)?;
        let mut programs = Vec::new();
        for (name, hook) in HOOKS {
            let program = ebpf.program_mut(name).context("a program is missing")?;
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(hook, &types)?;
            program.attach()?;
            programs.push((name, program.fd()?.as_fd().as_raw_fd()));
        }
        let program = ebpf.program_mut("task").context("a program is missing")?;
        let program: &mut Iter = program.try_into()?;
        program.load("task", &types)?;
        programs.push(("task", program.fd()?.as_fd().as_raw_fd()));
        let mut empty = Empty { programs, ebpf };
        empty.pass()?;
        Ok(empty)
    }

    /// One pass over the tasks, so that the iterator has something to compare with.
    fn pass(&mut self) -> Result<()> {
        let _statistics = enable_stats(Stats::RunTime)?;
        let program = self
            .ebpf
            .program_mut("task")
            .context("a program is missing")?;
        let program: &mut Iter = program.try_into()?;
        for _ in 0..100 {
            let link = program.attach()?;
            let mut file = program.take_link(link)?.into_file()?;
            file.read_to_end(&mut Vec::new())?;
        }
        Ok(())
    }

    /// Their runs so far. Those of the iterator are of [`Empty::attach`], so that its mean is always there.
    fn read(&self) -> Result<BTreeMap<String, Runs>> {
        let mut runs = BTreeMap::new();
        for (name, fd) in &self.programs {
            let text = text(&mut fdinfo(*fd)?)?;
            let count = field(&text, "run_cnt:").unwrap_or(0);
            let ns = field(&text, "run_time_ns:").unwrap_or(0);
            runs.insert((*name).to_owned(), Runs { count, ns });
        }
        Ok(runs)
    }
}
