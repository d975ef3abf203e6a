//! The memory of the host: one SQLite file with incidents, inventory, acceptances, baselines and the outbox.
//!
//! One thread owns the writing connection ([`worker`]); the loop tells it through a [`Handle`] and never waits. The
//! state of an incident and the delivery of its event are one transaction, and nothing is given to a sink before it
//! is committed (`synchronous=FULL`). Where the file cannot be used the same tables live in memory, under a smaller
//! bound, and everybody is told ([`repair`]). Sequence numbers only grow, whatever happens to the file: a start goes
//! on after the stored number *and* after the milliseconds since 1970.
//!
//! It refuses to judge: what is known, accepted or resumed reaches the engine as inputs, so that a replay needs no
//! file.

mod acceptance;
mod baseline;
mod bound;
mod carry;
mod dead;
mod desk;
mod finding;
mod handle;
mod incidents;
mod inventory;
mod keeper;
mod known;
mod lane;
mod open;
mod outbox;
mod page;
mod place;
mod repair;
mod resume;
mod schema;
mod store;
mod worker;

#[cfg(test)]
mod tests;

use std::{io, path::Path, sync::Arc};

pub use bound::Gap;
pub use dead::DeadLetter;
pub use desk::{Desk, DeskError, SinkState};
pub use finding::StoredFinding;
pub use handle::{Handle, Health, LOSS, LOSS_INVENTORY, Record};
pub use incidents::{Request, StoredIncident};
pub use inventory::{Program, ProgramSeen, from_hex};
pub use known::{Memory, program};
pub use lane::OutboxFeed;
pub use place::path;
pub use resume::{Earlier, RESTARTED};
use tokio::sync::mpsc;
pub use worker::{Show, Told};

use self::{keeper::Keeper, repair::Place, store::Limits, worker::Counters};
use crate::{
    config,
    input::{Baseline, KnownDestination},
};

/// What the state knew when the daemon started.
#[derive(Debug)]
pub struct Before {
    /// What it tells from now on.
    pub told: mpsc::Receiver<Told>,
    /// What it tells at once: what is accepted, what the command line asked meanwhile.
    pub first: Vec<Told>,
    /// The number given last; the next one is greater.
    pub last_sequence: u64,
    /// Incidents that were open when last told.
    pub open: Vec<StoredIncident>,
    /// What rules learned.
    pub baselines: Vec<Baseline>,
    /// Where programs connected to, least recently seen first.
    pub destinations: Vec<KnownDestination>,
    /// For the enrich thread.
    pub memory: Memory,
    /// What is wrong with the state, for people.
    pub trouble: Vec<String>,
}

/// What the loop takes up once, apart from what it listens to for as long as it runs.
#[derive(Debug)]
pub struct Recalled {
    /// See [`Before::first`].
    pub first: Vec<Told>,
    /// See [`Before::open`].
    pub open: Vec<StoredIncident>,
    /// See [`Before::baselines`].
    pub baselines: Vec<Baseline>,
    /// See [`Before::destinations`].
    pub destinations: Vec<KnownDestination>,
    /// See [`Before::trouble`].
    pub trouble: Vec<String>,
}

impl Before {
    /// In parts, for their owners.
    pub fn split(self) -> (Recalled, mpsc::Receiver<Told>, Memory) {
        let recalled = Recalled {
            first: self.first,
            open: self.open,
            baselines: self.baselines,
            destinations: self.destinations,
            trouble: self.trouble,
        };
        (recalled, self.told, self.memory)
    }
}

/// Opens the state at `path` and starts its thread. `sinks` are the names of those that read the outbox; `show` gets
/// the texts of events once they are stored.
///
/// # Errors
/// The thread cannot be started. A file that cannot be used is no error: see [`Before::trouble`].
pub fn start(
    path: &Path,
    config: &config::State,
    sinks: &[String],
    show: Show,
    now_unix_ns: i64,
) -> io::Result<(Handle, Before)> {
    let mut place = Place {
        path: path.to_owned(),
        limits: Limits::from(config),
        retry_at: 0,
    };
    let found = place.open(now_unix_ns);
    let mut trouble: Vec<String> = found.trouble.into_iter().collect();
    let store = found.store;
    let last = store.last_sequence().unwrap_or(0);
    let (open, damaged) = store.open_incidents().unwrap_or_else(|error| {
        trouble.push(format!("open incidents cannot be read: {error}"));
        Default::default()
    });
    if damaged > 0 {
        trouble.push(format!(
            "{damaged} open incidents are damaged in the state file"
        ));
    }
    let baselines = store.baselines().unwrap_or_default();
    let destinations = inventory::destinations(store.connection()).unwrap_or_default();
    let counters = Arc::new(Counters::default());
    let mut keeper = Keeper::new(
        store,
        place,
        sinks,
        Arc::clone(&counters),
        show,
        now_unix_ns,
        found.is_new,
    );
    let first = std::mem::take(&mut keeper.told);
    let (handle, told) = worker::spawn(keeper, counters)?;
    // Milliseconds since 1970 stay ahead of whatever an earlier run numbered and could not store, as long as it made
    // fewer than a thousand events a second.
    let millis = u64::try_from(now_unix_ns / 1_000_000).unwrap_or(0);
    let before = Before {
        told,
        first,
        last_sequence: last.max(millis),
        open,
        baselines,
        destinations,
        memory: Memory::new(
            path.to_owned(),
            i64::from(config.trust_after_days) * 86_400_000_000_000,
        ),
        trouble,
    };
    Ok((handle, before))
}
