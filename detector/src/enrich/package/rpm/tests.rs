//! Databases made by rpm itself, compared with what `rpm` says about them; and every broken header.

use std::{path::Path, process::Command};

use super::*;
use crate::input::Owner;

const SPEC: &str = "\
Name: sample
Version: 1.2
Release: 3
Summary: s
License: MIT
BuildArch: noarch
%description
d
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc
printf 'tool\\n' > %{buildroot}/usr/bin/tool
printf 'conf\\n' > %{buildroot}/etc/tool.conf
ln -s tool %{buildroot}/usr/bin/link
%files
/usr/bin/tool
/usr/bin/link
%config(noreplace) /etc/tool.conf
";

/// A root with `sample` installed by rpm into an SQLite database; `None`: there is no rpm here.
fn root() -> Option<tempfile::TempDir> {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("build");
    std::fs::create_dir_all(&top).unwrap();
    let spec = top.join("sample.spec");
    std::fs::write(&spec, SPEC).unwrap();
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program)
            .args(["--define", &format!("_topdir {}", top.display())])
            .args(["--define", "_db_backend sqlite"])
            .args(["--define", "_dbpath /var/lib/rpm"])
            .args(args)
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program}: {said}");
        Some(output)
    };
    run("rpmbuild", &["-bb", spec.to_str().unwrap()])?;
    let package = top.join("RPMS/noarch/sample-1.2-3.noarch.rpm");
    let install = ["--nodeps", "--noscripts", "-i", package.to_str().unwrap()];
    let in_root = ["--root", root.path().to_str().unwrap()];
    run("rpm", &[&in_root[..], &install].concat())?;
    Some(root)
}

fn package() -> Owner {
    Owner::Package("sample-1.2-3.noarch".to_owned())
}

#[test]
fn an_sqlite_database_is_read_as_rpm_wrote_it() {
    let Some(root) = root() else {
        eprintln!("skipped: no rpmbuild on this host");
        return;
    };
    let found = Rpm::find(root.path()).expect("a database");
    let mut rpm = found.expect("of a known format");
    let now = Instant::now();
    for (path, expected) in [
        ("/usr/bin/tool", package()),
        ("/usr/bin/link", package()),
        ("/etc/tool.conf", package()),
        ("/usr/bin/other", Owner::Unowned),
        ("/usr/bin", Owner::Unowned),
    ] {
        assert_eq!(rpm.owner(path.as_bytes(), now), expected, "{path}");
    }
    let shipped = |path: &str| rpm.shipped("sample-1.2-3.noarch", path.as_bytes());
    for (path, configuration) in [("/usr/bin/tool", false), ("/etc/tool.conf", true)] {
        let content = std::fs::read(root.path().join(&path[1..])).unwrap();
        let digest = Digest::Sha256(<sha2::Sha256 as sha2::Digest>::digest(&content).into());
        let expected = Shipped::Content {
            digest,
            configuration,
        };
        assert_eq!(shipped(path), expected, "{path}");
    }
    assert_eq!(shipped("/usr/bin/link"), NO_DIGEST);
    assert_eq!(shipped("/usr/bin/other"), NO_DIGEST);
    assert_eq!(rpm.shipped("other-1-1", b"/usr/bin/tool"), NO_DIGEST);
}

#[test]
fn what_stands_in_the_write_ahead_log_counts() {
    let Some(root) = root() else {
        eprintln!("skipped: no rpmbuild on this host");
        return;
    };
    let file = root.path().join("var/lib/rpm/rpmdb.sqlite");
    let writer = rusqlite::Connection::open(&file).unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    let insert = "INSERT INTO Packages (hnum, blob) VALUES (77, x'00')";
    writer.execute(insert, []).unwrap();
    let log = file.with_extension("sqlite-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 0);
    let mut numbers = Vec::new();
    let each = |number, _: &[u8]| {
        numbers.push(number);
        Ok(())
    };
    sqlite::headers(&file, None, each).unwrap();
    assert_eq!(numbers, [1, 77]);
}

#[test]
fn a_broken_database_calls_nothing_unowned() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("var/lib/rpm");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("rpmdb.sqlite"), [0x55; 8192]).unwrap();
    let mut rpm = Rpm::find(root.path()).unwrap().unwrap();
    assert_eq!(
        rpm.owner(b"/usr/bin/x", Instant::now()),
        Owner::Unknown("package database unreadable")
    );
}

/// The header of a package as rpm wrote it, or one made by hand where there is no rpm.
fn header() -> Vec<u8> {
    let Some(root) = root() else {
        return by_hand();
    };
    let mut blob = Vec::new();
    let each = |_, header: &[u8]| {
        blob = header.to_vec();
        Ok(())
    };
    let file = root.path().join("var/lib/rpm/rpmdb.sqlite");
    sqlite::headers(&file, None, each).unwrap();
    blob
}

/// Two files in one folder, without digests.
fn by_hand() -> Vec<u8> {
    let values: [(u32, u32, u32, &[u8]); 6] = [
        (1000, 6, 1, b"n\0"),
        (1001, 6, 1, b"1\0"),
        (1002, 6, 1, b"2\0"),
        (1117, 8, 2, b"a\0b\0"),
        (1118, 8, 1, b"/x/\0\0\0\0\0"),
        (1116, 4, 2, &[0; 8]),
    ];
    let (mut entries, mut store) = (Vec::new(), Vec::new());
    for (tag, kind, count, bytes) in values {
        let offset = u32::try_from(store.len()).unwrap();
        entries.extend([tag, kind, offset, count].map(u32::to_be_bytes).concat());
        store.extend(bytes);
    }
    let sizes = [values.len(), store.len()].map(|size| u32::try_from(size).unwrap().to_be_bytes());
    [&sizes.concat()[..], &entries, &store].concat()
}

/// Reads everything; how many files there are.
fn read(blob: &[u8]) -> Result<usize, Malformed> {
    let header = Header::parse(blob)?;
    let _ = (header.label(), header.digest_algorithm());
    let mut files = 0;
    header.each_file(|file| {
        let _ = (
            file.is_installed(),
            file.is_configuration(),
            file.digest.and_then(Digest::from_hex),
        );
        files += 1;
    })?;
    Ok(files)
}

#[test]
fn a_header_made_by_hand_is_read() {
    let blob = by_hand();
    let header = Header::parse(&blob).unwrap();
    assert_eq!(header.label().as_deref(), Some("n-1-2"));
    let mut files = Vec::new();
    header
        .each_file(|file| files.push([file.folder, file.name].concat()))
        .unwrap();
    assert_eq!(files, [b"/x/a", b"/x/b"]);
}

#[test]
fn every_flipped_byte_and_every_cut_gives_a_header_or_an_error() {
    for blob in [header(), by_hand()] {
        let whole = read(&blob).unwrap();
        assert!(whole >= 2);
        for at in 0..blob.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = blob.clone();
                broken[at] ^= flip;
                let _ = read(&broken);
            }
            assert!(read(&blob[..at]).is_err() || at >= blob.len());
        }
    }
}

#[test]
fn counts_beyond_the_store_allocate_nothing_and_are_errors() {
    let mut blob = by_hand();
    // The count of base names: far more than the store holds.
    blob[8 + 3 * 16 + 12..][..4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(read(&blob), Err(Malformed("file in no folder")));
    let mut blob = by_hand();
    blob[..4].copy_from_slice(&0x0100_0000_u32.to_be_bytes());
    assert_eq!(read(&blob), Err(Malformed("header too large")));
}

#[test]
fn formats_that_are_not_read_are_named() {
    for (name, why) in UNREAD {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("var/lib/rpm");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), "").unwrap();
        let found = Rpm::find(root.path()).expect("something is there");
        assert_eq!(found.err(), Some(why));
    }
    assert!(Rpm::find(Path::new("/nowhere")).is_none());
}
