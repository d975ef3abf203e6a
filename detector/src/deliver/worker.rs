//! One worker a sink: takes events from its feed, has the sink send them, and settles them.
//!
//! The same for every type of receiver: which events it gets, how fast, the time limit of an attempt, the wait after a
//! failure, and finding the one event of a refused batch that is to blame. One attempt is in flight at a time, so order
//! is kept and a struggling receiver is not flooded. An event is repeated for as long as the feed keeps it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{self, Instant},
};

use super::{
    Class, Counters, Event,
    feed::{Feed, Settled},
    rate::Rate,
    retry::{self, Policy},
    sink::{Reply, Sink},
};
use crate::{config, incident::Severity};

/// Longest wait a receiver may ask for: an outage plan, not a way to silence us for a night.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// What a sink gets beyond its own time limit before the worker gives up on the attempt.
const MARGIN: Duration = Duration::from_secs(1);

/// Delivers to one receiver.
pub struct Worker<F> {
    name: String,
    sink: Box<dyn Sink>,
    feed: F,
    filter: Filter,
    policy: Policy,
    limit: Duration,
    rate: Rate,
    random: RandomState,
    tally: Arc<Tally>,
    closing: watch::Receiver<bool>,
}

/// Which events a receiver gets.
#[derive(Clone, Debug)]
struct Filter {
    classes: Vec<Class>,
    min_severity: Severity,
}

impl Filter {
    fn takes(&self, event: &Event) -> bool {
        self.classes.contains(&event.class)
            && event
                .severity
                .is_none_or(|severity| severity >= self.min_severity)
    }
}

/// What a worker did; outlives it.
#[derive(Debug, Default)]
pub struct Tally {
    delivered: AtomicU64,
    retried: AtomicU64,
    dead_lettered: AtomicU64,
    /// Incidents are refused: the last one was.
    refusing: AtomicBool,
    /// Why that began; taken when told.
    refusal: Mutex<Option<String>>,
}

impl Tally {
    /// What was done so far.
    pub fn counters(&self) -> Counters {
        Counters {
            delivered: self.delivered.load(Relaxed),
            retried: self.retried.load(Relaxed),
            dead_lettered: self.dead_lettered.load(Relaxed),
        }
    }

    /// Why incidents are refused, once each time that begins. What the detector says about itself does not count:
    /// telling of its refusal would be refused, too.
    pub fn take_refusal(&self) -> Option<String> {
        self.refusal
            .lock()
            .expect("no holder of the lock panics")
            .take()
    }
}

/// A running worker. Dropping it ends the worker at once; what is not settled stays in the feed.
#[derive(Debug)]
pub struct Handle {
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Waits until the feed, which must be closed, has nothing left, at most `limit`.
    pub async fn finish(mut self, limit: Duration) {
        self.closing.send_replace(true);
        if time::timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
            // The task is at an await point or ends there: nothing is settled after this.
            let _ = (&mut self.task).await;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a worker. Must be called within a tokio runtime.
pub fn spawn<F: Feed + 'static>(
    name: &str,
    config: &config::Sink,
    sink: Box<dyn Sink>,
    feed: F,
    tally: Arc<Tally>,
) -> Handle {
    let (closing, receiver) = watch::channel(false);
    let common = &config.common;
    let worker = Worker {
        name: name.to_owned(),
        sink,
        feed,
        filter: Filter {
            classes: config.events().to_vec(),
            min_severity: common.min_severity,
        },
        policy: Policy {
            initial: Duration::from_millis(common.retry_initial_ms),
            max: Duration::from_millis(common.retry_max_ms),
            retry_after_max: RETRY_AFTER_MAX,
        },
        limit: Duration::from_millis(common.timeout_ms) + MARGIN,
        rate: Rate::new(common.rate_per_s, Instant::now()),
        random: RandomState::new(),
        tally,
        closing: receiver,
    };
    Handle {
        closing,
        task: tokio::spawn(worker.run()),
    }
}

impl<F: Feed> Worker<F> {
    async fn run(mut self) {
        // Failures in a row, and events of a refused batch that go one by one.
        let (mut failures, mut alone) = (0_u32, 0_usize);
        loop {
            let capacity = self.sink.capacity();
            // No more than go within a second: who comes first meanwhile does not wait for a whole batch.
            let most = capacity.events.clamp(1, self.rate.at_once());
            let limit = if alone > 0 { 1 } else { most };
            let events = tokio::select! {
                events = self.feed.next(limit) => events,
                () = until(self.sink.due()) => {
                    self.tick().await;
                    continue;
                }
            };
            let Some(events) = events else { return };
            let foreign = events
                .iter()
                .take_while(|event| !self.filter.takes(event))
                .count();
            if foreign > 0 {
                alone = alone.saturating_sub(foreign);
                self.feed.settle(foreign, Settled::Skipped).await;
                continue;
            }
            let count = fitting(&events, capacity.bytes, &self.filter);
            let events = &events[..count];
            time::sleep(self.rate.take(count, Instant::now())).await;
            let attempt = time::timeout(self.limit, self.sink.send(events)).await;
            match attempt.unwrap_or_else(|_| Reply::retry("no answer within the time limit")) {
                Reply::Delivered(_) => {
                    if failures > 0 {
                        tracing::info!(sink = self.name, failures, "receiver is back");
                    }
                    self.tally.delivered.fetch_add(count as u64, Relaxed);
                    self.tally.refusing.store(false, Relaxed);
                    self.feed.settle(count, Settled::Delivered).await;
                    (failures, alone) = (0, alone.saturating_sub(count));
                }
                Reply::Refused(_) if count > 1 => alone = count,
                Reply::Refused(reason) | Reply::PartlyRefused(reason) => {
                    self.bury(events, &reason);
                    self.feed.settle(count, Settled::Dead(reason)).await;
                    (failures, alone) = (0, alone.saturating_sub(count));
                }
                Reply::Retry { after, reason } => {
                    self.failed(&events[0], failures, &reason);
                    let random = self.random.hash_one((&events[0].id, failures));
                    let wait = retry::wait(&self.policy, failures, after, random);
                    failures = failures.saturating_add(1);
                    self.pause(wait).await;
                }
            }
        }
    }

    async fn tick(&mut self) {
        if time::timeout(self.limit, self.sink.tick()).await.is_err() {
            tracing::debug!(sink = self.name, "no answer within the time limit");
        }
    }

    fn failed(&self, event: &Event, failures: u32, reason: &str) {
        let total = self.tally.retried.fetch_add(1, Relaxed) + 1;
        // The first of an outage, and then ever fewer.
        if failures == 0 || total.is_power_of_two() {
            let (sink, id) = (&self.name, &event.id);
            tracing::warn!(sink, id, failures, reason, total, "event not delivered");
        }
    }

    fn bury(&self, events: &[Event], reason: &str) {
        self.tally
            .dead_lettered
            .fetch_add(events.len() as u64, Relaxed);
        for event in events {
            let (sink, id, subject) = (&self.name, &event.id, &event.subject);
            tracing::error!(sink, id, subject, reason, "event refused by the receiver");
        }
        let incident = events.iter().any(|event| event.class == Class::Incident);
        if incident && !self.tally.refusing.swap(true, Relaxed) {
            let mut refusal = self
                .tally
                .refusal
                .lock()
                .expect("no holder of the lock panics");
            *refusal = Some(reason.to_owned());
        }
    }

    /// Waits, but not through the beginning of shutdown: that is worth one attempt at once.
    async fn pause(&mut self, wait: Duration) {
        tokio::select! {
            () = time::sleep(wait) => {}
            // Err: the handle is gone, and this task with it.
            _ = self.closing.changed() => {}
        }
    }
}

/// How many of the events from the first on go together: for this receiver, and within its bytes.
fn fitting(events: &[Event], bytes_max: usize, filter: &Filter) -> usize {
    let mut bytes = 0_usize;
    let fits = |event: &&Event| {
        bytes = bytes.saturating_add(event.body.len());
        bytes <= bytes_max && filter.takes(event)
    };
    events.iter().take_while(fits).count().max(1)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
