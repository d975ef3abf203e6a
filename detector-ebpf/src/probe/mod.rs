//! One file per family of hooks.

mod connection;
mod exec;
mod exit;
mod fork;
mod payload;
mod task;

use detector_common::event::Header;

/// The header of a record written now.
#[inline(always)]
fn header(kind: u32) -> Header {
    Header {
        kind,
        reserved: 0,
        // SAFETY: always callable.
        time_ns: unsafe { aya_ebpf::helpers::bpf_ktime_get_boot_ns() },
    }
}
