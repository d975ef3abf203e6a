//! Processes older than the daemon, told as the execs they once were.
//!
//! The kernel's task scan says which processes there are; the image comes from `/proc`. An exec in the
//! middle of the reading would mix two images, so the image is compared before and after. A process caught
//! inside `execve` may show its new image without arguments; the kernel reports that exec itself.

use std::{io, io::Read};

use detector_common::event::{self, exec::ARGS_BYTES, task::PF_KTHREAD};

use super::{
    file::Pinned,
    procfs::{ProcessDir, ProcessError},
};
use crate::input::{Exec, Executable, Observed, ProcessKey};

/// A whole command line is counted up to this, bytes: `ARG_MAX` is 2 MiB by default.
const ARGS_COUNTED_BYTES: u64 = 4 << 20;
/// How often a process that keeps replacing its image is tried again.
const ATTEMPTS: usize = 3;

/// A process whose image is not told.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A thread of the kernel, or one that does not lead its process.
    #[error("task {pid} is no process of user space")]
    NoProcess {
        /// Thread id.
        pid: u32,
    },
    /// Gone, reused, or not readable.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The image cannot be looked at.
    #[error("cannot read the image of process {tgid}")]
    Image {
        /// The process id.
        tgid: u32,
        /// Why.
        source: io::Error,
    },
    /// It replaced its image at every attempt. The kernel reported each of these execs.
    #[error("process {tgid} keeps replacing its image")]
    Unstable {
        /// The process id.
        tgid: u32,
    },
}

/// The image of a process that the task scan found.
///
/// # Errors
/// [`SnapshotError`]: not a process, gone, reused, or unreadable.
pub fn image(task: &event::Task) -> Result<Exec, SnapshotError> {
    let process = ProcessKey::from(task.process);
    if task.flags & PF_KTHREAD != 0 || task.pid != process.tgid {
        return Err(SnapshotError::NoProcess { pid: task.pid });
    }
    let dir = ProcessDir::open(process)?;
    for _ in 0..ATTEMPTS {
        let image = pin(&dir)?;
        let exec = read(task, &dir, &image)?;
        dir.verify()?;
        if pin(&dir)?.id() == image.id() {
            return Ok(exec);
        }
    }
    Err(SnapshotError::Unstable { tgid: process.tgid })
}

fn pin(dir: &ProcessDir) -> Result<Pinned, SnapshotError> {
    Pinned::executable(dir).map_err(|error| failed(dir, error))
}

fn failed(dir: &ProcessDir, source: io::Error) -> SnapshotError {
    SnapshotError::Image {
        tgid: dir.key().tgid,
        source,
    }
}

fn read(task: &event::Task, dir: &ProcessDir, image: &Pinned) -> Result<Exec, SnapshotError> {
    let stat = image.stat();
    let path = image.real_path().map_err(|error| failed(dir, error))?;
    let status = dir.text("status")?;
    let (args, args_total_bytes) = args(dir)?;
    Ok(Exec {
        at_ns: task.process.start_boottime_ns,
        observed: Observed::Snapshot,
        process: dir.key(),
        parent: task.parent.into(),
        old_pid: task.process.tgid,
        executable: Executable {
            id: image.id(),
            size: stat.st_size as u64,
            mode: stat.st_mode,
            nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            uid: stat.st_uid,
            fs_magic: image.fs_magic().map_err(|error| failed(dir, error))?,
            // User space is not told.
            overlay_upper: false,
        },
        name: name(&path).into(),
        filename: path.into(),
        filename_truncated: false,
        interpreter: None,
        args: args.into(),
        args_total_bytes,
        comm: comm(dir)?,
        uid: task.uid,
        gid: field(&status, "Gid:", 0).unwrap_or(u32::MAX),
        loginuid: audit(dir, "loginuid"),
        audit_session: audit(dir, "sessionid"),
        session: Some(dir.stat()?.session).filter(|session| *session != 0),
        namespace_pid: field(&status, "NSpid:", usize::MAX),
        cgroup_id: Some(task.cgroup_id).filter(|id| *id != 0),
        policy: task.policy,
        nice: (task.static_prio != 0).then_some(task.static_prio - 120),
    })
}

/// The last component; the whole name of a memfd, which may hold slashes.
fn name(path: &[u8]) -> &[u8] {
    if path.starts_with(b"/memfd:") {
        return &path[1..];
    }
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// argv as far as it is kept, and its whole length.
fn args(dir: &ProcessDir) -> Result<(Vec<u8>, u32), SnapshotError> {
    let mut file = dir.reader("cmdline")?.take(ARGS_COUNTED_BYTES);
    let mut read = |limit: u64| -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        (&mut file).take(limit).read_to_end(&mut out)?;
        Ok(out)
    };
    let args = read(ARGS_BYTES as u64).map_err(|error| failed(dir, error))?;
    let rest = io::copy(&mut file, &mut io::sink()).map_err(|error| failed(dir, error))?;
    let total = args.len() as u64 + rest;
    Ok((args, u32::try_from(total).unwrap_or(u32::MAX)))
}

/// `comm` with its newline cut, as the kernel keeps it.
fn comm(dir: &ProcessDir) -> Result<[u8; 16], SnapshotError> {
    let text = dir.read("comm", 64)?;
    let name = text.strip_suffix(b"\n").unwrap_or(&text);
    let mut comm = [0; 16];
    let length = name.len().min(comm.len() - 1);
    comm[..length].copy_from_slice(&name[..length]);
    Ok(comm)
}

/// An audit id; `u32::MAX` is "unset". Kernels without audit have no such file.
fn audit(dir: &ProcessDir, name: &'static str) -> Option<u32> {
    let text = dir.text(name).ok()?;
    text.trim().parse().ok().filter(|id| *id != u32::MAX)
}

/// Value number `at` of a line of `status`, the last one for a number beyond.
fn field(status: &str, key: &str, at: usize) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let values: Vec<&str> = line.split_ascii_whitespace().collect();
    let last = values.len().checked_sub(1)?;
    values[at.min(last)].parse().ok()
}
