//! One thread that ran since the last pass: `iter/task`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Process;

/// `PF_KTHREAD`: a thread of the kernel itself.
pub const PF_KTHREAD: u32 = 0x0020_0000;

/// Running totals of one thread. Written to the iterator's file, not to a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Task {
    /// The process it belongs to.
    pub process: Process,
    /// The process's parent (`real_parent`).
    pub parent: Process,
    /// `CLOCK_BOOTTIME` of the thread's own start, ns.
    pub start_boottime_ns: u64,
    /// CPU time so far, ns.
    pub cpu_ns: u64,
    /// Time it was runnable but waited, ns; 0 when unknown.
    pub run_delay_ns: u64,
    /// Voluntary context switches.
    pub voluntary_switches: u64,
    /// Involuntary context switches.
    pub involuntary_switches: u64,
    /// cgroup v2 id, 0 when unknown.
    pub cgroup_id: u64,
    /// Thread id.
    pub pid: u32,
    /// `PF_*`.
    pub flags: u32,
    /// Real user id.
    pub uid: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// Nice + 120, 0 when unknown.
    pub static_prio: i32,
    /// Zero.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub reserved: u32,
    /// Thread name.
    #[cfg_attr(feature = "serde", serde(with = "serde_bytes"))]
    pub comm: [u8; 16],
}

/// What the kernel remembers of a task between passes, to skip those that did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskSeen {
    /// Start of the thread that had this id, ns.
    pub start_boottime_ns: u64,
    /// Its CPU time at the last pass, ns.
    pub cpu_ns: u64,
    /// Its run delay at the last pass, ns.
    pub run_delay_ns: u64,
}

const _: () = assert!(size_of::<Task>() == 120);
