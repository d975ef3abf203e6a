//! What the loop holds: it tells the state thread and never waits for it.
//!
//! When the thread is behind (a disk that hangs, a burst on a busy machine) events wait here, bounded by bytes; then
//! those that are missed least go first, counted under [`LOSS`].

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    finding::StoredFinding,
    incidents::StoredIncident,
    inventory::Program,
    lane::OutboxFeed,
    worker::{Counters, Request},
};
use crate::{
    deliver::Event,
    input::{Baseline, Destination},
};

/// Stable name of the loss of events before they were stored.
pub const LOSS: &str = "state_dropped";
/// Stable name of inventory rows that were pushed out by newer ones.
pub const LOSS_INVENTORY: &str = "inventory_forgotten";

/// Bytes of events that wait while the thread is behind: some 5,000 small ones, or 500 of incidents with everything.
const MAX_WAITING_BYTES: usize = 8 << 20;

/// Ticks, of a second each, in which the thread does nothing before it counts as hung: longer than a disk that is merely
/// busy takes for an fsync. systemd waits as long again (`WatchdogSec`) before it acts.
const HUNG_TICKS: u32 = 30;

/// The thread is told the time when so much has passed, ns: with every other pass of a second. It looks for notes of the
/// command line then, and each time costs a wake-up, 0.09 ms of the 0.5 that an idle second may cost.
const TOLD_AFTER_NS: u64 = 1_500_000_000;

/// One event, with what belongs to it in the same transaction.
#[derive(Debug)]
pub struct Record {
    /// The event.
    pub event: Event,
    /// The incident's newest state, if it is about one.
    pub incident: Option<StoredIncident>,
    /// What standard output gets once it is stored.
    pub text: Option<Bytes>,
    /// The gap that this event declares: [`super::Gap::total`].
    pub declares: Option<u64>,
}

/// How the state is, for heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The file is in use; else a database in memory.
    pub is_durable: bool,
    /// Events that the slowest sink has not settled.
    pub depth: u64,
    /// Dead letters of all sinks.
    pub dead_letters: u64,
    /// Updates that collapsed into a later one of their incident.
    pub collapsed: u64,
    /// Signs of life that a newer one replaced.
    pub superseded: u64,
}

/// Tells the state thread.
#[derive(Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    counters: Arc<Counters>,
    waiting: VecDeque<Record>,
    waiting_bytes: usize,
    /// Sinks that the thread has not been told yet.
    sinks: Option<Vec<String>>,
    dropped: u64,
    /// Batches that the thread had done at the last tick, and ticks since it did one.
    batches: u64,
    idle_ticks: u32,
    /// When the thread was last told the time, ns since 1970.
    told_ns: Option<i64>,
}

impl Handle {
    pub(super) fn new(requests: mpsc::Sender<Request>, counters: Arc<Counters>) -> Handle {
        Handle {
            requests,
            counters,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            sinks: None,
            dropped: 0,
            batches: 0,
            idle_ticks: 0,
            told_ns: None,
        }
    }

    /// Keeps an event. Never blocks.
    pub fn record(&mut self, record: Record) {
        self.waiting_bytes += record.event.body.len();
        self.waiting.push_back(record);
        self.flush();
        while self.waiting_bytes > MAX_WAITING_BYTES {
            // The first of the least: the oldest.
            let waiting = self.waiting.iter().enumerate();
            let least = waiting.min_by_key(|(_, record)| record.event.class);
            let least = least.map(|(at, _)| at);
            let Some(lost) = least.and_then(|at| self.waiting.remove(at)) else {
                return;
            };
            self.waiting_bytes -= lost.event.body.len();
            self.dropped += 1;
            tracing::error!(
                id = lost.event.id,
                total = self.dropped,
                "event dropped before it was stored"
            );
        }
    }

    /// A second has passed.
    pub fn tick(&mut self, unix_ns: i64) {
        self.flush();
        if self
            .told_ns
            .is_none_or(|told_ns| unix_ns.abs_diff(told_ns) >= TOLD_AFTER_NS)
        {
            self.told_ns = Some(unix_ns);
            // A full queue is being worked on: the thread knows the time well enough.
            let _ = self.requests.try_send(Request::Tick(unix_ns));
        }
        let batches = self.counters.batches.load(Relaxed);
        if batches != self.batches {
            if self.idle_ticks >= HUNG_TICKS {
                tracing::warn!(ticks = self.idle_ticks, "the state is written again");
            }
            (self.batches, self.idle_ticks) = (batches, 0);
            return;
        }
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        if self.idle_ticks == HUNG_TICKS {
            tracing::error!("the state hangs: nothing is stored, printed or delivered");
        }
    }

    /// The thread does what it is asked to, be it in the file or in memory; `false`: it has hung for half a minute.
    pub fn is_alive(&self) -> bool {
        self.idle_ticks < HUNG_TICKS
    }

    /// These sinks are configured from now on: what waits for others is given up. A new one is known from its first
    /// question on.
    pub fn set_sinks(&mut self, names: Vec<String>) {
        self.sinks = Some(names);
        self.flush();
    }

    /// A program that no package owns was seen. What finds no room comes again with its next start.
    pub fn saw_program(&self, program: Program) {
        let _ = self.requests.try_send(Request::Program(program));
    }

    /// A destination was seen. What finds no room comes again with the next connection.
    pub fn saw_destination(&self, destination: Destination) {
        let _ = self.requests.try_send(Request::Destination(destination));
    }

    /// A signal that woke nobody was seen. What finds no room is not kept.
    pub fn saw_finding(&self, finding: StoredFinding) {
        let _ = self.requests.try_send(Request::Finding(finding));
    }

    /// Keeps what a rule learned. What finds no room comes again with the next change.
    pub fn save(&self, baseline: Baseline) {
        let _ = self.requests.try_send(Request::Baseline(baseline));
    }

    /// The outbox as the sink of that name sees it.
    pub fn feed(&self, sink: &str) -> OutboxFeed {
        OutboxFeed::new(sink, self.requests.clone())
    }

    /// How the state is.
    pub fn health(&self) -> Health {
        let counters = &self.counters;
        Health {
            is_durable: counters.is_durable.load(Relaxed),
            depth: counters.depth.load(Relaxed) + self.waiting.len() as u64,
            dead_letters: counters.dead_letters.load(Relaxed),
            collapsed: counters.collapsed.load(Relaxed),
            superseded: counters.superseded.load(Relaxed),
        }
    }

    /// What was lost so far, by name.
    pub fn losses(&self) -> [(&'static str, u64); 2] {
        let lost = self.counters.lost.load(Relaxed);
        let forgotten = self.counters.forgotten.load(Relaxed);
        [(LOSS, self.dropped + lost), (LOSS_INVENTORY, forgotten)]
    }

    /// No more events come: feeds end when they are empty.
    pub async fn close(&mut self) {
        while let Some(record) = self.waiting.pop_front() {
            if self
                .requests
                .send(Request::Record(Box::new(record)))
                .await
                .is_err()
            {
                return;
            }
        }
        let _ = self.requests.send(Request::Close).await;
    }

    /// Writes what is queued and ends the thread, within `patience`. `false`: it did not end in time.
    pub async fn stop(self, patience: Duration) -> bool {
        let (reply, ended) = tokio::sync::oneshot::channel();
        let stop = async {
            let _ = self.requests.send(Request::Stop(reply)).await;
            // An error says that it has ended, too.
            let _ = ended.await;
        };
        tokio::time::timeout(patience, stop).await.is_ok()
    }

    fn flush(&mut self) {
        if let Some(names) = self.sinks.take()
            && let Err(error) = self.requests.try_send(Request::Sinks(names))
            && let Request::Sinks(names) = error.into_inner()
        {
            self.sinks = Some(names);
        }
        while let Some(record) = self.waiting.pop_front() {
            let bytes = record.event.body.len();
            match self.requests.try_send(Request::Record(Box::new(record))) {
                Ok(()) => self.waiting_bytes -= bytes,
                Err(error) => {
                    if let Request::Record(record) = error.into_inner() {
                        self.waiting.push_front(*record);
                    }
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::Class;

    fn record(sequence: u64, class: Class) -> Record {
        let event = Event {
            sequence,
            id: sequence.to_string(),
            class,
            severity: None,
            subject: String::new(),
            body: Bytes::from(vec![b' '; 1 << 20]),
        };
        Record {
            event,
            incident: None,
            text: None,
            declares: None,
        }
    }

    #[test]
    fn while_the_disk_hangs_eight_mebibytes_wait_and_what_goes_is_counted_the_least_first() {
        // Nobody takes from the queue: one request fits.
        let (requests, mut taken) = mpsc::channel(1);
        let mut handle = Handle::new(requests, Arc::default());
        for sequence in 0..20 {
            let class = if sequence % 2 == 0 {
                Class::Incident
            } else {
                Class::Finding
            };
            handle.record(record(sequence, class));
        }
        // 1 in the queue, 8 wait, 11 are gone: all ten findings, and the oldest incident that waited.
        assert_eq!(handle.losses()[0], (LOSS, 11));
        let waiting: Vec<u64> = handle.waiting.iter().map(|it| it.event.sequence).collect();
        assert_eq!(waiting, [4, 6, 8, 10, 12, 14, 16, 18]);
        assert!(
            matches!(taken.try_recv(), Ok(Request::Record(first)) if first.event.sequence == 0)
        );
    }
}
