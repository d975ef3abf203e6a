//! A disk that remembers: every write, cut and sync that SQLite asks for, in order, beside what was said meanwhile.
//!
//! A VFS of SQLite's own kind, made the default of this process: the code under test runs unchanged, on real files, through
//! the functions of the VFS that was there before. What would be left after a power failure is for [`super::image`].
//! Only one folder is remembered at a time; the shared-memory file (`-shm`) is not, since it does not survive a boot.
#![expect(unsafe_code, reason = "a VFS of SQLite is a table of C functions")]

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use rusqlite::ffi::{
    SQLITE_OK, sqlite3_file, sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find,
    sqlite3_vfs_register,
};

/// What happened, in order. A file has a number of its own from its creation to its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file got a name, or was opened again by it.
    Open {
        /// Which.
        file: u32,
        /// Within the folder.
        name: String,
    },
    /// Bytes were handed to the system.
    Write {
        /// Which.
        file: u32,
        /// Where.
        at: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file got another length.
    Cut {
        /// Which.
        file: u32,
        /// Bytes.
        length: u64,
    },
    /// What was written to a file is on the disk.
    Sync {
        /// Which.
        file: u32,
    },
    /// A name was taken away.
    Delete {
        /// Which.
        name: String,
    },
    /// Somebody was told something.
    Said(Said),
}

/// What somebody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The event with this number is stored.
    Durable(u64),
    /// A receiver has acknowledged the event with this number.
    Delivered(u64),
}

/// What was remembered.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    folder: PathBuf,
    /// Files that were there at the beginning, by name.
    pub base: BTreeMap<String, Vec<u8>>,
    /// What happened since.
    pub steps: Vec<Step>,
    names: HashMap<String, u32>,
    /// SQLite's file objects, by address: that of the last one that was there.
    open: HashMap<usize, u32>,
    files: u32,
}

static TAPE: Mutex<Option<Tape>> = Mutex::new(None);
static IN_USE: Mutex<()> = Mutex::new(());
/// Methods of files as the VFS that was there before gave them: databases and journals have tables of their own, which
/// differ in locking and closing only.
static METHODS: OnceLock<sqlite3_io_methods> = OnceLock::new();
/// Ours, by the address of the table that they take the place of.
static OURS: Mutex<BTreeMap<usize, &'static sqlite3_io_methods>> = Mutex::new(BTreeMap::new());
static BEFORE: OnceLock<Before> = OnceLock::new();

/// A recording of one folder; ends it when dropped.
#[derive(Debug)]
pub struct Recording {
    _only_one: MutexGuard<'static, ()>,
}

impl Recording {
    /// Begins with what is in `folder`. Waits until no other recording runs in this process.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn begin(folder: &Path) -> std::io::Result<Recording> {
        register();
        let only_one = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tape = Tape {
            folder: folder.to_owned(),
            ..Tape::default()
        };
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Some(name) = tape.name(entry.path().as_os_str().as_bytes()) {
                tape.base.insert(name, fs::read(entry.path())?);
            }
        }
        // Numbered in the order of their names.
        for name in tape.base.keys().cloned().collect::<Vec<_>>() {
            tape.file(&name);
        }
        *lock() = Some(tape);
        Ok(Recording {
            _only_one: only_one,
        })
    }

    /// What was remembered. Files should be closed by now.
    #[must_use]
    pub fn end(self) -> Tape {
        lock().take().unwrap_or_default()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        *lock() = None;
    }
}

/// Remembers that somebody was told something, if a recording runs.
pub fn say(said: Said) {
    if let Some(tape) = lock().as_mut() {
        tape.steps.push(Step::Said(said));
    }
}

impl Tape {
    /// Its name, if the path lies in the folder and is worth remembering.
    fn name(&self, path: &[u8]) -> Option<String> {
        let path = Path::new(OsStr::from_bytes(path));
        let name = path.strip_prefix(&self.folder).ok()?.to_str()?;
        (name.ends_with(".db") || name.ends_with("-wal") || name.ends_with("-journal"))
            .then(|| name.to_owned())
    }

    fn file(&mut self, name: &str) -> u32 {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let file = self.files;
        self.files += 1;
        self.names.insert(name.to_owned(), file);
        file
    }
}

fn lock() -> MutexGuard<'static, Option<Tape>> {
    TAPE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a step about an open file, if it is remembered.
fn remember(file: *mut sqlite3_file, step: impl FnOnce(u32) -> Step) {
    if let Some(tape) = lock().as_mut()
        && let Some(number) = tape.open.get(&file.addr()).copied()
    {
        tape.steps.push(step(number));
    }
}

/// The table of the VFS that was there before.
struct Before(sqlite3_vfs);

// SAFETY: the table is only read. Its pointers are SQLite's own statics, which SQLite itself uses from any thread.
unsafe impl Send for Before {}
// SAFETY: as above.
unsafe impl Sync for Before {}

/// Makes ours the default VFS of this process, once.
fn register() {
    BEFORE.get_or_init(|| {
        // SAFETY: SQLite initialises itself in this call; it gives a table that lives as long as the process.
        let before = unsafe { *sqlite3_vfs_find(std::ptr::null()) };
        let ours = Box::leak(Box::new(before));
        ours.zName = c"remembering".as_ptr();
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        ours.pNext = std::ptr::null_mut();
        // SAFETY: the table is never freed, and its functions take what those of the copied table take: they are
        // those, but for the two that call them.
        let status = unsafe { sqlite3_vfs_register(ours, 1) };
        assert_eq!(status, SQLITE_OK, "a table of a known version is taken");
        Before(before)
    });
}

fn before() -> &'static sqlite3_vfs {
    &BEFORE
        .get()
        .expect("called by the VFS registered with it")
        .0
}

fn methods() -> &'static sqlite3_io_methods {
    METHODS.get().expect("called by a file opened with them")
}

/// SAFETY (to call): as SQLite's `xOpen`.
unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    path: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let real = before().xOpen.expect("every VFS opens");
    // SAFETY: all arguments are SQLite's own; the object behind `file` has the size that the copied table states.
    let status = unsafe { real(vfs, path, file, flags, out) };
    if status != SQLITE_OK || path.is_null() {
        return status;
    }
    // SAFETY: SQLite gives a C string, and `xOpen` has filled in the methods.
    let (path, theirs) = unsafe { (CStr::from_ptr(path), (*file).pMethods) };
    let mut tape = lock();
    let Some(tape) = tape.as_mut() else {
        return status;
    };
    let Some(name) = tape.name(path.to_bytes()) else {
        return status;
    };
    let mut all = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    let ours: &'static sqlite3_io_methods = all.entry(theirs.addr()).or_insert_with(|| {
        // SAFETY: the table of methods is a static of SQLite's.
        let mut methods = unsafe { *theirs };
        METHODS.get_or_init(|| methods);
        methods.xWrite = Some(write);
        methods.xTruncate = Some(truncate);
        methods.xSync = Some(sync);
        Box::leak(Box::new(methods))
    });
    let number = tape.file(&name);
    tape.open.insert(file.addr(), number);
    tape.steps.push(Step::Open { file: number, name });
    // SAFETY: the file is open and in nobody else's hands yet. The table is a static, and its functions pass the
    // same object on to those that were there.
    unsafe { (*file).pMethods = ours };
    status
}

/// SAFETY (to call): as SQLite's `xDelete`.
unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, path: *const c_char, sync: c_int) -> c_int {
    let real = before().xDelete.expect("every VFS deletes");
    // SAFETY: all arguments are SQLite's own.
    let status = unsafe { real(vfs, path, sync) };
    // SAFETY: SQLite gives a C string.
    let path = unsafe { CStr::from_ptr(path) };
    if status == SQLITE_OK
        && let Some(tape) = lock().as_mut()
        && let Some(name) = tape.name(path.to_bytes())
    {
        tape.names.remove(&name);
        tape.steps.push(Step::Delete { name });
    }
    status
}

/// SAFETY (to call): as SQLite's `xWrite`.
unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    length: c_int,
    at: i64,
) -> c_int {
    let real = methods().xWrite.expect("files are written");
    // SAFETY: all arguments are SQLite's own.
    let status = unsafe { real(file, from, length, at) };
    if status == SQLITE_OK {
        let length = usize::try_from(length).expect("SQLite writes forwards");
        // SAFETY: SQLite gives so many readable bytes for the time of this call.
        let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), length) }.to_vec();
        let at = at.unsigned_abs();
        remember(file, |file| Step::Write { file, at, bytes });
    }
    status
}

/// SAFETY (to call): as SQLite's `xTruncate`.
unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: i64) -> c_int {
    let real = methods().xTruncate.expect("files are cut");
    // SAFETY: all arguments are SQLite's own.
    let status = unsafe { real(file, length) };
    if status == SQLITE_OK {
        let length = length.unsigned_abs();
        remember(file, |file| Step::Cut { file, length });
    }
    status
}

/// SAFETY (to call): as SQLite's `xSync`.
unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let real = methods().xSync.expect("files are synced");
    // SAFETY: all arguments are SQLite's own.
    let status = unsafe { real(file, flags) };
    if status == SQLITE_OK {
        remember(file, |file| Step::Sync { file });
    }
    status
}
