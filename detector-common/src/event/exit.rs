//! The end of a process (`tp_btf/sched_process_exit`) and of a thread (`tp_btf/sched_process_free`).
//!
//! Two hooks, because at exit `sum_exec_runtime` still misses what ran since the last tick (up to
//! 4 ms at 250 Hz, a fifth of a 20 ms process) and the exit itself; once the scheduler has switched
//! the thread out for the last time it is exact. Exit tells *that* at once and what is known so far;
//! free tells the exact rest. Free alone would not do: of threads under load one in a few hundred
//! was not freed within a minute, for whatever holds on to it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Header, Process};

/// The last thread of a process is exiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Exit {
    /// Kind [`kind::EXIT`](super::kind::EXIT).
    pub header: Header,
    /// The process.
    pub process: Process,
    /// Its parent (`real_parent`) at this moment.
    pub parent: Process,
    /// Wait status as `wait(2)` gives it: low 7 bits the signal, bits 8–15 the exit code.
    pub wait_status: u32,
    /// Real user id.
    pub uid: u32,
    /// cgroup v2 id, 0 when unknown.
    pub cgroup_id: u64,
    /// `comm`.
    #[cfg_attr(feature = "serde", serde(with = "serde_bytes"))]
    pub comm: [u8; 16],
    /// The last thread, as far as its CPU time is known. Its header is zero.
    pub thread: ThreadEnd,
}

/// The totals of a thread that ends, or that left the CPU for the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ThreadEnd {
    /// Kind [`kind::THREAD_END`](super::kind::THREAD_END).
    pub header: Header,
    /// 1: exact, nothing follows. 0: at exit, up to a tick is missing; the exact one may follow.
    pub is_final: u64,
    /// `CLOCK_BOOTTIME` of the *thread's* start, ns.
    pub start_boottime_ns: u64,
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub pid: u32,
    /// CPU time over its whole life, ns.
    pub cpu_ns: u64,
    /// Time it was runnable but waited, ns; 0 when unknown.
    pub run_delay_ns: u64,
}

const _: () = assert!(size_of::<Exit>() == 136);
const _: () = assert!(size_of::<ThreadEnd>() == 56);
