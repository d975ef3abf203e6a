//! Drains a kernel ring.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::{MapData, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};

use super::decode::{self, DecodeError, Record};

/// Records taken per call at most, so that one flood cannot keep the loop from its other work;
/// 16,384 are about 8 ms.
pub const BATCH: usize = 16_384;

/// What one call took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records passed on.
    pub records: usize,
    /// Records that could not be decoded: the object is not of this version.
    pub malformed: usize,
}

impl Drained {
    /// Records that were in the ring, whatever they were.
    pub fn taken(self) -> usize {
        self.records + self.malformed
    }
}

/// Takes what is there, up to [`BATCH`] records, in the order in which the kernel wrote it.
pub fn drain(ring: &mut RingBuf<MapData>, mut take: impl FnMut(Record)) -> Drained {
    let mut drained = Drained::default();
    while drained.taken() < BATCH {
        let Some(item) = ring.next() else { break };
        match decode::record(&item) {
            Ok(record) => {
                drained.records += 1;
                take(record);
            }
            Err(error) => {
                if drained.malformed == 0 {
                    report(error);
                }
                drained.malformed += 1;
            }
        }
    }
    drained
}

fn report(error: DecodeError) {
    tracing::error!(%error, "record from the kernel cannot be read");
}

/// Readable when the kernel side forces a wake-up because the ring is a quarter full.
///
/// # Errors
/// No descriptor is left, or the ring cannot be polled.
pub fn watermark(ring: &RingBuf<MapData>) -> io::Result<AsyncFd<OwnedFd>> {
    readable(ring.as_fd().try_clone_to_owned()?)
}

/// A descriptor that the event loop waits on.
///
/// # Errors
/// It cannot be polled.
#[expect(unsafe_code, reason = "tokio cannot see who else holds a descriptor")]
pub(super) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and the same until it is dropped, which the `AsyncFd` does.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    fd.map_err(io::Error::from)
}
