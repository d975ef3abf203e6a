//! How a program hides what it is: no file, a deleted file, a command line that is not its own.
//!
//! What the intruder of the tests does to itself, by the means that real ones use. Safe code only: the
//! kernel's own files (`/proc/self/fd`, `/proc/self/mem`) reach everything.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A copy of `program` that never was in any folder: a path to execute it by, in this process only.
///
/// # Errors
/// When the program cannot be read or there is no memory for it.
pub fn in_memory(program: &Path, name: &str) -> io::Result<PathBuf> {
    let memfd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::empty())?;
    let mut file = File::from(memfd);
    file.write_all(&fs::read(program)?)?;
    // Through a read-only descriptor: one that is open for writing is busy.
    let reopened = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    drop(file);
    kept(&reopened)
}

/// Deletes `program`: a path to execute it by all the same, in this process only.
///
/// # Errors
/// When it cannot be opened or deleted.
pub fn deleted(program: &Path) -> io::Result<PathBuf> {
    let file = File::open(program)?;
    fs::remove_file(program)?;
    kept(&file)
}

/// A descriptor that survives exec, as a path.
fn kept(file: &File) -> io::Result<PathBuf> {
    let kept = rustix::io::dup(file)?;
    rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::empty())?;
    Ok(format!("/proc/self/fd/{}", kept.into_raw_fd()).into())
}

/// Overwrites this process's arguments in place, as `/proc/PID/cmdline` and `ps` show them, with `text`; the
/// rest becomes NUL, which they do not show.
///
/// Arguments of this process must not be read afterwards: the standard library reads them where they lie.
///
/// # Errors
/// When the kernel does not say where they lie, or lets nobody write there.
pub fn rewrite_arguments(text: &[u8]) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // proc_pid_stat(5): `arg_start` and `arg_end` are the fields 48 and 49; two precede the last ")".
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let mut places = fields.split(' ').skip(45).map(str::parse::<u64>);
    let (Some(Ok(start)), Some(Ok(end))) = (places.next(), places.next()) else {
        return Err(io::Error::other(format!(
            "no place of the arguments in {stat:?}"
        )));
    };
    let length = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let mut bytes = text.to_vec();
    bytes.resize(length, 0);
    fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/mem")?
        .write_all_at(&bytes, start)
}
