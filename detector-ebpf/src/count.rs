//! Counting what was lost.

use detector_common::counter::Counter;

use crate::maps::COUNTERS;

/// Adds one to a loss counter of this CPU.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot belongs to this CPU, and a program on it does not migrate; a nested
        // program may lose one increment, which the kernel's own counters accept as well.
        unsafe { *value += 1 };
    }
}
