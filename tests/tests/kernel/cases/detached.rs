//! A probe that is taken away from outside is missed in two ways, and an essential one is attached again by a new start.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))] // as what takes it away

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::{
    daemon::{Daemon, STATE},
    recorder::Recorder,
    service, tampering,
};

use super::tampering::{reasons, wait};
use crate::{
    actor::Actor,
    program::{Intruder, detector, names, soon, watching},
    watch::{Turn, obstacle, skip},
};

/// A run lasts half a minute before it ends to have a probe attached again; then each receiver has five seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// `EX_TEMPFAIL` of sysexits.h: what the unit's `Restart=always` answers by a new start.
const START_AGAIN: i32 = 75;

/// Descriptors of a process's BPF links of that type, in the order in which they were made.
fn links(pid: u32, kind: &str) -> Vec<i32> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(folder).expect("it runs");
    let link = |entry: fs::DirEntry| {
        let fd: i32 = entry.file_name().to_str()?.parse().ok()?;
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
        let field = |name: &str| {
            Some(
                info.lines()
                    .find_map(|line| line.strip_prefix(name))?
                    .trim(),
            )
        };
        let id: u32 = field("link_id:")?.parse().ok()?;
        (field("link_type:") == Some(kind)).then_some((id, fd))
    };
    let mut links: Vec<(u32, i32)> = entries.flatten().filter_map(link).collect();
    links.sort_unstable();
    links.into_iter().map(|(_, fd)| fd).collect()
}

#[test]
fn a_probe_that_is_detached_from_outside_is_named_and_its_silence_is_noticed() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    // Alone: what other tests lose would excuse the silence.
    let _alone = Turn::alone();
    let intruder = Intruder::new(b"kworkerd");
    let mut daemon = watching(["--for", "90s"]);
    // The order of `Probe::ALL`: exec, fork, exit, thread end, connection.
    let tracepoints = links(daemon.pid(), "raw_tracepoint");
    assert_eq!(tracepoints.len(), 5, "{tracepoints:?}");
    let refused = tampering::detach(daemon.pid(), tracepoints[1]);
    refused.expect_err("a link to a tracepoint cannot be detached by bpf(2)");
    tampering::close(daemon.pid(), tracepoints[1]).expect("tests run as root");
    // Somebody to listen to, and processes that live long enough to be missed.
    let _running = intruder.start(&["--for", "60"].map(AsRef::as_ref));
    let children = Actor::start(["children", "--ms", "4000", "--count", "6"]);
    let deadline = soon();
    let cgroup = loop {
        if let Some(link) = links(daemon.pid(), "cgroup").first() {
            break *link;
        }
        assert!(
            Instant::now() < deadline,
            "nobody is listened to: {}",
            daemon.account()
        );
        std::thread::yield_now();
    };
    tampering::detach(daemon.pid(), cgroup).expect("tests run as root");

    let mut expected = [
        wait(&daemon, "the probe `fork` was detached", soon()),
        wait(&daemon, "the probe `payload_out` was detached", soon()),
        wait(&daemon, "no record of a process that was started", soon()),
    ];
    assert!(children.finish().success());
    // How it ends says nothing: the descriptor that was closed under it is closed once more, or is another's by then.
    daemon.stop().expect("it stops");
    let mut told = reasons(&daemon);
    told.sort();
    expected.sort();
    assert_eq!(told, expected, "each once");
}

/// As systemd starts it, each time on the same state.
fn start(state: &Path, config: &Path) -> Daemon {
    let mut command = Daemon::command(&detector());
    command.args(["--for", "120s", "--config"]).arg(config);
    command.env(STATE, state);
    let daemon = Daemon::start(service::unprivileged(&command, &[])).expect("it starts");
    let ready = daemon.wait_ready(soon());
    ready.unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()));
    daemon
}

fn wait_for(daemon: &Daemon, kind: &str, matches: impl Fn(&Value) -> bool) -> Value {
    let seen = daemon.wait_event(soon(), |event| event["type"] == kind && matches(event));
    seen.unwrap_or_else(|error| panic!("{kind}: {error:#}"))
        .event
}

#[test]
fn a_detached_essential_probe_is_told_once_and_attached_again_by_the_next_start() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let receiver = Recorder::kind();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("detector.toml");
    // What is not hashed in time is not known again.
    let text = format!(
        "[enrich]\nhash_burst_bytes = 1_073_741_824\n\n[sink.http]\nurl = \"{}\"\nrate_per_s = 10_000\n",
        receiver.url("/")
    );
    fs::write(&config, text).expect("the folder is writable");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("it is ours");
    for path in [folder.path(), &config] {
        service::give(path).expect("tests run as root");
    }

    // Older than the daemon: then it is a lineage of its own, whatever the tests descend from.
    let (first, second) = (Intruder::new(b"first"), Intruder::new(b"second"));
    let arguments = ["--for", "110"].map(AsRef::as_ref);
    let running = first.start(&arguments);
    let mut daemon = start(folder.path(), &config);
    let incident = wait_for(&daemon, "detector.incident.opened", |event| {
        names(event, running.pid())
    });
    // The order of `Probe::ALL`: exec, fork, exit, thread end, connection.
    let exec = links(daemon.pid(), "raw_tracepoint")[0];
    tampering::close(daemon.pid(), exec).expect("tests run as root");
    let reason = wait(&daemon, "the probe `exec` was detached", soon());
    assert!(reason.ends_with("the detector ends, to be started again with it"));
    let status = daemon.ends_within(ENDS_WITHIN).expect("by itself");
    assert_eq!(status.code(), Some(START_AGAIN), "{}", daemon.account());
    let words = daemon.stderr_tail();
    let said = "detector: the probe `exec` was detached from outside: this ends with status 75";
    assert!(
        words.last().is_some_and(|last| last.starts_with(said)),
        "{words:?}"
    );

    let mut daemon = start(folder.path(), &config);
    assert_eq!(links(daemon.pid(), "raw_tracepoint").len(), 5);
    // It goes on with what there was, and sees execs again.
    wait_for(&daemon, "detector.incident.updated", |event| {
        event["subject"] == incident["subject"]
    });
    let _running = second.start(&arguments);
    let path = second.executable.to_str().expect("text");
    let seen = daemon.wait_event(soon(), |event| event.to_string().contains(path));
    seen.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(daemon.stop().expect("it stops").success());

    // What the receiver has, by the event's own id.
    let mut agent: BTreeMap<u64, (String, String)> = BTreeMap::new();
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for event in receiver
        .requests()
        .iter()
        .flat_map(|request| request.events())
    {
        *ids.entry(event["id"].to_string()).or_default() += 1;
        let kind = event["type"].as_str().expect("every event has one");
        if let Some(kind) = kind.strip_prefix("detector.agent.")
            && kind != "degraded"
        {
            let sequence = event["sequence"]
                .as_str()
                .and_then(|text| text.parse().ok());
            let why = event["data"]["event"]["reason"].as_str().expect("a reason");
            agent.insert(sequence.expect("a number"), (kind.into(), why.into()));
        }
    }
    assert!(ids.values().all(|count| *count == 1), "{ids:?}");
    let told: Vec<(&str, &str)> = agent
        .values()
        .map(|(kind, why)| (&**kind, &**why))
        .collect();
    let expected = [
        ("started", "start"),
        ("tampered", &reason),
        ("stopped", "to attach the probe `exec` again"),
        ("started", "start"),
        ("stopped", "stop"),
    ];
    assert_eq!(told, expected);
}
