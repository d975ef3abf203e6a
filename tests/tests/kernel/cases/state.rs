//! What outlives the daemon: an incident over kill -9, and what a person says about it.

use std::{path::Path, process::Command};

use serde_json::Value;
use tests::{
    daemon::{Daemon, STATE},
    service,
};

use crate::{
    program::{Intruder, detector, names, soon},
    watch::{Turn, obstacle, skip},
};

fn start(state: &Path) -> Daemon {
    // Two unoptimised stand-ins, and whatever built and runs the tests, are more than is hashed at once by default; and
    // what is not hashed cannot be known to be accepted.
    let config = state.join("detector.toml");
    std::fs::write(&config, "[enrich]\nhash_burst_bytes = 1_073_741_824\n").expect("it is ours");
    let mut command = Daemon::command(&detector());
    command.args(["--for", "120s", "--config"]).arg(config);
    command.env(STATE, state);
    let command = service::unprivileged(&command, &[]);
    let daemon = Daemon::start(command).expect("it starts");
    daemon
        .wait_ready(soon())
        .unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()));
    daemon
}

/// A verb of the command line on that state; its output.
fn say(state: &Path, words: &[&str]) -> String {
    let output = Command::new(detector())
        .args(words)
        .env(STATE, state)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}{error}");
    said
}

fn wait(daemon: &mut Daemon, kind: &str, matches: impl Fn(&Value) -> bool) -> Value {
    let seen = daemon.wait_event(soon(), |event| event["type"] == kind && matches(event));
    seen.unwrap_or_else(|error| panic!("{kind}: {error:#}: {}", daemon.account()))
        .event
}

#[test]
fn an_incident_goes_on_over_kill_9_and_is_info_once_it_is_accepted() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    // Alone: on a host that other tests saturate a hash may take longer than a verdict waits for it.
    let _alone = Turn::alone();
    let state = tempfile::tempdir().expect("a temporary folder");
    service::give(state.path()).expect("tests run as root");
    // Older than the daemon each time: then it is a lineage of its own, whatever the tests descend from.
    let intruder = Intruder::new(b"not-of-a-package");
    let running = intruder.start(&["--for".as_ref(), "120".as_ref()]);
    let pid = running.pid();
    let mut daemon = start(state.path());
    let opened = wait(&mut daemon, "detector.incident.opened", |event| {
        names(event, pid)
    });
    let id = opened["subject"].as_str().expect("an id").to_owned();
    // The hash may come after the opening: by it the program will be accepted.
    let known =
        |event: &Value| event["subject"] == *id && event["data"]["process"]["hash"].is_object();
    if !known(&opened) {
        wait(&mut daemon, "detector.incident.updated", known);
    }
    let last: u64 = number(
        daemon
            .events()
            .last()
            .map(|seen| &seen.event)
            .expect("events"),
    );
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(daemon.pid().cast_signed()).expect("not zero"),
        rustix::process::Signal::KILL,
    )
    .expect("it is ours");
    drop(daemon);

    let mut daemon = start(state.path());
    let updated = wait(&mut daemon, "detector.incident.updated", |event| {
        event["subject"] == *id
    });
    assert!(names(&updated, pid), "{updated}");
    assert_eq!(
        updated["data"]["incident"]["opened_at"],
        opened["data"]["incident"]["opened_at"]
    );
    assert!(
        number(&daemon.events()[0].event) > last,
        "no number comes twice"
    );
    assert!(say(state.path(), &["incidents"]).contains(&id[..13]));
    let shown = say(
        state.path(),
        &["incidents", "show", &id, "--output", "json"],
    );
    let shown: Value = serde_json::from_str(&shown).expect("one event");
    assert_eq!(shown["subject"], *id);
    assert!(say(state.path(), &["incidents", "report", &id]).starts_with("# "));

    let said = say(
        state.path(),
        &["incidents", "accept", &id, "--reason", "a test"],
    );
    assert!(said.contains("accepted by hash as no. 1"), "{said}");
    let resolved = wait(&mut daemon, "detector.incident.resolved", |event| {
        event["subject"] == *id
    });
    let moments = resolved["data"]["incident"]["timeline"].to_string();
    assert!(
        moments.contains("accepted by hash (no. 1): a test"),
        "{moments}"
    );
    assert!(daemon.stop().expect("it stops").success());
    // The same content elsewhere wakes nobody; other content shows that the daemon looked.
    let same = intruder.again(b"elsewhere");
    let again = same.start(&["--for".as_ref(), "120".as_ref()]);
    let other = Intruder::new(b"another");
    let marker = other.start(&["--for".as_ref(), "120".as_ref()]);
    let mut daemon = start(state.path());
    wait(&mut daemon, "detector.incident.opened", |event| {
        names(event, marker.pid())
    });
    let accused = daemon
        .events()
        .into_iter()
        .filter(|seen| {
            seen.event["type"] == "detector.incident.opened" && names(&seen.event, again.pid())
        })
        .count();
    assert_eq!(accused, 0, "{}", daemon.account());
}

fn number(event: &Value) -> u64 {
    let text = event["sequence"].as_str().expect("every event is numbered");
    text.parse().expect("a number")
}
