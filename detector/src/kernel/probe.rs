//! The probes there are: names, hooks, and what the user loses without each.

/// One BPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probe {
    /// What was executed.
    Exec,
    /// Which process made which.
    Fork,
    /// Which process ended.
    Exit,
    /// The final CPU time of each thread.
    ThreadEnd,
    /// CPU time of running tasks.
    Task,
    /// TCP connections.
    Connection,
    /// First bytes of watched connections.
    Payload,
}

/// Where a probe hooks in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A BTF tracepoint of this name.
    Tracepoint(&'static str),
    /// A BPF iterator over this kind of object.
    Iterator(&'static str),
    /// The packets of every cgroup, on demand.
    Packets,
}

impl Probe {
    /// All, in load order: what is needed to make sense of the others comes first.
    pub const ALL: [Probe; 7] = [
        Probe::Exec,
        Probe::Fork,
        Probe::Exit,
        Probe::ThreadEnd,
        Probe::Connection,
        Probe::Task,
        Probe::Payload,
    ];

    /// Name for people, and of the program in the BPF object where it is one.
    pub fn name(self) -> &'static str {
        match self {
            Probe::Exec => "exec",
            Probe::Fork => "fork",
            Probe::Exit => "exit",
            Probe::ThreadEnd => "thread_end",
            Probe::Task => "task",
            Probe::Connection => "connection",
            Probe::Payload => "payload",
        }
    }

    /// Where it hooks in.
    pub fn hook(self) -> Hook {
        match self {
            Probe::Exec => Hook::Tracepoint("sched_process_exec"),
            Probe::Fork => Hook::Tracepoint("sched_process_fork"),
            Probe::Exit => Hook::Tracepoint("sched_process_exit"),
            Probe::ThreadEnd => Hook::Tracepoint("sched_process_free"),
            Probe::Task => Hook::Iterator("task"),
            Probe::Connection => Hook::Tracepoint("inet_sock_set_state"),
            Probe::Payload => Hook::Packets,
        }
    }

    /// Without it the daemon refuses to run.
    pub fn is_essential(self) -> bool {
        !matches!(self, Probe::Fork | Probe::Connection | Probe::Payload)
    }

    /// What is lost without it.
    pub fn purpose(self) -> &'static str {
        match self {
            Probe::Exec => "new binaries and scripts",
            Probe::Fork => "lineage of processes whose parent exits at once",
            Probe::Exit => "the end of processes",
            Probe::ThreadEnd => "CPU time of short-lived processes and threads",
            Probe::Task => "CPU time of running processes",
            Probe::Connection => "outbound TCP connections and inbound connection counts",
            Probe::Payload => "mining protocols spoken by suspects (attached while one is watched)",
        }
    }

    /// Prefixes of the offsets it reads.
    pub(super) fn offsets(self) -> &'static [&'static str] {
        match self {
            Probe::Exec => &["task_", "cred_", "mm_", "binprm_", "file_", "inode_", "sb_"],
            Probe::Exit => &["task_", "signal_", "cred_"],
            Probe::Fork | Probe::ThreadEnd => &["task_"],
            Probe::Task => &["task_", "cred_"],
            Probe::Connection => &["task_", "sk_"],
            Probe::Payload => &[],
        }
    }
}
