//! From an event to its receivers: the only place that may be slow.
//!
//! Owns a worker for each receiver, so that a dead one holds up no other. Events wait in the outbox
//! ([`crate::state`]), each receiver at a place of its own; what is undelivered when the program ends is delivered
//! by the next run.

mod event;
pub mod feed;
mod ping;
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
    ping::Ping,
    queue::Queue,
};
use self::{
    sink::SinkError,
    worker::{Handle, Tally},
};
use crate::config;

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
}

/// A receiver that cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("{section}: {source}")]
pub struct StartError {
    /// Its section in the configuration.
    pub section: String,
    /// Why.
    #[source]
    pub source: SinkError,
}

/// All receivers.
#[derive(Debug, Default)]
pub struct Delivery {
    receivers: BTreeMap<String, Receiver>,
}

#[derive(Debug)]
struct Receiver {
    config: config::Sink,
    worker: Handle,
    tally: Arc<Tally>,
}

impl Delivery {
    /// Starts a worker for each receiver, at the place that `feed` gives for its name. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]: a secret, a certificate or an address cannot be used.
    pub fn start<F: Feed + 'static>(
        sinks: &BTreeMap<String, config::Sink>,
        feed: impl Fn(&str) -> F,
    ) -> Result<Delivery, StartError> {
        let mut delivery = Delivery::default();
        delivery.reconfigure(sinks, feed)?;
        Ok(delivery)
    }

    /// Goes over to another configuration: receivers that are new or changed are started, those that are gone end.
    /// What waits for a changed one is sent to its new address.
    ///
    /// # Errors
    /// [`StartError`]; nothing has changed then.
    pub fn reconfigure<F: Feed + 'static>(
        &mut self,
        sinks: &BTreeMap<String, config::Sink>,
        feed: impl Fn(&str) -> F,
    ) -> Result<(), StartError> {
        let mut built = Vec::new();
        for (name, config) in sinks {
            if self
                .receivers
                .get(name)
                .is_none_or(|old| old.config != *config)
            {
                let sink = sink::build(config).map_err(|source| StartError {
                    section: format!("sink.{name}"),
                    source,
                })?;
                built.push((name, config, sink));
            }
        }
        for (name, config, sink) in built {
            // The old worker ends here; what it has not settled is still in the outbox.
            let old = self.receivers.remove(name);
            let tally = old.map_or_else(Arc::default, |old| old.tally);
            let receiver = Receiver {
                worker: worker::spawn(name, config, sink, feed(name), Arc::clone(&tally)),
                config: config.clone(),
                tally,
            };
            self.receivers.insert(name.clone(), receiver);
        }
        self.receivers.retain(|name, _| {
            let stays = sinks.contains_key(name);
            if !stays {
                tracing::warn!(sink = name, "receiver is no longer configured");
            }
            stays
        });
        Ok(())
    }

    /// What was done for each receiver.
    pub fn counters(&self) -> impl Iterator<Item = (&str, Counters)> {
        self.receivers
            .iter()
            .map(|(name, receiver)| (name.as_str(), receiver.tally.counters()))
    }

    /// What receivers refused for good since the start, by name.
    pub fn loss(&self) -> (&'static str, u64) {
        let refused = self.counters().map(|(_, counters)| counters.dead_lettered);
        (LOSS_DEAD_LETTERED, refused.sum())
    }

    /// Receivers that refused an incident for good since this was asked last, and why.
    pub fn take_refusals(&self) -> Vec<String> {
        let told = |(name, receiver): (&String, &Receiver)| {
            let reason = receiver.tally.take_refusal()?;
            Some(format!("receiver `{name}` refuses events: {reason}"))
        };
        self.receivers.iter().filter_map(told).collect()
    }

    /// Tries to deliver what there is for as long as `limit`; the outbox must be closed. What was in flight at the
    /// end may have arrived nevertheless.
    pub async fn stop(self, limit: Duration) -> BTreeMap<String, Counters> {
        let mut finishing = Vec::new();
        for (name, receiver) in self.receivers {
            let Receiver { worker, tally, .. } = receiver;
            let finish = tokio::spawn(async move {
                worker.finish(limit).await;
                tally.counters()
            });
            finishing.push((name, finish));
        }
        let mut out = BTreeMap::new();
        for (name, finish) in finishing {
            out.insert(name, finish.await.unwrap_or_default());
        }
        out
    }
}
