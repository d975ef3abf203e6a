//! Whoever keeps the daemon from seeing is told of, and whoever reloads or upgrades it is not.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::{daemon::Daemon, service};

use crate::{
    program::{detector, soon, watching},
    watch::{obstacle, skip},
};

/// From a change to an alarm: the grace of half a minute, a look every five seconds, and a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// The reason of an event of that kind.
fn tampered(event: &Value) -> Option<&str> {
    let is = event["type"] == "detector.agent.tampered";
    is.then(|| event["data"]["event"]["reason"].as_str())?
}

/// All that were told.
pub(super) fn reasons(daemon: &Daemon) -> Vec<String> {
    let events = daemon.events();
    let reasons = events.iter().filter_map(|seen| tampered(&seen.event));
    reasons.map(str::to_owned).collect()
}

/// Waits for one with these words; gives it whole.
pub(super) fn wait(daemon: &Daemon, words: &str, deadline: Instant) -> String {
    let says = |event: &Value| tampered(event).is_some_and(|reason| reason.contains(words));
    let seen = daemon.wait_event(deadline, says);
    let seen = seen.unwrap_or_else(|error| panic!("{words}: {error:#}"));
    assert_eq!(seen.event["data"]["event"]["severity"], 90);
    tampered(&seen.event).expect("it was one").to_owned()
}

fn signal(daemon: &Daemon, signal: Signal) {
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), signal).expect("it is ours");
}

/// Lets time pass.
fn until(moment: Instant) {
    while let Some(left) = moment.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

#[test]
fn a_daemon_that_was_stopped_says_so_and_for_how_long() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let mut daemon = watching(["--for", "60s"]);
    let begun = Instant::now();
    signal(&daemon, Signal::STOP);
    until(begun + Duration::from_secs(5));
    signal(&daemon, Signal::CONT);
    let stopped = begun.elapsed().as_secs_f64();
    let reason = wait(&daemon, "stopped by a signal for ", soon());
    let told = reason.split_whitespace().nth(5);
    let told: f64 = told.and_then(|s| s.parse().ok()).expect("seconds");
    // Less the second that a pass takes anyway.
    assert!(
        (stopped - 1.5..=stopped + 1.5).contains(&told),
        "{stopped}: {reason}"
    );
    assert!(daemon.stop().expect("it stops").success());
    assert_eq!(reasons(&daemon), [reason], "once");
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the folder is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    service::give(path).expect("tests run as root");
}

/// Puts a copy of the program at `path` as package managers do, with `more` at its end, where nobody loads it.
fn install(path: &Path, more: &[u8]) {
    let new = path.with_extension("new");
    fs::copy(detector(), &new).expect("there is room");
    let file = OpenOptions::new().append(true).open(&new);
    file.and_then(|mut file| file.write_all(more))
        .expect("it is ours");
    fs::rename(&new, path).expect("it is ours");
}

#[test]
fn changed_configuration_and_replaced_program_are_told_but_reloads_and_reinstallations_are_not() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let (program, config) = (
        folder.path().join("detector"),
        folder.path().join("detector.toml"),
    );
    install(&program, b"");
    // Room for the unoptimised program, so that it is known to be the same.
    let enrich = "[enrich]\nhash_max_bytes = 1_073_741_824\nhash_burst_bytes = 2_147_483_648\n";
    write(&config, enrich);
    let mut command = Daemon::command(&program);
    command.args(["--for", "170s", "--config"]).arg(&config);
    let command = service::unprivileged(&command, &[service::NET_ADMIN]);
    let mut daemon = Daemon::start(command).expect("it starts");
    daemon.wait_ready(soon()).expect("it watches");

    // The same program again, and a change that is reloaded.
    let begun = Instant::now();
    install(&program, b"");
    write(
        &config,
        &format!("{enrich}hash_bytes_per_second = 1_000_000\n"),
    );
    signal(&daemon, Signal::HUP);
    until(begun + Duration::from_secs(45));
    assert_eq!(
        reasons(&daemon),
        Vec::<String>::new(),
        "{}",
        daemon.account()
    );

    install(&program, b"more");
    write(&config, "");
    let deadline = Instant::now() + TOLD_WITHIN;
    let replaced = wait(
        &daemon,
        "the program it was started from was replaced",
        deadline,
    );
    assert!(
        replaced.ends_with("no package owns it") || replaced.ends_with("cannot be told"),
        "{replaced}"
    );
    let changed = wait(&daemon, "was changed and not reloaded", deadline);
    assert!(
        changed.contains(config.to_str().expect("text")),
        "{changed}"
    );
    assert!(daemon.stop().expect("it stops").success());
    assert_eq!(reasons(&daemon).len(), 2, "{:?}", reasons(&daemon));
}
