//! `tp_btf/sched_process_exec(task, old_pid, binprm)`: the exec has succeeded, the new address
//! space is in place, and nothing user space does can change what is read here.

use core::hint::black_box;

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use detector_common::{
    counter::Counter,
    event::{
        Exec,
        exec::{
            ARGS_BYTES, ExecRecord, FLAG_FILENAME_TRUNCATED, FLAG_OVERLAY_UPPER, NAME_BYTES,
            PATH_BYTES, TEXT_BYTES,
        },
        kind,
    },
    throttle::Ring,
};

use super::header;
use crate::{
    count::count,
    emit,
    kernel::{Binprm, Task},
    maps::{EXEC_SCRATCH, PROCESS_RING},
    throttle::{self, Wanted},
};

const OVERLAYFS_MAGIC: u64 = 0x794c_7630;
/// Where a text may begin: behind the longest of the others, and the longest of all fits behind it.
const PLACE: u64 = 0x7ff;
/// What the texts may take together.
const TEXT: u64 = 0xfff;
/// What a record's texts take besides argv when it is charged to its cgroup, bytes: more than usual.
const USUAL_TEXT_BYTES: usize = 128;

const _: () = assert!(NAME_BYTES + 2 * PATH_BYTES <= PLACE as usize);
const _: () = assert!(PLACE as usize + ARGS_BYTES < TEXT_BYTES && TEXT < TEXT_BYTES as u64);

#[btf_tracepoint(function = "sched_process_exec")]
fn exec(ctx: BtfTracePointContext) -> i32 {
    try_exec(&ctx);
    0
}

#[inline(always)]
fn try_exec(ctx: &BtfTracePointContext) {
    let task = Task(ctx.arg::<*const u8>(0));
    let old_pid = ctx.arg::<u32>(1);
    let binprm = Binprm(ctx.arg::<*const u8>(2));
    let (start, end) = task.args_range();
    let args_total_bytes = end.wrapping_sub(start) as u32;
    let args_bytes = u64::from(args_total_bytes).min(ARGS_BYTES as u64);
    let wanted = Wanted {
        ring: Ring::Process,
        bytes: size_of::<Exec>() + USUAL_TEXT_BYTES + args_bytes as usize,
        kept_out: Counter::ExecThrottled,
        cpu_ns: 0,
    };
    let Some(fill) = throttle::admit(&PROCESS_RING, wanted, || task.cgroup_id()) else {
        return;
    };
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else {
        // Cannot happen: an array of one always has its element.
        return count(Counter::ExecDropped);
    };
    // SAFETY: this CPU's slot; the kernel does not run this program nested in itself.
    let ExecRecord { exec: record, text } = unsafe { &mut *scratch };
    let text = text.as_mut_ptr();

    let inode = binprm.inode();
    record.header = header(kind::EXEC);
    record.process = task.process();
    record.parent = task.parent();
    record.cgroup_id = task.cgroup_id();
    record.inode = inode.number();
    record.size = inode.size();
    record.ctime_sec = inode.ctime_sec();
    record.ctime_nsec = inode.ctime_nsec();
    record.fs_magic = inode.fs_magic();
    record.dev = inode.dev();
    record.nlink = inode.nlink();
    record.mode = inode.mode();
    record.file_uid = inode.uid();
    record.old_pid = old_pid;
    record.namespace_pid = task.namespace_pid();
    record.session = task.session();
    record.uid = task.uid();
    record.gid = task.gid();
    record.loginuid = task.loginuid();
    record.audit_session = task.audit_session();
    record.policy = task.policy();
    record.static_prio = task.static_prio();
    record.argc = binprm.argc();
    record.comm = task.comm();
    record.flags = 0;
    if record.fs_magic == OVERLAYFS_MAGIC && inode.overlay_upper() {
        record.flags |= FLAG_OVERLAY_UPPER;
    }

    let (name, filename, interpreter) = (binprm.name(), binprm.filename(), binprm.interpreter());
    let name_bytes = if name.is_null() {
        0
    } else {
        string::<NAME_BYTES>(name, text, 0)
    };
    let mut at = name_bytes;
    let filename_bytes = string::<PATH_BYTES>(filename, text, at);
    at += filename_bytes;
    let interpreter_bytes = if interpreter == filename {
        0
    } else {
        string::<PATH_BYTES>(interpreter, text, at)
    };
    at += interpreter_bytes;
    record.name_bytes = name_bytes as u32;
    record.filename_bytes = filename_bytes as u32;
    record.interpreter_bytes = interpreter_bytes as u32;
    record.reserved = 0;
    if filename_bytes as usize == PATH_BYTES - 1 {
        record.flags |= FLAG_FILENAME_TRUNCATED;
    }

    record.args_total_bytes = args_total_bytes;
    let mut args_bytes = args_bytes;
    // SAFETY: the helper checks the user address; the verifier checks the bounds, which the mask tells it.
    let read = unsafe {
        bpf_probe_read_user(
            text.add(place(at)).cast(),
            args_bytes as u32,
            start as *const core::ffi::c_void,
        )
    };
    if read != 0 {
        count(Counter::ArgsUnreadable);
        args_bytes = 0;
    }
    record.args_bytes = args_bytes as u32;
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        ctx,
        "exec: tgid {} inode {}",
        record.process.tgid,
        record.inode
    );
    emit::bytes(
        &PROCESS_RING,
        fill,
        scratch.cast_const().cast(),
        size_of::<Exec>() + (black_box(at + args_bytes) & TEXT) as usize,
        Counter::ExecDropped,
    );
}

/// Where the next text begins. The mask changes nothing, and the compiler must not see that: it is for the verifier, which
/// before 5.16 forgets the bounds of a number that was put on the stack.
#[inline(always)]
fn place(at: u64) -> usize {
    (black_box(at) & PLACE) as usize
}

/// Copies a kernel string of up to `MOST` bytes with its NUL; gives its length without. Unreadable: counted, empty.
#[inline(always)]
fn string<const MOST: usize>(address: *const u8, text: *mut u8, at: u64) -> u64 {
    // SAFETY: the helper checks the address; the verifier checks the bounds, which the mask tells it.
    let read = unsafe {
        bpf_probe_read_kernel_str(text.add(place(at)).cast(), MOST as u32, address.cast())
    };
    if read <= 0 {
        count(Counter::PathUnreadable);
        return 0;
    }
    read as u64 - 1
}
