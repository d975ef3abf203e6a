use std::{os::unix::fs::symlink, process::Command};

use super::*;
use crate::{
    enrich::package::shipped::{Digest, NO_DIGEST, Shipped},
    input::Owner,
};

/// A root with a merged `/usr` and these lists.
fn root(lists: &[(&str, &str)], diversions: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let info = root.path().join("var/lib/dpkg/info");
    fs::create_dir_all(&info).unwrap();
    for (package, text) in lists {
        fs::write(info.join(format!("{package}.list")), text).unwrap();
        fs::write(info.join(format!("{package}.md5sums")), "/usr/bin/no\n").unwrap();
    }
    fs::write(root.path().join("var/lib/dpkg/diversions"), diversions).unwrap();
    fs::create_dir_all(root.path().join("usr/bin")).unwrap();
    symlink("usr/bin", root.path().join("bin")).unwrap();
    root
}

fn package(name: &str) -> Owner {
    Owner::Package(name.to_owned())
}

#[test]
fn merged_usr_is_decided_by_the_links_of_the_host() {
    let lists = [
        ("bash", "/.\n/bin\n/bin/bash\n/sbin/x\n"),
        ("libc6:amd64", "/usr/lib/ld.so\n"),
    ];
    let root = root(&lists, "");
    let mut dpkg = Dpkg::new(root.path());
    let now = Instant::now();
    for (path, expected) in [
        ("/usr/bin/bash", package("bash")),
        ("/bin/bash", package("bash")),
        ("/sbin/x", package("bash")),
        ("/usr/sbin/x", Owner::Unowned),
        ("/usr/lib/ld.so", package("libc6:amd64")),
        ("/usr/bin/no", Owner::Unowned),
        ("/binary/bash", Owner::Unowned),
    ] {
        assert_eq!(dpkg.owner(path.as_bytes(), now), expected, "{path}");
    }
}

#[test]
fn diversion_gives_the_path_to_its_package_and_moves_the_others_file() {
    let lists = [
        ("bash", "/bin/sh\n"),
        ("dash", "/usr/bin/sh\n"),
        ("perl", "/usr/bin/p\n"),
    ];
    let root = root(
        &lists,
        "/bin/sh\n/bin/sh.distrib\ndash\n/usr/bin/p\n/usr/bin/p.real\n:\n",
    );
    let mut dpkg = Dpkg::new(root.path());
    let now = Instant::now();
    for (path, expected) in [
        ("/usr/bin/sh", package("dash")),
        ("/usr/bin/sh.distrib", package("bash")),
        ("/usr/bin/p.real", package("perl")),
        ("/usr/bin/p", Owner::Unowned),
    ] {
        assert_eq!(dpkg.owner(path.as_bytes(), now), expected, "{path}");
    }
}

#[test]
fn changed_lists_are_read_again_but_not_for_every_question() {
    let root = root(&[("a", "/usr/bin/a\n")], "");
    let mut dpkg = Dpkg::new(root.path());
    let start = Instant::now();
    assert_eq!(dpkg.owner(b"/usr/bin/b", start), Owner::Unowned);
    let info = root.path().join("var/lib/dpkg/info");
    fs::write(info.join("b.list"), "/usr/bin/b\n").unwrap();
    let almost = start + RECHECK - Duration::from_millis(1);
    assert_eq!(dpkg.owner(b"/usr/bin/b", almost), Owner::Unowned);
    assert_eq!(dpkg.owner(b"/usr/bin/b", start + RECHECK), package("b"));
}

#[test]
fn database_that_cannot_be_read_owns_nothing_and_calls_nothing_unowned() {
    let root = root(&[], "");
    fs::create_dir(root.path().join("var/lib/dpkg/info/a.list")).unwrap();
    let mut dpkg = Dpkg::new(root.path());
    assert_eq!(
        dpkg.owner(b"/usr/bin/a", Instant::now()),
        Owner::Unknown("package database unreadable")
    );
}

/// What `dpkg -S` says about exactly this path; `None`: nothing, or several packages.
fn dpkg_search(path: &str) -> Option<String> {
    let output = Command::new("dpkg").args(["-S", path]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text
        .lines()
        .find(|line| line.ends_with(&format!(": {path}")))?;
    let (owner, _) = line.rsplit_once(": ")?;
    (!owner.contains(", ") && !owner.starts_with("diversion")).then(|| owner.to_owned())
}

#[test]
fn this_host_agrees_with_dpkg_search_within_the_memory_promised() {
    if !Path::new("/var/lib/dpkg/info").is_dir() {
        eprintln!("skipped: no dpkg database on this host");
        return;
    }
    let mut dpkg = Dpkg::new(Path::new("/"));
    let now = Instant::now();
    let started = Instant::now();
    assert_eq!(dpkg.owner(b"/nowhere/at/all", now), Owner::Unowned);
    let took = started.elapsed();
    let index = &dpkg.loaded.as_ref().unwrap().index;
    let (paths, bytes) = (index.len(), index.bytes());
    eprintln!("{paths} paths, {bytes} bytes, read in {took:?}");
    assert!(
        bytes <= 17 * paths + 64 * 1024,
        "{bytes} bytes for {paths} paths"
    );

    // One path of every twentieth list, spelled as the list spells it.
    let mut lists: Vec<PathBuf> = fs::read_dir("/var/lib/dpkg/info")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() == Some(OsStr::new("list")))
        .collect();
    lists.sort();
    let mut compared = 0;
    for list in lists.iter().step_by(20) {
        let text = fs::read_to_string(list).unwrap();
        let Some(path) = text.lines().last() else {
            continue;
        };
        let Some(expected) = dpkg_search(path) else {
            continue;
        };
        assert_eq!(
            dpkg.owner(path.as_bytes(), now),
            package(&expected),
            "{path}"
        );
        compared += 1;
    }
    eprintln!("{compared} paths agree with dpkg -S");
    assert!(compared > 0);
}

#[test]
fn digests_are_found_in_every_spelling_and_configuration_files_in_the_status() {
    let lists = [
        (
            "bash:amd64",
            "/bin/bash\n/bin/sh\n/etc/cron.daily/b\n/usr/bin/none\n",
        ),
        ("dash", "/bin/sh\n"),
    ];
    let root = root(&lists, "/bin/sh\n/bin/sh.distrib\ndash\n");
    let dpkg_folder = root.path().join("var/lib/dpkg");
    let (one, two, three) = ("0".repeat(32), "1".repeat(32), "2".repeat(32));
    fs::write(
        dpkg_folder.join("info/bash:amd64.md5sums"),
        format!("{one}  bin/bash\n{two}  bin/sh\nbroken\n"),
    )
    .unwrap();
    fs::write(
        dpkg_folder.join("status"),
        format!(
            "Package: other\nConffiles:\n /etc/cron.daily/b {one}\n\nPackage: bash\nVersion: 1\nConffiles:\n /etc/a {one}\n /etc/cron.daily/b {three} obsolete\nDescription: x\n /usr/bin/none {one}\n"
        ),
    )
    .unwrap();
    let mut dpkg = Dpkg::new(root.path());
    let now = Instant::now();
    assert_eq!(dpkg.owner(b"/usr/bin/bash", now), package("bash:amd64"));
    let content = |byte, configuration| Shipped::Content {
        digest: Digest::Md5([byte; 16]),
        configuration,
    };
    for (path, expected) in [
        ("/usr/bin/bash", content(0x00, false)),
        ("/usr/bin/sh.distrib", content(0x11, false)),
        ("/etc/cron.daily/b", content(0x22, true)),
        ("/usr/bin/none", NO_DIGEST),
    ] {
        assert_eq!(
            dpkg.shipped("bash:amd64", path.as_bytes()),
            expected,
            "{path}"
        );
    }
}

#[test]
fn this_hosts_shell_has_the_digest_that_md5sum_says() {
    let mut dpkg = Dpkg::new(Path::new("/"));
    let Owner::Package(package) = dpkg.owner(b"/usr/bin/dash", Instant::now()) else {
        eprintln!("skipped: no packaged dash on this host");
        return;
    };
    let output = Command::new("md5sum")
        .arg("/usr/bin/dash")
        .output()
        .unwrap();
    let expected = Shipped::Content {
        digest: Digest::from_hex(&output.stdout[..32]).unwrap(),
        configuration: false,
    };
    assert_eq!(dpkg.shipped(&package, b"/usr/bin/dash"), expected);
}

#[test]
fn a_held_lock_of_dpkg_is_a_database_that_changes() {
    use rustix::fs::{FlockOperation, flock};
    let root = root(&[], "");
    let dpkg = Dpkg::new(root.path());
    let lock = fs::File::create(root.path().join("var/lib/dpkg/lock")).unwrap();
    assert!(!dpkg.is_changing());
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    assert!(dpkg.is_changing());
}
