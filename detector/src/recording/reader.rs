//! Bytes → inputs. Any bytes give inputs or a named error; nothing is read ahead of need or without bound.

use std::io::{self, Read};

use serde::de::IgnoredAny;

use super::{
    BLOCK_HEAD_BYTES, Header, MAGIC, MAX_BLOCK_BYTES, MAX_HEADER_BYTES, PREAMBLE_BYTES,
    RecordingError, VERSION, writer::checksum,
};
use crate::input::OwnedInput;

/// Inputs that this version does not understand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: u64,
    /// What was wrong with the first.
    pub first: Option<String>,
}

/// Reads one recording.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    header: Header,
    block: Vec<u8>,
    position: usize,
    records_left: u32,
    blocks: u64,
    skipped: Skipped,
    over: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no recording, of a later version, or damaged in its first bytes.
    pub fn new(mut from: R) -> Result<Self, RecordingError> {
        let mut preamble = [0; PREAMBLE_BYTES];
        whole(&mut from, &mut preamble, "its first bytes")?;
        if preamble[..8] != MAGIC {
            return Err(RecordingError::Magic);
        }
        match word(&preamble, 8) {
            VERSION => {}
            0 => return Err(RecordingError::Version(0)),
            later => return Err(RecordingError::Newer(later)),
        }
        let length = word(&preamble, 12);
        if length > MAX_HEADER_BYTES {
            return Err(RecordingError::Header(format!("{length} bytes long")));
        }
        let mut body = vec![0; length as usize];
        whole(&mut from, &mut body, "the header")?;
        if checksum(&preamble[..16], &body) != word(&preamble, 16) {
            return Err(RecordingError::Header("its checksum differs".to_owned()));
        }
        let header = rmp_serde::from_slice(&body)
            .map_err(|error| RecordingError::Header(error.to_string()))?;
        Ok(Reader {
            from,
            header,
            block: Vec::new(),
            position: 0,
            records_left: 0,
            blocks: 0,
            skipped: Skipped::default(),
            over: false,
        })
    }

    /// Of whom, by whom, with which numbers.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Inputs that were passed over because this version does not understand them.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    fn next_input(&mut self) -> Result<Option<OwnedInput>, RecordingError> {
        loop {
            if self.records_left == 0 && !self.next_block()? {
                return Ok(None);
            }
            let number = self.blocks - 1;
            let damaged = |reason| RecordingError::Block { number, reason };
            let rest = &self.block[self.position..];
            let (length, rest) = rest.split_first_chunk().ok_or(damaged("a record is cut"))?;
            let length = u32::from_le_bytes(*length) as usize;
            let record = rest.get(..length).ok_or(damaged("a record is cut"))?;
            self.position += 4 + length;
            self.records_left -= 1;
            if self.records_left == 0 && self.position != self.block.len() {
                return Err(damaged("bytes are left over"));
            }
            match rmp_serde::from_slice(record) {
                Ok(input) => return Ok(Some(input)),
                // The checksum holds, so this is what was written: by somebody who knew more.
                Err(error) if rmp_serde::from_slice::<IgnoredAny>(record).is_ok() => {
                    self.skipped.count += 1;
                    self.skipped.first.get_or_insert_with(|| error.to_string());
                }
                Err(_) => return Err(damaged("a record is no MessagePack")),
            }
        }
    }

    /// Reads the next block; `false`: the recording is over and was closed.
    fn next_block(&mut self) -> Result<bool, RecordingError> {
        let mut head = [0; BLOCK_HEAD_BYTES];
        match fill(&mut self.from, &mut head)? {
            BLOCK_HEAD_BYTES => {}
            0 => return Err(RecordingError::Unclosed),
            _ => return Err(RecordingError::Torn("a block's head")),
        }
        if head == [0; BLOCK_HEAD_BYTES] {
            return Ok(false);
        }
        let number = self.blocks;
        let damaged = |reason| RecordingError::Block { number, reason };
        let (compressed, raw, records) = (word(&head, 0), word(&head, 4), word(&head, 8));
        if compressed > MAX_BLOCK_BYTES || raw > MAX_BLOCK_BYTES {
            return Err(damaged("it claims to be longer than a block may be"));
        }
        if records == 0 {
            return Err(damaged("it claims to hold nothing"));
        }
        let mut frame = Vec::new();
        // Grows with what is there, not with what a damaged head claims.
        let got = (&mut self.from)
            .take(u64::from(compressed))
            .read_to_end(&mut frame)?;
        if got < compressed as usize {
            return Err(RecordingError::Torn("a block"));
        }
        if checksum(&head[..12], &frame) != word(&head, 12) {
            return Err(damaged("its checksum differs"));
        }
        self.block = zstd::bulk::decompress(&frame, raw as usize)
            .map_err(|_| damaged("it does not decompress"))?;
        if self.block.len() != raw as usize {
            return Err(damaged("it is shorter than it claims"));
        }
        self.position = 0;
        self.records_left = records;
        self.blocks += 1;
        Ok(true)
    }
}

/// Ends after the first error.
impl<R: Read> Iterator for Reader<R> {
    type Item = Result<OwnedInput, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.next_input().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let four = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_le_bytes(four)
}

/// Fills `bytes`, or says inside what the file ends.
fn whole(from: &mut impl Read, bytes: &mut [u8], what: &'static str) -> Result<(), RecordingError> {
    match fill(from, bytes)? {
        filled if filled == bytes.len() => Ok(()),
        _ => Err(RecordingError::Torn(what)),
    }
}

/// Fills `bytes` as far as the file reaches.
fn fill(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match from.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
