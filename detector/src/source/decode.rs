//! Bytes from a ring → typed records. Total: any bytes give a record or a named error.

use detector_common::event::{self, Header, exec, kind, payload::direction};
use zerocopy::FromBytes;

use crate::input::{Exec, Executable, ExecutableId, Input, Observed, Payload};

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the kind needs.
    #[error("a record of kind {kind} has only {bytes} bytes")]
    Short {
        /// The kind, 0 when even that is missing.
        kind: u32,
        /// Bytes there are.
        bytes: usize,
    },
    /// The kind is none of ours.
    #[error("unknown kind of record: {0}")]
    Kind(u32),
}

/// One record of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// See [`event::Exec`].
    Exec(Box<Exec>),
    /// See [`event::Fork`].
    Fork(event::Fork),
    /// See [`event::Exit`].
    Exit(event::Exit),
    /// See [`event::ThreadEnd`].
    ThreadEnd(event::ThreadEnd),
    /// See [`event::Connection`].
    Connection(event::Connection),
    /// See [`event::Payload`].
    Payload(Box<Payload>),
}

impl Record {
    /// What the engine is told.
    pub fn input(&self) -> Input<'_> {
        match self {
            Record::Exec(exec) => Input::Exec(exec),
            Record::Fork(fork) => Input::Fork(*fork),
            Record::Exit(exit) => Input::Exit(*exit),
            Record::ThreadEnd(end) => Input::ThreadEnd(*end),
            Record::Connection(connection) => Input::Connection(*connection),
            Record::Payload(payload) => Input::Payload(payload),
        }
    }

    /// When the kernel wrote it, ns since boot.
    pub fn at_ns(&self) -> u64 {
        match self {
            Record::Exec(exec) => exec.at_ns,
            Record::Fork(fork) => fork.header.time_ns,
            Record::Exit(exit) => exit.header.time_ns,
            Record::ThreadEnd(end) => end.header.time_ns,
            Record::Connection(connection) => connection.header.time_ns,
            Record::Payload(payload) => payload.at_ns,
        }
    }
}

/// Decodes one record.
///
/// # Errors
/// The bytes are short or of no known kind.
pub fn record(bytes: &[u8]) -> Result<Record, DecodeError> {
    let (header, _) = Header::read_from_prefix(bytes).map_err(|_| DecodeError::Short {
        kind: 0,
        bytes: bytes.len(),
    })?;
    match header.kind {
        kind::EXEC => {
            let (fixed, texts) = fixed::<event::Exec>(bytes, header)?;
            Ok(Record::Exec(Box::new(exec(&fixed, texts))))
        }
        kind::FORK => Ok(Record::Fork(fixed(bytes, header)?.0)),
        kind::EXIT => Ok(Record::Exit(fixed(bytes, header)?.0)),
        kind::THREAD_END => Ok(Record::ThreadEnd(fixed(bytes, header)?.0)),
        kind::CONNECTION => Ok(Record::Connection(fixed(bytes, header)?.0)),
        kind::PAYLOAD => Ok(Record::Payload(Box::new(payload(&fixed(bytes, header)?.0)))),
        other => Err(DecodeError::Kind(other)),
    }
}

fn fixed<T: FromBytes>(bytes: &[u8], header: Header) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::Short {
        kind: header.kind,
        bytes: bytes.len(),
    })
}

/// The kernel's `dev_t` (major << 20 | minor) as `stat(2)` gives it.
pub fn device(kernel: u32) -> u64 {
    rustix::fs::makedev(kernel >> 20, kernel & 0xf_ffff)
}

fn exec(fixed: &event::Exec, mut texts: &[u8]) -> Exec {
    let mut text = |bytes: u32| {
        let (text, rest) = texts.split_at(texts.len().min(bytes as usize));
        texts = rest;
        text
    };
    let (name, filename) = (text(fixed.name_bytes), text(fixed.filename_bytes));
    let (interpreter, args) = (text(fixed.interpreter_bytes), text(fixed.args_bytes));
    Exec {
        at_ns: fixed.header.time_ns,
        observed: Observed::Live,
        process: fixed.process.into(),
        parent: fixed.parent.into(),
        old_pid: fixed.old_pid,
        executable: Executable {
            id: ExecutableId {
                dev: device(fixed.dev),
                inode: fixed.inode,
                ctime_sec: fixed.ctime_sec,
                ctime_nsec: fixed.ctime_nsec,
            },
            size: fixed.size,
            mode: fixed.mode,
            nlink: fixed.nlink,
            uid: fixed.file_uid,
            fs_magic: fixed.fs_magic,
            overlay_upper: fixed.flags & exec::FLAG_OVERLAY_UPPER != 0,
        },
        name: name.into(),
        filename: filename.into(),
        filename_truncated: fixed.flags & exec::FLAG_FILENAME_TRUNCATED != 0,
        interpreter: (fixed.interpreter_bytes > 0).then(|| interpreter.into()),
        args: args.into(),
        args_total_bytes: fixed.args_total_bytes,
        comm: fixed.comm,
        uid: fixed.uid,
        gid: fixed.gid,
        loginuid: known(fixed.loginuid, u32::MAX),
        audit_session: known(fixed.audit_session, u32::MAX),
        session: known(fixed.session, 0),
        namespace_pid: known(fixed.namespace_pid, 0),
        cgroup_id: known(fixed.cgroup_id, 0),
        policy: fixed.policy,
        nice: known(fixed.static_prio, 0).map(|prio| prio.saturating_sub(120)),
    }
}

fn payload(fixed: &event::Payload) -> Payload {
    Payload {
        at_ns: fixed.header.time_ns,
        process: fixed.process.into(),
        socket: fixed.socket,
        outbound: fixed.direction == direction::OUT,
        sequence: fixed.sequence,
        total_bytes: fixed.total,
        remote: fixed.remote,
        remote_port: fixed.remote_port,
        bytes: prefix(&fixed.bytes, fixed.captured),
    }
}

/// `None` for the value that stands for "unknown".
fn known<T: PartialEq>(value: T, unknown: T) -> Option<T> {
    (value != unknown).then_some(value)
}

fn prefix(slot: &[u8], len: u32) -> Box<[u8]> {
    slot[..slot.len().min(len as usize)].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromZeros as _, IntoBytes as _};

    fn exec_record() -> Vec<u8> {
        let mut fixed = event::Exec::new_zeroed();
        fixed.header.kind = kind::EXEC;
        fixed.process.tgid = 7;
        fixed.dev = 8 << 20 | 1;
        fixed.loginuid = u32::MAX;
        fixed.static_prio = 139;
        (fixed.name_bytes, fixed.filename_bytes) = (1, 6);
        fixed.args_total_bytes = 9;
        fixed.args_bytes = 4;
        [fixed.as_bytes(), b"x", b"./x\x1b\n\xff", b"a\0b\0", b"rest"].concat()
    }

    #[test]
    fn an_exec_record_keeps_every_byte_and_tells_unknown_from_zero() {
        let Ok(Record::Exec(exec)) = record(&exec_record()) else {
            panic!("the record is an exec");
        };
        assert_eq!(
            (&*exec.name, &*exec.filename),
            (&b"x"[..], &b"./x\x1b\n\xff"[..])
        );
        assert_eq!((&*exec.args, exec.args_total_bytes), (&b"a\0b\0"[..], 9));
        assert_eq!(exec.executable.id.dev, rustix::fs::makedev(8, 1));
        assert_eq!(
            (exec.loginuid, exec.nice, exec.interpreter),
            (None, Some(19), None)
        );
    }

    #[test]
    fn a_script_has_two_paths_and_texts_that_are_cut_short_are_empty_from_there() {
        let mut fixed = event::Exec::new_zeroed();
        fixed.header.kind = kind::EXEC;
        (fixed.name_bytes, fixed.filename_bytes) = (4, 4);
        (fixed.interpreter_bytes, fixed.args_bytes) = (9, 3);
        let whole = [fixed.as_bytes(), b"dash", b"./do", b"/bin/dash", b"a\0b"].concat();
        let texts = |bytes: &[u8]| match record(bytes) {
            Ok(Record::Exec(exec)) => (exec.name, exec.filename, exec.interpreter, exec.args),
            other => panic!("{other:?} is no exec"),
        };
        let boxed = |text: &[u8]| -> Box<[u8]> { text.into() };
        assert_eq!(
            texts(&whole),
            (
                boxed(b"dash"),
                boxed(b"./do"),
                Some(boxed(b"/bin/dash")),
                boxed(b"a\0b")
            )
        );
        assert_eq!(
            texts(&whole[..192 + 6]),
            (boxed(b"dash"), boxed(b"./"), Some(boxed(b"")), boxed(b""))
        );
    }

    #[test]
    fn any_bytes_give_a_record_or_an_error_and_never_a_panic() {
        let whole = exec_record();
        for cut in 0..192 {
            assert_eq!(
                record(&whole[..cut]),
                Err(DecodeError::Short {
                    kind: if cut < 16 { 0 } else { kind::EXEC },
                    bytes: cut
                })
            );
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] = 0xff;
            let _ = record(&changed);
        }
        assert_eq!(record(&[9; 64]), Err(DecodeError::Kind(0x0909_0909)));
    }

    #[test]
    fn a_priority_that_no_kernel_has_is_kept_within_its_type() {
        let mut fixed = event::Exec::new_zeroed();
        fixed.header.kind = kind::EXEC;
        fixed.static_prio = i32::MIN;
        let Ok(Record::Exec(exec)) = record(fixed.as_bytes()) else {
            panic!("the record is an exec");
        };
        assert_eq!(exec.nice, Some(i32::MIN));
    }
}
