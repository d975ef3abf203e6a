//! Who may still write while a ring is filling.
//!
//! Below half full everybody may, and nothing is looked up: an unflooded host pays one comparison a record. From there
//! on a cgroup may write a quarter of what is free before the reader has taken another quarter of the ring. That is how
//! a switch shares a buffer between queues (dynamic thresholds, Choudhury and Hahne 1998): one flooding cgroup is stopped
//! when three fifths of the ring are full, `n` of them leave 2 / (4 + n) of it, and no clock or rate has to be chosen,
//! because what is allowed follows the reader. What is kept out is counted by kind, and for the cgroup.
//!
//! Where the kernel does not tell cgroups (`THROTTLE` is 0) everybody may write until the ring is full.

use aya_ebpf::maps::RingBuf;
use detector_common::{
    counter::Counter,
    throttle::{Allowance, Ring, Throttle},
};

use crate::{
    count::count,
    emit::{Fill, quarters_read},
    maps::{THROTTLE, THROTTLES},
};

/// What is to be written.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Where.
    pub ring: Ring,
    /// Bytes, at least.
    pub bytes: usize,
    /// Under which name it is counted when it is kept out.
    pub kept_out: Counter,
    /// CPU time that only this record would tell, ns.
    pub cpu_ns: u64,
}

/// How full the ring is, if the cgroup may write to it. Otherwise that is counted.
#[inline(always)]
pub fn admit(ring: &RingBuf, wanted: Wanted, cgroup_id: impl FnOnce() -> u64) -> Option<Fill> {
    let fill = Fill::of(ring);
    // SAFETY: a static is always readable; volatile, because the daemon replaces it after compilation.
    if fill.unread < fill.size / 2 || unsafe { core::ptr::read_volatile(&raw const THROTTLE) } == 0
    {
        return Some(fill);
    }
    share(ring, fill, wanted, cgroup_id()).then_some(fill)
}

#[inline(always)]
fn share(ring: &RingBuf, fill: Fill, wanted: Wanted, cgroup_id: u64) -> bool {
    // Header and padding of the ring.
    let bytes = wanted.bytes as u64 + 8;
    let free = fill.size.saturating_sub(fill.unread);
    let quarter = quarters_read(ring, fill.size);
    let Some(entry) = THROTTLES.get_ptr_mut(cgroup_id) else {
        let mut fresh = Throttle {
            written: [Allowance { quarter, bytes: 0 }; 2],
            kept_out: [0; 5],
            unbilled_ns: 0,
        };
        fresh.written[wanted.ring as usize].bytes = bytes;
        // Refused: another CPU made it, or no memory is left. The record goes out unbilled.
        let _ = THROTTLES.insert(cgroup_id, fresh, u64::from(aya_ebpf::bindings::BPF_NOEXIST));
        return true;
    };
    // SAFETY: an entry stays readable while the program runs. Other CPUs change it too: the sums are made by
    // atomic additions, and a quarter that begins on two CPUs at once allows at most one record more.
    unsafe {
        let written = &raw mut (*entry).written[wanted.ring as usize];
        if (*written).quarter != quarter {
            (*written).quarter = quarter;
            (*written).bytes = 0;
        }
        if (*written).bytes + bytes <= free / 4 {
            add(&raw mut (*written).bytes, bytes);
            return true;
        }
        add(
            &raw mut (*entry).kept_out[Throttle::place(wanted.kept_out)],
            1,
        );
        add(&raw mut (*entry).unbilled_ns, wanted.cpu_ns);
    }
    count(wanted.kept_out);
    false
}

/// Adds to a sum that other CPUs add to.
///
/// # Safety
/// `sum` points into a map value.
#[inline(always)]
unsafe fn add(sum: *mut u64, value: u64) {
    // The compiler has no atomic addition for this target; every kernel's verifier has this one (`BPF_XADD`).
    // SAFETY: the verifier checks the address.
    unsafe {
        core::arch::asm!("lock *(u64 *)({sum} + 0) += {value}", sum = in(reg) sum, value = in(reg) value);
    }
}
