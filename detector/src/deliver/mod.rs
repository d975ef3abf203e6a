//! From an event to its receivers: the only place that may be slow.
//!
//! Owns retrying ([`retry`], pure) and the sinks. A sink takes finished events and never makes its caller
//! wait; what it cannot keep or deliver it counts. Events wait in memory, so those
//! undelivered when the program ends are lost, and said to be.

pub mod queue;
pub mod retry;
pub mod sink;

pub use queue::{Event, Kind};

/// What a sink did so far. Only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Acknowledged by the receiver.
    pub delivered: u64,
    /// Attempts that failed and are repeated.
    pub retried: u64,
    /// Refused by the receiver for good.
    pub dead_lettered: u64,
    /// Pushed out of a full queue, or sent after shutdown began.
    pub dropped: u64,
    /// Still waiting at the end of shutdown.
    pub undelivered_at_exit: u64,
}
