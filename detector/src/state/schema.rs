//! What the file holds, by version, and which program may open which file.
//!
//! A version only ever *adds* tables, columns and indices, so that a program of the version before still works on
//! the file: a downgrade costs nothing. `meta.readable_by` says the oldest version that may; a version that has to
//! break this raises it. A file of a newer version is opened when `readable_by` allows it and otherwise refused by
//! name, never migrated back and never set aside: it is healthy, and the newer program will want it.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

/// `PRAGMA application_id`: "dtct".
pub(super) const APPLICATION_ID: i32 = 0x6474_6374;

/// Steps from an empty file to the newest version; step n leads to version n + 1.
const STEPS: [&str; 4] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// The version this program writes.
pub(super) const VERSION: u32 = STEPS.len() as u32;

/// The oldest program that can work on a file of [`VERSION`].
const READABLE_BY: u32 = 1;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Something else's file.
    #[error("is a SQLite file of another program (application id {0:#x})")]
    Foreign(i32),
    /// Made by a newer program that broke with this one.
    #[error(
        "has version {found}, which programs before version {readable_by} cannot read; this one knows version {ours}"
    )]
    Newer {
        /// The file's version.
        found: u32,
        /// The oldest version that may open it.
        readable_by: u32,
        /// This program's.
        ours: u32,
    },
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Brings a file to [`VERSION`] in one transaction. Gives the version it had; 0: it was empty.
///
/// # Errors
/// [`SchemaError`]; the file is then as it was.
pub(super) fn migrate(connection: &mut Connection) -> Result<u32, SchemaError> {
    migrate_to(connection, VERSION)
}

/// As a program of version `target` would do.
pub(super) fn migrate_to(connection: &mut Connection, target: u32) -> Result<u32, SchemaError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 =
        transaction.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: u32 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let empty = found == 0 && application == 0 && tables == 0;
    if !empty && application != APPLICATION_ID {
        return Err(SchemaError::Foreign(application));
    }
    if found > target {
        let readable_by = transaction
            .query_row(
                "SELECT value FROM meta WHERE key = 'readable_by'",
                [],
                |row| row.get(0),
            )
            .optional()?
            .unwrap_or(found);
        return if readable_by <= target {
            Ok(found)
        } else {
            Err(SchemaError::Newer {
                found,
                readable_by,
                ours: target,
            })
        };
    }
    if found == target {
        return Ok(found);
    }
    for step in &STEPS[found as usize..target as usize] {
        transaction.execute_batch(step)?;
    }
    transaction.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES ('readable_by', ?1)",
        [READABLE_BY],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", target)?;
    transaction.commit()?;
    Ok(found)
}

#[cfg(test)]
mod tests;
