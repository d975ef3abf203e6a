//! Hosts that do not exist: seeded, without a clock, as the engine would be told of them.
//!
//! A [`Host`] is some programs with a [`Load`] each; it yields a [`Scan`] a second for ever. The same seed gives the
//! same seconds on any machine. What does not fit on the CPUs waits: it is shared out in proportion and the rest
//! becomes run delay, so that a miner has victims here, too. [`Scenario`] names the hosts that budgets and delays are
//! measured on. It owns no verdicts: whoever drives an engine with it judges what comes out.
#![deny(clippy::disallowed_methods)]

use detector_common::event::{self, connection::ListenKey};

use crate::input::{
    Accepts, Exec, Executable, ExecutableFacts, ExecutableId, Observed, Owner, ProcessKey, Scan,
    Sha256,
};

mod crowd;
mod load;
mod mix;
mod scenario;
mod storm;
mod tally;
#[cfg(test)]
mod tests;

pub use crowd::Crowd;
pub use load::Load;
pub use mix::Mix;
pub use scenario::Scenario;
pub use storm::Storm;
pub use tally::{Tally, Told, watch};

use load::Generator;

/// ns of a second.
const SECOND_NS: u64 = 1_000_000_000;
/// Wall clock at boot, s since 1970: a Monday, 00:00 UTC.
const BOOT_UNIX_S: u64 = 1_700_438_400;
/// The second of the first pass.
const FIRST_S: u64 = 10;

/// A program of a host.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it lies.
    pub path: &'static str,
    /// A package shipped it.
    pub packaged: bool,
    /// Below this program of the host; `None`: below init.
    pub parent: Option<usize>,
    /// Real user id.
    pub uid: u32,
    /// What it uses.
    pub load: Load,
    /// Voluntary switches for a second of CPU time.
    pub switches_per_cpu_s: f64,
}

#[derive(Debug)]
struct Running {
    program: Program,
    key: ProcessKey,
    generator: Generator,
    cpu_ns: u64,
    run_delay_ns: u64,
    switches: f64,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    cpus: u32,
    second: u64,
    running: Vec<Running>,
    onset_s: Option<u64>,
    culprit: Option<usize>,
    accepts: Generator,
    cores: Vec<f64>,
}

impl Host {
    /// A host with that many CPUs. `accepts` are inbound connections a second.
    pub fn new(cpus: u32, programs: Vec<Program>, accepts: Load, seed: u64) -> Host {
        let running = programs
            .into_iter()
            .enumerate()
            .map(|(at, program)| Running {
                key: ProcessKey {
                    tgid: 1_000 + u32::try_from(at).expect("a handful"),
                    start_ns: SECOND_NS + at as u64,
                },
                generator: Generator::new(program.load, seed ^ (at as u64 + 1) << 32),
                program,
                cpu_ns: 0,
                run_delay_ns: 0,
                switches: 0.0,
            })
            .collect();
        Host {
            cpus,
            second: FIRST_S,
            running,
            onset_s: None,
            culprit: None,
            accepts: Generator::new(accepts, seed),
            cores: Vec::new(),
        }
    }

    /// Says which program is the culprit and from which second after the first pass on.
    fn hostile(mut self, culprit: usize, onset_s: u64) -> Host {
        self.culprit = Some(culprit);
        self.onset_s = Some(FIRST_S + onset_s);
        self
    }

    /// When the culprit's load begins, ns since boot; `None`: nobody is.
    pub fn onset_ns(&self) -> Option<u64> {
        self.onset_s.map(|onset_s| onset_s * SECOND_NS)
    }

    /// The culprit.
    pub fn culprit(&self) -> Option<ProcessKey> {
        self.culprit.map(|at| self.running[at].key)
    }

    /// The program at that place.
    fn running_key(&self, at: usize) -> ProcessKey {
        self.running[at].key
    }

    /// CPUs of the host.
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// Its programs, to be told before the first pass: the exec, and what is known of the file.
    pub fn introduce(&self) -> Vec<(Exec, ExecutableFacts)> {
        self.running
            .iter()
            .map(|running| {
                let parent = running.program.parent.map_or(
                    ProcessKey {
                        tgid: 1,
                        start_ns: 0,
                    },
                    |at| self.running[at].key,
                );
                started(running, parent)
            })
            .collect()
    }

    /// CPUs that each program uses in the next second.
    pub fn step(&mut self) -> &[f64] {
        self.second += 1;
        let since_boot = self.second;
        let wanted: Vec<f64> = self
            .running
            .iter_mut()
            .map(|running| running.generator.cores(since_boot, BOOT_UNIX_S))
            .collect();
        let all: f64 = wanted.iter().sum();
        let fits = (f64::from(self.cpus) / all.max(1e-9)).min(1.0);
        self.cores.clear();
        for (running, wanted) in self.running.iter_mut().zip(wanted) {
            let used = wanted * fits;
            self.cores.push(used);
            running.cpu_ns += ns(used);
            running.run_delay_ns += ns(wanted - used);
            running.switches += used * running.program.switches_per_cpu_s;
        }
        &self.cores
    }
}

impl Iterator for Host {
    type Item = Scan;

    fn next(&mut self) -> Option<Scan> {
        let first = self.second == FIRST_S && self.cores.is_empty();
        if first {
            self.cores.push(0.0);
        } else {
            let _cores = self.step();
        }
        let at_ns = self.second * SECOND_NS;
        let accepts = self.accepts.cores(self.second, BOOT_UNIX_S);
        Some(Scan {
            at_ns,
            unix_ns: i64::try_from(BOOT_UNIX_S * SECOND_NS + at_ns).expect("a few years"),
            cpus: self.cpus,
            tasks: self.running.iter().map(task).collect(),
            accepts: vec![Accepts {
                key: ListenKey {
                    network_namespace: 0,
                    port: 443,
                },
                count: ns(accepts) / SECOND_NS,
            }],
            ..Scan::default()
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "some CPUs for a second"
)]
fn ns(cores: f64) -> u64 {
    (cores.max(0.0) * 1e9) as u64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count that grows from zero"
)]
fn task(running: &Running) -> event::Task {
    let process = |key: ProcessKey| event::Process {
        start_boottime_ns: key.start_ns,
        tgid: key.tgid,
        reserved: 0,
    };
    event::Task {
        process: process(running.key),
        parent: process(ProcessKey {
            tgid: 1,
            start_ns: 0,
        }),
        start_boottime_ns: running.key.start_ns,
        cpu_ns: running.cpu_ns,
        run_delay_ns: running.run_delay_ns,
        voluntary_switches: running.switches as u64,
        involuntary_switches: 0,
        cgroup_id: 0,
        pid: running.key.tgid,
        flags: 0,
        uid: running.program.uid,
        policy: 0,
        static_prio: 120,
        reserved: 0,
        comm: comm(running.program.path),
    }
}

fn comm(path: &str) -> [u8; 16] {
    let mut comm = [0; 16];
    let name = path.rsplit('/').next().unwrap_or(path);
    for (to, from) in comm.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    comm
}

fn file_id(path: &str) -> ExecutableId {
    ExecutableId {
        dev: 1,
        inode: path.bytes().fold(5_381, |sum: u64, byte| {
            sum.wrapping_mul(33) ^ u64::from(byte)
        }),
        // What lies in a folder for uploads is new, all else was there for a month.
        ctime_sec: i64::try_from(BOOT_UNIX_S).expect("small")
            - if path.contains("/uploads/") {
                60
            } else {
                30 * 86_400
            },
        ctime_nsec: 0,
    }
}

/// What is told of a program: its exec, and the facts about its file.
fn started(running: &Running, parent: ProcessKey) -> (Exec, ExecutableFacts) {
    let Program {
        path,
        uid,
        packaged,
        ..
    } = running.program;
    let exec = Exec {
        uid,
        gid: uid,
        ..exec(running.key, parent, path, format!("{path}\0"))
    };
    let owner = if packaged {
        Owner::Package("some".to_owned())
    } else {
        Owner::Unowned
    };
    let facts = facts(&exec, owner);
    (exec, facts)
}

/// A program of root's that was not changed since it was installed.
fn exec(process: ProcessKey, parent: ProcessKey, path: &str, args: String) -> Exec {
    let name = path.rsplit('/').next().unwrap_or(path);
    Exec {
        at_ns: process.start_ns,
        observed: Observed::Live,
        process,
        parent,
        old_pid: process.tgid,
        executable: Executable {
            id: file_id(path),
            size: 4_096,
            mode: 0o100_755,
            nlink: 1,
            uid: 0,
            fs_magic: 0xef53,
            overlay_upper: false,
        },
        name: name.as_bytes().into(),
        filename: path.as_bytes().into(),
        filename_truncated: false,
        interpreter: None,
        args_total_bytes: u32::try_from(args.len()).expect("short"),
        args: args.into_bytes().into(),
        comm: comm(path),
        uid: 0,
        gid: 0,
        loginuid: None,
        audit_session: None,
        session: None,
        namespace_pid: None,
        cgroup_id: None,
        policy: 0,
        nice: Some(0),
    }
}

/// What is found out about the file it runs: not its content.
fn facts(exec: &Exec, owner: Owner) -> ExecutableFacts {
    ExecutableFacts {
        id: exec.executable.id,
        path: Some(exec.filename.clone()),
        owner,
        integrity: None,
        namesake: None,
        sha256: Sha256::Missing("gone"),
        modified_unix_ns: None,
        stat: None,
        known: None,
    }
}
