//! The file cut short, bit-flipped, on a full and on a read-only disk: the daemon goes on, says so, and what it
//! delivers is what was written.

use std::{collections::BTreeMap, fs, process::Stdio};

use super::*;
use crate::fuzzing::filled;

/// Starts on a damaged copy, records one event, and takes everything out.
async fn survives(file: &[u8], bodies: &BTreeMap<u64, Bytes>, what: &str) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("state.db"), file).expect("writable");
    let mut bench = Bench::with(folder, &["s"], NOW + SECOND, &config());
    let fresh = bench.record(Class::Incident, "fresh");
    assert!(
        bench.before.last_sequence >= (NOW / 1_000_000).unsigned_abs(),
        "{what}"
    );
    let events = drain(&mut bench, "s").await;
    let mut told = std::mem::take(&mut bench.before.first);
    while let Ok(message) = bench.before.told.try_recv() {
        told.push(message);
    }
    let degraded = !bench.before.trouble.is_empty()
        || told.iter().any(|told| matches!(told, Told::Degraded(_)));
    let gap = told.iter().any(|told| matches!(told, Told::Gap(_)));
    assert!(
        events.iter().any(|event| event.sequence == fresh),
        "{what}: the new event is lost"
    );
    let mut intact = 0;
    for event in events.iter().filter(|event| event.sequence != fresh) {
        // A flipped bit in a number may move an event; its content must be one that was written.
        assert!(
            bodies.values().any(|body| *body == event.body),
            "{what}: {} is not what was written",
            event.id
        );
        intact += 1;
    }
    assert!(
        bench.handle.health().is_durable,
        "{what}: {:?}",
        bench.before.trouble
    );
    let aside = fs::read_dir(bench.folder.path())
        .expect("the folder is there")
        .any(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .contains(".corrupt-")
        });
    Outcome {
        intact,
        degraded,
        gap,
        aside,
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    intact: usize,
    degraded: bool,
    gap: bool,
    aside: bool,
}

#[tokio::test]
async fn a_file_cut_short_at_any_page_is_set_aside_and_what_it_holds_is_taken_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bodies = filled(folder.path()).await;
    let file = fs::read(folder.path().join("state.db")).expect("readable");
    let pages = file.len() / 4096;
    assert!(pages > 15, "{pages}");
    let mut rescued = 0;
    // Within the first page, and at each page's end.
    for bytes in [1, 99, 2_000]
        .into_iter()
        .chain((1..pages).map(|page| page * 4096))
    {
        let what = format!("cut to {bytes} of {} bytes", file.len());
        let outcome = survives(&file[..bytes], &bodies, &what).await;
        assert!(outcome.degraded && outcome.aside, "{what}: {outcome:?}");
        rescued += usize::from(outcome.intact > 0);
    }
    assert!(
        rescued > pages / 4,
        "events were rescued from {rescued} of {pages} files"
    );
}

#[tokio::test]
async fn a_file_that_was_removed_or_emptied_is_missed() {
    for empty in [true, false] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        filled(folder.path()).await;
        let path = folder.path().join("state.db");
        if empty {
            fs::write(&path, []).expect("writable");
        } else {
            fs::remove_file(&path).expect("it is ours");
        }
        let bench = Bench::with(folder, &["s"], NOW + SECOND, &config());
        let [trouble] = &bench.before.trouble[..] else {
            panic!("{:?}", bench.before.trouble)
        };
        assert!(trouble.contains("was removed or emptied"), "{trouble}");
        assert!(bench.handle.health().is_durable);
    }
}

#[tokio::test]
async fn a_cursor_ahead_of_every_number_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut expected: Vec<u64> = filled(folder.path()).await.into_keys().collect();
    let file = rusqlite::Connection::open(folder.path().join("state.db")).expect("a database");
    file.execute("UPDATE sink SET cursor = cursor + (1 << 50)", [])
        .expect("a sink");
    drop(file);
    let mut bench = Bench::with(folder, &["s"], NOW + SECOND, &config());
    expected.push(bench.record(Class::Incident, "fresh"));
    let numbers: Vec<u64> = drain(&mut bench, "s")
        .await
        .iter()
        .map(|e| e.sequence)
        .collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn a_value_of_the_wrong_kind_costs_its_event_and_nothing_else() {
    for (column, wrong) in [
        ("id", "x'ff'"),
        ("class", "x'69'"),
        ("severity", "x'ff'"),
        ("subject", "x'ff'"),
        ("body", "7"),
        ("digest", "'many'"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bodies = filled(folder.path()).await;
        let path = folder.path().join("state.db");
        let file = rusqlite::Connection::open(&path).expect("a database");
        let third = *bodies.keys().nth(2).expect("there are twelve");
        let update = format!("UPDATE event SET {column} = {wrong} WHERE sequence = ?1");
        file.execute(&update, [third.cast_signed()]).expect(column);
        // What goes with the last connection is the log.
        file.close().expect("nobody reads");
        let file = fs::read(&path).expect("it is there");
        let expected = Outcome {
            intact: bodies.len() - 1,
            degraded: false,
            gap: true,
            aside: false,
        };
        assert_eq!(survives(&file, &bodies, column).await, expected, "{column}");
    }
}

#[tokio::test]
async fn a_first_start_that_ended_before_the_file_was_made_is_no_loss() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["state.db", "state.db.lock"] {
        fs::write(folder.path().join(name), []).expect("writable");
    }
    let bench = Bench::with(folder, &["s"], NOW, &config());
    assert_eq!(bench.before.trouble, Vec::<String>::new());
    assert!(bench.handle.health().is_durable);
}

#[tokio::test]
async fn a_flipped_bit_on_any_page_is_noticed_or_harmless() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bodies = filled(folder.path()).await;
    let file = fs::read(folder.path().join("state.db")).expect("readable");
    let mut quiet_losses = Vec::new();
    for page in 0..file.len() / 4096 {
        // In the page's header, in its middle, and near its end where the cells begin.
        for offset in [3, 2_048, 4_080] {
            let at = page * 4096 + offset;
            let mut copy = file.clone();
            copy[at] ^= 0x10;
            let what = format!("bit 4 of byte {offset} of page {page}");
            let outcome = survives(&copy, &bodies, &what).await;
            let lost = outcome.intact < bodies.len();
            if lost && !outcome.degraded && !outcome.gap {
                quiet_losses.push(format!("{what}: {outcome:?}"));
            }
        }
    }
    assert_eq!(quiet_losses, Vec::<String>::new());
}

const FULL: &str = "state::tests::damage::on_a_full_disk";
const READ_ONLY: &str = "state::tests::damage::on_a_disk_that_becomes_read_only";
const DISK: &str = "DETECTOR_TEST_DISK";

/// Runs one of the tests below on a small file system of its own, in a private mount namespace.
fn on_own_disk(test: &str) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = "mount -t tmpfs -o size=600k,mode=700 disk \"$1\" || exit 77; shift; exec \"$@\"";
    let disk = folder.path().to_str().expect("a plain path");
    let with = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
        disk,
    ];
    let output = in_a_process(test, &with, &[(DISK, folder.path())])
        .stdin(Stdio::null())
        .output()
        .expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        eprintln!("skipped: mounting is not allowed here: {said}");
        return;
    }
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
fn a_full_disk_loses_nothing_and_is_used_again_when_there_is_room() {
    on_own_disk(FULL);
}

#[test]
fn a_disk_that_becomes_read_only_loses_nothing_and_is_used_again_later() {
    on_own_disk(READ_ONLY);
}

fn disk() -> PathBuf {
    std::env::var_os(DISK)
        .expect("started by a test above")
        .into()
}

/// A state on that disk.
fn on_disk(sinks: &[&str]) -> (Bench, PathBuf) {
    let disk = disk();
    let folder = tempfile::tempdir_in(&disk).expect("room for a folder");
    (Bench::with(folder, sinks, NOW, &config()), disk)
}

/// Goes on until the state says that it is degraded; gives the reason.
async fn until_degraded(bench: &mut Bench) -> String {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        bench.record_with(Class::Incident, "a", 5_000);
        let sequence = bench.sequence;
        let mut feed = bench.handle.feed("s");
        let first = next(&mut feed, 1).await;
        assert!(
            !first.is_empty() && tokio::time::Instant::now() < deadline,
            "{sequence}"
        );
        while let Ok(told) = bench.before.told.try_recv() {
            if let Told::Degraded(reason) = told {
                return reason;
            }
        }
    }
}

async fn until_recovered(bench: &mut Bench) {
    bench.tick(31 * SECOND).await;
    let told = bench.told(|told| matches!(told, Told::Recovered(_))).await;
    assert!(matches!(told, Told::Recovered(_)));
    assert!(bench.handle.health().is_durable);
}

#[tokio::test]
#[ignore = "started by a test above, on a disk of its own"]
async fn on_a_full_disk() {
    let (mut bench, disk) = on_disk(&["s"]);
    let first = bench.sequence + 1;
    fs::write(disk.join("ballast"), vec![0; 200 << 10]).expect("there is room");
    let reason = until_degraded(&mut bench).await;
    assert!(reason.contains("full"), "{reason}");
    assert!(!bench.handle.health().is_durable);
    let in_memory = bench.record(Class::Agent, "");
    assert!(
        next(&mut bench.handle.feed("s"), 500)
            .await
            .contains(&in_memory),
        "it goes on in memory"
    );
    fs::remove_file(disk.join("ballast")).expect("it is ours");
    until_recovered(&mut bench).await;
    let last = bench.record(Class::Incident, "b");
    let mut bench = bench.restart(&["s"]).await;
    let numbers: Vec<u64> = drain(&mut bench, "s")
        .await
        .iter()
        .map(|e| e.sequence)
        .collect();
    assert_eq!(numbers, (first..=last).collect::<Vec<_>>());
}

fn remount(disk: &Path, how: &str) {
    let status = std::process::Command::new("mount")
        .args(["-o", how])
        .arg(disk)
        .status()
        .expect("mount is there");
    assert!(status.success(), "remount {how}: {status}");
}

#[tokio::test]
#[ignore = "started by a test above, on a disk of its own"]
async fn on_a_disk_that_becomes_read_only() {
    let (mut bench, disk) = on_disk(&["s"]);
    let first = bench.record(Class::Incident, "a");
    assert_eq!(next(&mut bench.handle.feed("s"), 9).await, [first]);
    let mut bench = {
        let Bench { folder, handle, .. } = bench;
        assert!(handle.stop(PATIENCE).await);
        remount(&disk, "remount,ro");
        Bench::with(folder, &["s"], NOW + SECOND, &config())
    };
    let trouble = bench.before.trouble.join("; ");
    assert!(
        trouble.contains("Read-only") && trouble.contains("1 undelivered events"),
        "{trouble}"
    );
    assert!(!bench.handle.health().is_durable);
    let second = bench.record(Class::Incident, "b");
    assert_eq!(next(&mut bench.handle.feed("s"), 9).await, [first, second]);
    remount(&disk, "remount,rw");
    until_recovered(&mut bench).await;
    let bench = bench.restart(&["s"]).await;
    assert_eq!(next(&mut bench.handle.feed("s"), 9).await, [first, second]);
}
