//! Recordings (`recording/`): as they lie on disk, and past the checksums that keep a fuzzer out.

use crate::{
    input::OwnedInput,
    recording::{Header, MAGIC, Reader, VERSION, Writer},
};

/// The first byte chooses what the rest is: a file, a header, or the records of one block. What can be read can be written,
/// and is read again as the same.
///
/// # Panics
/// A promise is broken.
pub fn recording(bytes: &[u8]) {
    let Some((what, rest)) = bytes.split_first() else {
        return;
    };
    match what % 3 {
        0 => read(rest),
        1 => read(&[&head(rest)[..], &[0; 16]].concat()),
        _ => {
            let header = rmp_serde::to_vec_named(&header()).expect("made of text and numbers");
            read(&[&head(&header)[..], &block(rest), &[0; 16]].concat());
        }
    }
}

/// See the module's documentation of `recording/`: magic, version, length, checksum, header.
fn head(header: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend((header.len() as u32).to_le_bytes());
    out.extend(crc32fast::hash(&[&out[..], header].concat()).to_le_bytes());
    out.extend(header);
    out
}

/// A block that announces as many records as there may be, each of at least four bytes.
fn block(records: &[u8]) -> Vec<u8> {
    let frame = zstd::bulk::compress(records, 1).expect("there is memory");
    let mut count = 0_u32;
    let mut rest = records;
    while let Some((length, after)) = rest.split_first_chunk() {
        rest = after
            .get(u32::from_le_bytes(*length) as usize..)
            .unwrap_or_default();
        count += 1;
    }
    let mut out = Vec::new();
    for word in [frame.len() as u32, records.len() as u32, count] {
        out.extend(word.to_le_bytes());
    }
    out.extend(crc32fast::hash(&[&out[..], &frame].concat()).to_le_bytes());
    out.extend(frame);
    out
}

fn header() -> Header {
    Header {
        detector_version: "0".to_owned(),
        host: Default::default(),
        addresses: Vec::new(),
        seed: 1,
        started_unix_ns: 0,
        started_boot_ns: 0,
        config_digest: String::new(),
        config: String::new(),
    }
}

fn read(file: &[u8]) {
    let Ok(mut reader) = Reader::new(file) else {
        return;
    };
    let header = reader.header().clone();
    let _ = header.recorded_config();
    let inputs: Vec<OwnedInput> = reader.by_ref().map_while(Result::ok).collect();
    assert!(reader.next().is_none(), "it goes on after its end");

    let mut writer = Writer::new(Vec::new(), &header, u64::MAX).expect("memory takes it");
    for input in &inputs {
        writer.push(input.borrow()).expect("what was read fits");
    }
    let (file, totals) = writer.finish().expect("memory takes it");
    assert_eq!(totals.inputs, inputs.len() as u64);
    let again = Reader::new(&file[..]).expect("it was just written");
    assert_eq!(again.header(), &header);
    let again: Result<Vec<OwnedInput>, _> = again.collect();
    // Compared as text: a number that is none (NaN) is not equal to itself.
    assert_eq!(
        format!("{:?}", again.expect("it was closed")),
        format!("{inputs:?}")
    );
}
