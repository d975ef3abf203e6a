//! The kernel side of detector.
//!
//! Each probe is a thin entry in [`probe`] that calls `try_x`; kernel memory is read in [`kernel`]
//! and nowhere else; records leave through [`emit`], past [`throttle`]; every loss is counted by [`count`].
//! It refuses policy: what is suspicious is decided in the daemon.
#![no_std]
#![no_main]
// The atomic addition of `throttle`.
#![feature(asm_experimental_arch)]
#![expect(
    unsafe_code,
    reason = "a BPF program is made of raw pointers; the verifier checks every access"
)]

mod count;
mod emit;
mod kernel;
mod maps;
mod probe;
mod throttle;

/// The helpers `bpf_seq_write` and the ring buffer are for GPL-compatible programs only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: the verifier refuses a program in which this could run.
    loop {}
}
