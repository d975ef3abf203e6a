//! One database, in a file or in memory, and the transaction around a batch of changes.
//!
//! The same tables and the same code serve both places: when the file cannot be used, the daemon goes on with a
//! database in memory under a smaller bound. What is stored is in the files beside this one.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};
use sha2::{Digest as _, Sha256};

use super::{open, schema};
use crate::config;

/// Most of the outbox in memory, bytes: some 1,500 events of an incident, within the daemon's 20 MB.
const MEMORY_OUTBOX_BYTES: u64 = 8 << 20;

/// What bounds the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bodies of events that wait for a sink, bytes.
    pub(super) outbox_bytes: u64,
    /// Age at which an event is given up, ns.
    pub(super) outbox_age_ns: i64,
    /// Age at which anything else is forgotten, ns.
    pub(super) keep_ns: i64,
}

const DAY_NS: i64 = 86_400_000_000_000;

impl From<&config::State> for Limits {
    fn from(config: &config::State) -> Limits {
        Limits {
            outbox_bytes: config.outbox_max_bytes,
            outbox_age_ns: i64::from(config.outbox_max_age_days) * DAY_NS,
            keep_ns: i64::from(config.keep_days) * DAY_NS,
        }
    }
}

/// How a file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// There was none ever.
    New,
    /// It is the one of the run before.
    Kept,
    /// There was one, and it is gone or empty.
    Lost,
}

/// A database.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    file: Option<(PathBuf, File)>,
    pub(super) limits: Limits,
    /// Bytes of the outbox's bodies, kept in step with every commit.
    pub(super) outbox_bytes: u64,
}

impl Store {
    /// The file at `path`, and how it was found.
    ///
    /// # Errors
    /// [`open::OpenError`].
    pub(super) fn file(path: &Path, limits: Limits) -> Result<(Store, Origin), open::OpenError> {
        let opened = open::open(path)?;
        let mut store = Store {
            connection: opened.connection,
            file: Some((path.to_owned(), opened.lock)),
            limits,
            outbox_bytes: 0,
        };
        store.outbox_bytes = store.count_outbox_bytes().map_err(|source| {
            if open::is_damage(&source) {
                open::OpenError::Damaged {
                    path: path.to_owned(),
                    reason: source.to_string(),
                }
            } else {
                open::OpenError::Schema {
                    path: path.to_owned(),
                    source: source.into(),
                }
            }
        })?;
        Ok((
            store,
            match (opened.is_lost, opened.is_new) {
                (true, _) => Origin::Lost,
                (false, true) => Origin::New,
                (false, false) => Origin::Kept,
            },
        ))
    }

    /// A database in memory, with a smaller outbox.
    pub(super) fn memory(limits: Limits) -> Store {
        let mut connection =
            Connection::open_in_memory().expect("SQLite needs no resources for an empty database");
        schema::migrate(&mut connection).expect("the schema is valid");
        Store {
            connection,
            file: None,
            limits: Limits {
                outbox_bytes: limits.outbox_bytes.min(MEMORY_OUTBOX_BYTES),
                ..limits
            },
            outbox_bytes: 0,
        }
    }

    /// Where it lies; `None`: in memory.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Applies `changes` in one transaction: all of it or nothing.
    ///
    /// # Errors
    /// What SQLite says; then nothing was changed.
    pub(super) fn transact<T>(
        &mut self,
        changes: impl FnOnce(&mut Changes<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let limits = self.limits;
        let mut outbox_bytes = self.outbox_bytes;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = changes(&mut Changes {
            transaction: &transaction,
            limits,
            outbox_bytes: &mut outbox_bytes,
        })?;
        transaction.commit()?;
        self.outbox_bytes = outbox_bytes;
        Ok(result)
    }
}

/// An open transaction.
pub(super) struct Changes<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) limits: Limits,
    pub(super) outbox_bytes: &'a mut u64,
}

impl Changes<'_> {
    pub(super) fn set_meta(&self, key: &str, value: i64) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
            .execute((key, value))?;
        Ok(())
    }
}

pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// Tells whether a body is what was written: SQLite has no checksums of its own in the file.
pub(super) fn digest(body: &[u8]) -> i64 {
    let hash = Sha256::digest(body);
    i64::from_be_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
}
