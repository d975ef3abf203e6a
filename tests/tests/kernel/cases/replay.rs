//! What was recorded on a live kernel is judged again as it was.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::{daemon::Daemon, service};

use crate::{
    program::{Intruder, detector, names, soon, watching},
    watch::{obstacle, skip},
};

/// Type, incident and payload of each event about an incident: all but the numbers of the live stream.
fn incidents(events: impl IntoIterator<Item = Value>) -> Vec<(Value, Value, Value)> {
    let is_incident = |event: &Value| {
        let kind = event["type"].as_str().unwrap_or_default();
        kind.starts_with("detector.incident.")
    };
    let part = |mut event: Value| {
        let mut take = |key: &str| event[key].take();
        (take("type"), take("subject"), take("data"))
    };
    events.into_iter().filter(is_incident).map(part).collect()
}

/// Exit code, incidents and standard error of a replay by a user without any privilege.
fn replayed(recording: &Path) -> (Option<i32>, Vec<u8>, String) {
    let output = Command::new(detector())
        .args(["replay", "--output", "json"])
        .arg(recording)
        .output()
        .expect("it starts");
    let stderr = String::from_utf8(output.stderr).expect("it speaks UTF-8");
    (output.status.code(), output.stdout, stderr)
}

fn parsed(lines: &[u8]) -> Vec<Value> {
    let lines = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect()
}

/// A daemon that records, and has found an intruder.
fn recording(file: &Path) -> Daemon {
    let intruder = Intruder::new(b"recorded");
    let running = intruder.start(&["--for".as_ref(), "60".as_ref()]);
    let daemon = watching([
        "--for".as_ref(),
        "60s".as_ref(),
        "--record".as_ref(),
        file.as_os_str(),
    ]);
    let found = daemon.wait_event(soon(), |event| names(event, running.pid()));
    found.unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()));
    daemon
}

#[test]
fn a_replay_says_what_the_daemon_said_and_says_it_twice_the_same() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    service::give(folder.path()).expect("tests run as root");
    let file = folder.path().join("night.rec");
    let mut daemon = recording(&file);
    assert!(daemon.stop().expect("it stops").success());
    let live = incidents(daemon.events().into_iter().map(|seen| seen.event));
    assert!(!live.is_empty());

    let mode = file.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "command lines are inside");
    let (code, once, said) = replayed(&file);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(incidents(parsed(&once)), live);
    let (_, twice, _) = replayed(&file);
    assert!(once == twice, "two replays differ");
}

#[test]
fn the_recording_of_a_killed_daemon_is_replayed_to_its_last_block() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    service::give(folder.path()).expect("tests run as root");
    let file = folder.path().join("torn.rec");
    let mut daemon = recording(&file);
    // The first block closes with the pass ten seconds after the first.
    let header = file.metadata().expect("it is there").len();
    let grown = |daemon: &Daemon| {
        let deadline = soon();
        while file.metadata().expect("it is there").len() == header {
            assert!(std::time::Instant::now() < deadline, "{}", daemon.account());
            std::thread::yield_now();
        }
    };
    grown(&daemon);
    let pid = Pid::from_raw(daemon.pid().cast_signed()).expect("a process id");
    kill_process(pid, Signal::KILL).expect("it is ours");
    let _killed = daemon.stop();
    let live = incidents(daemon.events().into_iter().map(|seen| seen.event));

    let (code, lines, said) = replayed(&file);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not closed"), "{said}");
    let kept = incidents(parsed(&lines));
    assert!(!kept.is_empty(), "the incident was in the first block");
    // It was killed at that very moment: the last words may not have been written any more.
    let said = kept.len().min(live.len());
    assert_eq!(kept[..said], live[..said]);
}

#[test]
fn a_file_that_exists_is_not_recorded_over() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("mine");
    std::fs::write(&file, "mine").expect("the folder is writable");
    let output = Command::new(detector())
        .args(["record", "--for", "1s"])
        .arg(&file)
        .output()
        .expect("it starts");
    let said = String::from_utf8(output.stderr).expect("it speaks UTF-8");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot write the recording"), "{said}");
    assert_eq!(std::fs::read(&file).expect("it is there"), b"mine");
}
