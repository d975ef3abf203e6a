//! `iter/task`: one pass over all threads; those that did not run since the last pass are skipped.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_seq_write;
use detector_common::{
    counter::Counter,
    event::{self, task::TaskSeen},
};

use crate::{count::count, kernel::Task, maps::TASKS_SEEN};

/// `struct bpf_iter__task`.
#[repr(C)]
struct IterTask {
    meta: *const IterMeta,
    task: *const u8,
}

/// Head of `struct bpf_iter_meta`.
#[repr(C)]
struct IterMeta {
    seq: *mut c_void,
}

/// aya-ebpf has no macro for iterators; this is what one would expand to.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn task(ctx: *const IterTask) -> i32 {
    // SAFETY: the kernel passes a valid context; volatile keeps the loads as they are written.
    let (meta, task) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx).meta),
            core::ptr::read_volatile(&raw const (*ctx).task),
        )
    };
    if !task.is_null() {
        try_task(meta, Task(task));
    }
    0
}

#[inline(always)]
fn try_task(meta: *const IterMeta, task: Task) {
    let now = TaskSeen {
        start_boottime_ns: task.start_boottime_ns(),
        cpu_ns: task.cpu_ns(),
        run_delay_ns: task.run_delay_ns(),
    };
    let pid = task.pid();
    let seen = TASKS_SEEN.get_ptr_mut(pid);
    if let Some(seen) = seen {
        // SAFETY: the entry stays readable while the program runs; if it was reused for another
        // thread, the start differs and the task is emitted.
        if unsafe { *seen } == now {
            return;
        }
    }

    let record = event::Task {
        process: task.process(),
        parent: task.parent(),
        start_boottime_ns: now.start_boottime_ns,
        cpu_ns: now.cpu_ns,
        run_delay_ns: now.run_delay_ns,
        voluntary_switches: task.voluntary_switches(),
        involuntary_switches: task.involuntary_switches(),
        cgroup_id: task.cgroup_id(),
        pid,
        flags: task.flags(),
        uid: task.uid(),
        policy: task.policy(),
        static_prio: task.static_prio(),
        reserved: 0,
        comm: task.comm(),
    };
    // SAFETY: `meta` comes from the context; the record lies on the stack.
    let written = unsafe {
        bpf_seq_write(
            core::ptr::read_volatile(&raw const (*meta).seq).cast(),
            (&raw const record).cast(),
            size_of::<event::Task>() as u32,
        )
    };
    // A full buffer is no loss: the kernel shows the same task again at the next read. The filter
    // must not have swallowed it by then, so it is told last.
    if written != 0 {
        return;
    }
    match seen {
        // SAFETY: as above.
        Some(seen) => unsafe { *seen = now },
        None => {
            if TASKS_SEEN.insert(pid, now, 0).is_err() {
                count(Counter::TaskFilterFull);
            }
        }
    }
}
