//! Kernel records, made by hand. The only file that knows their layouts.

use detector::input::{Exec, Observed, ProcessFacts, ProcessKey};
use detector_common::event::{self, connection::change, kind};

use super::{Image, Process};

/// The host's first network namespace.
pub(super) const NETWORK_NAMESPACE: u32 = 4_026_531_840;

pub(super) fn process(key: ProcessKey) -> event::Process {
    event::Process {
        start_boottime_ns: key.start_ns,
        tgid: key.tgid,
        reserved: 0,
    }
}

fn header(kind: u32, time_ns: u64) -> event::Header {
    event::Header {
        kind,
        reserved: 0,
        time_ns,
    }
}

pub(super) fn fork(parent: ProcessKey, child: ProcessKey) -> event::Fork {
    event::Fork {
        header: header(kind::FORK, child.start_ns),
        parent: process(parent),
        child: process(child),
    }
}

fn comm_of(name: &[u8]) -> [u8; 16] {
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().zip(name.iter().take(15)) {
        *to = *from;
    }
    comm
}

/// `comm` at that time: what it calls itself since the last exec, else what it executed.
pub(super) fn comm(process: &Process, at_ns: u64) -> [u8; 16] {
    let begun = process
        .images
        .iter()
        .take_while(|(from_ns, _)| *from_ns <= at_ns);
    let Some((from_ns, image)) = begun.last() else {
        return comm_of(b"fork");
    };
    let named = process
        .comm
        .iter()
        .rfind(|(since_ns, _)| (*from_ns..=at_ns).contains(since_ns));
    match named {
        Some((_, name)) => comm_of(name.as_bytes()),
        None if image.interpreter.is_some() => comm_of(image.name().as_bytes()),
        None => comm_of(&image.file_name()),
    }
}

fn unit_id(unit: &str) -> u64 {
    1_000
        + unit
            .bytes()
            .fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(byte))
            % 100_000
}

pub(super) fn cgroup_id(process: &Process) -> u64 {
    process.unit.as_deref().map_or(1, unit_id)
}

pub(super) fn exec(
    process: &Process,
    parent: ProcessKey,
    image: &Image,
    at_ns: u64,
    observed: Observed,
) -> Exec {
    let live = observed == Observed::Live;
    let mut args = Vec::new();
    for arg in &image.args {
        args.extend(arg.as_bytes());
        args.push(0);
    }
    Exec {
        at_ns,
        observed,
        process: process.key,
        parent,
        old_pid: process.key.tgid,
        executable: image.executable(),
        name: image.file_name().into(),
        filename: if live {
            image.filename().into()
        } else {
            image.loaded().path.into_bytes().into()
        },
        filename_truncated: false,
        interpreter: image
            .interpreter
            .as_ref()
            .filter(|_| live)
            .map(|path| path.as_bytes().into()),
        args_total_bytes: u32::try_from(args.len()).expect("short"),
        args: args.into(),
        comm: comm(process, at_ns),
        uid: process.uid,
        gid: process.uid,
        loginuid: None,
        audit_session: None,
        session: None,
        namespace_pid: Some(process.key.tgid),
        cgroup_id: Some(cgroup_id(process)),
        policy: process.policy,
        nice: Some(process.nice),
    }
}

/// Totals of one thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub cpu_ns: u64,
    pub run_delay_ns: u64,
    pub voluntary: u64,
    pub involuntary: u64,
}

pub(super) fn task(
    of: &Process,
    parent: ProcessKey,
    thread: u32,
    totals: Totals,
    at_ns: u64,
) -> event::Task {
    event::Task {
        process: process(of.key),
        parent: process(parent),
        start_boottime_ns: of.key.start_ns + u64::from(thread),
        cpu_ns: totals.cpu_ns,
        run_delay_ns: totals.run_delay_ns,
        voluntary_switches: totals.voluntary,
        involuntary_switches: totals.involuntary,
        cgroup_id: cgroup_id(of),
        pid: of.key.tgid + thread,
        flags: 0,
        uid: of.uid,
        policy: of.policy,
        static_prio: of.nice + 120,
        reserved: 0,
        comm: comm(of, at_ns),
    }
}

pub(super) fn thread_end(
    of: &Process,
    thread: u32,
    totals: Totals,
    at_ns: u64,
    is_final: bool,
) -> event::ThreadEnd {
    event::ThreadEnd {
        header: if is_final {
            header(kind::THREAD_END, at_ns)
        } else {
            event::Header::NONE
        },
        is_final: u64::from(is_final),
        start_boottime_ns: of.key.start_ns + u64::from(thread),
        tgid: of.key.tgid,
        pid: of.key.tgid + thread,
        cpu_ns: totals.cpu_ns,
        run_delay_ns: totals.run_delay_ns,
    }
}

pub(super) fn exit(
    of: &Process,
    parent: ProcessKey,
    wait_status: u32,
    totals: Totals,
    at_ns: u64,
) -> event::Exit {
    event::Exit {
        header: header(kind::EXIT, at_ns),
        process: process(of.key),
        parent: process(parent),
        wait_status,
        uid: of.uid,
        cgroup_id: cgroup_id(of),
        comm: comm(of, at_ns),
        thread: thread_end(of, 0, totals, at_ns, false),
    }
}

/// Identity of the socket of connection number `number` of the whole trace.
pub(super) fn socket(number: usize) -> u64 {
    0xffff_8880_0000_0000 + number as u64 * 2_048
}

/// An IPv4 address as records carry it.
pub(super) fn mapped(ip: [u8; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    address[10..12].copy_from_slice(&[0xff, 0xff]);
    address[12..].copy_from_slice(&ip);
    address
}

/// A change of connection number `number` of the whole trace.
pub(super) fn connection(
    of: &Process,
    number: usize,
    ip: [u8; 4],
    port: u16,
    change: u32,
    at_ns: u64,
    duration_ns: u64,
) -> event::Connection {
    let closed = change == change::CLOSED;
    // A share every ten seconds, a job every minute.
    let said = u64::from(closed) * (200 + duration_ns / 50_000_000);
    event::Connection {
        header: header(kind::CONNECTION, at_ns),
        process: process(of.key),
        socket: socket(number),
        duration_ns,
        bytes_received: 2 * said,
        bytes_sent: said,
        cgroup_id: cgroup_id(of),
        change,
        error: if change == change::FAILED { 110 } else { 0 },
        network_namespace: NETWORK_NAMESPACE,
        remote_port: port,
        local_port: 32_768 + (number % 28_000) as u16,
        remote: mapped(ip),
        local: mapped([192, 0, 2, 10]),
    }
}

pub(super) fn listen(of: &Process, port: u16, at_ns: u64) -> event::Connection {
    event::Connection {
        local_port: port,
        local: [0; 16],
        ..connection(of, usize::from(port), [0; 4], 0, change::LISTEN, at_ns, 0)
    }
}

/// What the enrich thread reads in `/proc`.
pub(super) fn facts(of: &Process, image: Option<&Image>) -> ProcessFacts {
    let script = image.filter(|image| image.interpreter.is_some());
    let web = of.uid == 33;
    ProcessFacts {
        process: of.key,
        executable_path: image.map(|image| image.loaded().path.into_bytes().into()),
        script_path: script.map(|image| image.path.as_bytes().into()),
        working_directory: Some(
            if web {
                b"/var/www/shop".as_slice()
            } else {
                b"/"
            }
            .into(),
        ),
        cgroup: of.unit.as_ref().map(|unit| format!("/system.slice/{unit}")),
        unit: of.unit.clone(),
        container_id: None,
        user_name: Some(of.user.clone()),
        title: None,
        preloads: Vec::new(),
    }
}
