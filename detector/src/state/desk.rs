//! The file as the command line sees it: looks things up, and leaves notes for the daemon.
//!
//! A connection of its own beside the daemon's, for short transactions; it never makes, migrates or repairs a file.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{
    DeadLetter, ProgramSeen, Request, StoredFinding, StoredIncident, acceptance, dead, finding,
    incidents, inventory, open, outbox, schema, store,
};
use crate::{incident::Acceptance, input::KnownDestination};

/// Characters of an id that are enough to name it, if no other begins like that.
const SHORTEST: usize = 4;

/// Why the command line cannot do it.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no file.
    #[error("there is no state file at {} (has the detector run here, with this configuration?)", .0.display())]
    NoFile(PathBuf),
    /// The file is not this version's.
    #[error("state file {} has version {found}; this program needs {needed}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// What is needed.
        needed: u32,
    },
    /// SQLite refused.
    #[error("state file {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// No incident has that id.
    #[error("no incident begins with {0:?}; `detector incidents` lists them")]
    NoIncident(String),
    /// Several incidents do.
    #[error("{0:?} could be any of {1}; give more of the id")]
    Ambiguous(String, String),
    /// Its event is not what was written.
    #[error("incident {0} is damaged in the state file")]
    Damaged(String),
}

/// How far a sink is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkState {
    /// Its name.
    pub name: String,
    /// The number of the last event it settled, as written.
    pub cursor: u64,
    /// Events that wait for it.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
}

/// The file.
#[derive(Debug)]
pub struct Desk {
    path: PathBuf,
    connection: Connection,
}

impl Desk {
    /// Opens the file at `path`; `write`: to leave notes for the daemon.
    ///
    /// # Errors
    /// There is none, it may not be read (or written), or is not of this version.
    pub fn open(path: &Path, write: bool) -> Result<Desk, DeskError> {
        if !path.exists() {
            return Err(DeskError::NoFile(path.to_owned()));
        }
        let mode = if write {
            OpenFlags::SQLITE_OPEN_READ_WRITE
        } else {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        };
        let fail = |source| DeskError::Sqlite {
            path: path.to_owned(),
            source,
        };
        let connection = open::connect(path, mode).map_err(fail)?;
        let found: u32 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(fail)?;
        let readable_by = store::meta(&connection, "readable_by").map_err(fail)?;
        let readable = readable_by.is_some_and(|oldest| oldest <= i64::from(schema::VERSION));
        if found < schema::VERSION || !readable {
            return Err(DeskError::Version {
                path: path.to_owned(),
                found,
                needed: schema::VERSION,
            });
        }
        Ok(Desk {
            path: path.to_owned(),
            connection,
        })
    }

    /// The newest incidents, newest first, at most `limit`; `None` in place of a damaged one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn incidents(&self, limit: u32) -> Result<Vec<Option<StoredIncident>>, DeskError> {
        self.ask(|connection| {
            incidents::select(connection, "ORDER BY opened DESC, id LIMIT ?1", [limit])
        })
    }

    /// The incident that `id` is, or begins.
    ///
    /// # Errors
    /// None or several are, or the file cannot be read.
    pub fn incident(&self, id: &str) -> Result<StoredIncident, DeskError> {
        let id = id.to_ascii_lowercase();
        if id.len() < SHORTEST {
            return Err(DeskError::NoIncident(id));
        }
        let mut found = self.ask(|connection| {
            // A comparison, not LIKE: the id is the operator's text.
            let clause = "WHERE substr(id, 1, length(?1)) = ?1 ORDER BY opened DESC LIMIT 4";
            incidents::select(connection, clause, [&id])
        })?;
        if found.len() > 1 {
            let ids: Vec<String> = found
                .into_iter()
                .flatten()
                .map(|incident| incident.id)
                .collect();
            return Err(DeskError::Ambiguous(id, ids.join(", ")));
        }
        match found.pop() {
            None => Err(DeskError::NoIncident(id)),
            Some(None) => Err(DeskError::Damaged(id)),
            Some(Some(incident)) => Ok(incident),
        }
    }

    /// Asks the daemon to resolve an incident.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn request(&self, request: &Request, at: i64) -> Result<(), DeskError> {
        self.ask(|connection| incidents::request(connection, request, at))
    }

    /// Whether the daemon has not yet taken such a request.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn is_requested(&self, incident: &str) -> Result<bool, DeskError> {
        self.ask(|connection| incidents::is_requested(connection, incident))
    }

    /// Writes an acceptance down and gives its number.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn accept(&self, acceptance: &Acceptance, at: i64) -> Result<i64, DeskError> {
        self.ask(|connection| acceptance::insert(connection, acceptance, at))
    }

    /// How far each sink is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sinks(&self) -> Result<Vec<SinkState>, DeskError> {
        self.ask(|connection| {
            let mut states = Vec::new();
            for (name, cursor) in outbox::cursors(connection)? {
                let waiting = outbox::depth(connection, &name, cursor)?;
                let dead: i64 = connection.query_row(
                    "SELECT count(*) FROM dead_letter WHERE sink = ?1",
                    [&name],
                    |row| row.get(0),
                )?;
                states.push(SinkState {
                    name,
                    cursor,
                    waiting,
                    dead: dead.unsigned_abs(),
                });
            }
            Ok(states)
        })
    }

    /// Dead letters of all sinks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, DeskError> {
        self.ask(dead::list)
    }

    /// Asks the daemon to send a dead letter again: by the event's id or number, or `all`. Gives how many.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn resend(&self, id: &str) -> Result<usize, DeskError> {
        self.ask(|connection| dead::resend(connection, id))
    }

    /// Signals that woke nobody, the newest `limit`, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn findings(&self, limit: u32) -> Result<Vec<StoredFinding>, DeskError> {
        self.ask(|connection| finding::list(connection, limit))
    }

    /// Where programs connected to, least recently first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn destinations(&self) -> Result<Vec<KnownDestination>, DeskError> {
        self.ask(inventory::destinations)
    }

    /// Programs that no package owns, most recently seen first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn programs(&self) -> Result<Vec<ProgramSeen>, DeskError> {
        self.ask(inventory::programs)
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DeskError> {
        question(&self.connection).map_err(|source| DeskError::Sqlite {
            path: self.path.clone(),
            source,
        })
    }
}
