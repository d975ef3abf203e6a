//! Drains a kernel ring.

use aya::maps::{MapData, RingBuf};

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

/// Takes what is there, up to [`BATCH`] records, in the order in which the kernel wrote it.
pub fn drain(ring: &mut RingBuf<MapData>, mut take: impl FnMut(Record)) -> Drained {
    let mut drained = Drained::default();
    while drained.records + drained.malformed < BATCH {
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
