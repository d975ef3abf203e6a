//! UUIDv7 from the wall time of passes and seeded random bits: the same inputs give the same ids.

use uuid::{Builder, Uuid};

/// A source of ids.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    state: u64,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Ids {
        Ids { state: seed }
    }

    /// The next id. Ids need to be unique, not secret.
    pub(super) fn next(&mut self, unix_ns: i64) -> Uuid {
        let millis = u64::try_from(unix_ns / 1_000_000).unwrap_or(0);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.bits().to_be_bytes());
        random[8..].copy_from_slice(&self.bits().to_be_bytes()[..2]);
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}
