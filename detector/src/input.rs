//! What the engine is told: the one vocabulary of live sources, enrichment and replay.
//!
//! Rare facts come as the kernel wrote them ([`detector_common::event`]); an exec is decoded once
//! into [`Exec`]. Time is inside every input (`CLOCK_BOOTTIME`, ns): the engine has no clock.
//! Bytes an attacker chose (names, paths, arguments) stay bytes until they leave the program.
//!
//! Everything here is also what a recording holds ([`crate::recording`]): fields are kept by name, so one
//! that is added needs `#[serde(default)]`, and one that is renamed or retyped needs a new format version.
#![deny(clippy::disallowed_methods)]

use detector_common::event::{self, connection::ListenKey};
use serde::{Deserialize, Serialize};

use crate::{
    incident::{Acceptance, Resolve, Resumed},
    name::{self, Name},
};

/// A process: id and start (`CLOCK_BOOTTIME`, ns). A reused id has another start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Process id.
    pub tgid: u32,
    /// Start of the thread-group leader, ns since boot.
    pub start_ns: u64,
}

impl From<event::Process> for ProcessKey {
    fn from(process: event::Process) -> Self {
        ProcessKey {
            tgid: process.tgid,
            start_ns: process.start_boottime_ns,
        }
    }
}

impl From<ProcessKey> for event::Process {
    fn from(key: ProcessKey) -> Self {
        event::Process {
            start_boottime_ns: key.start_ns,
            tgid: key.tgid,
            reserved: 0,
        }
    }
}

/// An executable file: what it is, not what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExecutableId {
    /// Device as `stat(2)` gives it.
    pub dev: u64,
    /// Inode number.
    pub inode: u64,
    /// Change time, seconds since 1970.
    pub ctime_sec: i64,
    /// Change time, nanoseconds part.
    pub ctime_nsec: u32,
}

/// The loaded file as the kernel saw it at exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executable {
    /// Identity.
    pub id: ExecutableId,
    /// Bytes.
    pub size: u64,
    /// `st_mode`.
    pub mode: u32,
    /// Links; 0: deleted or never named.
    pub nlink: u32,
    /// Owner of the file.
    pub uid: u32,
    /// `statfs` magic of the file system.
    pub fs_magic: u64,
    /// In the writable layer of an overlay.
    pub overlay_upper: bool,
}

/// How an [`Exec`] came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observed {
    /// The kernel reported the exec as it happened.
    Live,
    /// Read from `/proc` for a process older than the daemon.
    Snapshot,
}

/// A process and the image it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// When, ns since boot. For a snapshot: the process's start.
    pub at_ns: u64,
    /// How it is known.
    pub observed: Observed,
    /// The process.
    pub process: ProcessKey,
    /// Its parent at that moment.
    pub parent: ProcessKey,
    /// Thread that called `execve`.
    pub old_pid: u32,
    /// The loaded file: for a script, the interpreter.
    pub executable: Executable,
    /// The file's own name in its folder; `memfd:…` for a memfd.
    #[serde(with = "serde_bytes")]
    pub name: Box<[u8]>,
    /// Path as passed to `execve` (a script's own path for a script). May be relative.
    /// For a snapshot: the target of `/proc/PID/exe`.
    #[serde(with = "serde_bytes")]
    pub filename: Box<[u8]>,
    /// `filename` was cut.
    pub filename_truncated: bool,
    /// For a script: the interpreter's path; `filename` is then the script.
    #[serde(default, with = "serde_bytes")]
    pub interpreter: Option<Box<[u8]>>,
    /// argv, NUL-separated, as far as it was kept.
    #[serde(with = "serde_bytes")]
    pub args: Box<[u8]>,
    /// Bytes of the whole argv; more than `args.len()` when cut.
    pub args_total_bytes: u32,
    /// `comm` after the exec.
    #[serde(with = "serde_bytes")]
    pub comm: [u8; 16],
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Audit login uid.
    pub loginuid: Option<u32>,
    /// Audit session.
    pub audit_session: Option<u32>,
    /// Session leader's process id.
    pub session: Option<u32>,
    /// Process id in its own pid namespace.
    pub namespace_pid: Option<u32>,
    /// cgroup v2 id.
    pub cgroup_id: Option<u64>,
    /// `SCHED_*`.
    pub policy: u32,
    /// Nice value.
    pub nice: Option<i32>,
}

/// One pass over the host, once a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// When, ns since boot.
    pub at_ns: u64,
    /// The same moment, ns since 1970: the only wall clock the engine sees.
    pub unix_ns: i64,
    /// CPUs online.
    pub cpus: u32,
    /// Threads that ran since the last pass; on the first pass, all.
    pub tasks: Vec<event::Task>,
    /// Inbound connections accepted per listening port since the last pass.
    pub accepts: Vec<Accepts>,
    /// Host totals.
    pub host: Host,
    /// What was lost since the last pass, by name; only names with a loss.
    pub losses: Vec<Loss>,
    /// Whose records were kept out of a ring that was filling since the last pass, those that lost most first. Their
    /// losses are part of `losses`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttled: Vec<Throttled>,
}

/// A cgroup whose records were kept out because it flooded a ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttled {
    /// cgroup v2 id.
    pub cgroup_id: u64,
    /// Its path below the mount; `None`: it is gone.
    pub cgroup: Option<String>,
    /// Records kept out, by name of the loss.
    pub losses: Vec<Loss>,
    /// CPU time of the threads whose last bill was kept out, ns: at most this much was not charged.
    pub unbilled_ns: u64,
}

/// Inbound connections of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepts {
    /// The port.
    pub key: ListenKey,
    /// Connections since the last pass.
    pub count: u64,
}

/// First bytes of a packet of a watched process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// When, ns since boot.
    pub at_ns: u64,
    /// Who opened the connection.
    pub process: ProcessKey,
    /// Socket identity, as in [`event::Connection`].
    pub socket: u64,
    /// The process sent it; else it is sent it.
    pub outbound: bool,
    /// TCP sequence number of the first byte.
    pub sequence: u32,
    /// Payload bytes of the packet; more than `bytes.len()` when cut.
    pub total_bytes: u32,
    /// Remote address, IPv4 mapped into IPv6.
    pub remote: [u8; 16],
    /// Remote port.
    pub remote_port: u16,
    /// The first bytes.
    pub bytes: Box<[u8]>,
}

/// Sockets older than the daemon. Bounded by whoever reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockets {
    /// Those that listen.
    pub listeners: Vec<Listener>,
    /// Established TCP connections to other ports than those: outbound, as far as can be told.
    pub flows: Vec<Flow>,
}

/// One established connection that was not seen to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The oldest process that holds it; process 1 only where nobody else does.
    pub process: ProcessKey,
    /// Network namespace's inode number.
    pub network_namespace: u32,
    /// Remote port.
    pub remote_port: u16,
    /// Local port.
    pub local_port: u16,
    /// Remote address, IPv4 mapped into IPv6.
    pub remote: [u8; 16],
}

/// A socket that listened before the daemon started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Where.
    pub key: ListenKey,
    /// The oldest process that holds it; process 1 only where nobody else does.
    pub process: ProcessKey,
}

/// Host-wide counters; only grow. `None`: this kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// CPU time the hypervisor gave to others, ns over all CPUs.
    pub steal_ns: Option<u64>,
    /// Time in which some task waited for a CPU (`/proc/pressure/cpu`, `some total`), ns.
    pub pressure_ns: Option<u64>,
}

/// A declared loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Stable name of the counter.
    #[serde(deserialize_with = "name::interned")]
    pub class: Name,
    /// How many since the last pass.
    pub count: u64,
}

/// What enrichment found about a process. Every part may be missing: the process may be gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Which process.
    pub process: ProcessKey,
    /// Target of `/proc/PID/exe`, without ` (deleted)`.
    #[serde(default, with = "serde_bytes")]
    pub executable_path: Option<Box<[u8]>>,
    /// For a script, or a program run through the dynamic loader: its absolute path.
    #[serde(default, with = "serde_bytes")]
    pub script_path: Option<Box<[u8]>>,
    /// Target of `/proc/PID/cwd`.
    #[serde(default, with = "serde_bytes")]
    pub working_directory: Option<Box<[u8]>>,
    /// cgroup path below the mount.
    pub cgroup: Option<String>,
    /// systemd unit the cgroup belongs to.
    pub unit: Option<String>,
    /// Container id the cgroup belongs to.
    pub container_id: Option<String>,
    /// Name of the real user.
    pub user_name: Option<String>,
    /// The command line it shows now, NUL-separated, cut at [`TITLE_BYTES`]: a process may rewrite it.
    #[serde(default, with = "serde_bytes")]
    pub title: Option<Box<[u8]>>,
    /// What its dynamic loader was told to load before everything else.
    #[serde(default)]
    pub preloads: Vec<Preload>,
}

/// Bytes kept of a command line that is compared with the one of the exec.
pub const TITLE_BYTES: usize = 256;

/// A shared object that the dynamic loader loads before all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preload {
    /// Who says so.
    pub from: PreloadFrom,
    /// Its path as written there.
    #[serde(with = "serde_bytes")]
    pub path: Box<[u8]>,
    /// Identity; `None`: not reached.
    pub id: Option<ExecutableId>,
    /// Which package it belongs to.
    pub owner: Owner,
}

/// Where a preload is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PreloadFrom {
    /// `LD_PRELOAD` of the process.
    Environment,
    /// `/etc/ld.so.preload`, for every process of the host.
    SystemFile,
}

/// The script a process runs, or the program it runs through the dynamic loader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptFacts {
    /// The process.
    pub process: ProcessKey,
    /// The path that was looked at, as in [`ProcessFacts::script_path`].
    #[serde(with = "serde_bytes")]
    pub path: Box<[u8]>,
    /// What lies there now, under its own identity.
    pub file: ExecutableFacts,
}

/// What enrichment found about a file (an executable, or a script by its own identity).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutableFacts {
    /// Which executable the facts were asked for.
    pub id: ExecutableId,
    /// Where it lies, as seen from the host.
    #[serde(default, with = "serde_bytes")]
    pub path: Option<Box<[u8]>>,
    /// Which package it belongs to.
    pub owner: Owner,
    /// Whether it still is what that package shipped; `None`: no package owns it.
    #[serde(default)]
    pub integrity: Option<Integrity>,
    /// A package that ships another program of this name in a system folder; only for what no package owns.
    #[serde(default)]
    pub namesake: Option<String>,
    /// Its hash, or why there is none.
    pub sha256: Sha256,
    /// Last change of the content (`st_mtime`), ns since 1970.
    pub modified_unix_ns: Option<i64>,
    /// What the file system says; `None`: not reached.
    #[serde(default)]
    pub stat: Option<FileStat>,
    /// It has run on this host for long enough without an incident.
    #[serde(default)]
    pub known: Option<Known>,
}

/// A program that this host is used to, by content and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// When it was first seen here, ns since 1970.
    pub first_seen_unix_ns: i64,
}

/// What the file system says about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    /// Owner of the file.
    pub uid: u32,
    /// The owner's name.
    pub user_name: Option<String>,
    /// `st_mode`.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Birth of the inode, ns since 1970; `None`: this file system does not remember.
    pub born_unix_ns: Option<i64>,
}

/// Whether a packaged file still is what its package shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Integrity {
    /// The package's digest.
    Intact,
    /// Another content than shipped.
    Modified,
    /// A configuration file that differs from the shipped one: administrators may change those.
    Edited,
    /// Not told, and why.
    Unknown(#[serde(deserialize_with = "name::interned")] Name),
}

/// Reason of an [`Owner::Unknown`]: nobody could look, but somebody may the next time it runs.
pub const NOT_REACHED: &str = "file not reached";
/// Reason of an [`Integrity::Unknown`]: a package manager is at work, ask again.
pub const PACKAGES_CHANGE: &str = "package database is changing";

/// Package ownership of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Shipped by this package.
    Package(String),
    /// The package database is there and does not know the file.
    Unowned,
    /// Cannot be told, and why.
    Unknown(#[serde(deserialize_with = "name::interned")] Name),
}

/// Hash of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sha256 {
    /// The digest.
    Digest(#[serde(with = "serde_bytes")] [u8; 32]),
    /// Not hashed, and why (`gone`, `too_large`, `rate_limited`, `cpu_budget`, `changed`,
    /// `unreadable`).
    Missing(#[serde(deserialize_with = "name::interned")] Name),
}

/// What the engine learned about one identity, as bytes it wrote itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Whom it is about: `cpu:` and 32 hex digits.
    pub identity: String,
    /// Format of `body`. The engine ignores what it does not know.
    pub version: u32,
    /// At most 8 KiB.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// Where a program connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Destination {
    /// The program's path, and of whom: `/usr/bin/curl of /usr/sbin/php-fpm8.2`, escaped.
    pub identity: String,
    /// Remote network.
    pub network: ipnet::IpNet,
    /// Remote port.
    pub port: u16,
}

/// What the host remembers of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDestination {
    /// Which.
    pub destination: Destination,
    /// First seen, ns since 1970.
    pub first_seen_unix_ns: i64,
    /// Last seen, ns since 1970, to the day.
    pub last_seen_unix_ns: i64,
}

/// One fact for the engine, in the order in which it became known.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Input<'a> {
    /// A new process.
    Fork(event::Fork),
    /// A process runs an image.
    Exec(&'a Exec),
    /// A process ended. May come twice.
    Exit(event::Exit),
    /// A thread's final bill.
    ThreadEnd(event::ThreadEnd),
    /// A TCP change.
    Connection(event::Connection),
    /// First bytes of a packet of a process that [`Output::Watch`](crate::output::Output::Watch) asked
    /// to watch.
    Payload(&'a Payload),
    /// The pass of one second.
    Scan(&'a Scan),
    /// Sockets older than the daemon, and when they were told (ns since boot).
    Sockets(u64, &'a Sockets),
    /// Enrichment of a process, and when it arrived (ns since boot).
    Process(u64, &'a ProcessFacts),
    /// Enrichment of an executable, and when it arrived (ns since boot).
    Executable(u64, &'a ExecutableFacts),
    /// Enrichment of the script a process runs, and when it arrived (ns since boot).
    Script(u64, &'a ScriptFacts),
    /// What was learned before the daemon was started: before the first pass.
    Baseline(&'a Baseline),
    /// Where programs connected to before the daemon was started, least recently first: before the first pass.
    Destinations(&'a [KnownDestination]),
    /// Everything that is accepted from now on, and when (ns since boot).
    Accepted(u64, &'a [Acceptance]),
    /// Somebody says that an incident is over, and when (ns since boot).
    Resolve(u64, &'a Resolve),
    /// An incident of an earlier run goes on. After the first pass.
    Resumed(&'a Resumed),
}

/// The same fact by value: what a recording holds and a generator makes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub enum OwnedInput {
    /// See [`Input::Fork`].
    Fork(event::Fork),
    /// See [`Input::Exec`].
    Exec(Box<Exec>),
    /// See [`Input::Exit`].
    Exit(event::Exit),
    /// See [`Input::ThreadEnd`].
    ThreadEnd(event::ThreadEnd),
    /// See [`Input::Connection`].
    Connection(event::Connection),
    /// See [`Input::Payload`].
    Payload(Box<Payload>),
    /// See [`Input::Scan`].
    Scan(Box<Scan>),
    /// See [`Input::Sockets`].
    Sockets(u64, Box<Sockets>),
    /// See [`Input::Process`].
    Process(u64, Box<ProcessFacts>),
    /// See [`Input::Executable`].
    Executable(u64, Box<ExecutableFacts>),
    /// See [`Input::Script`].
    Script(u64, Box<ScriptFacts>),
    /// See [`Input::Baseline`].
    Baseline(Box<Baseline>),
    /// See [`Input::Destinations`].
    Destinations(Vec<KnownDestination>),
    /// See [`Input::Accepted`].
    Accepted(u64, Vec<Acceptance>),
    /// See [`Input::Resolve`].
    Resolve(u64, Box<Resolve>),
    /// See [`Input::Resumed`].
    Resumed(Box<Resumed>),
}

impl OwnedInput {
    /// What the engine is told.
    pub fn borrow(&self) -> Input<'_> {
        match self {
            OwnedInput::Fork(fork) => Input::Fork(*fork),
            OwnedInput::Exec(exec) => Input::Exec(exec),
            OwnedInput::Exit(exit) => Input::Exit(*exit),
            OwnedInput::ThreadEnd(end) => Input::ThreadEnd(*end),
            OwnedInput::Connection(connection) => Input::Connection(*connection),
            OwnedInput::Payload(payload) => Input::Payload(payload),
            OwnedInput::Scan(scan) => Input::Scan(scan),
            OwnedInput::Sockets(at_ns, sockets) => Input::Sockets(*at_ns, sockets),
            OwnedInput::Process(at_ns, facts) => Input::Process(*at_ns, facts),
            OwnedInput::Executable(at_ns, facts) => Input::Executable(*at_ns, facts),
            OwnedInput::Script(at_ns, facts) => Input::Script(*at_ns, facts),
            OwnedInput::Baseline(baseline) => Input::Baseline(baseline),
            OwnedInput::Destinations(known) => Input::Destinations(known),
            OwnedInput::Accepted(at_ns, acceptances) => Input::Accepted(*at_ns, acceptances),
            OwnedInput::Resolve(at_ns, resolve) => Input::Resolve(*at_ns, resolve),
            OwnedInput::Resumed(resumed) => Input::Resumed(resumed),
        }
    }
}

/// Exhaustive: an input that cannot be kept does not compile.
impl From<Input<'_>> for OwnedInput {
    fn from(input: Input<'_>) -> Self {
        match input {
            Input::Fork(fork) => OwnedInput::Fork(fork),
            Input::Exec(exec) => OwnedInput::Exec(Box::new(exec.clone())),
            Input::Exit(exit) => OwnedInput::Exit(exit),
            Input::ThreadEnd(end) => OwnedInput::ThreadEnd(end),
            Input::Connection(connection) => OwnedInput::Connection(connection),
            Input::Payload(payload) => OwnedInput::Payload(Box::new(payload.clone())),
            Input::Scan(scan) => OwnedInput::Scan(Box::new(scan.clone())),
            Input::Sockets(at_ns, sockets) => OwnedInput::Sockets(at_ns, Box::new(sockets.clone())),
            Input::Process(at_ns, facts) => OwnedInput::Process(at_ns, Box::new(facts.clone())),
            Input::Executable(at_ns, facts) => {
                OwnedInput::Executable(at_ns, Box::new(facts.clone()))
            }
            Input::Script(at_ns, facts) => OwnedInput::Script(at_ns, Box::new(facts.clone())),
            Input::Baseline(baseline) => OwnedInput::Baseline(Box::new(baseline.clone())),
            Input::Destinations(known) => OwnedInput::Destinations(known.to_vec()),
            Input::Accepted(at_ns, acceptances) => {
                OwnedInput::Accepted(at_ns, acceptances.to_vec())
            }
            Input::Resolve(at_ns, resolve) => OwnedInput::Resolve(at_ns, Box::new(resolve.clone())),
            Input::Resumed(resumed) => OwnedInput::Resumed(Box::new(resumed.clone())),
        }
    }
}
