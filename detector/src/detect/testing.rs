//! Builders for tests: a host whose clock is explicit and whose processes are a line each.

use detector_common::event::{self, connection::change, kind, task::PF_KTHREAD};

use super::{Config, Engine, Seed};
use crate::{
    incident::{Finding, FindingType, Incident, Severity},
    input::{
        Accepts, Exec, Executable, ExecutableFacts, ExecutableId, Host, Input, Integrity, Loss,
        Observed, Owner, ProcessFacts, ProcessKey, Scan, ScriptFacts, Sha256, Throttled,
    },
    output::{Change, Enrich, Output, Watch},
};

pub const SECOND: u64 = 1_000_000_000;
/// Wall clock at boot.
pub const BOOT_UNIX_S: i64 = 1_700_000_000;
pub const TMPFS: u64 = 0x0102_1994;
pub const EXT4: u64 = 0xef53;

pub fn key(tgid: u32, start_ns: u64) -> ProcessKey {
    ProcessKey { tgid, start_ns }
}

pub fn process(key: ProcessKey) -> event::Process {
    event::Process {
        start_boottime_ns: key.start_ns,
        tgid: key.tgid,
        reserved: 0,
    }
}

pub fn header(kind: u32, time_ns: u64) -> event::Header {
    event::Header {
        kind,
        reserved: 0,
        time_ns,
    }
}

/// A thread's totals. The leader by default.
pub fn task(of: ProcessKey, cpu_ns: u64) -> event::Task {
    event::Task {
        process: process(of),
        parent: process(key(1, 0)),
        start_boottime_ns: of.start_ns,
        cpu_ns,
        run_delay_ns: 0,
        voluntary_switches: 0,
        involuntary_switches: 0,
        cgroup_id: 0,
        pid: of.tgid,
        flags: 0,
        uid: 0,
        policy: 0,
        static_prio: 120,
        reserved: 0,
        comm: *b"task\0\0\0\0\0\0\0\0\0\0\0\0",
    }
}

pub fn thread(of: ProcessKey, pid: u32, start_ns: u64, cpu_ns: u64) -> event::Task {
    event::Task {
        pid,
        start_boottime_ns: start_ns,
        ..task(of, cpu_ns)
    }
}

pub fn kernel_thread(of: ProcessKey, cpu_ns: u64) -> event::Task {
    event::Task {
        flags: PF_KTHREAD,
        parent: process(key(2, 0)),
        ..task(of, cpu_ns)
    }
}

pub fn thread_end(tgid: u32, pid: u32, start_ns: u64, cpu_ns: u64) -> event::ThreadEnd {
    event::ThreadEnd {
        header: header(kind::THREAD_END, 0),
        is_final: 1,
        start_boottime_ns: start_ns,
        tgid,
        pid,
        cpu_ns,
        run_delay_ns: 0,
    }
}

/// An exec as the kernel would report it: `path` of an ordinary file of root's, changed a day before.
pub fn exec(of: ProcessKey, parent: ProcessKey, path: &str) -> Exec {
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    Exec {
        at_ns: of.start_ns + 1_000_000,
        observed: Observed::Live,
        process: of,
        parent,
        old_pid: of.tgid,
        executable: Executable {
            id: file_id(path),
            size: 4_096,
            mode: 0o100_755,
            nlink: 1,
            uid: 0,
            fs_magic: EXT4,
            overlay_upper: false,
        },
        name: name.as_bytes().into(),
        filename: path.as_bytes().into(),
        filename_truncated: false,
        interpreter: None,
        args: format!("{path}\0").into_bytes().into(),
        args_total_bytes: u32::try_from(path.len() + 1).expect("short"),
        comm,
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

/// The identity of a path, the same each time.
pub fn file_id(path: &str) -> ExecutableId {
    let inode = path.bytes().fold(5_381_u64, |sum, byte| {
        sum.wrapping_mul(33) ^ u64::from(byte)
    });
    ExecutableId {
        dev: 1,
        inode,
        ctime_sec: BOOT_UNIX_S - 86_400,
        ctime_nsec: 0,
    }
}

pub fn memfd(of: ProcessKey, parent: ProcessKey, name: &str) -> Exec {
    let mut exec = exec(of, parent, "/proc/self/fd/3");
    exec.name = format!("memfd:{name}").into_bytes().into();
    exec.executable.nlink = 0;
    exec.executable.fs_magic = TMPFS;
    exec.executable.id.dev = 99;
    exec
}

/// A process of which nothing was found out.
pub fn process_facts(of: ProcessKey) -> ProcessFacts {
    ProcessFacts {
        process: of,
        executable_path: None,
        script_path: None,
        working_directory: None,
        cgroup: None,
        unit: None,
        container_id: None,
        user_name: None,
        title: None,
        preloads: Vec::new(),
    }
}

/// What was asked for about packets (limit, older connections), and for whom no more (`Err`), in order.
pub fn asked(out: &[Output]) -> Vec<Result<(ProcessKey, u32, usize), ProcessKey>> {
    out.iter()
        .filter_map(|output| match output {
            Output::Watch(Watch {
                process,
                packets_per_connection,
                older_flows,
            }) => Some(Ok((*process, *packets_per_connection, older_flows.len()))),
            Output::Unwatch(process) => Some(Err(*process)),
            _ => None,
        })
        .collect()
}

pub fn facts(id: ExecutableId, path: &str, owner: Owner) -> ExecutableFacts {
    ExecutableFacts {
        id,
        path: Some(path.as_bytes().into()),
        integrity: matches!(owner, Owner::Package(_)).then_some(Integrity::Intact),
        owner,
        namesake: None,
        sha256: Sha256::Digest([0xab; 32]),
        modified_unix_ns: None,
        stat: None,
        known: None,
    }
}

/// An engine, what it said, and what the host's threads have used.
pub struct Bench {
    pub engine: Engine,
    pub out: Vec<Output>,
    pub now_ns: u64,
    pub cpus: u32,
    pub load: Vec<event::Task>,
    pub losses: Vec<Loss>,
    pub throttled: Vec<Throttled>,
    pub accepts: Vec<Accepts>,
    pub host: Host,
}

impl Bench {
    /// Two CPUs; the first pass is done at ten seconds.
    pub fn new() -> Bench {
        Bench::with(Config::default())
    }

    pub fn with(config: Config) -> Bench {
        let mut bench = Bench {
            engine: Engine::new(config, Seed(7)),
            out: Vec::new(),
            now_ns: 9 * SECOND,
            cpus: 2,
            load: Vec::new(),
            losses: Vec::new(),
            throttled: Vec::new(),
            accepts: Vec::new(),
            host: Host::default(),
        };
        bench.second();
        bench
    }

    pub fn apply(&mut self, input: Input<'_>) {
        self.engine.apply(input, &mut self.out);
    }

    pub fn fork(&mut self, parent: ProcessKey, child: ProcessKey) {
        self.apply(Input::Fork(event::Fork {
            header: header(kind::FORK, child.start_ns),
            parent: process(parent),
            child: process(child),
        }));
    }

    pub fn exec(&mut self, exec: &Exec) {
        self.apply(Input::Exec(exec));
    }

    /// Fork and exec of a program that a package owns.
    pub fn run(&mut self, parent: ProcessKey, child: ProcessKey, path: &str) {
        self.fork(parent, child);
        self.exec(&exec(child, parent, path));
        self.packaged(path);
    }

    pub fn packaged(&mut self, path: &str) {
        self.file(&facts(
            file_id(path),
            path,
            Owner::Package("some".to_owned()),
        ));
    }

    pub fn unowned(&mut self, path: &str) {
        self.file(&facts(file_id(path), path, Owner::Unowned));
    }

    pub fn file(&mut self, facts: &ExecutableFacts) {
        let now_ns = self.now_ns;
        self.apply(Input::Executable(now_ns, facts));
    }

    pub fn unit(&mut self, of: ProcessKey, path: &str, unit: &str, user: &str) {
        let now_ns = self.now_ns;
        self.apply(Input::Process(
            now_ns,
            &ProcessFacts {
                executable_path: Some(path.as_bytes().into()),
                working_directory: Some(b"/var/www/shop".as_slice().into()),
                cgroup: Some(format!("/system.slice/{unit}")),
                unit: Some(unit.to_owned()),
                user_name: Some(user.to_owned()),
                ..process_facts(of)
            },
        ));
    }

    /// Enrichment looked at the script `of` runs.
    pub fn script(&mut self, of: ProcessKey, path: &str, file: ExecutableFacts) {
        let now_ns = self.now_ns;
        let facts = ProcessFacts {
            script_path: Some(path.as_bytes().into()),
            ..process_facts(of)
        };
        self.apply(Input::Process(now_ns, &facts));
        let facts = ScriptFacts {
            process: of,
            path: path.as_bytes().into(),
            file,
        };
        self.apply(Input::Script(now_ns, &facts));
    }

    pub fn exit(&mut self, of: ProcessKey, wait_status: u32) {
        let now_ns = self.now_ns;
        self.apply(Input::Exit(event::Exit {
            header: header(kind::EXIT, now_ns),
            process: process(of),
            parent: process(key(1, 0)),
            wait_status,
            uid: 0,
            cgroup_id: 0,
            comm: [0; 16],
            thread: event::ThreadEnd {
                is_final: 0,
                ..thread_end(of.tgid, of.tgid, of.start_ns, 0)
            },
        }));
    }

    pub fn connect(&mut self, of: ProcessKey, ip: [u8; 4], port: u16, established: bool) {
        let mut remote = [0; 16];
        remote[10..12].copy_from_slice(&[0xff, 0xff]);
        remote[12..].copy_from_slice(&ip);
        let now_ns = self.now_ns;
        self.apply(Input::Connection(event::Connection {
            header: header(kind::CONNECTION, now_ns),
            process: process(of),
            socket: 1,
            duration_ns: 0,
            bytes_received: 0,
            bytes_sent: 0,
            cgroup_id: 0,
            change: if established {
                change::ESTABLISHED
            } else {
                change::ATTEMPT
            },
            error: 0,
            network_namespace: 0,
            remote_port: port,
            local_port: 40_000,
            remote,
            local: [0; 16],
        }));
    }

    /// Now, ns since 1970.
    pub fn now_unix_ns(&self) -> i64 {
        BOOT_UNIX_S * 1_000_000_000 + i64::try_from(self.now_ns).expect("small")
    }

    /// A second passes; `load` is what the pass tells.
    pub fn second(&mut self) {
        self.now_ns += SECOND;
        let scan = Scan {
            at_ns: self.now_ns,
            unix_ns: self.now_unix_ns(),
            cpus: self.cpus,
            tasks: self.load.clone(),
            accepts: std::mem::take(&mut self.accepts),
            host: self.host,
            losses: std::mem::take(&mut self.losses),
            throttled: std::mem::take(&mut self.throttled),
        };
        self.apply(Input::Scan(&scan));
    }

    /// Seconds in which each of `busy` uses that many ns of CPU.
    pub fn burn(&mut self, seconds: u32, busy: &[(ProcessKey, u64)]) {
        for _ in 0..seconds {
            for (of, ns) in busy {
                match self
                    .load
                    .iter_mut()
                    .find(|task| task.process == process(*of))
                {
                    Some(task) => task.cpu_ns += ns,
                    None => self.load.push(task(*of, *ns)),
                }
            }
            self.second();
        }
    }

    pub fn incidents(&self) -> Vec<(Change, &Incident)> {
        self.out
            .iter()
            .filter_map(|output| match output {
                Output::Incident(change, incident) => Some((*change, &**incident)),
                _ => None,
            })
            .collect()
    }

    pub fn findings(&self) -> Vec<&Finding> {
        self.out
            .iter()
            .filter_map(|output| match output {
                Output::Finding(finding) => Some(finding),
                _ => None,
            })
            .collect()
    }

    pub fn requests(&self) -> Vec<&Enrich> {
        self.out
            .iter()
            .filter_map(|output| match output {
                Output::Enrich(enrich) => Some(enrich),
                _ => None,
            })
            .collect()
    }
}

/// When the processes below start, ns since boot: after the first pass.
const T: u64 = 10 * SECOND + 1;
pub const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};

/// Every finding said, loudest first known: in incidents' last state, else alone.
pub fn said(bench: &mut Bench) -> Vec<(FindingType, Severity)> {
    for _ in 0..6 {
        bench.second(); // updates are damped
    }
    let mut said: Vec<_> = bench
        .incidents()
        .iter()
        .flat_map(|(_, incident)| incident.findings.iter())
        .chain(bench.findings())
        .map(|finding| (finding.kind, finding.severity))
        .collect();
    said.sort();
    said.dedup();
    said
}

/// A packaged web service.
pub fn web(bench: &mut Bench) -> ProcessKey {
    let web = key(800, T);
    bench.run(INIT, web, "/usr/sbin/php-fpm8.2");
    web
}

/// A child of `parent` that executes `path`.
pub fn child_of(
    bench: &mut Bench,
    parent: ProcessKey,
    path: &str,
    change: impl FnOnce(&mut Exec),
) -> ProcessKey {
    let child = key(900, T + 1_000);
    bench.fork(parent, child);
    let mut exec = exec(child, parent, path);
    change(&mut exec);
    bench.exec(&exec);
    child
}

/// Gives an exec its arguments.
pub fn argv(exec: &mut Exec, args: &[&str]) {
    let bytes: Vec<u8> = args
        .iter()
        .flat_map(|arg| [arg.as_bytes(), b"\0"].concat())
        .collect();
    exec.args_total_bytes = u32::try_from(bytes.len()).expect("short");
    exec.args = bytes.into();
}
