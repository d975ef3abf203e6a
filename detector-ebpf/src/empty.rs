//! The same hooks as the probes', doing nothing: what a run costs before the first instruction of ours, the kernel's own
//! statistics included. `cargo xtask bench cost` subtracts it; nothing else loads this.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "symbols of fixed names and sections")]

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

#[btf_tracepoint(function = "sched_process_exec")]
fn exec(_: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sched_process_fork")]
fn fork(_: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sched_process_exit")]
fn exit(_: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sched_process_free")]
fn thread_end(_: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "inet_sock_set_state")]
fn connection(_: BtfTracePointContext) -> i32 {
    0
}

/// aya-ebpf has no macro for iterators.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn task(_: *const u8) -> i32 {
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: nothing here can.
    loop {}
}
