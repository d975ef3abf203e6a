//! What rules learned, as bytes they wrote themselves. This module knows nothing about their content.
//!
//! Bounded: the 1,024 most recently updated stay.

use super::store::{Changes, Store};
use crate::input::Baseline;

/// Four times what the engine keeps.
const MAX: i64 = 1_024;

impl Changes<'_> {
    /// Keeps a baseline.
    pub(super) fn put_baseline(&self, baseline: &Baseline, at: i64) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO baseline (identity, version, body, updated) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((&baseline.identity, baseline.version, &baseline.body, at))?;
        Ok(())
    }

    /// Forgets those beyond the bound.
    pub(super) fn forget_baselines(&self) -> rusqlite::Result<()> {
        self.transaction.execute(
            "DELETE FROM baseline WHERE identity IN (
                 SELECT identity FROM baseline ORDER BY updated DESC LIMIT -1 OFFSET ?1)",
            [MAX],
        )?;
        Ok(())
    }
}

impl Store {
    /// All of them.
    pub(super) fn baselines(&self) -> rusqlite::Result<Vec<Baseline>> {
        self.connection()
            .prepare("SELECT identity, version, body FROM baseline ORDER BY identity")?
            .query_map([], |row| {
                Ok(Baseline {
                    identity: row.get(0)?,
                    version: row.get(1)?,
                    body: row.get(2)?,
                })
            })?
            .collect()
    }
}
