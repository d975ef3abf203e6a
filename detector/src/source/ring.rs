//! Drains a kernel ring.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::{MapData, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};

use super::decode::{self, DecodeError, Record};

/// Records taken per call at most, so that one flood keeps the loop neither from its other work nor from asking what it has
/// to ask while those it asks about live. 1,024 are 256 short programs, 1 to 3 ms; fifteen times that where nothing is
/// optimised and each is a suspect.
pub const BATCH: usize = 1_024;

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

    fn item(&mut self, bytes: &[u8], take: &mut impl FnMut(Record)) {
        match decode::record(bytes) {
            Ok(record) => {
                self.records += 1;
                take(record);
            }
            Err(error) => {
                if self.malformed == 0 {
                    report(error);
                }
                self.malformed += 1;
            }
        }
    }
}

/// Takes what is there, up to [`BATCH`] records, in the order in which the kernel wrote it.
pub fn drain(ring: &mut RingBuf<MapData>, mut take: impl FnMut(Record)) -> Drained {
    let mut drained = Drained::default();
    while drained.taken() < BATCH {
        let Some(item) = ring.next() else { break };
        drained.item(&item, &mut take);
    }
    drained
}

/// Throws away what is there, up to [`BATCH`] records; gives how many.
pub fn discard(ring: &mut RingBuf<MapData>) -> usize {
    (0..BATCH).take_while(|_| ring.next().is_some()).count()
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

#[cfg(test)]
mod tests {
    use super::*;
    use detector_common::event::{Fork, kind};
    use zerocopy::{FromZeros as _, IntoBytes as _};

    #[test]
    fn each_record_that_cannot_be_decoded_is_counted_and_those_around_it_are_taken() {
        let mut fork = Fork::new_zeroed();
        fork.header.kind = kind::FORK;
        let (mut drained, mut taken) = (Drained::default(), 0);
        let mut take = |_| taken += 1;
        for bytes in [fork.as_bytes(), &[0xff; 48], &[], fork.as_bytes()] {
            drained.item(bytes, &mut take);
        }
        let expected = Drained {
            records: 2,
            malformed: 2,
        };
        assert_eq!((drained, taken), (expected, 2));
    }
}
