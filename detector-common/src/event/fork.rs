//! A new process: `tp_btf/sched_process_fork`. Threads are not reported.
//!
//! Why a hook for what the task iterator sees anyway: a child whose parent exits at once is
//! reparented to init before its exec or the next scan, and its lineage would end there.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Header, Process};

/// Who made whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Fork {
    /// Kind [`kind::FORK`](super::kind::FORK).
    pub header: Header,
    /// The process that called fork.
    pub parent: Process,
    /// The new process.
    pub child: Process,
}

const _: () = assert!(size_of::<Fork>() == 48);
