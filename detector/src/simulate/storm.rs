//! Records faster than any host makes them, about identities that never come twice: what the engine costs, and
//! what it keeps, when somebody tries to drown it.

use detector_common::event::{self, connection::change, kind};

use super::{BOOT_UNIX_S, FIRST_S, SECOND_NS};
use crate::input::{Exec, ExecutableFacts, ExecutableId, OwnedInput, Owner, ProcessKey, Scan};

/// Who acts, where it is not somebody new each time.
const ACTORS: u64 = 1_000;
/// Records of a second: a pass comes after as many.
const PER_SECOND: u64 = 100_000;
/// Time between two records, ns.
const STEP_NS: u64 = SECOND_NS / PER_SECOND;

/// What there is without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storm {
    /// Processes that are forked and stay.
    Forks,
    /// Ends of processes nobody knew.
    Exits,
    /// Processes that are forked, execute a program of their own, and end: four records each.
    Lives,
    /// Programs, executed by a thousand processes; nobody answers what they are.
    Executables,
    /// The same, and each time it is answered that a package owns it.
    Answered,
    /// Unowned programs in `/dev/shm`, each run by a service account in a session of its own: as many incidents as
    /// there can be.
    Dropped,
    /// One unowned program in `/dev/shm`, run again and again by a suspect and ending at once: one incident, and each run is
    /// a suspect in it. Four records each.
    Accused,
    /// Destinations of packaged programs: attempt, answer and end of each connection.
    Destinations,
    /// Destinations of one program that is suspect.
    Suspect,
    /// Ports that are listened on, and no longer.
    Listeners,
    /// Last bills of threads whose process nobody knew.
    ThreadEnds,
}

impl Storm {
    /// All of them.
    pub const ALL: [Storm; 11] = [
        Storm::Forks,
        Storm::Exits,
        Storm::Lives,
        Storm::Executables,
        Storm::Answered,
        Storm::Dropped,
        Storm::Accused,
        Storm::Destinations,
        Storm::Suspect,
        Storm::Listeners,
        Storm::ThreadEnds,
    ];

    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Storm::Forks => "forks",
            Storm::Exits => "exits",
            Storm::Lives => "lives",
            Storm::Executables => "executables",
            Storm::Answered => "answered",
            Storm::Dropped => "dropped",
            Storm::Accused => "accused",
            Storm::Destinations => "destinations",
            Storm::Suspect => "suspect",
            Storm::Listeners => "listeners",
            Storm::ThreadEnds => "thread_ends",
        }
    }

    /// The first pass and a thousand processes of packaged programs, told before the storm.
    pub fn introduce(self) -> Vec<OwnedInput> {
        let mut inputs = vec![pass((FIRST_S + 1) * SECOND_NS)];
        for n in 0..ACTORS {
            let mut exec = exec(actor(n), INIT, &format!("/usr/bin/actor{n}"), n);
            let mut facts = facts(&exec);
            if matches!(self, Storm::Suspect | Storm::Accused) && n == 0 {
                exec.filename = b"/dev/shm/actor0".as_slice().into();
                exec.uid = 33;
                facts.path = Some(exec.filename.clone());
                facts.owner = Owner::Unowned;
            }
            let at_ns = exec.at_ns;
            inputs.push(OwnedInput::Exec(Box::new(exec)));
            inputs.push(OwnedInput::Executable(at_ns, Box::new(facts)));
        }
        if self == Storm::Accused {
            let mut facts = facts(&accused(newcomer(0)));
            facts.owner = Owner::Unowned;
            inputs.push(OwnedInput::Executable(at_ns(0), Box::new(facts)));
        }
        inputs
    }

    /// The pass that comes with the `n`th record.
    pub fn pass(n: u64) -> OwnedInput {
        pass(at_ns(n))
    }

    /// The storm: the `n`th of its records, and after each second of them a pass.
    pub fn record(self, n: u64) -> OwnedInput {
        let at_ns = at_ns(n);
        match self {
            _ if n % PER_SECOND == PER_SECOND - 1 => pass(at_ns),
            Storm::Forks => OwnedInput::Fork(fork(actor(n % ACTORS), newcomer(n), at_ns)),
            Storm::Exits => OwnedInput::Exit(exit(newcomer(n), at_ns)),
            Storm::Lives | Storm::Accused => {
                let child = newcomer(n - n % 4);
                let mut records = match self {
                    Storm::Accused => life_of(accused(child)),
                    _ => life(actor(n / 4 % ACTORS), child, 10_000 + n / 4),
                };
                records.swap_remove(usize::try_from(n % 4).expect("small"))
            }
            Storm::Executables => executed(n),
            Storm::Answered if n.is_multiple_of(2) => executed(n),
            Storm::Answered => {
                let OwnedInput::Exec(exec) = executed(n - 1) else {
                    return pass(at_ns);
                };
                OwnedInput::Executable(at_ns, Box::new(facts(&exec)))
            }
            Storm::Dropped if n.is_multiple_of(2) => OwnedInput::Exec(Box::new(dropped(n))),
            Storm::Dropped => {
                let mut facts = facts(&dropped(n - 1));
                facts.owner = Owner::Unowned;
                OwnedInput::Executable(at_ns, Box::new(facts))
            }
            Storm::Destinations => connected(actor(n / 3 % ACTORS), n, at_ns),
            Storm::Suspect => connected(actor(0), n, at_ns),
            Storm::Listeners => listened(n, at_ns),
            Storm::ThreadEnds => OwnedInput::ThreadEnd(thread_end(newcomer(n), at_ns)),
        }
    }
}

const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};

fn at_ns(n: u64) -> u64 {
    (FIRST_S + 2) * SECOND_NS + n * STEP_NS
}

fn actor(n: u64) -> ProcessKey {
    ProcessKey {
        tgid: 1_000 + low(n),
        start_ns: (FIRST_S + 1) * SECOND_NS + n,
    }
}

/// Ids come again after four million, as they may in the kernel.
fn newcomer(n: u64) -> ProcessKey {
    ProcessKey {
        tgid: 10_000 + low(n % 4_000_000),
        start_ns: at_ns(n),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "wraps around on purpose")]
pub(super) fn low(n: u64) -> u32 {
    n as u32
}

fn header(kind: u32, time_ns: u64) -> event::Header {
    event::Header {
        kind,
        reserved: 0,
        time_ns,
    }
}

fn pass(at_ns: u64) -> OwnedInput {
    OwnedInput::Scan(Box::new(Scan {
        at_ns,
        unix_ns: i64::try_from(BOOT_UNIX_S * SECOND_NS + at_ns).expect("a few years"),
        cpus: 4,
        ..Scan::default()
    }))
}

fn fork(parent: ProcessKey, child: ProcessKey, at_ns: u64) -> event::Fork {
    event::Fork {
        header: header(kind::FORK, at_ns),
        parent: parent.into(),
        child: child.into(),
    }
}

fn thread_end(process: ProcessKey, at_ns: u64) -> event::ThreadEnd {
    event::ThreadEnd {
        header: header(kind::THREAD_END, at_ns),
        is_final: 1,
        start_boottime_ns: process.start_ns,
        tgid: process.tgid,
        pid: process.tgid,
        cpu_ns: 500_000,
        run_delay_ns: 10_000,
    }
}

fn exit(process: ProcessKey, at_ns: u64) -> event::Exit {
    event::Exit {
        header: header(kind::EXIT, at_ns),
        process: process.into(),
        parent: INIT.into(),
        wait_status: 0,
        uid: 1_000,
        cgroup_id: 77,
        comm: *b"storm\0\0\0\0\0\0\0\0\0\0\0",
        thread: event::ThreadEnd {
            header: event::Header::NONE,
            is_final: 0,
            ..thread_end(process, at_ns)
        },
    }
}

/// A process is forked, executes the program of that identity, ends, and is billed.
pub(super) fn life(parent: ProcessKey, child: ProcessKey, identity: u64) -> Vec<OwnedInput> {
    life_of(exec(child, parent, "/usr/bin/short", identity))
}

/// The same, of who executes that.
fn life_of(exec: Exec) -> Vec<OwnedInput> {
    let (child, at_ns) = (exec.process, exec.process.start_ns);
    vec![
        OwnedInput::Fork(fork(exec.parent, child, at_ns)),
        OwnedInput::Exec(Box::new(exec)),
        OwnedInput::Exit(exit(child, at_ns)),
        OwnedInput::ThreadEnd(thread_end(child, at_ns)),
    ]
}

fn executed(n: u64) -> OwnedInput {
    let mut exec = exec(actor(n % ACTORS), INIT, "/usr/bin/program", 10_000 + n);
    exec.at_ns = at_ns(n);
    OwnedInput::Exec(Box::new(exec))
}

fn dropped(n: u64) -> Exec {
    let mut exec = exec(newcomer(n), INIT, "/dev/shm/dropped", 10_000 + n);
    exec.uid = 33;
    exec
}

fn accused(process: ProcessKey) -> Exec {
    let mut exec = exec(process, actor(0), "/dev/shm/accused", 10_000);
    exec.uid = 33;
    exec
}

fn connection(process: ProcessKey, socket: u64, at_ns: u64, change: u32) -> event::Connection {
    event::Connection {
        header: header(kind::CONNECTION, at_ns),
        process: process.into(),
        socket,
        duration_ns: 1_000_000,
        bytes_received: 0,
        bytes_sent: 0,
        cgroup_id: 77,
        change,
        error: 0,
        network_namespace: 4_026_531_840,
        remote_port: 0,
        local_port: 0,
        remote: [0; 16],
        local: [0; 16],
    }
}

/// Another address each time, from 2001:db8::/32.
pub(super) fn connected(process: ProcessKey, n: u64, at_ns: u64) -> OwnedInput {
    let changes = [change::ATTEMPT, change::ESTABLISHED, change::CLOSED];
    let change = changes[usize::try_from(n % 3).expect("small")];
    let mut connection = connection(process, n / 3, at_ns, change);
    connection.remote[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    connection.remote[8..].copy_from_slice(&(n / 3).to_be_bytes());
    connection.remote_port = 443;
    connection.local_port = 40_000;
    OwnedInput::Connection(connection)
}

fn listened(n: u64, at_ns: u64) -> OwnedInput {
    let change = if n.is_multiple_of(2) {
        change::LISTEN
    } else {
        change::UNLISTEN
    };
    let mut connection = connection(actor(n / 2 % ACTORS), n / 2, at_ns, change);
    connection.local_port = u16::try_from(1_024 + n / 2 % 60_000).expect("a port");
    OwnedInput::Connection(connection)
}

/// A program of that identity, with a command line of ordinary length.
fn exec(process: ProcessKey, parent: ProcessKey, path: &str, identity: u64) -> Exec {
    let args = format!("{path}\0--number\0{identity}\0");
    let mut exec = super::exec(process, parent, path, args);
    exec.executable.id = ExecutableId {
        dev: 1,
        inode: 1_000 + identity,
        ctime_sec: i64::try_from(BOOT_UNIX_S).expect("small") - 30 * 86_400,
        ctime_nsec: 0,
    };
    exec.comm = *b"storm\0\0\0\0\0\0\0\0\0\0\0";
    exec.cgroup_id = Some(77);
    exec
}

/// A package owns it.
fn facts(exec: &Exec) -> ExecutableFacts {
    super::facts(exec, Owner::Package("some".to_owned()))
}
