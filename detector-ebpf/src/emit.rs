//! Records into rings: admit → reserve → fill → submit.
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
/// `BPF_RB_CONS_POS`: bytes read since the ring was made.
const CONSUMED: u64 = 2;

/// How full a ring is.
#[derive(Clone, Copy)]
pub struct Fill {
    /// Bytes not yet read.
    pub unread: u64,
    /// Bytes of the ring.
    pub size: u64,
}

impl Fill {
    /// Asks the kernel, which takes no lock for it.
    #[inline(always)]
    pub fn of(ring: &RingBuf) -> Fill {
        Fill {
            unread: ring.query(AVAIL_DATA),
            size: ring.query(RING_SIZE),
        }
    }

    /// What to pass to submit: no wake-up below the watermark of a reader whose timer runs.
    #[inline(always)]
    pub fn wakeup(self) -> u64 {
        if is_first_since_doze() || self.unread >= self.size / 4 {
            u64::from(BPF_RB_FORCE_WAKEUP)
        } else {
            u64::from(BPF_RB_NO_WAKEUP)
        }
    }
}

/// Quarters of the ring that were read since it was made.
#[inline(always)]
pub fn quarters_read(ring: &RingBuf, size: u64) -> u64 {
    // Checked, because a division by nothing would call the panic handler, which the verifier refuses.
    ring.query(CONSUMED).checked_div(size / 4).unwrap_or(0)
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
pub fn record<T: 'static>(ring: &RingBuf, fill: Fill, value: T, lost: Counter) {
    match ring.reserve::<T>(0) {
        Some(mut slot) => {
            slot.write(value);
            slot.submit(fill.wakeup());
        }
        None => count(lost),
    }
}

/// Sends the first `len` bytes at `start`. Copies once more than [`record`], but a reservation
/// must have a constant size, and an exec record is a third of its maximum on average.
#[inline(always)]
pub fn bytes(ring: &RingBuf, fill: Fill, start: *const u8, len: usize, lost: Counter) {
    // SAFETY: `start` points into a map value; the verifier checks that `len` bytes lie inside it.
    let data = unsafe { core::slice::from_raw_parts(start, len) };
    if ring.output::<[u8]>(data, fill.wakeup()).is_err() {
        count(lost);
    }
}
