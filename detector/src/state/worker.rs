//! The thread that owns the writing connection.
//!
//! Requests are taken in batches and written in one transaction; only what is worth keeping causes one. Nothing is
//! given to a sink or to standard output before the transaction that holds it is committed.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{
    bound::Gap,
    finding::StoredFinding,
    handle::{Handle, Record},
    incidents,
    inventory::Program,
    keeper::Keeper,
    lane::{Given, Waiter},
};
use crate::{
    deliver::Settled,
    incident::Acceptance,
    input::{Baseline, Destination},
};

/// Requests that may wait for the thread.
const QUEUE: usize = 1_024;
/// Requests in one transaction.
const BATCH: usize = 256;
/// Messages that may wait for the loop; more wait in the thread.
const TOLD: usize = 64;

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Request {
    Record(Box<Record>),
    Program(Program),
    Destination(Destination),
    Baseline(Baseline),
    Finding(StoredFinding),
    Next {
        sink: String,
        waiter: Waiter,
    },
    Settle {
        sink: String,
        given: Vec<Given>,
        how: Settled,
    },
    /// The sinks that are configured from now on.
    Sinks(Vec<String>),
    /// The wall clock, ns since 1970; every two seconds.
    Tick(i64),
    /// No more events come.
    Close,
    /// Write everything and end.
    Stop(oneshot::Sender<()>),
}

/// What the thread tells the loop.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The state is worse than it was; why, and what was lost.
    Degraded(String),
    /// The file is in use again.
    Recovered(String),
    /// Events were given up; to be declared by an event ([`Record::declares`]).
    Gap(Gap),
    /// Everything that is accepted from now on.
    Accepted(Vec<Acceptance>),
    /// Somebody says that an incident is over.
    Resolve(incidents::Request),
}

/// Shared with the handle.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) is_durable: AtomicBool,
    /// Batches the thread has done: it is not stuck while they grow.
    pub(super) batches: AtomicU64,
    pub(super) depth: AtomicU64,
    pub(super) dead_letters: AtomicU64,
    pub(super) collapsed: AtomicU64,
    pub(super) superseded: AtomicU64,
    /// Events that could be written nowhere.
    pub(super) lost: AtomicU64,
    /// Inventory rows pushed out.
    pub(super) forgotten: AtomicU64,
}

/// Where standard output's texts go; must not block.
pub type Show = Box<dyn FnMut(Bytes) + Send>;

/// Starts the thread.
pub(super) fn spawn(
    keeper: Keeper,
    counters: Arc<Counters>,
) -> io::Result<(Handle, mpsc::Receiver<Told>)> {
    let (requests, queue) = mpsc::channel(QUEUE);
    let (told, receiver) = mpsc::channel(TOLD);
    std::thread::Builder::new()
        .name("state".to_owned())
        .spawn(move || serve(keeper, queue, &told))?;
    Ok((Handle::new(requests, counters), receiver))
}

fn serve(mut keeper: Keeper, mut queue: mpsc::Receiver<Request>, told: &mpsc::Sender<Told>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut backlog: VecDeque<Told> = VecDeque::new();
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        let ended = keeper.take(&mut batch);
        keeper.counters.batches.fetch_add(1, Relaxed);
        backlog.extend(keeper.told.drain(..));
        while let Some(message) = backlog.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(message)) = told.try_send(message) {
                backlog.push_front(message);
                break;
            }
        }
        if let Some(ended) = ended {
            // Closes the file first: whoever waits may open it at once.
            drop(keeper);
            let _ = ended.send(());
            return;
        }
    }
    // The loop is gone without a word: what is known is still written.
    keeper.flush();
}
