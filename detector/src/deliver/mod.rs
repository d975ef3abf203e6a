//! From an event to its receivers: the only place that may be slow.
//!
//! Owns a queue and a worker for each receiver, so that a dead one holds up no other, and never makes its caller wait.
//! What cannot be kept or delivered is counted. Events wait in memory, so those undelivered when the program ends are
//! lost, and said to be.

mod event;
pub mod feed;
pub mod queue;
mod rate;
pub mod retry;
pub mod sink;
pub mod worker;

#[cfg(test)]
mod testing;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use self::{
    event::{Class, Event},
    feed::{Feed, Settled},
    queue::Queue,
};
use self::{
    sink::SinkError,
    worker::{Handle, Tally},
};
use crate::config;

/// Stable name of events that a full queue pushed out.
pub const LOSS_DROPPED: &str = "event_dropped";
/// Stable name of events that a receiver refused for good.
pub const LOSS_DEAD_LETTERED: &str = "event_dead_lettered";

/// What was done for a receiver so far. Only grows.
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

/// A receiver that cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("sink.{name}: {source}")]
pub struct StartError {
    /// Its name in the configuration.
    pub name: String,
    /// Why.
    #[source]
    pub source: SinkError,
}

/// All receivers.
#[derive(Debug, Default)]
pub struct Delivery {
    receivers: BTreeMap<String, Receiver>,
    /// Dropped by receivers that are no longer configured.
    dropped_before: u64,
}

#[derive(Debug)]
struct Receiver {
    config: config::Sink,
    queue: Queue,
    worker: Handle,
    tally: Arc<Tally>,
}

impl Receiver {
    fn counters(&self) -> Counters {
        Counters {
            dropped: self.queue.dropped(),
            ..self.tally.counters()
        }
    }
}

impl Delivery {
    /// Starts a worker for each receiver. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]: a secret, a certificate or an address cannot be used.
    pub fn start(sinks: &BTreeMap<String, config::Sink>) -> Result<Delivery, StartError> {
        let mut delivery = Delivery::default();
        delivery.reconfigure(sinks)?;
        Ok(delivery)
    }

    /// Goes over to another configuration: receivers that are new or changed are started, those that are gone end.
    /// What waits for a changed one is sent to its new address.
    ///
    /// # Errors
    /// [`StartError`]; nothing has changed then.
    pub fn reconfigure(
        &mut self,
        sinks: &BTreeMap<String, config::Sink>,
    ) -> Result<(), StartError> {
        let mut built = Vec::new();
        for (name, config) in sinks {
            if self
                .receivers
                .get(name)
                .is_none_or(|old| old.config != *config)
            {
                let sink = sink::build(config).map_err(|source| StartError {
                    name: name.clone(),
                    source,
                })?;
                built.push((name, config, sink));
            }
        }
        for (name, config, sink) in built {
            // The old worker ends here; what it has not settled is still in the queue.
            let (queue, tally) = match self.receivers.remove(name) {
                Some(old) => (old.queue, old.tally),
                None => (Queue::new(config.common.queue), Arc::default()),
            };
            queue.resize(config.common.queue);
            let receiver = Receiver {
                worker: worker::spawn(name, config, sink, queue.feed(), Arc::clone(&tally)),
                config: config.clone(),
                queue,
                tally,
            };
            self.receivers.insert(name.clone(), receiver);
        }
        let gone = self
            .receivers
            .extract_if(.., |name, _| !sinks.contains_key(name));
        for (name, receiver) in gone {
            let left = receiver.queue.len() as u64;
            tracing::warn!(
                sink = name,
                undelivered = left,
                "receiver is no longer configured"
            );
            self.dropped_before += receiver.queue.dropped() + left;
        }
        Ok(())
    }

    /// Queues an event for every receiver. Never blocks.
    pub fn send(&self, event: &Event) {
        for (name, receiver) in &self.receivers {
            // What it does not want need not push out what it does.
            if !receiver.config.events().contains(&event.class) {
                continue;
            }
            if let Some((lost, total)) = receiver.queue.push(event.clone())
                && (lost.class == Class::Incident || total.is_power_of_two())
            {
                let (id, subject) = (&lost.id, &lost.subject);
                tracing::error!(sink = name, id, subject, total, "event dropped");
            }
        }
    }

    /// Events not yet settled, summed over receivers.
    pub fn depth(&self) -> usize {
        self.receivers
            .values()
            .map(|receiver| receiver.queue.len())
            .sum()
    }

    /// What was done for each receiver.
    pub fn counters(&self) -> impl Iterator<Item = (&str, Counters)> {
        self.receivers
            .iter()
            .map(|(name, receiver)| (name.as_str(), receiver.counters()))
    }

    /// What could not be kept or delivered since the start, by name.
    pub fn losses(&self) -> [(&'static str, u64); 2] {
        let sum =
            |field: fn(&Counters) -> u64| self.counters().map(|(_, c)| field(&c)).sum::<u64>();
        [
            (LOSS_DROPPED, self.dropped_before + sum(|c| c.dropped)),
            (LOSS_DEAD_LETTERED, sum(|c| c.dead_lettered)),
        ]
    }

    /// Receivers that refused an incident for good since this was asked last, and why.
    pub fn take_refusals(&self) -> Vec<String> {
        let told = |(name, receiver): (&String, &Receiver)| {
            let reason = receiver.tally.take_refusal()?;
            Some(format!("receiver `{name}` refuses events: {reason}"))
        };
        self.receivers.iter().filter_map(told).collect()
    }

    /// Takes no more events and tries to deliver those it has for as long as `limit`. What is left is counted and
    /// logged; what was in flight may have arrived nevertheless.
    pub async fn stop(self, limit: Duration) -> BTreeMap<String, Counters> {
        let deadline = tokio::time::Instant::now() + limit;
        self.receivers
            .values()
            .for_each(|receiver| receiver.queue.close());
        let mut out = BTreeMap::new();
        let mut finishing = Vec::new();
        for (name, receiver) in self.receivers {
            let Receiver {
                queue,
                worker,
                tally,
                ..
            } = receiver;
            let finish = tokio::spawn(async move {
                worker
                    .finish(deadline.saturating_duration_since(tokio::time::Instant::now()))
                    .await;
                Counters {
                    dropped: queue.dropped(),
                    undelivered_at_exit: queue.len() as u64,
                    ..tally.counters()
                }
            });
            finishing.push((name, finish));
        }
        for (name, finish) in finishing {
            let counters = finish.await.unwrap_or_default();
            if counters.undelivered_at_exit > 0 {
                let undelivered = counters.undelivered_at_exit;
                tracing::error!(sink = name, undelivered, "events not delivered before exit");
            }
            out.insert(name, counters);
        }
        out
    }
}
