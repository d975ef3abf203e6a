//! A page goes before what waits: at a slow receiver nobody is woken late because a thousand incidents were resolved.
//!
//! A *page* is the event with which an incident becomes critical. Order is owed within an incident only, so a page may
//! go first, and takes along what waits of its own incident before it. What a sink has settled in this way stands in
//! `ahead` until its cursor comes to it, written at once: a page costs an fsync more, and a crash no repetition. Where
//! a page is given up or collapses, what is left of its incident goes in its place.

use std::collections::HashSet;

use rusqlite::OptionalExtension as _;

use super::{
    incidents::StoredIncident,
    outbox::{self, Stored},
    store::{Changes, Store},
};

impl Changes<'_> {
    /// Whether the incident becomes critical with this state, which is not stored yet.
    pub(super) fn is_page(&self, incident: &StoredIncident) -> rusqlite::Result<bool> {
        if incident.status != "open" || incident.severity != "critical" {
            return Ok(false);
        }
        let before: Option<bool> = self
            .transaction
            .prepare_cached("SELECT severity = 'critical' FROM incident WHERE id = ?1")?
            .query_row([&incident.id], |row| row.get(0))
            .optional()?;
        Ok(before != Some(true))
    }

    /// `sink` has settled an event that its cursor has not come to.
    pub(super) fn settle_ahead(&self, sink: &str, sequence: u64) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("INSERT OR IGNORE INTO ahead (sink, sequence) VALUES (?1, ?2)")?
            .execute((sink, sequence.cast_signed()))?;
        Ok(())
    }

    /// Forgets what cursors have come to, and what is no longer there.
    pub(super) fn forget_ahead(&self) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "DELETE FROM ahead WHERE NOT EXISTS (
                     SELECT 1 FROM event JOIN sink
                     WHERE event.sequence = ahead.sequence AND name = sink AND cursor < ahead.sequence
                 )",
            )?
            .execute([])?;
        Ok(())
    }

    /// A page of that incident is gone: what comes next of it is one.
    pub(super) fn inherit_page(&self, sequence: i64, subject: &str) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "UPDATE event SET page = 1 WHERE sequence = (
                     SELECT min(sequence) FROM event WHERE subject = ?2 AND subject <> '' AND sequence > ?1
                 )",
            )?
            .execute((sequence, subject))?;
        Ok(())
    }
}

impl Store {
    /// Pages after `paged`, the oldest first, each after what `sink` has not settled of its incident: events after
    /// `cursor`, at most `limit`.
    pub(super) fn pages(
        &self,
        sink: &str,
        cursor: u64,
        paged: u64,
        limit: usize,
    ) -> rusqlite::Result<Vec<Stored>> {
        let pages: Vec<(i64, String)> = self
            .connection()
            .prepare_cached(
                "SELECT sequence, subject FROM event WHERE page = 1 AND sequence > ?2 AND NOT EXISTS (
                     SELECT 1 FROM ahead WHERE ahead.sink = ?1 AND ahead.sequence = event.sequence
                 ) ORDER BY sequence LIMIT ?3",
            )?
            .query_map((sink, paged.cast_signed(), limit as i64), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut select = self.connection().prepare_cached(
            "SELECT sequence, id, class, severity, subject, body, digest FROM event
             WHERE subject = ?1 AND subject <> '' AND sequence > ?2 AND sequence <= ?3 AND NOT EXISTS (
                 SELECT 1 FROM ahead WHERE ahead.sink = ?4 AND ahead.sequence = event.sequence
             ) ORDER BY sequence LIMIT ?5",
        )?;
        let mut out = Vec::new();
        let mut seen = HashSet::new();
        for (page, subject) in pages {
            if out.len() >= limit {
                break;
            }
            let bounds = (&subject, cursor.cast_signed(), page, sink, limit as i64);
            let rows = select.query_map(bounds, outbox::stored)?;
            for row in rows {
                let row = row?;
                // An incident may have become critical twice.
                if seen.insert(row.sequence()) {
                    out.push(row);
                }
            }
        }
        out.truncate(limit);
        Ok(out)
    }
}
