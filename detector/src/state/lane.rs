//! One sink's place in the outbox while the daemon runs, and the [`Feed`] through which its worker sees it.

use tokio::sync::{mpsc, oneshot};

use super::worker::Request;
use crate::deliver::{Event, Feed, Settled, feed::Pending};

/// Where an event that was given to a sink comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The outbox, in order.
    Outbox,
    /// The outbox, before what is in front of it.
    Page,
    /// A dead letter that is sent again.
    DeadLetter,
    /// Memory: a sign of life, never written.
    Heartbeat,
}

/// An event as it was given, until it is settled.
pub(super) type Given = (From, Event);

/// A worker that waits for events.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) limit: usize,
    pub(super) reply: oneshot::Sender<Option<Vec<Given>>>,
}

/// One sink's place.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Everything up to it is settled; the file may lag behind.
    pub(super) cursor: u64,
    /// The file lags behind.
    pub(super) is_ahead: bool,
    /// Pages up to it are settled.
    pub(super) paged: u64,
    /// Events after the cursor that are not settled.
    pub(super) depth: u64,
    /// The newest sign of life, if it is not settled.
    pub(super) heartbeat: Option<Event>,
    /// Dead letters may wait to be sent again.
    pub(super) again: bool,
    pub(super) waiter: Option<Waiter>,
}

/// A sink's view of the outbox.
#[derive(Debug)]
pub struct OutboxFeed {
    sink: String,
    requests: mpsc::Sender<Request>,
    given: Vec<Given>,
}

impl OutboxFeed {
    pub(super) fn new(sink: &str, requests: mpsc::Sender<Request>) -> OutboxFeed {
        OutboxFeed {
            sink: sink.to_owned(),
            requests,
            given: Vec::new(),
        }
    }

    async fn ask(&mut self, limit: usize) -> Option<Vec<Event>> {
        let (reply, answer) = oneshot::channel();
        let sink = self.sink.clone();
        let waiter = Waiter { limit, reply };
        self.requests
            .send(Request::Next { sink, waiter })
            .await
            .ok()?;
        // Without an answer the thread has ended: nothing more will come.
        self.given = answer.await.ok().flatten()?;
        Some(self.given.iter().map(|(_, event)| event.clone()).collect())
    }

    async fn done(&mut self, count: usize, how: Settled) {
        let given: Vec<Given> = self.given.drain(..count.min(self.given.len())).collect();
        let sink = self.sink.clone();
        let settle = Request::Settle { sink, given, how };
        // A thread that has ended keeps the cursor where it was: the event comes again, and receivers drop it.
        let _ = self.requests.send(settle).await;
    }
}

impl Feed for OutboxFeed {
    fn next(&mut self, limit: usize) -> Pending<'_, Option<Vec<Event>>> {
        Box::pin(self.ask(limit))
    }

    fn settle(&mut self, count: usize, how: Settled) -> Pending<'_, ()> {
        Box::pin(self.done(count, how))
    }
}
