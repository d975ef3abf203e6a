//! A receiver that is away for a day, and one that is there while ten thousand events come at once.
//!
//! The clock of the day is an input of the state: events are made as fast as they are stored, ten to each simulated
//! second, and the worker meanwhile knocks at a port where nobody listens. Then somebody does.

use std::{
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use detector::{
    config,
    deliver::Delivery,
    state::{self, Told},
};
use tokio::{sync::Notify, time};

use super::{Arrivals, NOW, PATIENCE, SECOND, SINK, Story, progress, receiver};
use crate::recorder::{Act, Recorder, Request, loopback};

/// Incidents side by side, as many as the daemon has open at most, and events of each.
const WIDTH: usize = 256;
const STEPS: u32 = 30;
/// Events that are made and not yet stored: within what the state queues without dropping any.
const AHEAD: u64 = 1_000;
/// How often the daemon empties its rings, and so hands over events.
const DRAIN: Duration = Duration::from_millis(50);

/// What is played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the state file is made.
    pub folder: PathBuf,
    /// Events made while the receiver is away (or, in a burst, in one second).
    pub events: u64,
    /// Events in a simulated second.
    pub per_s: u64,
    /// Bound of the outbox.
    pub outbox_bytes: u64,
    /// Events a second that the receiver may get.
    pub rate_per_s: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Events made, declarations of gaps included.
    pub produced: u64,
    /// Updates that collapsed into a later one of their incident.
    pub collapsed: u64,
    /// Events given up, as the last declaration says.
    pub declared: u64,
    /// Events dropped before they were stored.
    pub dropped: u64,
    /// What the receiver got.
    pub arrivals: Arrivals,
    /// From the first arrival to the last.
    pub took: Duration,
    /// Most events by which the receiver got more, at any moment, than the rate allows.
    pub above_rate: f64,
    /// How long making and storing took.
    pub making: Duration,
    /// Most events that waited at a time.
    pub deepest: u64,
}

impl Outcome {
    /// What is neither delivered, nor collapsed, nor declared; negative: declared and delivered nevertheless.
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        let known = self.arrivals.distinct() + self.collapsed + self.declared + self.dropped;
        self.produced.cast_signed() - known.cast_signed()
    }
}

/// What the receiver wrote down.
#[derive(Debug, Default)]
struct Log {
    arrivals: Arrivals,
    /// When so many had come.
    times: Vec<(SystemTime, u64)>,
}

impl Log {
    fn take(&mut self, request: &Request) -> Act {
        request
            .events()
            .iter()
            .for_each(|event| self.arrivals.take(event));
        self.times.push((request.at, self.arrivals.total));
        Act::Status(202)
    }

    /// The whole time, and how far over `rate` (and one second's worth at once) it ever was.
    fn pace(&self, rate: f64) -> (Duration, f64) {
        let Some(first) = self.times.first().map(|(at, _)| *at) else {
            return Default::default();
        };
        let since = |at: SystemTime| at.duration_since(first).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "events of one day")]
        let over = |(at, count): &(SystemTime, u64)| {
            *count as f64 - rate * (since(*at).as_secs_f64() + 1.0)
        };
        let worst = self.times.iter().map(over).fold(f64::MIN, f64::max);
        let took = self.times.last().map(|(at, _)| since(*at));
        (took.unwrap_or_default(), worst)
    }
}

/// A day without a receiver, and its return.
///
/// # Errors
/// The state or the delivery cannot start, or does not end.
pub fn day(plan: &Plan) -> Result<Outcome> {
    play(plan, true)
}

/// All events in one second, with a receiver that is there.
///
/// # Errors
/// The state or the delivery cannot start, or does not end.
pub fn burst(plan: &Plan) -> Result<Outcome> {
    play(plan, false)
}

fn play(plan: &Plan, is_away: bool) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir_in(&plan.folder)?;
        let stored: Arc<(AtomicU64, Notify)> = Arc::default();
        let count = Arc::clone(&stored);
        let show = Box::new(move |_: Bytes| {
            count.0.fetch_add(1, Relaxed);
            count.1.notify_one();
        });
        let config = config::State {
            outbox_max_bytes: plan.outbox_bytes,
            ..config::State::default()
        };
        let sinks = [SINK.to_owned()];
        let path = folder.path().join("state.db");
        let (handle, before) = state::start(&path, &config, &sinks, show, NOW)?;
        let listener = loopback();
        let port = listener.local_addr()?.port();
        let url = format!("http://127.0.0.1:{port}/");
        let log: Arc<Mutex<Log>> = Arc::default();
        let taken = Arc::clone(&log);
        let listen = move |listener| {
            Recorder::forgetful(listener, move |_, request| {
                taken.lock().expect("no holder panics").take(request)
            })
        };
        let mut producer = Producer {
            story: Story::new(before.last_sequence, WIDTH, STEPS),
            handle,
            told: before.told,
            stored,
            now: NOW,
            outcome: Outcome::default(),
        };
        let first = before.last_sequence;
        let begun = Instant::now();
        let (delivery, _recorder) = if is_away {
            drop(listener);
            let delivery = producer.deliver(&url, plan)?;
            producer.day(plan).await;
            (delivery, listen(TcpListener::bind(("127.0.0.1", port))?))
        } else {
            let recorder = listen(listener);
            let delivery = producer.deliver(&url, plan)?;
            producer.burst(plan).await;
            (delivery, recorder)
        };
        let making = begun.elapsed();
        let patience = Duration::from_secs(plan.events / u64::from(plan.rate_per_s)) + PATIENCE;
        producer.finish(patience).await?;
        let Producer {
            story,
            mut handle,
            mut outcome,
            ..
        } = producer;
        handle.close().await;
        delivery.stop(PATIENCE).await;
        outcome.collapsed = handle.health().collapsed;
        outcome.dropped = handle.losses()[0].1;
        ensure!(handle.stop(PATIENCE).await, "the state does not end");
        outcome.produced = story.last() - first;
        outcome.making = making;
        let log = log.lock().expect("no holder panics");
        (outcome.took, outcome.above_rate) = log.pace(f64::from(plan.rate_per_s));
        outcome.arrivals = log.arrivals.clone();
        Ok(outcome)
    })
}

/// The loop of the daemon, as far as the state is concerned.
struct Producer {
    story: Story,
    handle: state::Handle,
    told: tokio::sync::mpsc::Receiver<Told>,
    stored: Arc<(AtomicU64, Notify)>,
    now: i64,
    outcome: Outcome,
}

impl Producer {
    fn deliver(&self, url: &str, plan: &Plan) -> Result<Delivery> {
        let sinks = receiver(url, "batch", plan.rate_per_s);
        Ok(Delivery::start(&sinks, |name| self.handle.feed(name))?)
    }

    /// Simulated seconds, each as soon as the one before is stored.
    async fn day(&mut self, plan: &Plan) {
        let mut made = 0;
        while made < plan.events {
            for _ in 0..plan.per_s {
                self.handle.record(self.story.event(self.now));
            }
            made += plan.per_s;
            self.now += SECOND;
            self.handle.tick(self.now);
            self.declare();
            while made - self.stored.0.load(Relaxed).min(made) > AHEAD {
                self.stored.1.notified().await;
            }
            // The worker gets its turn, too.
            tokio::task::yield_now().await;
            self.outcome.deepest = self.outcome.deepest.max(self.handle.health().depth);
            progress("events", made, plan.events);
        }
    }

    /// Until the receiver has everything. What declares a gap may have pushed something out, which is declared in turn.
    async fn finish(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while self.declare() || self.handle.health().depth > 0 {
            let waiting = self.handle.health().depth;
            ensure!(Instant::now() < deadline, "{waiting} events still wait");
            self.handle.tick(self.now);
            time::sleep(DRAIN).await;
        }
        Ok(())
    }

    /// One second of the real clock, in passes.
    async fn burst(&mut self, plan: &Plan) {
        let passes = 20;
        let events: Vec<_> = (0..plan.events)
            .map(|_| self.story.event(self.now))
            .collect();
        let mut events = events.into_iter();
        let mut pass = time::interval(DRAIN);
        for _ in 0..passes {
            pass.tick().await;
            let now = events.by_ref().take((plan.events / passes) as usize);
            now.for_each(|event| self.handle.record(event));
            self.outcome.deepest = self.outcome.deepest.max(self.handle.health().depth);
        }
        events.for_each(|event| self.handle.record(event));
    }

    /// Declares what was given up; whether there was any.
    fn declare(&mut self) -> bool {
        let before = self.outcome.declared;
        while let Ok(told) = self.told.try_recv() {
            if let Told::Gap(gap) = told {
                let record = self.story.declaration(gap.total, self.now);
                self.outcome.declared = gap.total;
                self.handle.record(record);
            }
        }
        self.outcome.declared > before
    }
}
