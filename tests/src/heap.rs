//! What a thread of a test or bench costs: the system's allocator with a count of what it gave, and CPU time.
//!
//! Heap is counted per thread, so that a test is not told of its neighbours and a count costs no atomic operation. What one
//! thread allocates and another frees is counted by neither as it should; what is measured here has one thread.

#![expect(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one only counts"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
    static TIMES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting. To be made the `#[global_allocator]` by whoever measures.
#[derive(Debug)]
pub struct Counting;

/// What this thread has on the heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heap {
    /// Allocated and not freed, bytes.
    pub live_bytes: i64,
    /// Most that ever was, since [`begin_peak`], bytes.
    pub peak_bytes: i64,
    /// Allocations and reallocations.
    pub times: u64,
}

/// As it is now.
pub fn now() -> Heap {
    Heap {
        live_bytes: LIVE.get(),
        peak_bytes: PEAK.get(),
        times: TIMES.get(),
    }
}

/// The peak is looked for from now on.
pub fn begin_peak() {
    PEAK.set(LIVE.get());
}

/// CPU time of this thread: neighbours on the machine do not count.
pub fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, ns) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    Duration::new(
        seconds.expect("since the thread began"),
        ns.expect("below a second"),
    )
}

fn changed(bytes: usize, freed: usize) {
    let change = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    let live = LIVE.get() + change(bytes) - change(freed);
    LIVE.set(live);
    if bytes > 0 {
        TIMES.set(TIMES.get() + 1);
        PEAK.set(PEAK.get().max(live));
    }
}

// SAFETY: every call is handed on to `System` as it came, and what that gives is given back unchanged; counting
// touches only thread-local cells without a destructor, which neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        changed(layout.size(), 0);
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        changed(layout.size(), 0);
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        changed(new_size, layout.size());
        // SAFETY: `pointer` came from `System` with this layout, by the caller's contract and the above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        changed(0, layout.size());
        // SAFETY: as for `realloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
