//! From one database to another, as far as it can be read: out of a damaged file, into memory, back into the file.
//!
//! Nothing here fails on what it reads: a row that cannot be read, or that holds what its column never does, is left.
//! (SQLite keeps any kind of value in any column: one wrong byte makes a text a blob, and who reads it later takes the
//! whole new file for damaged.) Carried are cursors, events,
//! dead letters, incidents, acceptances, requests and the undeclared gap; the inventory and the baselines are learned
//! again.

use rusqlite::{
    Connection, Row,
    types::{Type, Value},
};

use super::store::{self, Changes, Store};

/// What was carried, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// Undelivered events.
    pub(super) events: u64,
    /// Incidents.
    pub(super) incidents: u64,
    /// Acceptances.
    pub(super) acceptances: u64,
    /// Tables that could not be read to their end.
    pub(super) broken_tables: u64,
}

/// Tables, their columns, how they are ordered, and what wins when a row is there already.
const TABLES: [(&str, &str, &str); 7] = [
    ("sink", "name, cursor", "IGNORE"),
    (
        "event",
        "sequence, id, class, severity, subject, at, body, digest, page",
        "IGNORE",
    ),
    ("ahead", "sink, sequence", "IGNORE"),
    (
        "dead_letter",
        "sink, sequence, id, class, severity, subject, at, reason, again, body, digest",
        "REPLACE",
    ),
    (
        "incident",
        "id, status, severity, title, group_key, opened, updated, resolved, executable, sha256, unit, boot_id, \
         tgid, start_ns, event, digest",
        "REPLACE",
    ),
    (
        "acceptance",
        "id, kind, value, owner_uid, findings, reason, incident, created, expires",
        "IGNORE",
    ),
    ("request", "id, what, incident, reason, created", "IGNORE"),
];

/// Keys of `meta` that are carried by maximum.
const META: [&str; 5] = [
    "sequence",
    "gap_total",
    "gap_declared",
    "gap_from",
    "gap_to",
];

/// Copies what `from` still tells into `to`, in one transaction of `to`.
///
/// # Errors
/// `to` cannot be written; it is then unchanged.
pub(super) fn carry(from: &Connection, to: &mut Store) -> rusqlite::Result<Carried> {
    let carried = to.transact(|changes| {
        let mut carried = Carried::default();
        for key in META {
            let ours = store::meta(changes.transaction, key)?;
            if let Ok(Some(theirs)) = store::meta(from, key)
                && ours.is_none_or(|ours| ours < theirs)
            {
                changes.set_meta(key, theirs)?;
            }
        }
        for (table, columns, on_conflict) in TABLES {
            let (rows, whole) = copy(from, changes, table, columns, on_conflict)?;
            carried.broken_tables += u64::from(!whole);
            match table {
                "event" => carried.events = rows,
                "incident" => carried.incidents = rows,
                "acceptance" => carried.acceptances = rows,
                _ => {}
            }
        }
        advance_cursors(from, changes)?;
        changes.sweep()?;
        Ok(carried)
    })?;
    to.outbox_bytes = to.count_outbox_bytes()?;
    Ok(carried)
}

/// Copies one table; `false`: not to its end.
fn copy(
    from: &Connection,
    changes: &Changes<'_>,
    table: &str,
    columns: &str,
    on_conflict: &str,
) -> rusqlite::Result<(u64, bool)> {
    let Some(known) = columns_of(from, table) else {
        return Ok((0, false));
    };
    // A file of an earlier version lacks some, and what they say by default is true of its rows.
    let columns = columns
        .split(", ")
        .filter(|column| known.iter().any(|known| known == column));
    let columns: Vec<&str> = columns.collect();
    if columns.is_empty() {
        return Ok((0, true));
    }
    let kinds = kinds(changes.transaction, table, &columns)?;
    let count = columns.len();
    let (columns, marks) = (columns.join(", "), vec!["?"; count].join(", "));
    let mut insert = changes.transaction.prepare(&format!(
        "INSERT OR {on_conflict} INTO {table} ({columns}) VALUES ({marks})"
    ))?;
    let Ok(mut select) = from.prepare(&format!("SELECT {columns} FROM {table}")) else {
        return Ok((0, false));
    };
    let Ok(mut rows) = select.query([]) else {
        return Ok((0, false));
    };
    let mut copied = 0;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok((copied, true)),
            Err(_) => return Ok((copied, false)),
        };
        let Some(values) = values(row, &kinds) else {
            continue;
        };
        match insert.execute(rusqlite::params_from_iter(values)) {
            Ok(inserted) => copied += inserted as u64,
            // A damaged value that breaks a constraint of the table.
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a column holds, and whether it may be empty.
type Kind = (Type, bool);

/// What the columns hold, in that order.
fn kinds(connection: &Connection, table: &str, columns: &[&str]) -> rusqlite::Result<Vec<Kind>> {
    let mut select = connection
        .prepare("SELECT type, \"notnull\" FROM pragma_table_info(?1) WHERE name = ?2")?;
    let kind = |row: &Row<'_>| -> rusqlite::Result<Kind> {
        let declared: String = row.get(0)?;
        let never_null: bool = row.get(1)?;
        let kind = match declared.as_str() {
            "INTEGER" => Type::Integer,
            "TEXT" => Type::Text,
            "BLOB" => Type::Blob,
            _ => Type::Null,
        };
        Ok((kind, !never_null))
    };
    let kinds = columns
        .iter()
        .map(|column| select.query_row([table, column], kind));
    kinds.collect()
}

/// The values of a row; `None`: one is no value of its column.
fn values(row: &Row<'_>, kinds: &[Kind]) -> Option<Vec<Value>> {
    let value = |(at, (kind, may_be_empty)): (usize, &Kind)| {
        let value: Value = row.get(at).ok()?;
        let fits = match value.data_type() {
            Type::Null => *may_be_empty,
            other => other == *kind,
        };
        fits.then_some(value)
    };
    kinds.iter().enumerate().map(value).collect()
}

/// Columns of a table; none: it is not there. `None`: that cannot be read.
fn columns_of(from: &Connection, table: &str) -> Option<Vec<String>> {
    let mut select = from
        .prepare("SELECT name FROM pragma_table_info(?1)")
        .ok()?;
    let names = select.query_map([table], |row| row.get(0)).ok()?;
    names.collect::<rusqlite::Result<_>>().ok()
}

/// A cursor is as far as the farther of both.
fn advance_cursors(from: &Connection, changes: &Changes<'_>) -> rusqlite::Result<()> {
    let theirs = super::outbox::cursors(from).unwrap_or_default();
    // A damaged cursor must not run ahead of everything that was ever numbered.
    let last = store::meta(changes.transaction, "sequence")?.unwrap_or(0);
    for (name, cursor) in theirs {
        changes.advance(&name, cursor.min(last.max(0).cast_unsigned()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, state::store::Limits};

    #[test]
    fn a_row_with_a_value_of_the_wrong_kind_is_left_and_those_behind_it_are_carried() {
        let from = Connection::open_in_memory().expect("memory");
        from.execute_batch(include_str!("fixtures/version-3.sql"))
            .expect("valid SQL");
        from.execute_batch(
            "INSERT INTO event (sequence, id, class, subject, at, body, digest)
                 SELECT sequence + 1, x'ff', class, subject, at, body, digest FROM event;
             INSERT INTO event (sequence, id, class, subject, at, body, digest)
                 SELECT sequence + 2, id, class, subject, at, body, digest FROM event WHERE id <> x'ff';
             UPDATE acceptance SET created = 'yesterday';",
        )
        .expect("valid SQL");
        let mut to = Store::memory(Limits::from(&config::State::default()));
        let carried = carry(&from, &mut to).expect("memory takes it");
        let expected = Carried {
            events: 2,
            incidents: 1,
            acceptances: 0,
            broken_tables: 0,
        };
        assert_eq!(carried, expected);
    }

    #[test]
    fn a_file_of_an_earlier_version_is_carried_as_far_as_it_goes() {
        for (version, file, events) in [
            (1, include_str!("fixtures/version-1.sql"), 0),
            (2, include_str!("fixtures/version-2.sql"), 1),
            (3, include_str!("fixtures/version-3.sql"), 1),
        ] {
            let from = Connection::open_in_memory().expect("memory");
            from.execute_batch(file).expect("valid SQL");
            let mut to = Store::memory(Limits::from(&config::State::default()));
            let carried = carry(&from, &mut to).expect("memory takes it");
            let expected = Carried {
                events,
                incidents: 1,
                acceptances: 1,
                broken_tables: 0,
            };
            assert_eq!(carried, expected, "version {version}");
        }
    }
}
