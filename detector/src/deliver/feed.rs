//! The queue as one sink sees it: what comes next, and what became of it.
//!
//! An event stays in the queue until it is settled, so that a worker may end at any moment and another goes on
//! where it was. The worker never drops; the queue alone decides what goes when there is too much.

use std::{future::Future, pin::Pin};

use super::Event;

/// A future that a trait object can give.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One sink's place in a queue.
pub trait Feed: Send {
    /// The oldest events that are not settled, in order, at most `limit`; waits until there is one. `None`: the
    /// queue is closed and nothing is left.
    ///
    /// May be dropped while it waits. Asked again before [`Feed::settle`], it begins with the same events, unless
    /// newer ones have made them superfluous.
    fn next(&mut self, limit: usize) -> Pending<'_, Option<Vec<Event>>>;

    /// The first `count` events that `next` gave last are done with.
    fn settle(&mut self, count: usize, how: Settled) -> Pending<'_, ()>;
}

/// What became of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The receiver has them.
    Delivered,
    /// They are not for this receiver.
    Skipped,
    /// The receiver will never take them; why.
    Dead(String),
}
