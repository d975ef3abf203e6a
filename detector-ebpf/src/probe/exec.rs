//! `tp_btf/sched_process_exec(task, old_pid, binprm)`: the exec has succeeded, the new address
//! space is in place, and nothing user space does can change what is read here.

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel_str_bytes, generated::bpf_probe_read_user},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use detector_common::{
    counter::Counter,
    event::{
        Exec,
        exec::{ARGS_BYTES, ExecRecord, FLAG_FILENAME_TRUNCATED, FLAG_OVERLAY_UPPER},
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
    let wanted = Wanted {
        ring: Ring::Process,
        bytes: size_of::<Exec>(),
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
    let ExecRecord { exec: record, args } = unsafe { &mut *scratch };

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

    let (filename, interpreter) = (binprm.filename(), binprm.interpreter());
    record.filename_bytes = string(filename, &mut record.filename);
    if record.filename_bytes as usize == record.filename.len() - 1 {
        record.flags |= FLAG_FILENAME_TRUNCATED;
    }
    record.interpreter_bytes = 0;
    if interpreter != filename {
        record.interpreter_bytes = string(interpreter, &mut record.interpreter);
    }
    let name = binprm.name();
    record.name[0] = 0;
    if !name.is_null() {
        string(name, &mut record.name);
    }

    let (start, end) = task.args_range();
    let total = end.wrapping_sub(start) as u32;
    record.args_total_bytes = total;
    let mut len = total;
    if len > ARGS_BYTES as u32 {
        len = ARGS_BYTES as u32;
    }
    // SAFETY: the helper checks the user address; the verifier checks `len` against the slot.
    let read = unsafe {
        bpf_probe_read_user(
            args.as_mut_ptr().cast(),
            len,
            start as *const core::ffi::c_void,
        )
    };
    if read != 0 {
        count(Counter::ArgsUnreadable);
        len = 0;
    }
    record.args_bytes = len;
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
        size_of::<Exec>() + len as usize,
        Counter::ExecDropped,
    );
}

/// Copies a kernel string; gives its length without NUL. Unreadable: counted, empty.
#[inline(always)]
fn string(address: *const u8, slot: &mut [u8]) -> u32 {
    // SAFETY: the helper checks the address.
    match unsafe { bpf_probe_read_kernel_str_bytes(address, slot) } {
        Ok(read) => read.len() as u32,
        Err(_) => {
            count(Counter::PathUnreadable);
            slot[0] = 0;
            0
        }
    }
}
