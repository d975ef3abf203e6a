//! A process replaced its image: `tp_btf/sched_process_exec`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Header, Process};

/// Bytes kept of the path given to `execve` and of the interpreter's path, NUL included.
pub const PATH_BYTES: usize = 256;
/// Bytes kept of the file's own name, NUL included (a Linux name has at most 255).
pub const NAME_BYTES: usize = 64;
/// Bytes kept of argv. The average command line is 60 bytes; 1 KiB holds the 99.9th percentile.
pub const ARGS_BYTES: usize = 1024;

/// [`Exec::flags`]: the file lies in the writable layer of an overlay: not part of the image.
pub const FLAG_OVERLAY_UPPER: u32 = 1 << 0;
/// [`Exec::flags`]: `filename` was longer than its slot.
pub const FLAG_FILENAME_TRUNCATED: u32 = 1 << 1;

/// What was executed and by whom. `args_bytes` bytes of argv follow it in the record.
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
    /// Bytes used in `filename`, NUL excluded.
    pub filename_bytes: u32,
    /// Bytes used in `interpreter`, NUL excluded; 0: not a script.
    pub interpreter_bytes: u32,
    /// `comm` after the exec.
    pub comm: [u8; 16],
    /// Name of the loaded file in its folder, NUL-terminated.
    pub name: [u8; NAME_BYTES],
    /// Path as passed to `execve`: the script for a script.
    pub filename: [u8; PATH_BYTES],
    /// Path of the loaded file where it differs from `filename`.
    pub interpreter: [u8; PATH_BYTES],
}

/// The longest record: where the kernel side puts one together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExecRecord {
    /// The fixed part.
    pub exec: Exec,
    /// argv, NUL-separated; sent up to `args_bytes`.
    pub args: [u8; ARGS_BYTES],
}

const _: () = assert!(size_of::<Exec>() == 760);
const _: () = assert!(size_of::<ExecRecord>() == size_of::<Exec>() + ARGS_BYTES);
