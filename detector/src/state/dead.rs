//! Dead letters: what a receiver will never take, kept until somebody looks.
//!
//! Bounded: the oldest of a sink goes first, and is declared as a gap.

use rusqlite::Connection;

use super::{
    bound::Gone,
    outbox::{self, Stored},
    store::{self, Changes, Store},
};
use crate::deliver::Event;

/// Dead letters of one sink: a receiver that refuses everything for a day must not fill the disk.
const MAX: i64 = 1_000;

/// One dead letter, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who refused it.
    pub sink: String,
    /// The event's number.
    pub sequence: u64,
    /// The event's id.
    pub id: String,
    /// The incident's id, or empty.
    pub subject: String,
    /// When it was refused, ns since 1970.
    pub at: i64,
    /// Why.
    pub reason: String,
    /// It waits to be sent again.
    pub again: bool,
}

impl Changes<'_> {
    /// Keeps what `sink` refused.
    pub(super) fn bury(
        &mut self,
        sink: &str,
        event: &Event,
        reason: &str,
        at: i64,
    ) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO dead_letter
                     (sink, sequence, id, class, severity, subject, at, reason, again, body, digest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10)",
            )?
            .execute((
                sink,
                event.sequence.cast_signed(),
                &event.id,
                outbox::class_name(event.class),
                event.severity.map(|severity| severity.name()),
                &event.subject,
                at,
                reason,
                &event.body[..],
                store::digest(&event.body),
            ))?;
        let over: Vec<i64> = self
            .transaction
            .prepare_cached(
                "DELETE FROM dead_letter WHERE sink = ?1 AND sequence IN (
                     SELECT sequence FROM dead_letter WHERE sink = ?1 ORDER BY sequence DESC LIMIT -1 OFFSET ?2
                 ) RETURNING sequence",
            )?
            .query_map((sink, MAX), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for sequence in over {
            self.note_gap(Gone {
                from: sequence.cast_unsigned(),
                to: sequence.cast_unsigned(),
                events: 1,
            })?;
        }
        Ok(())
    }

    /// A dead letter was taken after all.
    pub(super) fn unbury(&self, sink: &str, sequence: u64) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("DELETE FROM dead_letter WHERE sink = ?1 AND sequence = ?2")?
            .execute((sink, sequence.cast_signed()))?;
        Ok(())
    }
}

impl Store {
    /// Up to `limit` dead letters of `sink` that are to be sent again, in order.
    pub(super) fn again(&self, sink: &str, limit: usize) -> rusqlite::Result<Vec<Stored>> {
        self.connection()
            .prepare_cached(
                "SELECT sequence, id, class, severity, subject, body, digest FROM dead_letter
                 WHERE sink = ?1 AND again = 1 ORDER BY sequence LIMIT ?2",
            )?
            .query_map((sink, limit as i64), outbox::stored)?
            .collect()
    }

    /// How many dead letters there are.
    pub(super) fn dead_count(&self) -> rusqlite::Result<u64> {
        let count: i64 = self
            .connection()
            .prepare_cached("SELECT count(*) FROM dead_letter")?
            .query_row([], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }
}

/// All of them, oldest first.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<DeadLetter>> {
    connection
        .prepare(
            "SELECT sink, sequence, id, subject, at, reason, again FROM dead_letter
             ORDER BY at, sink, sequence",
        )?
        .query_map([], |row| {
            Ok(DeadLetter {
                sink: row.get(0)?,
                sequence: row.get::<_, i64>(1)?.cast_unsigned(),
                id: row.get(2)?,
                subject: row.get(3)?,
                at: row.get(4)?,
                reason: row.get(5)?,
                again: row.get(6)?,
            })
        })?
        .collect()
}

/// Asks for dead letters with this id, or id's number, to be sent again. Gives how many there are.
pub(super) fn resend(connection: &Connection, id: &str) -> rusqlite::Result<usize> {
    connection.execute(
        "UPDATE dead_letter SET again = 1 WHERE id = ?1 OR sequence = CAST(?1 AS INTEGER) AND ?1 GLOB '[0-9]*'
             OR ?1 = 'all'",
        [id],
    )
}
