//! `tp_btf/sched_process_fork(parent, child)`: new processes only, threads are skipped.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use detector_common::{
    counter::Counter,
    event::{Fork, kind},
    throttle::Ring,
};

use super::header;
use crate::{
    emit,
    kernel::Task,
    maps::PROCESS_RING,
    throttle::{self, Wanted},
};

#[btf_tracepoint(function = "sched_process_fork")]
fn fork(ctx: BtfTracePointContext) -> i32 {
    try_fork(&ctx);
    0
}

#[inline(always)]
fn try_fork(ctx: &BtfTracePointContext) {
    let parent = Task(ctx.arg::<*const u8>(0));
    let child = Task(ctx.arg::<*const u8>(1));
    if child.pid() != child.tgid() {
        return;
    }
    let wanted = Wanted {
        ring: Ring::Process,
        bytes: size_of::<Fork>(),
        kept_out: Counter::ForkThrottled,
        cpu_ns: 0,
    };
    // Who forks is who floods, wherever the child is put.
    let Some(fill) = throttle::admit(&PROCESS_RING, wanted, || parent.cgroup_id()) else {
        return;
    };
    emit::record(
        &PROCESS_RING,
        fill,
        Fork {
            header: header(kind::FORK),
            parent: parent.process(),
            child: child.process(),
        },
        Counter::ForkDropped,
    );
}
