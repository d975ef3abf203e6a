use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::deliver::testing::event;

fn sink(path: &Path, max_bytes: u64, keep: u32) -> File {
    File::new(&config::FileSink {
        path: path.to_owned(),
        max_bytes,
        keep,
    })
}

async fn write(sink: &mut File, ids: &[&str]) -> Reply {
    let events: Vec<Event> = ids.iter().map(|id| event(id)).collect();
    sink.send(&events).await
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| error.kind().to_string())
}

#[tokio::test]
async fn events_are_lines_that_only_the_owner_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events");
    let mut file = sink(&path, 1 << 20, 1);
    assert!(matches!(
        write(&mut file, &["a", "b"]).await,
        Reply::Delivered(_)
    ));
    assert!(matches!(
        write(&mut file, &["c"]).await,
        Reply::Delivered(_)
    ));
    assert_eq!(
        read(&path),
        "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n"
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test]
async fn full_file_is_rotated_and_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events");
    // Two lines of eleven bytes fit.
    let mut file = sink(&path, 22, 2);
    for id in ["a", "b", "c", "d", "e", "f", "g"] {
        write(&mut file, &[id]).await;
    }
    let line = |id: &str| format!("{{\"id\":\"{id}\"}}\n");
    assert_eq!(read(&path), line("g"));
    assert_eq!(read(&dir.path().join("events.1")), line("e") + &line("f"));
    assert_eq!(read(&dir.path().join("events.2")), line("c") + &line("d"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[tokio::test]
async fn torn_line_is_ended_and_a_file_that_was_moved_away_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events");
    fs::write(&path, "{\"id\":").unwrap();
    let mut file = sink(&path, 1 << 20, 1);
    write(&mut file, &["a"]).await;
    assert_eq!(read(&path), "{\"id\":\n{\"id\":\"a\"}\n");
    fs::rename(&path, dir.path().join("moved")).unwrap();
    write(&mut file, &["b"]).await;
    assert_eq!(read(&path), "{\"id\":\"b\"}\n");
}

#[tokio::test]
async fn symbolic_link_and_missing_folder_are_failures_that_are_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for path in [link, dir.path().join("none/events")] {
        let reply = write(&mut sink(&path, 1 << 20, 1), &["a"]).await;
        assert!(matches!(reply, Reply::Retry { .. }), "{reply:?}");
    }
    assert!(!target.exists());
}

#[tokio::test]
async fn full_disk_leaves_no_half_line_and_the_event_is_tried_again() {
    // A device that is always full.
    let reply = write(&mut sink(Path::new("/dev/full"), 1 << 20, 1), &["a"]).await;
    assert_eq!(reply, Reply::retry("/dev/full: not a regular file"));
}
