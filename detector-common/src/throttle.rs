//! What one cgroup may still write while a ring is filling, and what was kept out of it.
//!
//! The kernel side keeps one [`Throttle`] for each cgroup that wrote while a ring was at least half full; nobody else
//! has one. The daemon reads them once something was kept out.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::counter::Counter;

/// What is kept out is counted by kind, in this order.
pub const KEPT_OUT: [Counter; 5] = [
    Counter::ExecThrottled,
    Counter::ForkThrottled,
    Counter::ExitThrottled,
    Counter::ThreadEndThrottled,
    Counter::ConnectionThrottled,
];

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ring {
    /// Exec, fork, exit and thread-end records.
    Process,
    /// Connection records.
    Network,
}

/// Bytes written since the reader last moved on.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Allowance {
    /// Quarters of the ring that the reader had taken by then, since the ring was made.
    pub quarter: u64,
    /// Bytes written since.
    pub bytes: u64,
}

/// One cgroup.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Throttle {
    /// By [`Ring`].
    pub written: [Allowance; 2],
    /// Records kept out since the entry was made, by [`KEPT_OUT`].
    pub kept_out: [u64; KEPT_OUT.len()],
    /// CPU time of the threads whose last bill was kept out, ns. What earlier bills and passes told of them is part
    /// of it: an upper bound of what was not charged.
    pub unbilled_ns: u64,
}

impl Throttle {
    /// Words of 64 bits: how the map's value is read.
    pub const WORDS: usize = 10;

    /// Place of a counter in `kept_out`.
    pub const fn place(counter: Counter) -> usize {
        (counter as u32 - KEPT_OUT[0] as u32) as usize
    }
}

const _: () = assert!(size_of::<Throttle>() == Throttle::WORDS * size_of::<u64>());
const _: () = {
    let mut place = 0;
    while place < KEPT_OUT.len() {
        assert!(Throttle::place(KEPT_OUT[place]) == place);
        place += 1;
    }
};
