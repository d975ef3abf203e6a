//! SHA-256, and MD5 where a package asks for it, of a pinned file: one reading, within a size and a rate that leave disk and CPU to the services.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    time::Instant,
};

use sha2::Digest as _;

use super::file::Pinned;
use crate::input::Sha256;

/// Larger than the limit.
pub(super) const TOO_LARGE: Sha256 = Sha256::Missing("too_large");
/// The rate was used up.
pub(super) const RATE_LIMITED: Sha256 = Sha256::Missing("rate_limited");
/// The detector is over its own budget.
pub(super) const CPU_BUDGET: Sha256 = Sha256::Missing("cpu_budget");
/// The file is not the one that was asked about, or changed while it was read.
pub(super) const CHANGED: Sha256 = Sha256::Missing("changed");
/// Refused, not a regular file, or a read error.
pub(super) const UNREADABLE: Sha256 = Sha256::Missing("unreadable");
/// Neither the process nor the file is there.
pub(super) const GONE: Sha256 = Sha256::Missing("gone");

/// One read: half of the default read-ahead of a disk, and small enough to stay in a CPU's cache.
const CHUNK_BYTES: usize = 64 << 10;

/// Digests of one reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digests {
    pub(super) sha256: Sha256,
    /// `None`: not asked for, or nothing was read.
    pub(super) md5: Option<[u8; 16]>,
}

impl From<Sha256> for Digests {
    fn from(sha256: Sha256) -> Digests {
        Digests { sha256, md5: None }
    }
}

/// Hashes within bounds.
#[derive(Debug)]
pub(super) struct Hasher {
    max_bytes: u64,
    bucket: Bucket,
    rests: bool,
}

impl Hasher {
    pub(super) fn new(max_bytes: u64, bucket: Bucket) -> Hasher {
        Hasher {
            max_bytes,
            bucket,
            rests: false,
        }
    }

    /// Whether nothing is hashed until further notice.
    pub(super) fn rest(&mut self, rests: bool) {
        self.rests = rests;
    }

    /// The digests of `file`, unless a bound forbids it or it changes meanwhile.
    pub(super) fn hash(&mut self, file: &Pinned, with_md5: bool, now: Instant) -> Digests {
        if self.rests {
            return CPU_BUDGET.into();
        }
        let size = file.stat().st_size as u64;
        if size > self.max_bytes {
            return TOO_LARGE.into();
        }
        let Ok(mut reader) = file.reader() else {
            return UNREADABLE.into();
        };
        if !self.bucket.take(size, now) {
            return RATE_LIMITED.into();
        }
        let Ok((digests, read)) = digests(&mut reader, size, with_md5) else {
            return UNREADABLE.into();
        };
        // A write after the last byte was read changes size or mtime. ctime is not compared: a
        // deletion changes it, and the content is the same.
        let unchanged = rustix::fs::fstat(&reader).is_ok_and(|after| {
            let before = file.stat();
            (after.st_size, after.st_mtime, after.st_mtime_nsec)
                == (before.st_size, before.st_mtime, before.st_mtime_nsec)
        });
        if read != size || !unchanged {
            return CHANGED.into();
        }
        digests
    }
}

/// Digests of the first `size` bytes and how many bytes there are, at most `size + 1`.
fn digests(file: &mut File, size: u64, with_md5: bool) -> std::io::Result<(Digests, u64)> {
    let mut sha256 = sha2::Sha256::new();
    let mut md5 = with_md5.then(md5::Md5::new);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut reader = file.take(size + 1);
    let mut total = 0;
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => {
                let digests = Digests {
                    sha256: Sha256::Digest(sha256.finalize().into()),
                    md5: md5.map(|md5| md5.finalize().into()),
                };
                return Ok((digests, total));
            }
            Ok(read) => {
                sha256.update(&chunk[..read]);
                if let Some(md5) = &mut md5 {
                    md5.update(&chunk[..read]);
                }
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
