//! Files of every version, opened by programs of every version.

use rusqlite::Connection;

use super::*;

/// What version 1 wrote, row by row, on the day it was replaced.
const VERSION_1: &str = include_str!("../fixtures/version-1.sql");

/// The same of version 2.
const VERSION_2: &str = include_str!("../fixtures/version-2.sql");

/// The same of version 3.
const VERSION_3: &str = include_str!("../fixtures/version-3.sql");

fn version(connection: &Connection) -> u32 {
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("a number")
}

fn file_of_version_1() -> Connection {
    let connection = Connection::open_in_memory().expect("memory");
    connection.execute_batch(VERSION_1).expect("valid SQL");
    connection
}

const TABLES_OF_VERSION_1: [&str; 7] = [
    "meta",
    "incident",
    "executable",
    "destination",
    "acceptance",
    "request",
    "baseline",
];
const TABLES_OF_VERSION_2: [&str; 3] = ["event", "sink", "dead_letter"];

/// Every row of every table of version 1, as text.
fn rows_of_version_1(connection: &Connection) -> Vec<String> {
    rows(connection, &TABLES_OF_VERSION_1)
}

/// Every row of these tables, as text.
fn rows(connection: &Connection, tables: &[&str]) -> Vec<String> {
    let mut rows = Vec::new();
    for table in tables {
        let mut select = connection
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1"))
            .expect("the table is there");
        let columns = select.column_count();
        let read = select.query_map([], |row| {
            let values = (0..columns).map(|column| row.get::<_, rusqlite::types::Value>(column));
            let values: rusqlite::Result<Vec<_>> = values.collect();
            Ok(format!("{table} {:?}", values?))
        });
        rows.extend(read.expect("rows").map(|row| row.expect("a row")));
    }
    rows
}

#[test]
fn a_file_of_version_1_keeps_every_row_and_gains_the_outbox() {
    let mut connection = file_of_version_1();
    let before = rows_of_version_1(&connection);
    assert_eq!(before.len(), 8, "{before:#?}");
    assert_eq!(migrate(&mut connection).expect("it migrates"), 1);
    assert_eq!(version(&connection), VERSION);
    assert_eq!(rows_of_version_1(&connection), before);
    let events: u32 = connection
        .query_row("SELECT count(*) FROM event", [], |row| row.get(0))
        .expect("the table is there");
    assert_eq!(events, 0);
}

#[test]
fn a_program_of_version_1_goes_on_with_a_file_of_this_version() {
    let mut connection = file_of_version_1();
    let before = rows_of_version_1(&connection);
    migrate(&mut connection).expect("it migrates");
    assert_eq!(
        migrate_to(&mut connection, 1).expect("it is readable"),
        VERSION
    );
    assert_eq!(
        version(&connection),
        VERSION,
        "and leaves it at its version"
    );
    assert_eq!(rows_of_version_1(&connection), before);
}

#[test]
fn a_file_of_version_2_keeps_every_row_for_this_program_and_for_the_one_before() {
    let mut connection = Connection::open_in_memory().expect("memory");
    connection.execute_batch(VERSION_2).expect("valid SQL");
    let tables = [&TABLES_OF_VERSION_1[..], &TABLES_OF_VERSION_2].concat();
    let before = rows(&connection, &tables);
    assert_eq!(before.len(), 11, "{before:#?}");
    assert_eq!(migrate(&mut connection).expect("it migrates"), 2);
    assert_eq!(version(&connection), VERSION);
    assert_eq!(without_page(rows(&connection, &tables)), before);
    assert_eq!(rows(&connection, &["finding"]), Vec::<String>::new());
    assert_eq!(
        migrate_to(&mut connection, 2).expect("it is readable"),
        VERSION
    );
    assert_eq!(without_page(rows(&connection, &tables)), before);
}

/// Rows as they were before events had a last column, which is 0.
fn without_page(rows: Vec<String>) -> Vec<String> {
    let cut = |row: String| match row.strip_suffix(", Integer(0)]") {
        Some(before) if row.starts_with("event ") => format!("{before}]"),
        _ => row,
    };
    rows.into_iter().map(cut).collect()
}

#[test]
fn a_file_of_version_3_keeps_every_row_and_its_program_goes_on_with_a_page_that_went_ahead() {
    let mut connection = Connection::open_in_memory().expect("memory");
    connection.execute_batch(VERSION_3).expect("valid SQL");
    let old = [&TABLES_OF_VERSION_1[..], &TABLES_OF_VERSION_2, &["finding"]].concat();
    let before = rows(&connection, &old);
    assert_eq!(before.len(), 12, "{before:#?}");
    assert_eq!(migrate(&mut connection).expect("it migrates"), 3);
    assert_eq!(without_page(rows(&connection, &old)), before);
    assert_eq!(rows(&connection, &["ahead"]), Vec::<String>::new());
    connection
        .execute("INSERT INTO ahead VALUES ('http', 1790000000123)", [])
        .expect("writable");
    assert_eq!(
        migrate_to(&mut connection, 3).expect("it is readable"),
        VERSION
    );
    // As version 3 writes an event.
    let written = connection.execute(
        "INSERT OR IGNORE INTO event (sequence, id, class, severity, subject, at, body, digest)
         SELECT sequence + 1, 'e2', class, severity, subject, at, body, digest FROM event",
        [],
    );
    assert_eq!(written, Ok(1));
}

#[test]
fn a_file_made_in_steps_is_the_file_made_at_once() {
    let schema = |connection: &Connection| -> Vec<(String, String)> {
        connection
            .prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name")
            .expect("a schema")
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("rows")
            .map(|row| row.expect("a row"))
            .collect()
    };
    let mut steps = Connection::open_in_memory().expect("memory");
    let mut once = Connection::open_in_memory().expect("memory");
    for target in 1..=VERSION {
        assert_eq!(
            migrate_to(&mut steps, target).expect("it migrates"),
            target - 1
        );
    }
    assert_eq!(migrate(&mut once).expect("it migrates"), 0);
    assert_eq!(schema(&steps), schema(&once));
    assert_eq!(migrate(&mut once).expect("nothing to do"), VERSION);
}

#[test]
fn a_newer_file_is_opened_when_it_allows_that_and_refused_by_name_when_not() {
    let mut connection = Connection::open_in_memory().expect("memory");
    migrate(&mut connection).expect("it migrates");
    connection
        .pragma_update(None, "user_version", 9)
        .expect("writable");
    assert_eq!(migrate(&mut connection).expect("readable by 1"), 9);
    connection
        .execute("UPDATE meta SET value = 8 WHERE key = 'readable_by'", [])
        .expect("writable");
    let refused = migrate(&mut connection).expect_err("it broke with this version");
    assert_eq!(
        refused.to_string(),
        "has version 9, which programs before version 8 cannot read; this one knows version 4"
    );
    assert_eq!(version(&connection), 9, "and is as it was");
}

#[test]
fn a_file_of_another_program_is_refused() {
    let mut connection = Connection::open_in_memory().expect("memory");
    connection
        .execute_batch("CREATE TABLE meta (key, value)")
        .expect("writable");
    assert!(matches!(
        migrate(&mut connection),
        Err(SchemaError::Foreign(0))
    ));
}
