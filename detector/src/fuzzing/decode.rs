//! Records of the kernel's rings (`source/decode.rs`).

use detector_common::event;
use zerocopy::IntoBytes;

use crate::source::decode::{self, DecodeError, Record};

/// A record is what its bytes say, and an error what is wrong with them.
///
/// # Panics
/// A promise is broken.
pub fn decode(bytes: &[u8]) {
    let kind = bytes.first_chunk().map(|kind| u32::from_ne_bytes(*kind));
    let record = match decode::record(bytes) {
        Ok(record) => record,
        Err(DecodeError::Short { bytes: there, .. }) => return assert_eq!(there, bytes.len()),
        Err(DecodeError::Kind(other)) => return assert_eq!(Some(other), kind),
    };
    match &record {
        Record::Fork(fork) => is_prefix(fork, bytes),
        Record::Exit(exit) => is_prefix(exit, bytes),
        Record::ThreadEnd(end) => is_prefix(end, bytes),
        Record::Connection(connection) => is_prefix(connection, bytes),
        Record::Exec(exec) => {
            let interpreter = exec.interpreter.as_deref().unwrap_or_default();
            let texts = [&exec.name, &exec.filename, interpreter, &exec.args].concat();
            assert!(bytes[size_of::<event::Exec>()..].starts_with(&texts));
        }
        Record::Payload(payload) => {
            assert!(payload.bytes.is_empty() || holds(bytes, &payload.bytes));
        }
    }
    let time = bytes.get(8..16).and_then(|time| time.try_into().ok());
    assert_eq!(Some(record.at_ns()), time.map(u64::from_ne_bytes));
}

/// Encoded again, it is the bytes it was made of.
fn is_prefix<T: IntoBytes + zerocopy::Immutable>(record: &T, bytes: &[u8]) {
    assert!(bytes.starts_with(record.as_bytes()));
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
