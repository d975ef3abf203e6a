//! What has to hold for an rpm database of any bytes.

use std::{fs, time::Instant};

use rusqlite::Connection;

use super::{Header, Rpm};
use crate::{
    enrich::package::{Digest, Listing as _, Shipped},
    fuzzing::folder,
    input::Owner,
};

/// The first byte chooses what the rest is: the database's file, or the header of its one package. A header's files are the
/// package's, with the digests that stand in it; a file that is no database makes nothing unowned.
///
/// # Panics
/// A promise is broken.
pub fn run(bytes: &[u8]) {
    let Some((what, rest)) = bytes.split_first() else {
        return;
    };
    let root = folder();
    let state = root.path().join("var/lib/rpm");
    fs::create_dir_all(&state).expect("a folder in memory");
    let file = state.join("rpmdb.sqlite");
    if what % 2 == 0 {
        fs::write(&file, rest).expect("a file in memory");
        let owner = find(root.path()).owner(b"/usr/bin/tool", Instant::now());
        let is_database = rest.starts_with(b"SQLite format 3\0");
        assert!(
            is_database || rest.is_empty() || owner != Owner::Unowned,
            "{owner:?}"
        );
        return;
    }
    let Some((label, files)) = read(rest) else {
        return;
    };
    let connection = Connection::open(&file).expect("a file in memory");
    let make = "PRAGMA journal_mode = off; CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)";
    connection.execute_batch(make).expect("a table");
    let insert = "INSERT INTO Packages (hnum, blob) VALUES (1, ?1)";
    connection.execute(insert, [rest]).expect("a row");
    drop(connection);
    let mut rpm = find(root.path());
    for path in files.iter().take(16) {
        assert_eq!(
            rpm.owner(path, Instant::now()),
            Owner::Package(label.clone())
        );
        if let Shipped::Content {
            digest: Digest::Md5(bytes),
            ..
        } = rpm.shipped(&label, path)
        {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let lower = rest.to_ascii_lowercase();
            assert!(lower.windows(32).any(|part| part == digits.as_bytes()));
        }
    }
}

fn find(root: &std::path::Path) -> Rpm {
    Rpm::find(root)
        .expect("there is a file")
        .expect("of this format")
}

/// The package's name and its installed files.
fn read(blob: &[u8]) -> Option<(String, Vec<Vec<u8>>)> {
    let header = Header::parse(blob).ok()?;
    let _ = header.digest_algorithm();
    let mut files = Vec::new();
    let mut count = 0;
    let read = header.each_file(|file| {
        count += 1;
        if file.is_installed() {
            files.push([file.folder, file.name].concat());
        }
        let _ = (
            file.is_configuration(),
            file.digest.and_then(Digest::from_hex),
        );
    });
    assert!(count <= blob.len(), "each name has an end");
    read.ok()?;
    Some((header.label()?, files))
}
