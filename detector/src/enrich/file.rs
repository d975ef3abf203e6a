//! A file by what it is: opened without side effects, identified, and only then read.
//!
//! A path an attacker chose may lead to a pipe nobody writes to, to a tape that rewinds when opened or
//! into `/proc/self`, which is the detector's own. Therefore every file is first pinned (`O_PATH` opens
//! nothing), its identity and type are checked on that descriptor, and the same descriptor is reopened
//! for reading.

use std::{fs::File, io, os::fd::OwnedFd};

use rustix::{
    fd::{AsFd, AsRawFd},
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags},
    io::Errno,
};

use super::{mount, path, procfs::ProcessDir};
use crate::input::ExecutableId;

/// `statfs` magic of procfs: its files say something else to every reader.
const PROC_MAGIC: u64 = 0x9fa0;
/// `statfs` magic of FUSE: a program of the attacker's may answer the read, or never.
const FUSE_MAGIC: u64 = 0x6573_5546;

/// A file held open by name only.
#[derive(Debug)]
pub(super) struct Pinned {
    fd: OwnedFd,
    stat: Stat,
}

impl Pinned {
    /// The image `process` runs.
    pub(super) fn executable(process: &ProcessDir) -> io::Result<Pinned> {
        let fd = process.pin("exe").map_err(io::Error::other)?;
        Pinned::new(fd)
    }

    /// `path` below `root`, symbolic links resolved below `root` too. Magic links are refused.
    pub(super) fn below(root: impl AsFd, path: &[u8], resolve: ResolveFlags) -> io::Result<Pinned> {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        // EAGAIN: somebody renamed while `..` was resolved. An attacker may do so for ever.
        for _ in 0..8 {
            match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => continue,
                Err(error) => return Err(error.into()),
                Ok(fd) => return Pinned::new(fd),
            }
        }
        Err(Errno::AGAIN.into())
    }

    fn new(fd: OwnedFd) -> io::Result<Pinned> {
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Pinned { fd, stat })
    }

    /// `stat` of the file when it was pinned.
    pub(super) fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Identity as user space sees it.
    pub(super) fn id(&self) -> ExecutableId {
        id(&self.stat)
    }

    /// `statfs` magic of its file system.
    pub(super) fn fs_magic(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstatfs(&self.fd)?.f_type as u64)
    }

    /// Where it lies in its own mount tree, without the mark of a deleted file.
    pub(super) fn real_path(&self) -> io::Result<Vec<u8>> {
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let target = rustix::fs::readlink(link, Vec::new())?;
        Ok(path::without_mark(
            target.into_bytes(),
            self.stat.st_nlink > 0,
        ))
    }

    /// Whether this is the file `id` was taken from, unchanged since.
    pub(super) fn is(&self, id: &ExecutableId, process: Option<&ProcessDir>) -> bool {
        self.is_inode(id, process) && changed(&self.stat) == (id.ctime_sec, id.ctime_nsec)
    }

    /// Whether this is the image `id` was taken from, allowing for its deletion since.
    ///
    /// To delete a file changes its ctime, and that is the first thing a miner does. Then the proof
    /// is another: a running image is kept by the kernel and cannot be written, and an inode
    /// born before `id`'s ctime is still the same one, not a successor with a reused number.
    pub(super) fn is_image(&self, id: &ExecutableId, process: &ProcessDir) -> bool {
        if !self.is_inode(id, Some(process)) {
            return false;
        }
        let then = (id.ctime_sec, id.ctime_nsec);
        if changed(&self.stat) == then {
            return true;
        }
        let modified = (self.stat.st_mtime, self.stat.st_mtime_nsec as u32);
        self.stat.st_nlink == 0 && modified <= then && self.born().is_none_or(|born| born <= then)
    }

    fn is_inode(&self, id: &ExecutableId, process: Option<&ProcessDir>) -> bool {
        self.stat.st_ino == id.inode
            && (self.stat.st_dev == id.dev
                || mount::superblock_dev(&self.fd, process) == Some(id.dev))
    }

    /// When the inode was made, ns since 1970, where the file system remembers.
    pub(super) fn born_unix_ns(&self) -> Option<i64> {
        let (sec, nsec) = self.born()?;
        sec.checked_mul(1_000_000_000)?.checked_add(i64::from(nsec))
    }

    /// When the inode was made, where the file system remembers.
    fn born(&self) -> Option<(i64, u32)> {
        let flags = AtFlags::EMPTY_PATH;
        let statx = rustix::fs::statx(&self.fd, "", flags, StatxFlags::BTIME).ok()?;
        (statx.stx_mask & StatxFlags::BTIME.bits() != 0)
            .then_some((statx.stx_btime.tv_sec, statx.stx_btime.tv_nsec))
    }

    /// The same file, open for reading. Only a regular one of a file system that answers.
    pub(super) fn reader(&self) -> io::Result<File> {
        let regular = FileType::from_raw_mode(self.stat.st_mode) == FileType::RegularFile;
        if !regular || matches!(self.fs_magic()?, PROC_MAGIC | FUSE_MAGIC) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(link, flags, Mode::empty())?.into())
    }
}

/// Identity as user space sees it.
pub(super) fn id(stat: &Stat) -> ExecutableId {
    let (ctime_sec, ctime_nsec) = changed(stat);
    ExecutableId {
        dev: stat.st_dev,
        inode: stat.st_ino,
        ctime_sec,
        ctime_nsec,
    }
}

fn changed(stat: &Stat) -> (i64, u32) {
    (stat.st_ctime, stat.st_ctime_nsec as u32)
}
