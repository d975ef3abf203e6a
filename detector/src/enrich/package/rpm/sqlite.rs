//! `rpmdb.sqlite`: the table `Packages(hnum, blob)`.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::RpmError;

/// Calls `each` with the number and the header of every package, or of `one`.
pub(super) fn headers(
    file: &Path,
    one: Option<u32>,
    mut each: impl FnMut(u32, &[u8]) -> Result<(), RpmError>,
) -> Result<(), RpmError> {
    let connection = open(file)?;
    let mut statement =
        connection.prepare("SELECT hnum, blob FROM Packages WHERE ?1 IS NULL OR hnum = ?1")?;
    let mut rows = statement.query([one])?;
    while let Some(row) = rows.next()? {
        let blob = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        each(row.get(0)?, blob)?;
    }
    Ok(())
}

/// Nothing is written and no lock is taken: immutable. Only while there is a write-ahead log that holds
/// something it has to be read, too; its index is opened as it is.
fn open(file: &Path) -> Result<Connection, RpmError> {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let logged = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
    let how = if logged {
        "readonly_shm=1"
    } else {
        "immutable=1"
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // The folders are ours to name (`FOLDERS`); a root with `?` or `%` in it is a test's.
    let name = format!("file:{}?mode=ro&{how}", file.display());
    Ok(Connection::open_with_flags(name, flags)?)
}
