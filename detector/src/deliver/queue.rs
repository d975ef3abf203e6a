//! Events that wait for a receiver: bounded, in order, and what goes first when there are too many.

use std::collections::VecDeque;

use bytes::Bytes;

/// What an event is worth when not all can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The life of an incident: what somebody is woken for.
    Incident,
    /// Findings, heartbeats and the like.
    Other,
}

/// One event, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// CloudEvents `id`: the receiver's key against duplicates.
    pub id: String,
    /// What it is worth.
    pub kind: Kind,
    /// CloudEvents `subject`, for logs.
    pub subject: String,
    /// The whole event in structured mode (JSON).
    pub body: Bytes,
}

/// A bounded queue in order of arrival.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    events: VecDeque<Event>,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Queue {
        Queue {
            capacity: capacity.max(1),
            events: VecDeque::new(),
        }
    }

    /// Appends, and gives what had to go: the oldest event that is no incident, else the oldest.
    pub(super) fn push(&mut self, event: Event) -> Option<Event> {
        self.events.push_back(event);
        if self.events.len() <= self.capacity {
            return None;
        }
        let least = self.events.iter().position(|e| e.kind == Kind::Other);
        self.events.remove(least.unwrap_or(0))
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Events waiting.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> Event {
        Event {
            id: id.to_owned(),
            kind: if id.starts_with('i') {
                Kind::Incident
            } else {
                Kind::Other
            },
            subject: String::new(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn full_queue_gives_up_what_is_no_incident_first() {
        let mut queue = Queue::new(3);
        let gone: Vec<String> = ["i1", "a", "b", "i2", "i3", "i4", "c"]
            .into_iter()
            .filter_map(|id| queue.push(event(id)))
            .map(|event| event.id)
            .collect();
        let left: Vec<String> = std::iter::from_fn(|| queue.pop()).map(|e| e.id).collect();
        assert_eq!(gone, ["a", "b", "i1", "c"]);
        assert_eq!(left, ["i2", "i3", "i4"]);
    }
}
