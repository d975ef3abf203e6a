//! Recordings: everything the engine was told, in order, in a file.
//!
//! A recording is enough to say again what the daemon said (same configuration) or would have said
//! (another one): time, seed, host and answers of enrichment are inside. Owns the format; [`Writer`] makes
//! it, [`Reader`] reads it, [`Recorder`] keeps the disk away from the loop.
//!
//! ```text
//! magic "DETECREC" · version u32 · length u32 · CRC-32 u32 · header (MessagePack)
//! block: compressed bytes u32 · raw bytes u32 · records u32 · CRC-32 u32 · one zstd frame
//!        inside: length u32 · input (MessagePack), again and again
//! end:   a block of zeroes: the recording was closed, not torn
//! ```
//! Integers are little-endian. The CRC covers the lengths before it and the bytes after it. Each block can be
//! read without any other: of a torn file the last block is lost, at most [`BLOCK_NS`] or [`BLOCK_BYTES`]
//! before compression.
//!
//! Compatibility: fields and kinds have names. Within one version they are added, never renamed or retyped;
//! a reader takes defaults for fields it misses, ignores what it does not know, and counts inputs it cannot
//! understand ([`Reader::skipped`]) instead of guessing. What that cannot carry gets a new version; a reader
//! knows all versions before its own and refuses later ones by number. `tests/recordings/version-1.rec` is
//! kept for ever.

use std::io;

mod header;
mod reader;
mod recorder;
mod writer;

#[cfg(test)]
mod tests;

pub use header::Header;
pub use reader::{Reader, Skipped};
pub use recorder::{LOSS, Recorder, State};
pub use writer::{Totals, Writer};

/// The version that [`Writer`] writes.
pub const VERSION: u32 = 1;
/// First bytes of every recording.
pub const MAGIC: [u8; 8] = *b"DETECREC";
/// A block is closed when it holds this much before compression. Larger ones hardly compress better.
pub const BLOCK_BYTES: usize = 1 << 20;
/// A block is closed when it spans this much time: what a power cut may take.
pub const BLOCK_NS: u64 = 10_000_000_000;

/// No header is longer: a configuration is a page.
const MAX_HEADER_BYTES: u32 = 1 << 20;
/// No block is longer, before or after compression: a pass over 100,000 tasks takes 30 MiB.
const MAX_BLOCK_BYTES: u32 = 128 << 20;
/// Magic, version, length and checksum.
const PREAMBLE_BYTES: usize = 20;
/// What precedes each frame.
const BLOCK_HEAD_BYTES: usize = 16;

/// Why a recording cannot be written, or read any further. What was read before stays good.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It does not begin like one.
    #[error("not a recording of detector")]
    Magic,
    /// Written by a later detector.
    #[error("format version {0} is newer than {VERSION}, the newest this detector reads")]
    Newer(u32),
    /// No version has this number.
    #[error("there is no format version {0}")]
    Version(u32),
    /// The header cannot be what was written.
    #[error("the header is damaged: {0}")]
    Header(String),
    /// It ends in the middle of something.
    #[error("torn: it ends inside {0}")]
    Torn(&'static str),
    /// It ends after a whole block, but nobody closed it.
    #[error("not closed: whoever wrote it was stopped; the last seconds are missing")]
    Unclosed,
    /// A block is not what was written.
    #[error("block {number} is damaged: {reason}")]
    Block {
        /// Which, from 0.
        number: u64,
        /// What does not fit.
        reason: &'static str,
    },
    /// An input cannot be put into bytes: longer than a block may be.
    #[error("an input of {0} bytes is longer than a block may be")]
    TooLong(usize),
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}
