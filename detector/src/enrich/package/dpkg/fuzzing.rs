//! What has to hold for a dpkg database of any bytes.

use std::{fs, time::Instant};

use super::Dpkg;
use crate::{
    enrich::package::{Listing as _, Shipped},
    fuzzing::folder,
    input::Owner,
};

/// Between the files of one database.
const NEXT_FILE: &[u8] = b"\n%%\n";

/// `x.list`, `x.md5sums`, `diversions` and `status`, one after the other: a file is the package's when its list says so, and
/// nobody's else; a digest is one that stands there.
///
/// # Panics
/// A promise is broken.
pub fn run(bytes: &[u8]) {
    let mut files = split(bytes);
    let mut next = || files.next().unwrap_or_default();
    let (list, sums, diversions, status) = (next(), next(), next(), next());
    let root = folder();
    let state = root.path().join("var/lib/dpkg");
    fs::create_dir_all(state.join("info")).expect("a folder in memory");
    for (name, content) in [
        ("info/x.list", list),
        ("info/x.md5sums", sums),
        ("diversions", diversions),
        ("status", status),
    ] {
        fs::write(state.join(name), content).expect("a file in memory");
    }
    let mut dpkg = Dpkg::new(root.path());
    let now = Instant::now();
    let lines: Vec<&[u8]> = list.split(|byte| *byte == b'\n').collect();
    for path in lines.iter().filter(|line| line.len() > 1).take(64) {
        let owner = dpkg.owner(path, now);
        if diversions.is_empty() {
            assert_eq!(
                owner,
                Owner::Package("x".to_owned()),
                "{}",
                path.escape_ascii()
            );
        }
        if let Shipped::Content { digest, .. } = dpkg.shipped("x", path) {
            assert!(holds(sums, digest.bytes()) || holds(status, digest.bytes()));
        }
    }
    let stranger = b"/nowhere/\xf0\x9f\xa6\x80";
    if ![list, diversions]
        .iter()
        .any(|file| file.windows(stranger.len()).any(|part| part == stranger))
    {
        assert_eq!(dpkg.owner(stranger, now), Owner::Unowned);
    }
}

fn split(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let end = bytes
            .windows(NEXT_FILE.len())
            .position(|part| part == NEXT_FILE);
        over = end.is_none();
        let (file, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        bytes = rest.get(NEXT_FILE.len()..).unwrap_or_default();
        Some(file)
    })
}

/// Whether `text` has these bytes in hexadecimal digits.
fn holds(text: &[u8], digest: &[u8]) -> bool {
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    text.to_ascii_lowercase()
        .windows(digits.len())
        .any(|part| part == digits.as_bytes())
}
