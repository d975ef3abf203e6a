//! The state from outside: what is told to it, what comes out of it, and what the file goes through meanwhile.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::deliver::{Class, Event, Feed as _, Settled};

mod damage;
mod outbox;
mod page;
mod place;
mod remember;

/// A moment in 2026, ns since 1970.
const NOW: i64 = 1_790_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running state in a folder of its own.
struct Bench {
    folder: TempDir,
    handle: Handle,
    before: Before,
    shown: Arc<Mutex<Vec<Bytes>>>,
    now: i64,
    sequence: u64,
}

impl Bench {
    fn new(sinks: &[&str]) -> Bench {
        Bench::with(
            tempfile::tempdir().expect("a temporary folder"),
            sinks,
            NOW,
            &config(),
        )
    }

    /// With an outbox of 1 MiB, the smallest there is.
    fn small(sinks: &[&str]) -> Bench {
        let small = config::State {
            outbox_max_bytes: 1 << 20,
            ..config()
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        Bench::with(folder, sinks, NOW, &small)
    }

    fn with(folder: TempDir, sinks: &[&str], now: i64, config: &config::State) -> Bench {
        let sinks: Vec<String> = sinks.iter().map(|name| (*name).to_owned()).collect();
        let shown: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let texts = Arc::clone(&shown);
        let show = Box::new(move |text| texts.lock().expect("nobody panics").push(text));
        let path = folder.path().join("state.db");
        let (handle, before) = start(&path, config, &sinks, show, now).expect("a thread");
        Bench {
            sequence: before.last_sequence,
            folder,
            handle,
            before,
            shown,
            now,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    /// Records the next event; gives its number.
    fn record(&mut self, class: Class, subject: &str) -> u64 {
        self.record_with(class, subject, 100)
    }

    fn record_with(&mut self, class: Class, subject: &str, bytes: usize) -> u64 {
        self.sequence += 1;
        self.handle.record(Record {
            event: event(self.sequence, class, subject, bytes),
            incident: None,
            text: None,
            declares: None,
        });
        self.sequence
    }

    async fn tick(&mut self, after: i64) {
        self.now += after;
        self.handle.tick(self.now);
    }

    /// Ends the state and starts it again on the same file.
    async fn restart(self, sinks: &[&str]) -> Bench {
        let Bench {
            folder,
            handle,
            now,
            ..
        } = self;
        assert!(handle.stop(PATIENCE).await, "it ends");
        Bench::with(folder, sinks, now, &config())
    }

    /// The next message of a kind.
    async fn told(&mut self, wanted: impl Fn(&Told) -> bool) -> Told {
        let first = self.before.first.iter().position(&wanted);
        if let Some(at) = first {
            return self.before.first.remove(at);
        }
        let next = async {
            loop {
                let told = self.before.told.recv().await.expect("the thread runs");
                if wanted(&told) {
                    return told;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("it is told in time")
    }
}

fn config() -> config::State {
    config::State::default()
}

fn event(sequence: u64, class: Class, subject: &str, bytes: usize) -> Event {
    Event {
        sequence,
        id: format!("{subject}/{sequence}"),
        class,
        severity: None,
        subject: subject.to_owned(),
        body: vec![b'x'; bytes].into(),
    }
}

/// Numbers of what comes next, or nothing if nothing comes.
async fn next(feed: &mut OutboxFeed, limit: usize) -> Vec<u64> {
    let next = tokio::time::timeout(PATIENCE, feed.next(limit)).await;
    let events = next.expect("it comes in time").unwrap_or_default();
    events.iter().map(|event| event.sequence).collect()
}

/// Everything that is left, settled as delivered, after the end of events.
async fn drain(bench: &mut Bench, sink: &str) -> Vec<Event> {
    bench.handle.close().await;
    let mut feed = bench.handle.feed(sink);
    let mut all = Vec::new();
    let collect = async {
        while let Some(events) = feed.next(64).await {
            feed.settle(events.len(), Settled::Delivered).await;
            all.extend(events);
        }
    };
    tokio::time::timeout(PATIENCE, collect)
        .await
        .expect("it ends");
    all
}

/// Runs one ignored test of this binary in a process of its own, through `with` (`unshare …`).
fn in_a_process(test: &str, with: &[&str], variables: &[(&str, &Path)]) -> std::process::Command {
    let own = std::env::current_exe().expect("a test binary");
    let mut words = with
        .iter()
        .map(|word| std::ffi::OsString::from(*word))
        .collect::<Vec<_>>();
    words.push(own.into());
    let mut command = std::process::Command::new(words.remove(0));
    command.args(words).args([
        "--exact",
        test,
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.envs(variables.iter().copied());
    command
}
