//! Events that wait in memory for one receiver: bounded, in order, and what goes first when there are too many.
//!
//! When full, a heartbeat goes before a finding, that before what the detector says about itself, and an update of an
//! incident that has a newer one before everything that says more; only then the oldest. Every event that goes is counted.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::{
    Class, Event,
    feed::{Feed, Pending, Settled},
};

/// A queue that a producer, who never waits, and a [`Feed`] share.
#[derive(Clone, Debug)]
pub struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something was queued, or the queue was closed.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    capacity: usize,
    events: VecDeque<Event>,
    /// No more events are taken.
    closed: bool,
    dropped: u64,
}

impl Queue {
    /// An empty queue for `capacity` events, at least one.
    pub fn new(capacity: usize) -> Queue {
        Queue {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    capacity: capacity.max(1),
                    events: VecDeque::new(),
                    closed: false,
                    dropped: 0,
                }),
                changed: Notify::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .expect("no holder of the lock panics")
    }

    /// Appends. Gives what had to go, and how many went so far.
    pub fn push(&self, event: Event) -> Option<(Event, u64)> {
        let mut state = self.state();
        let lost = if state.closed {
            Some(event)
        } else {
            state.push(event)
        };
        let lost = lost.map(|event| {
            state.dropped += 1;
            (event, state.dropped)
        });
        drop(state);
        self.shared.changed.notify_one();
        lost
    }

    /// Takes no more events: its feed ends when it is empty.
    pub fn close(&self) {
        self.state().closed = true;
        self.shared.changed.notify_one();
    }

    /// Another bound from now on; what is over it goes with the next event.
    pub fn resize(&self, capacity: usize) {
        self.state().capacity = capacity.max(1);
    }

    /// Events waiting, those being sent included.
    pub fn len(&self) -> usize {
        self.state().events.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events that had to go so far.
    pub fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// The place of the sink in it. One at a time.
    pub fn feed(&self) -> QueueFeed {
        QueueFeed {
            queue: self.clone(),
            given: Vec::new(),
        }
    }
}

impl State {
    fn push(&mut self, event: Event) -> Option<Event> {
        self.events.push_back(event);
        if self.events.len() <= self.capacity {
            return None;
        }
        self.events.remove(self.least())
    }

    /// The event that is missed least.
    fn least(&self) -> usize {
        let oldest = |class| self.events.iter().position(|event| event.class == class);
        oldest(Class::Heartbeat)
            .or_else(|| oldest(Class::Finding))
            .or_else(|| oldest(Class::Agent))
            .or_else(|| self.superseded())
            .unwrap_or(0)
    }

    /// The oldest event of an incident that a later event of the same incident says again, and more.
    fn superseded(&self) -> Option<usize> {
        let mut newer: HashSet<&str> = HashSet::new();
        let mut oldest = None;
        for (at, event) in self.events.iter().enumerate().rev() {
            if !newer.insert(&event.subject) {
                oldest = Some(at);
            }
        }
        oldest
    }
}

/// One sink's place in a [`Queue`].
#[derive(Debug)]
pub struct QueueFeed {
    queue: Queue,
    /// Ids that `next` gave last: some may be gone when they are settled.
    given: Vec<String>,
}

impl Feed for QueueFeed {
    fn next(&mut self, limit: usize) -> Pending<'_, Option<Vec<Event>>> {
        Box::pin(async move {
            loop {
                {
                    let state = self.queue.state();
                    if !state.events.is_empty() {
                        let events: Vec<Event> = state.events.iter().take(limit).cloned().collect();
                        self.given = events.iter().map(|event| event.id.clone()).collect();
                        return Some(events);
                    }
                    if state.closed {
                        return None;
                    }
                }
                // A permit is kept when nobody waits, so no event is overlooked.
                self.queue.shared.changed.notified().await;
            }
        })
    }

    fn settle(&mut self, count: usize, _how: Settled) -> Pending<'_, ()> {
        let done: Vec<String> = self.given.drain(..count.min(self.given.len())).collect();
        let mut state = self.queue.state();
        for id in done {
            // At the front, unless it was pushed out meanwhile. An event that is queued twice is sent twice.
            if let Some(at) = state.events.iter().position(|event| event.id == id) {
                state.events.remove(at);
            }
        }
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// `h…`, `f…`, `a…`: by class; anything else is an event of the incident of that letter.
    fn event(sequence: u64, id: &str) -> Event {
        Event {
            sequence,
            id: id.to_owned(),
            class: match id.as_bytes()[0] {
                b'h' => Class::Heartbeat,
                b'f' => Class::Finding,
                b'a' => Class::Agent,
                _ => Class::Incident,
            },
            severity: None,
            subject: id[..1].to_owned(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn full_queue_gives_up_what_is_missed_least() {
        let queue = Queue::new(3);
        let ids = [
            "x1", "h1", "f1", "a1", "x2", "y1", "h2", "x3", "y2", "z1", "w1",
        ];
        let gone: Vec<(String, u64)> = (0..)
            .zip(ids)
            .filter_map(|(sequence, id)| queue.push(event(sequence, id)))
            .map(|(event, total)| (event.id, total))
            .collect();
        let left: Vec<String> = queue.state().events.iter().map(|e| e.id.clone()).collect();
        let names: Vec<&str> = gone.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(names, ["h1", "f1", "a1", "h2", "x1", "x2", "y1", "x3"]);
        assert_eq!(gone.last().expect("some went").1, 8);
        assert_eq!(left, ["y2", "z1", "w1"]);
    }

    #[tokio::test]
    async fn event_stays_until_it_is_settled_even_when_others_went_meanwhile() {
        let queue = Queue::new(2);
        let mut feed = queue.feed();
        queue.push(event(1, "h1"));
        queue.push(event(2, "x1"));
        let ids = |events: Option<Vec<Event>>| -> Vec<String> {
            events
                .unwrap_or_default()
                .into_iter()
                .map(|e| e.id)
                .collect()
        };
        assert_eq!(ids(feed.next(9).await), ["h1", "x1"]);
        assert_eq!(ids(feed.next(1).await), ["h1"]);
        // The heartbeat in flight goes; settling it must not take the incident instead.
        queue.push(event(3, "y1"));
        feed.settle(1, Settled::Delivered).await;
        assert_eq!(ids(queue.feed().next(9).await), ["x1", "y1"]);
        queue.close();
        assert!(queue.push(event(4, "z1")).is_some());
        assert_eq!(ids(feed.next(9).await), ["x1", "y1"]);
        feed.settle(2, Settled::Delivered).await;
        assert_eq!(feed.next(9).await, None);
    }
}
