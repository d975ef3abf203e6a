//! Events that wait for sinks: one row an event, one cursor a sink.
//!
//! Everything up to a cursor is settled, and beyond it what stands in `ahead`: a page ([`super::page`]) goes before
//! what waits.
//!
//! A row goes when every sink is past it, or when the outbox is over its bound ([`super::bound`]). Cursors may lag
//! behind what was acknowledged by up to a second, which costs a repetition after a crash and no loss; they never
//! run ahead. A body whose digest is wrong is not sent: it becomes a dead letter that says so.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{
    open,
    store::{self, Changes, Store},
};
use crate::{
    deliver::{Class, Event},
    incident::Severity,
};

/// Key in `meta`: the number given last.
const SEQUENCE: &str = "sequence";

/// Events that every sink is past.
const PASSED: &str = "DELETE FROM event WHERE sequence <=
        (SELECT coalesce(min(cursor), 9223372036854775807) FROM sink)
    RETURNING length(body)";

/// Events that every sink is past or has settled ahead of its cursor.
const SETTLED_AHEAD: &str = "DELETE FROM event WHERE sequence IN (SELECT sequence FROM ahead)
    AND NOT EXISTS (
        SELECT 1 FROM sink WHERE cursor < event.sequence AND NOT EXISTS (
            SELECT 1 FROM ahead WHERE ahead.sink = sink.name AND ahead.sequence = event.sequence
        )
    )
    RETURNING length(body)";

/// What comes of reading one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// As it was written.
    Whole(Event),
    /// The body is not what was written.
    Damaged {
        /// Its number.
        sequence: u64,
    },
}

impl Stored {
    /// Its number.
    pub(super) fn sequence(&self) -> u64 {
        match self {
            Stored::Whole(event) => event.sequence,
            Stored::Damaged { sequence } => *sequence,
        }
    }
}

impl Changes<'_> {
    /// Keeps an event for the sinks; its number is remembered even without any.
    pub(super) fn queue(
        &mut self,
        event: &Event,
        at: i64,
        has_sinks: bool,
        is_page: bool,
    ) -> rusqlite::Result<()> {
        self.set_meta(SEQUENCE, event.sequence.cast_signed())?;
        if !has_sinks {
            return Ok(());
        }
        let rows = self
            .transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO event (sequence, id, class, severity, subject, at, body, digest, page)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute((
                event.sequence.cast_signed(),
                &event.id,
                class_name(event.class),
                event.severity.map(|severity| severity.name()),
                &event.subject,
                at,
                &event.body[..],
                store::digest(&event.body),
                is_page,
            ))?;
        *self.outbox_bytes += (rows * event.body.len()) as u64;
        Ok(())
    }

    /// Moves a sink's cursor forward; never back.
    pub(super) fn advance(&self, sink: &str, cursor: u64) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("UPDATE sink SET cursor = max(cursor, ?2) WHERE name = ?1")?
            .execute((sink, cursor.cast_signed()))?;
        Ok(())
    }

    /// Deletes what every sink has settled.
    pub(super) fn sweep(&mut self) -> rusqlite::Result<()> {
        for settled in [PASSED, SETTLED_AHEAD] {
            let mut statement = self.transaction.prepare_cached(settled)?;
            let freed = statement.query_map([], |row| row.get::<_, i64>(0))?;
            for bytes in freed {
                *self.outbox_bytes = self.outbox_bytes.saturating_sub(bytes?.unsigned_abs());
            }
        }
        self.forget_ahead()
    }

    /// Makes the cursors those of `names`: a new one begins after what is stored, one that is no longer wanted goes
    /// with its dead letters.
    pub(super) fn set_sinks(&mut self, names: &[String]) -> rusqlite::Result<()> {
        for (name, _) in cursors(self.transaction)? {
            if !names.contains(&name) {
                self.transaction
                    .execute("DELETE FROM sink WHERE name = ?1", [&name])?;
                self.transaction
                    .execute("DELETE FROM dead_letter WHERE sink = ?1", [&name])?;
            }
        }
        let last = store::meta(self.transaction, SEQUENCE)?.unwrap_or(0);
        // No sink is past a number that was never given: in a damaged file one would swallow all that comes. From the
        // beginning, what is stored comes again at most.
        self.transaction
            .execute("UPDATE sink SET cursor = 0 WHERE cursor > ?1", [last])?;
        for name in names {
            self.transaction.execute(
                "INSERT OR IGNORE INTO sink (name, cursor) VALUES (?1, ?2)",
                (name, last),
            )?;
        }
        self.sweep()
    }
}

impl Store {
    /// The number given last, as far as stored.
    pub(super) fn last_sequence(&self) -> rusqlite::Result<u64> {
        let last = store::meta(self.connection(), SEQUENCE)?.unwrap_or(0);
        Ok(last.max(0).cast_unsigned())
    }

    /// Up to `limit` events that `sink` has not settled and that come after its `cursor`, in order.
    pub(super) fn after(
        &self,
        sink: &str,
        cursor: u64,
        limit: usize,
    ) -> rusqlite::Result<Vec<Stored>> {
        self.connection()
            .prepare_cached(
                "SELECT sequence, id, class, severity, subject, body, digest FROM event
                 WHERE sequence > ?2 AND NOT EXISTS (
                     SELECT 1 FROM ahead WHERE ahead.sink = ?1 AND ahead.sequence = event.sequence
                 ) ORDER BY sequence LIMIT ?3",
            )?
            .query_map((sink, cursor.cast_signed(), limit as i64), stored)?
            .collect()
    }

    pub(super) fn count_outbox_bytes(&self) -> rusqlite::Result<u64> {
        let sum: Option<i64> = self
            .connection()
            .query_row("SELECT sum(length(body)) FROM event", [], |row| row.get(0))
            .optional()?
            .flatten();
        Ok(sum.unwrap_or(0).unsigned_abs())
    }
}

/// How many events after `cursor` `sink` has not settled.
pub(super) fn depth(connection: &Connection, sink: &str, cursor: u64) -> rusqlite::Result<u64> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM event WHERE sequence > ?2 AND NOT EXISTS (
                 SELECT 1 FROM ahead WHERE ahead.sink = ?1 AND ahead.sequence = event.sequence
             )",
        )?
        .query_row((sink, cursor.cast_signed()), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Every sink and how far it is.
pub(super) fn cursors(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    connection
        .prepare_cached("SELECT name, cursor FROM sink ORDER BY name")?
        .query_map([], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.max(0).cast_unsigned()))
        })?
        .collect()
}

/// One row of `sequence, id, class, severity, subject, body, digest`.
pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let sequence = row.get::<_, i64>(0)?.cast_unsigned();
    match whole(row, sequence) {
        Ok(Some(event)) => Ok(Stored::Whole(event)),
        Ok(None) => Ok(Stored::Damaged { sequence }),
        // One byte makes a text a blob: this event is lost, and the file goes on.
        Err(error) if open::is_no_value_of_its_column(&error) => Ok(Stored::Damaged { sequence }),
        Err(error) => Err(error),
    }
}

/// The event of a row; `None`: it is not what was written.
fn whole(row: &Row<'_>, sequence: u64) -> rusqlite::Result<Option<Event>> {
    let body = row.get_ref(5)?.as_bytes()?;
    if store::digest(body) != row.get::<_, i64>(6)? {
        return Ok(None);
    }
    let severity: Option<String> = row.get(3)?;
    let class: String = row.get(2)?;
    // The names are this program's own: anything else is damage.
    let known = |known: &Class| class_name(*known) == class;
    let Some(class) = Class::ALL.into_iter().find(known) else {
        return Ok(None);
    };
    Ok(Some(Event {
        sequence,
        id: row.get(1)?,
        class,
        severity: severity.as_deref().and_then(Severity::from_name),
        subject: row.get(4)?,
        body: body.to_vec().into(),
    }))
}

/// A class as it is written in the file.
pub(super) fn class_name(class: Class) -> &'static str {
    match class {
        Class::Heartbeat => "heartbeat",
        Class::Finding => "finding",
        Class::Agent => "agent",
        Class::Incident => "incident",
    }
}
