//! SHA-256 of a pinned file, within a size and a rate that leave disk and CPU to the services.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    time::Instant,
};

use sha2::Digest;

use super::file::Pinned;
use crate::input::Sha256;

/// Larger than the limit.
pub(super) const TOO_LARGE: Sha256 = Sha256::Missing("too_large");
/// The rate was used up.
pub(super) const RATE_LIMITED: Sha256 = Sha256::Missing("rate_limited");
/// The file is not the one that was asked about, or changed while it was read.
pub(super) const CHANGED: Sha256 = Sha256::Missing("changed");
/// Refused, not a regular file, or a read error.
pub(super) const UNREADABLE: Sha256 = Sha256::Missing("unreadable");
/// Neither the process nor the file is there.
pub(super) const GONE: Sha256 = Sha256::Missing("gone");

/// One read: half of the default read-ahead of a disk, and small enough to stay in a CPU's cache.
const CHUNK_BYTES: usize = 64 << 10;

/// Hashes within bounds.
#[derive(Debug)]
pub(super) struct Hasher {
    max_bytes: u64,
    bucket: Bucket,
}

impl Hasher {
    pub(super) fn new(max_bytes: u64, bucket: Bucket) -> Hasher {
        Hasher { max_bytes, bucket }
    }

    /// The digest of `file`, unless a bound forbids it or it changes meanwhile.
    pub(super) fn hash(&mut self, file: &Pinned, now: Instant) -> Sha256 {
        let size = file.stat().st_size as u64;
        if size > self.max_bytes {
            return TOO_LARGE;
        }
        let Ok(mut reader) = file.reader() else {
            return UNREADABLE;
        };
        if !self.bucket.take(size, now) {
            return RATE_LIMITED;
        }
        let Ok((digest, read)) = digest(&mut reader, size) else {
            return UNREADABLE;
        };
        // A write after the last byte was read changes size or mtime. ctime is not compared: a
        // deletion changes it, and the content is the same.
        let unchanged = rustix::fs::fstat(&reader).is_ok_and(|after| {
            let before = file.stat();
            (after.st_size, after.st_mtime, after.st_mtime_nsec)
                == (before.st_size, before.st_mtime, before.st_mtime_nsec)
        });
        if read != size || !unchanged {
            return CHANGED;
        }
        Sha256::Digest(digest)
    }
}

/// Digest of the first `size` bytes and how many bytes there are, at most `size + 1`.
fn digest(file: &mut File, size: u64) -> std::io::Result<([u8; 32], u64)> {
    let mut hasher = sha2::Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut reader = file.take(size + 1);
    let mut total = 0;
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok((hasher.finalize().into(), total)),
            Ok(read) => {
                hasher.update(&chunk[..read]);
                total += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A token bucket, in bytes.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u64,
    burst: u64,
    tokens: u64,
    filled_at: Instant,
}

impl Bucket {
    /// Full at `now`.
    pub(super) fn new(per_second: u64, burst: u64, now: Instant) -> Bucket {
        Bucket {
            per_second,
            burst,
            tokens: burst,
            filled_at: now,
        }
    }

    /// Takes `bytes` if they are there; otherwise takes nothing.
    fn take(&mut self, bytes: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled_at);
        let earned = elapsed.as_nanos() * u128::from(self.per_second) / 1_000_000_000;
        // Not moved for less than a byte, or many small questions would earn nothing.
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(u64::MAX);
            self.tokens = self.tokens.saturating_add(earned).min(self.burst);
            self.filled_at = now;
        }
        match self.tokens.checked_sub(bytes) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100, 1000, start);
        let taken = [
            (1000, 0),
            (1, 0),
            (100, 900),
            (100, 1000),
            (1, 1000),
            (1000, 9_000),
            (1000, 60_000),
            (1, 60_000),
        ]
        .map(|(bytes, at_ms)| bucket.take(bytes, start + Duration::from_millis(at_ms)));
        assert_eq!(taken, [true, false, false, true, false, false, true, false]);
    }

    #[test]
    fn bucket_earns_across_many_short_waits() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 10, start);
        assert!(bucket.take(10, start));
        let taken = (1..=2000)
            .filter(|ms| bucket.take(1, start + Duration::from_millis(*ms)))
            .count();
        assert_eq!(taken, 20);
    }
}
