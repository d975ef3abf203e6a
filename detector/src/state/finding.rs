//! Signals that woke nobody, for whoever asks afterwards what else was seen.
//!
//! Written with the inventory, every few seconds, because they are no promise: a kill costs the last ones. Bounded by
//! age and number: the oldest goes first.

use bytes::Bytes;
use rusqlite::Connection;

use super::store::Changes;

/// Findings kept: about 15 MB, weeks of a server that is administered by hand.
const MAX: i64 = 10_000;

/// A finding as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFinding {
    /// When it was last seen, ns since 1970.
    pub at: i64,
    /// Stable name of its type.
    pub kind: String,
    /// `info` or `warning`.
    pub severity: String,
    /// [`crate::event::FindingData`] as JSON.
    pub data: Bytes,
}

impl Changes<'_> {
    /// Keeps a finding.
    pub(super) fn put_finding(&self, finding: &StoredFinding) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "INSERT INTO finding (at, type, severity, data) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((
                finding.at,
                &finding.kind,
                &finding.severity,
                &finding.data[..],
            ))?;
        Ok(())
    }

    /// Forgets what is beyond the bounds.
    pub(super) fn forget_findings(&self, now: i64) -> rusqlite::Result<()> {
        let before = now.saturating_sub(self.limits.keep_ns);
        self.transaction
            .execute("DELETE FROM finding WHERE at < ?1", [before])?;
        self.transaction.execute(
            "DELETE FROM finding WHERE id IN (SELECT id FROM finding ORDER BY id DESC LIMIT -1 OFFSET ?1)",
            [MAX],
        )?;
        Ok(())
    }
}

/// The newest `limit`, newest first.
pub(super) fn list(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<StoredFinding>> {
    connection
        .prepare("SELECT at, type, severity, data FROM finding ORDER BY id DESC LIMIT ?1")?
        .query_map([limit], |row| {
            Ok(StoredFinding {
                at: row.get(0)?,
                kind: row.get(1)?,
                severity: row.get(2)?,
                data: Bytes::copy_from_slice(row.get_ref(3)?.as_bytes()?),
            })
        })?
        .collect()
}
