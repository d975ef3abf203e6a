//! When the file fails: what is used in its place, what is said, and the way back.
//!
//! Damaged: the file is set aside, a new one takes its place, and what the old one still tells is carried over.
//! Anything else (disk full, read-only, gone, newer, in use): a database in memory takes over what can be read, and
//! the file is tried again twice a minute.

use std::path::PathBuf;

use super::{
    carry::{self, Carried},
    keeper::Keeper,
    open::{self, OpenError},
    store::{Limits, Origin, Store},
    worker::Told,
};

/// How often the file is tried again, ns.
const RETRY_NS: i64 = 30_000_000_000;

/// Where the state belongs, and when to try again.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) limits: Limits,
    /// Not before this, ns since 1970.
    pub(super) retry_at: i64,
}

/// What came of opening.
pub(super) struct Found {
    pub(super) store: Store,
    /// The file was made just now.
    pub(super) is_new: bool,
    /// What is wrong, for people.
    pub(super) trouble: Option<String>,
}

impl Place {
    /// The best database there is.
    pub(super) fn open(&mut self, now: i64) -> Found {
        self.retry_at = now + RETRY_NS;
        let error = match Store::file(&self.path, self.limits) {
            Ok((store, origin)) => {
                let lost = || {
                    let path = self.path.display();
                    format!(
                        "state file {path} was removed or emptied since the last run; what it held is lost"
                    )
                };
                return Found {
                    store,
                    is_new: origin != Origin::Kept,
                    trouble: (origin == Origin::Lost).then(lost),
                };
            }
            Err(error) => error,
        };
        match error {
            OpenError::Damaged { .. } => self.replace(&error.to_string(), now),
            _ => {
                let mut store = Store::memory(self.limits);
                let carried = open::connect_read_only(&self.path)
                    .and_then(|from| carry::carry(&from, &mut store))
                    .unwrap_or_default();
                Found {
                    store,
                    is_new: false,
                    trouble: Some(format!(
                        "{error}; until it can be used, state is kept in memory and ends with this process{}",
                        told(carried)
                    )),
                }
            }
        }
    }

    /// Sets a damaged file aside and takes over what it still tells.
    fn replace(&self, reason: &str, now: i64) -> Found {
        let in_memory = |why: String| Found {
            store: Store::memory(self.limits),
            is_new: false,
            trouble: Some(why),
        };
        let aside = match open::set_aside(&self.path, now) {
            Ok(aside) => aside,
            Err(error) => {
                return in_memory(format!(
                    "{reason}; it cannot be set aside ({error}), so state is kept in memory"
                ));
            }
        };
        let (mut store, _made_just_now) = match Store::file(&self.path, self.limits) {
            Ok(opened) => opened,
            Err(error) => {
                return in_memory(format!(
                    "{reason}; set aside as {}, but no new one can be made ({error}), so state is kept in memory",
                    aside.display()
                ));
            }
        };
        let from = open::connect_damaged(&aside);
        let carried = from
            .and_then(|from| carry::carry(&from, &mut store))
            .unwrap_or_default();
        Found {
            store,
            is_new: true,
            trouble: Some(format!(
                "{reason}; set aside as {} and begun anew{}; what else it held, undelivered events included, is lost",
                aside.display(),
                told(carried)
            )),
        }
    }
}

fn told(carried: Carried) -> String {
    format!(
        " ({} undelivered events, {} incidents and {} acceptances were taken over)",
        carried.events, carried.incidents, carried.acceptances
    )
}

impl Keeper {
    /// The database failed: goes on with the next best one.
    pub(super) fn degrade(&mut self, error: &rusqlite::Error) {
        let Some(path) = self.store.path().map(ToOwned::to_owned) else {
            // Memory itself is full: the next batch may fit again after the oldest went.
            tracing::error!(%error, "state in memory cannot be written");
            return;
        };
        let mut memory = Store::memory(self.place.limits);
        let carried = carry::carry(self.store.connection(), &mut memory).unwrap_or_default();
        // Closes the file and lets go of its lock.
        self.store = memory;
        let trouble = if open::is_damage(error) {
            let found = self.place.replace(
                &format!("state file {} is damaged: {error}", path.display()),
                self.now,
            );
            let mut store = found.store;
            // What was readable a moment ago counts more than what a second reading finds.
            let again = carry::carry(self.store.connection(), &mut store);
            if again.is_ok() {
                self.store = store;
            }
            found.trouble.unwrap_or_default()
        } else {
            format!(
                "state file {}: {error}; until it can be used, state is kept in memory and ends with this process{}",
                path.display(),
                told(carried)
            )
        };
        self.place.retry_at = self.now + RETRY_NS;
        self.told.push(Told::Degraded(trouble));
        self.attach();
    }

    /// Tries the file again, when it is time.
    pub(super) fn repair(&mut self) {
        if self.store.path().is_some() || self.now < self.place.retry_at {
            return;
        }
        self.place.retry_at = self.now + RETRY_NS;
        let mut store = match Store::file(&self.place.path, self.place.limits) {
            Ok((store, _)) => store,
            Err(OpenError::Damaged { path, reason }) => {
                let reason = format!("state file {} is damaged: {reason}", path.display());
                let found = self.place.replace(&reason, self.now);
                self.told.extend(found.trouble.map(Told::Degraded));
                if found.store.path().is_none() {
                    return;
                }
                found.store
            }
            Err(error) => {
                tracing::debug!(%error, "state file not usable yet");
                return;
            }
        };
        for lane in self.lanes.values_mut() {
            lane.is_ahead = true;
        }
        self.flush();
        match carry::carry(self.store.connection(), &mut store) {
            Ok(carried) => {
                self.store = store;
                self.told.push(Told::Recovered(format!(
                    "state file {} is in use again{}",
                    self.place.path.display(),
                    told(carried)
                )));
                self.attach();
            }
            Err(error) => tracing::debug!(%error, "state file not writable yet"),
        }
    }
}
