//! Records into rings: reserve → fill → submit.
//!
//! The reader is not woken per record: it drains on a timer. Once a ring is a quarter full one
//! record carries a forced wake-up, so that a burst does not have to wait for the timer. So does the first
//! record after the reader has stopped its timer because nothing came.
//! A record that finds no room is counted under its own name.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    maps::RingBuf,
};
use detector_common::counter::Counter;

use crate::{count::count, maps::DOZING};

/// `BPF_RB_AVAIL_DATA`: bytes not yet read.
const AVAIL_DATA: u64 = 0;
/// `BPF_RB_RING_SIZE`: bytes of the ring.
const RING_SIZE: u64 = 1;

/// What to pass to submit: no wake-up below the watermark of a reader whose timer runs.
#[inline(always)]
pub fn wakeup(ring: &RingBuf) -> u64 {
    if is_first_since_doze() || ring.query(AVAIL_DATA) >= ring.query(RING_SIZE) / 4 {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}

/// Whether the reader has stopped its timer and nobody has woken it since. Two CPUs may both find so: it is woken twice.
#[inline(always)]
fn is_first_since_doze() -> bool {
    let Some(dozing) = DOZING.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: a pointer into a map of one entry; racing stores all store 0, the daemon's 1 comes before it
    // looks into the ring once more.
    unsafe {
        if dozing.read_volatile() == 0 {
            return false;
        }
        dozing.write_volatile(0);
    }
    true
}

/// Sends a record of fixed size.
#[inline(always)]
pub fn record<T: 'static>(ring: &RingBuf, value: T, lost: Counter) {
    match ring.reserve::<T>(0) {
        Some(mut slot) => {
            slot.write(value);
            slot.submit(wakeup(ring));
        }
        None => count(lost),
    }
}

/// Sends the first `len` bytes at `start`. Copies once more than [`record`], but a reservation
/// must have a constant size, and an exec record is a third of its maximum on average.
#[inline(always)]
pub fn bytes(ring: &RingBuf, start: *const u8, len: usize, lost: Counter) {
    // SAFETY: `start` points into a map value; the verifier checks that `len` bytes lie inside it.
    let data = unsafe { core::slice::from_raw_parts(start, len) };
    if ring.output::<[u8]>(data, wakeup(ring)).is_err() {
        count(lost);
    }
}
