//! What runs here and where it connects to: programs that no package owns, and destinations.
//!
//! Owned programs are known-good by ownership and not copied. A program becomes *known* after it was first seen
//! `trust_after` ago and no incident was about it since; by content and path, so that neither a new file at an old
//! path nor an old file at a new path inherits trust. Bounded by age and number: least recently seen goes first.

use rusqlite::{Connection, OptionalExtension as _};

use super::store::Changes;
use crate::input::{Destination, Known, KnownDestination};

/// Programs kept: a host has some dozens that no package owns; a build machine thousands.
const MAX_EXECUTABLES: i64 = 20_000;
/// Destinations kept: as many as the engine knows.
const MAX_DESTINATIONS: i64 = 16_384;

/// A program that no package owns, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Program {
    /// Of its content.
    pub sha256: [u8; 32],
    /// Where it lies.
    pub path: Box<[u8]>,
}

/// A row of the inventory, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSeen {
    /// Which.
    pub program: Program,
    /// First seen, ns since 1970.
    pub first_seen: i64,
    /// Last seen, ns since 1970.
    pub last_seen: i64,
    /// `first_start`: it ran when the detector first started here; `ran`.
    pub how: String,
    /// When an incident was last about it, ns since 1970.
    pub last_incident: Option<i64>,
}

impl Changes<'_> {
    /// A program was seen. `true`: for the first time.
    pub(super) fn saw_program(
        &self,
        program: &Program,
        how: &str,
        at: i64,
    ) -> rusqlite::Result<bool> {
        let key = (&program.sha256[..], &program.path[..]);
        let updated = self
            .transaction
            .prepare_cached(
                "UPDATE executable SET last_seen = max(last_seen, ?3) WHERE sha256 = ?1 AND path = ?2",
            )?
            .execute((key.0, key.1, at))?;
        if updated > 0 {
            return Ok(false);
        }
        self.transaction
            .prepare_cached(
                "INSERT INTO executable (sha256, path, first_seen, last_seen, how) VALUES (?1, ?2, ?3, ?3, ?4)",
            )?
            .execute((key.0, key.1, at, how))?;
        Ok(true)
    }

    /// An incident is about a program with this content.
    pub(super) fn accuse(&self, sha256: &[u8], at: i64) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "UPDATE executable SET last_incident = max(coalesce(last_incident, 0), ?2) WHERE sha256 = ?1",
            )?
            .execute((sha256, at))?;
        Ok(())
    }

    /// A destination was seen. `true`: for the first time.
    pub(super) fn saw_destination(&self, to: &Destination, at: i64) -> rusqlite::Result<bool> {
        let ip = to.network.to_string();
        let updated = self
            .transaction
            .prepare_cached(
                "UPDATE destination SET last_seen = max(last_seen, ?4)
                 WHERE identity = ?1 AND ip = ?2 AND port = ?3",
            )?
            .execute((&to.identity, &ip, to.port, at))?;
        if updated > 0 {
            return Ok(false);
        }
        self.transaction
            .prepare_cached(
                "INSERT INTO destination (identity, ip, port, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?4)",
            )?
            .execute((&to.identity, &ip, to.port, at))?;
        Ok(true)
    }

    /// Forgets what is beyond the bounds. Gives how many rows were pushed out by others (age is no loss).
    pub(super) fn forget_inventory(&self, now: i64) -> rusqlite::Result<u64> {
        let before = now.saturating_sub(self.limits.keep_ns);
        let mut pushed_out = 0;
        for (table, key, max) in [
            ("executable", "sha256, path", MAX_EXECUTABLES),
            ("destination", "identity, ip, port", MAX_DESTINATIONS),
        ] {
            self.transaction
                .prepare_cached(&format!("DELETE FROM {table} WHERE last_seen < ?1"))?
                .execute([before])?;
            pushed_out += self
                .transaction
                .prepare_cached(&format!(
                    "DELETE FROM {table} WHERE ({key}) IN (
                         SELECT {key} FROM {table} ORDER BY last_seen DESC LIMIT -1 OFFSET ?1)"
                ))?
                .execute([max])?;
        }
        Ok(pushed_out as u64)
    }
}

/// All destinations, least recently seen first.
pub(super) fn destinations(connection: &Connection) -> rusqlite::Result<Vec<KnownDestination>> {
    let mut known = Vec::new();
    let mut statement = connection.prepare(
        "SELECT identity, ip, port, first_seen, last_seen FROM destination
         ORDER BY last_seen, identity, ip, port",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // What is no network is damaged, and is learned anew.
        let Ok(network) = row.get_ref(1)?.as_str()?.parse() else {
            continue;
        };
        known.push(KnownDestination {
            destination: Destination {
                identity: row.get(0)?,
                network,
                port: row.get(2)?,
            },
            first_seen_unix_ns: row.get(3)?,
            last_seen_unix_ns: row.get(4)?,
        });
    }
    Ok(known)
}

/// Whether a program is known by now.
pub(super) fn known(
    connection: &Connection,
    program: &Program,
    now: i64,
    trust_after_ns: i64,
) -> rusqlite::Result<Option<Known>> {
    let seen: Option<(i64, Option<i64>)> = connection
        .prepare_cached(
            "SELECT first_seen, last_incident FROM executable WHERE sha256 = ?1 AND path = ?2",
        )?
        .query_row((&program.sha256[..], &program.path[..]), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let quiet_since = |(first, incident): (i64, Option<i64>)| first.max(incident.unwrap_or(first));
    Ok(seen
        .filter(|seen| now.saturating_sub(quiet_since(*seen)) >= trust_after_ns)
        .map(|(first_seen, _)| Known {
            first_seen_unix_ns: first_seen,
        }))
}

/// All programs, most recently seen first.
pub(super) fn programs(connection: &Connection) -> rusqlite::Result<Vec<ProgramSeen>> {
    connection
        .prepare(
            "SELECT sha256, path, first_seen, last_seen, how, last_incident FROM executable
             ORDER BY last_seen DESC, path",
        )?
        .query_map([], |row| {
            Ok(ProgramSeen {
                program: Program {
                    sha256: row.get(0)?,
                    path: row.get_ref(1)?.as_bytes()?.into(),
                },
                first_seen: row.get(2)?,
                last_seen: row.get(3)?,
                how: row.get(4)?,
                last_incident: row.get(5)?,
            })
        })?
        .collect()
}

/// Lower-case hex of a SHA-256.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
