//! One process's directory in `/proc`, held open so that a reused id cannot slip in.
//!
//! The directory's descriptor stays bound to the process it was opened for: once that process is
//! reaped every read through it fails with `ESRCH`, whoever has the number then. What the
//! descriptor cannot tell is whether the number was already reused *before* it was opened, hence the
//! comparison of start times.

use std::{fs::File, io, io::Read, os::fd::OwnedFd};

use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{Mode, OFlags},
};

use super::path;
use crate::input::ProcessKey;

/// Longest status file read, bytes. `stat`, `status` and `cgroup` are shorter by far.
const STATUS_BYTES: usize = 64 << 10;

/// What one read asks for, bytes.
const READ_BYTES: usize = 4 << 10;

/// A process that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No such process any more.
    #[error("process {tgid} is gone")]
    Gone {
        /// Its id.
        tgid: u32,
    },
    /// The id belongs to another process by now.
    #[error("process id {tgid} was reused")]
    Reused {
        /// The id.
        tgid: u32,
    },
    /// The kernel refused.
    #[error("cannot read /proc/{tgid}/{name}")]
    Read {
        /// The process id.
        tgid: u32,
        /// Which file.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// The directory of a process whose identity was verified when it was opened.
#[derive(Debug)]
pub(super) struct ProcessDir {
    key: ProcessKey,
    dir: OwnedFd,
}

impl ProcessDir {
    /// Opens `/proc/PID` and verifies that it is this process and no later one of the same id.
    pub(super) fn open(key: ProcessKey) -> Result<ProcessDir, ProcessError> {
        let dir = rustix::fs::open(
            format!("/proc/{}", key.tgid),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|_| ProcessError::Gone { tgid: key.tgid })?;
        let process = ProcessDir { key, dir };
        process.verify()?;
        Ok(process)
    }

    /// This process.
    pub(super) fn own() -> Result<ProcessDir, ProcessError> {
        let tgid = std::process::id();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open("/proc/self", flags, Mode::empty())
            .map_err(|_| ProcessError::Gone { tgid })?;
        let key = ProcessKey { tgid, start_ns: 0 };
        let mut process = ProcessDir { key, dir };
        process.key.start_ns = process.stat()?.start_ticks * tick_ns();
        Ok(process)
    }

    /// Whether it still is this process, alive.
    pub(super) fn verify(&self) -> Result<(), ProcessError> {
        let tgid = self.key.tgid;
        let stat = self.stat()?;
        if !started_at(stat.start_ticks, self.key.start_ns) {
            return Err(ProcessError::Reused { tgid });
        }
        // A zombie has no executable, no working directory and no arguments any more.
        if matches!(stat.state, b'Z' | b'X') {
            return Err(ProcessError::Gone { tgid });
        }
        Ok(())
    }

    /// Which process.
    pub(super) fn key(&self) -> ProcessKey {
        self.key
    }

    /// The parts of `stat` that are used here.
    pub(super) fn stat(&self) -> Result<Stat, ProcessError> {
        let text = self.read("stat", STATUS_BYTES)?;
        Stat::parse(&text).ok_or_else(|| ProcessError::Read {
            tgid: self.key.tgid,
            name: "stat",
            source: io::ErrorKind::InvalidData.into(),
        })
    }

    /// At most `limit` bytes of a file in the directory.
    pub(super) fn read(&self, name: &'static str, limit: usize) -> Result<Vec<u8>, ProcessError> {
        // These files have no size: an empty buffer would be filled 32 bytes at first, by six reads instead of two.
        let mut out = Vec::with_capacity(limit.min(READ_BYTES));
        self.reader(name)?
            .take(limit as u64)
            .read_to_end(&mut out)
            .map_err(|error| self.error(name, error))?;
        Ok(out)
    }

    /// A small text file of the kernel's own; invalid UTF-8 (in names) is replaced.
    pub(super) fn text(&self, name: &'static str) -> Result<String, ProcessError> {
        let bytes = self.read(name, STATUS_BYTES)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// An open file of the directory.
    pub(super) fn reader(&self, name: &'static str) -> Result<File, ProcessError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, name, flags, Mode::empty())
            .map(File::from)
            .map_err(|error| self.error(name, error.into()))
    }

    /// Target of a link, without the mark of a deleted file.
    pub(super) fn link(&self, name: &'static str) -> Result<Vec<u8>, ProcessError> {
        let fail = |error: rustix::io::Errno| self.error(name, error.into());
        let stat = rustix::fs::statat(&self.dir, name, rustix::fs::AtFlags::empty());
        let target = rustix::fs::readlinkat(&self.dir, name, Vec::new()).map_err(fail)?;
        let has_links = stat.map_err(fail)?.st_nlink > 0;
        Ok(path::without_mark(target.into_bytes(), has_links))
    }

    /// Opens what a link of the directory leads to, without opening it for reading.
    pub(super) fn pin(&self, name: &'static str) -> Result<OwnedFd, ProcessError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, name, flags, Mode::empty())
            .map_err(|error| self.error(name, error.into()))
    }

    fn error(&self, name: &'static str, source: io::Error) -> ProcessError {
        let tgid = self.key.tgid;
        match source
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            Some(rustix::io::Errno::SRCH) => ProcessError::Gone { tgid },
            _ => ProcessError::Read { tgid, name, source },
        }
    }
}

impl AsFd for ProcessDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Fields of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) session: u32,
    pub(super) start_ticks: u64,
}

impl Stat {
    /// The name in parentheses may hold anything, parentheses and newlines too: count from its end.
    fn parse(text: &[u8]) -> Option<Stat> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Stat {
            state: *fields.next()?.as_bytes().first()?,
            session: fields.nth(2)?.parse().ok()?,
            start_ticks: fields.nth(15)?.parse().ok()?,
        })
    }
}

/// Whether a start in clock ticks and one in ns of `CLOCK_BOOTTIME` are the same moment. The kernel
/// rounds down; one tick (10 ms) of tolerance covers kernels that round otherwise.
fn started_at(ticks: u64, start_ns: u64) -> bool {
    (start_ns / tick_ns()).abs_diff(ticks) <= 1
}

fn tick_ns() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_full_of_parentheses_does_not_shift_the_fields() {
        let text = b"7 (a) R 1 (\n) S 1 7 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 9 9\n";
        assert_eq!(
            Stat::parse(text),
            Some(Stat {
                state: b'S',
                session: 42,
                start_ticks: 12345
            })
        );
        assert_eq!(Stat::parse(b"7 (a"), None);
        assert_eq!(Stat::parse(b"7 (a) S 1"), None);
    }

    #[test]
    fn start_is_compared_within_one_tick() {
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        let start_ns = 500 * tick_ns + tick_ns - 1;
        let same: Vec<u64> = (490..510)
            .filter(|ticks| started_at(*ticks, start_ns))
            .collect();
        assert_eq!(same, [499, 500, 501]);
    }
}
