//! Records as they lie in the rings: one file per kind.
//!
//! Every record in a ring starts with a [`Header`] whose `kind` says which layout follows. All times
//! are nanoseconds of `CLOCK_BOOTTIME` (`bpf_ktime_get_boot_ns`, 5.8 and later). Integers are in the
//! machine's order.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub mod connection;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod payload;
pub mod task;

pub use connection::Connection;
pub use exec::Exec;
pub use exit::{Exit, ThreadEnd};
pub use fork::Fork;
pub use payload::Payload;
pub use task::Task;

/// Values of [`Header::kind`].
pub mod kind {
    /// An [`Exec`](super::Exec) follows.
    pub const EXEC: u32 = 1;
    /// A [`Fork`](super::Fork) follows.
    pub const FORK: u32 = 2;
    /// An [`Exit`](super::Exit) follows.
    pub const EXIT: u32 = 3;
    /// A [`ThreadEnd`](super::ThreadEnd) follows.
    pub const THREAD_END: u32 = 4;
    /// A [`Connection`](super::Connection) follows.
    pub const CONNECTION: u32 = 5;
    /// A [`Payload`](super::Payload) follows.
    pub const PAYLOAD: u32 = 6;
}

/// First bytes of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Header {
    /// Which record: a value of [`kind`].
    pub kind: u32,
    /// Zero.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub reserved: u32,
    /// When the kernel wrote it: `CLOCK_BOOTTIME`, ns.
    pub time_ns: u64,
}

impl Header {
    /// Of a record inside another.
    pub const NONE: Header = Header {
        kind: 0,
        reserved: 0,
        time_ns: 0,
    };
}

/// A process: its id and when it started. A reused id has another start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Process {
    /// `CLOCK_BOOTTIME` of the start, ns: of the thread-group leader.
    pub start_boottime_ns: u64,
    /// Process id (what user space calls pid).
    pub tgid: u32,
    /// Zero.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub reserved: u32,
}

const _: () = assert!(size_of::<Header>() == 16);
const _: () = assert!(size_of::<Process>() == 16);
