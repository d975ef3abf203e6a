//! `tp_btf/sched_process_exit(task)`: that a process ended; `tp_btf/sched_process_free(task)`:
//! what each of its threads had used. See [`detector_common::event::exit`] for why two.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use detector_common::{
    counter::Counter,
    event::{Exit, Header, ThreadEnd, kind},
    throttle::Ring,
};

use super::header;
use crate::{
    emit::{self, Fill},
    kernel::Task,
    maps::PROCESS_RING,
    throttle::{self, Wanted},
};

#[btf_tracepoint(function = "sched_process_exit")]
fn exit(ctx: BtfTracePointContext) -> i32 {
    try_exit(&ctx);
    0
}

/// Fires per thread. Two threads that end at once may both see no live thread: the daemon takes
/// the second record for the same process as said already.
#[inline(always)]
fn try_exit(ctx: &BtfTracePointContext) {
    let task = Task(ctx.arg::<*const u8>(0));
    if task.live_threads() != 0 {
        return end(task, 0);
    }
    let bytes = size_of::<Exit>();
    let Some(fill) = admit(task, bytes, Counter::ExitThrottled, 0) else {
        return;
    };
    emit::record(
        &PROCESS_RING,
        fill,
        Exit {
            header: header(kind::EXIT),
            process: task.process(),
            parent: task.parent(),
            wait_status: task.wait_status(),
            uid: task.uid(),
            cgroup_id: task.cgroup_id(),
            comm: task.comm(),
            thread: thread_totals(task, Header::NONE, 0),
        },
        Counter::ExitDropped,
    );
}

#[btf_tracepoint(function = "sched_process_free")]
fn thread_end(ctx: BtfTracePointContext) -> i32 {
    try_thread_end(&ctx);
    0
}

#[inline(always)]
fn try_thread_end(ctx: &BtfTracePointContext) {
    end(Task(ctx.arg::<*const u8>(0)), 1);
}

#[inline(always)]
fn end(task: Task, is_final: u64) {
    // A bill at exit is followed by the final one, which counts the same time.
    let cpu_ns = if is_final == 1 { task.cpu_ns() } else { 0 };
    let bytes = size_of::<ThreadEnd>();
    let Some(fill) = admit(task, bytes, Counter::ThreadEndThrottled, cpu_ns) else {
        return;
    };
    let end = thread_totals(task, header(kind::THREAD_END), is_final);
    emit::record(&PROCESS_RING, fill, end, Counter::ThreadEndDropped);
}

#[inline(always)]
fn admit(task: Task, bytes: usize, kept_out: Counter, cpu_ns: u64) -> Option<Fill> {
    let wanted = Wanted {
        ring: Ring::Process,
        bytes,
        kept_out,
        cpu_ns,
    };
    throttle::admit(&PROCESS_RING, wanted, || task.cgroup_id())
}

#[inline(always)]
fn thread_totals(task: Task, header: Header, is_final: u64) -> ThreadEnd {
    ThreadEnd {
        header,
        is_final,
        start_boottime_ns: task.start_boottime_ns(),
        tgid: task.tgid(),
        pid: task.pid(),
        cpu_ns: task.cpu_ns(),
        run_delay_ns: task.run_delay_ns(),
    }
}
