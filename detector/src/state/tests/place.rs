//! Who may read the file, who may use it, and what is left beside it.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[tokio::test]
async fn nobody_else_can_read_the_file_or_its_log() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("deep/er/state.db");
    std::fs::create_dir_all(folder.path().join("deep")).expect("writable");
    let show = Box::new(|_| {});
    let (mut handle, _before) = start(&path, &config(), &[], show, NOW).expect("a thread");
    handle.record(Record {
        event: event(1, Class::Agent, "", 9),
        incident: None,
        text: None,
        declares: None,
    });
    handle.close().await;
    let mode = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    for name in ["state.db", "state.db-wal", "state.db-shm", "state.db.lock"] {
        assert_eq!(mode(&path.with_file_name(name)), 0o600, "{name}");
    }
    assert!(handle.stop(PATIENCE).await);
}

#[tokio::test]
async fn a_second_daemon_keeps_its_state_in_memory_and_says_why() {
    let first = Bench::new(&["s"]);
    let show = Box::new(|_| {});
    let (second, before) =
        start(&first.path(), &config(), &["s".to_owned()], show, NOW).expect("a thread");
    assert!(!second.health().is_durable);
    let [trouble] = &before.trouble[..] else {
        panic!("{:?}", before.trouble)
    };
    assert!(
        trouble.contains("is in use by another detector"),
        "{trouble}"
    );
    assert!(first.handle.health().is_durable);
}

#[tokio::test]
async fn a_newer_file_is_left_alone_and_the_daemon_says_so() {
    let bench = Bench::new(&[]);
    let path = bench.path();
    let Bench { folder, handle, .. } = bench;
    assert!(handle.stop(PATIENCE).await);
    let file = rusqlite::Connection::open(&path).expect("the file is there");
    file.execute_batch(
        "PRAGMA user_version = 9; UPDATE meta SET value = 9 WHERE key = 'readable_by'",
    )
    .expect("writable");
    drop(file);
    let bench = Bench::with(folder, &[], NOW, &config());
    let [trouble] = &bench.before.trouble[..] else {
        panic!("{:?}", bench.before.trouble)
    };
    assert!(trouble.contains("has version 9"), "{trouble}");
    let names: Vec<_> = std::fs::read_dir(bench.folder.path())
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().contains("corrupt")),
        "{names:?}"
    );
}
