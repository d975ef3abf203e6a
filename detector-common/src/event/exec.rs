//! A process replaced its image: `tp_btf/sched_process_exec`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Header, Process};

/// Bytes kept of the path given to `execve` and of the interpreter's path, NUL included while they are read.
pub const PATH_BYTES: usize = 256;
/// Bytes kept of the file's own name, NUL included while it is read (a Linux name has at most 255).
pub const NAME_BYTES: usize = 64;
/// Bytes kept of argv. The average command line is 60 bytes; 1 KiB holds the 99.9th percentile.
pub const ARGS_BYTES: usize = 1024;
/// Room for the texts of a record: more than they take, so that it can be indexed by masks, which every kernel's verifier
/// follows.
pub const TEXT_BYTES: usize = 4096;

/// [`Exec::flags`]: the file lies in the writable layer of an overlay: not part of the image.
pub const FLAG_OVERLAY_UPPER: u32 = 1 << 0;
/// [`Exec::flags`]: the path given to `execve` was longer than is kept.
pub const FLAG_FILENAME_TRUNCATED: u32 = 1 << 1;

/// What was executed and by whom. Its texts follow it in the record, without NUL and without gaps: the file's own name, the
/// path as passed to `execve` (the script for a script), the path of the loaded file where that is another one, and argv,
/// NUL-separated. A third of the size that slots for the longest took, for an average command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Exec {
    /// Kind [`kind::EXEC`](super::kind::EXEC).
    pub header: Header,
    /// The process.
    pub process: Process,
    /// Its parent (`real_parent`) at this moment.
    pub parent: Process,
    /// cgroup v2 id, 0 when unknown.
    pub cgroup_id: u64,
    /// Inode number of the loaded file.
    pub inode: u64,
    /// Size of the loaded file, bytes.
    pub size: u64,
    /// ctime of the loaded file, seconds.
    pub ctime_sec: i64,
    /// `statfs` magic of its file system.
    pub fs_magic: u64,
    /// ctime, nanoseconds part.
    pub ctime_nsec: u32,
    /// Device, kernel encoding (major << 20 | minor).
    pub dev: u32,
    /// Links; 0: deleted, or never had a name (memfd).
    pub nlink: u32,
    /// `st_mode`.
    pub mode: u32,
    /// Owner of the file.
    pub file_uid: u32,
    /// Thread that called `execve` (other than `tgid` when not the leader).
    pub old_pid: u32,
    /// Process id in the process's own pid namespace.
    pub namespace_pid: u32,
    /// Session leader's process id, 0 when unknown.
    pub session: u32,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Audit login uid, `u32::MAX` when unset or unknown.
    pub loginuid: u32,
    /// Audit session, `u32::MAX` when unset or unknown.
    pub audit_session: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// Nice + 120, 0 when unknown.
    pub static_prio: i32,
    /// argc as the kernel counted it, 0 when unknown.
    pub argc: u32,
    /// `FLAG_*`.
    pub flags: u32,
    /// Bytes of argv in the address space.
    pub args_total_bytes: u32,
    /// Bytes of argv sent.
    pub args_bytes: u32,
    /// Bytes of the loaded file's name in its folder.
    pub name_bytes: u32,
    /// Bytes of the path as passed to `execve`.
    pub filename_bytes: u32,
    /// Bytes of the path of the loaded file; 0: not a script.
    pub interpreter_bytes: u32,
    /// Zero.
    pub reserved: u32,
    /// `comm` after the exec.
    pub comm: [u8; 16],
}

/// Where the kernel side puts a record together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExecRecord {
    /// The fixed part.
    pub exec: Exec,
    /// Its texts.
    pub text: [u8; TEXT_BYTES],
}

const _: () = assert!(size_of::<Exec>() == 192);
const _: () = assert!(size_of::<ExecRecord>() == size_of::<Exec>() + TEXT_BYTES);
const _: () = assert!(NAME_BYTES + 2 * PATH_BYTES + ARGS_BYTES < TEXT_BYTES);
