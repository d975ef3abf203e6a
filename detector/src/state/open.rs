//! From a path to a connection one can rely on: permissions, one daemon a file, integrity, version.
//!
//! The file is the owner's alone (0600, folder 0700): it holds command lines. A file that SQLite finds damaged is
//! renamed to `<name>.corrupt-<UTC time>`, never deleted: it may still answer questions. It is never done to a file
//! that is merely in use, of a newer version, of another program or unreadable.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::FlockOperation;

use super::schema::{self, SchemaError};

/// Why the file is not used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder or itself cannot be made, or not be made private.
    #[error("state file {}: {source}", path.display())]
    Io {
        /// What failed.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon uses it: two would give out the same numbers.
    #[error("state file {} is in use by another detector", .0.display())]
    InUse(PathBuf),
    /// SQLite's own check says it is damaged.
    #[error("state file {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        reason: String,
    },
    /// Of a newer version or of another program, or SQLite cannot open it.
    #[error("state file {} {source}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SchemaError,
    },
}

/// An opened file.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Keeps other daemons out while it is open.
    pub(super) lock: File,
    /// The file was made just now.
    pub(super) is_new: bool,
    /// It was here before, and somebody took it away or emptied it.
    pub(super) is_lost: bool,
}

/// The smallest page, and so the smallest file, of SQLite, bytes.
const SHORTEST: u64 = 512;
/// What the lock file holds once there was a state file beside it.
const MADE: &[u8] = b"made\n";
/// How long a command line's short transaction is waited for.
const BUSY: Duration = Duration::from_secs(2);

/// Opens the file for the daemon, makes it if there is none, and checks it.
///
/// # Errors
/// [`OpenError`].
pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(io(folder))?;
    // Not the file itself: closing any descriptor of it would drop SQLite's own (POSIX) locks.
    let lock_path = beside(path, "lock");
    let private = |path: &Path| {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(io(path))?;
        belong_to_folder(&file, path).map_err(io(path))?;
        Ok(file)
    };
    let lock = private(&lock_path)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::InUse(path.to_owned())),
        Err(errno) => return Err(io(&lock_path)(errno.into())),
    }
    // Before SQLite makes it with the umask's permissions; its -wal and -shm take those of the file.
    let file = private(path)?;
    let length = file.metadata().map_err(io(path))?.len();
    drop(file);
    if length > 0 && length < SHORTEST {
        // SQLite would take it for an empty one.
        return Err(OpenError::Damaged {
            path: path.to_owned(),
            reason: format!("it has only {length} bytes"),
        });
    }
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io(path))?;

    let schema = |source: SchemaError| match &source {
        SchemaError::Sqlite(error) if is_damage(error) => OpenError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        },
        _ => OpenError::Schema {
            path: path.to_owned(),
            source,
        },
    };
    let mut connection =
        connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|error| schema(error.into()))?;
    check(&connection, path)?;
    let before = schema::migrate(&mut connection).map_err(schema)?;
    // A first start that ended before it had made the file leaves an empty one, too: only one that was made is missed.
    let was_made = lock.metadata().map_err(io(&lock_path))?.len() > 0;
    if !was_made {
        (&lock).write_all(MADE).map_err(io(&lock_path))?;
    }
    if length == 0 {
        // SQLite syncs the file, but its name is on the disk for certain only now.
        sync_names(folder).map_err(io(folder))?;
    }
    Ok(Opened {
        connection,
        lock,
        is_new: before == 0,
        is_lost: was_made && length == 0,
    })
}

/// What root makes in the folder of the service's user (`sudo detector run`) has to be that user's, as SQLite does with its
/// own files: or the service could not open its state any more.
fn belong_to_folder(file: &File, path: &Path) -> io::Result<()> {
    let Some(folder) = path
        .parent()
        .filter(|_| rustix::process::geteuid().is_root())
    else {
        return Ok(());
    };
    let (folder, made) = (fs::metadata(folder)?, file.metadata()?);
    // A file with another name may be anybody's, linked here by the folder's owner.
    if made.uid() == folder.uid() || made.nlink() != 1 || made.len() > 0 {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(folder.uid()), Some(folder.gid()))
}

/// Syncs the folder, and the one it may just have been made in where that may be opened.
fn sync_names(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    let Some(parent) = folder.canonicalize()?.parent().map(File::open) else {
        return Ok(());
    };
    match parent {
        Ok(parent) => parent.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// A connection with everything this program relies on set.
pub(super) fn connect(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        "PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -1024;",
    )?;
    if mode.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 256;
             PRAGMA journal_size_limit = 1048576;",
        )?;
    }
    Ok(connection)
}

/// Reads the file where it cannot be written: without its log, and without a lock.
pub(super) fn connect_read_only(path: &Path) -> rusqlite::Result<Connection> {
    use std::os::unix::ffi::OsStrExt as _;
    let encoded: String = path
        .as_os_str()
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                char::from(*byte).to_string()
            }
            other => format!("%{other:02x}"),
        })
        .collect();
    let uri = format!("file:{encoded}?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags)
}

/// Reads what can be read of a damaged file, its log included.
pub(super) fn connect_damaged(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    // The first lets SQLite read a file that is shorter than its header says, the second keeps it as it is.
    connection.execute_batch("PRAGMA writable_schema = ON; PRAGMA query_only = ON;")?;
    Ok(connection)
}

/// SQLite's check of every page and index: 64 MiB take about 0.2 s, once a start.
fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let damaged = |reason: String| OpenError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let answer: rusqlite::Result<String> =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
    match answer {
        Ok(answer) if answer == "ok" => Ok(()),
        Ok(answer) => Err(damaged(answer)),
        Err(error) if is_damage(&error) => Err(damaged(error.to_string())),
        Err(error) => Err(OpenError::Schema {
            path: path.to_owned(),
            source: error.into(),
        }),
    }
}

/// Whether an error says that the file's content is wrong, rather than that it cannot be had.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            let schema = message.as_deref().unwrap_or_default();
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                // A damaged schema page shows up as a missing table or column.
                || failure.code == ErrorCode::Unknown
                    && (schema.starts_with("no such") || schema.starts_with("malformed"))
        }
        rusqlite::Error::SqlInputError { .. } => true,
        _ => is_no_value_of_its_column(error),
    }
}

/// Whether what was read is of another kind than what is ever written there.
pub(super) fn is_no_value_of_its_column(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Renames a damaged file, its log included, and says how it is called now.
///
/// # Errors
/// It cannot be renamed.
pub(super) fn set_aside(path: &Path, unix_ns: i64) -> io::Result<PathBuf> {
    let at = jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    let aside = beside(path, &format!("corrupt-{}", at.strftime("%Y%m%dT%H%M%SZ")));
    fs::rename(path, &aside)?;
    for end in ["-wal", "-shm"] {
        let with = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        match fs::rename(with(path), with(&aside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// The path with another ending: `state.db` → `state.db.lock`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
