//! What goes in and out of a running daemon.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
    process::Command,
};

use detector::{
    detect::{Config, Engine, Seed},
    input::{Input, ProcessKey},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    actor::Actor,
    program::{Intruder, detector, names, soon, watching},
    watch::{Watch, obstacle, skip, watch},
};

/// Writes a configuration as its owner alone may.
fn write_config(path: &Path, text: &str) {
    fs::write(path, text).expect("the folder is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// Applies what was recorded since the last call, and a pass.
fn feed(engine: &mut Engine, watch: &mut Watch) {
    let mut outputs = Vec::new();
    watch.drain();
    for record in watch.records.drain(..) {
        engine.apply(record.input(), &mut outputs);
    }
    watch.pass();
    engine.apply(Input::Scan(&watch.scan), &mut outputs);
}

#[test]
fn five_hundred_short_children_are_charged_to_the_group_of_their_parent() {
    let mut watch = watch!();
    let mut engine = Engine::new(Config::default(), Seed(1));
    engine.apply(Input::Scan(&watch.scan), &mut Vec::new());
    let mut actor = Actor::start(["children", "--ms", "10", "--count", "500"]);
    let parent = watch.exec(actor.pid(), |_| true).process;
    let said = actor.says();
    assert!(actor.finish().success());
    let used: u64 = said["children_cpu_ns"].as_u64().expect("it says so")
        + said["cpu_ns"].as_u64().expect("it says so");
    // Exact bills come some milliseconds after the end.
    let deadline = soon();
    loop {
        feed(&mut engine, &mut watch);
        let group = engine.process(parent).expect("it is known").group;
        let family = |key: ProcessKey, of: Option<ProcessKey>| key == parent || of == Some(parent);
        let family: Vec<_> = engine
            .processes()
            .filter(|process| family(process.key, process.parent))
            .collect();
        assert_eq!(family.len(), 501);
        assert!(family.iter().all(|process| process.group == group));
        let charged: u64 = family.iter().map(|process| process.cpu.total.cpu_ns).sum();
        let ratio = charged as f64 / used as f64;
        if (0.98..=1.02).contains(&ratio) {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "charged {charged} of {used} ns"
        );
    }
}

#[test]
fn hostile_names_break_neither_the_lines_nor_the_terminal() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let hostile = b"x\n\x1b[2J\x1b]0;owned\x07\"}\\\xff\xe2\x80\xae{\"forged\":1}\r\x9b31m";
    let intruder = Intruder::new(hostile);
    let comm = std::ffi::OsStr::from_bytes(b"\x1b[31m\n\"}");
    let running = intruder.start(&["--rename".as_ref(), comm, "--for".as_ref(), "60".as_ref()]);
    let state = tempfile::tempdir().expect("a temporary folder");
    let human = Command::new(detector())
        .args(["run", "--for", "20s"])
        .env("STATE_DIRECTORY", state.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut daemon = watching(["--for", "60s"]);
    let event = daemon.wait_event(soon(), |event| names(event, running.pid()));
    let event = event
        .unwrap_or_else(|error| panic!("{error:#}: {}", daemon.account()))
        .event;
    let executable = event["data"]["process"]["executable"]
        .as_str()
        .expect("a path");
    assert!(
        executable
            .ends_with(r#"/x\x0a\x1b[2J\x1b]0;owned\x07"}\\\xff\u{202e}{"forged":1}\x0d\x9b31m"#),
        "{executable}"
    );
    assert!(daemon.stop().expect("it stops").success());
    assert_eq!(daemon.stray_lines(), Vec::<String>::new());
    for seen in daemon.events() {
        let line = seen.event.to_string();
        assert!(!line.chars().any(char::is_control), "{line}");
    }

    let human = human.wait_with_output().expect("it ends by itself");
    let text = String::from_utf8(human.stdout).expect("text for people is UTF-8");
    assert!(
        text.contains("forged"),
        "{text}{}",
        String::from_utf8_lossy(&human.stderr)
    );
    let forbidden = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert_eq!(text.chars().find(|c| forbidden(*c)), None, "{text:?}");
    assert!(
        !text
            .lines()
            .any(|line| line.starts_with("{\"forged\"") || line.contains("[2J\n"))
    );
}

/// Reads one POST and answers; gives head and body.
fn receive(listener: &TcpListener, answer: &str) -> (String, Vec<u8>) {
    let (stream, _) = listener.accept().expect("the sink connects");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(
            reader.read_line(&mut head).expect("a request") > 0,
            "{head}"
        );
    }
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .expect("a length");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let mut stream: TcpStream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    .expect("the sink waits for the answer");
    (head, body)
}

#[test]
fn the_http_sink_repeats_what_was_refused_and_posts_what_stdout_says() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("detector.toml");
    let address = listener.local_addr().expect("it listens");
    write_config(
        &config,
        &format!("[sink.http]\nurl = \"http://{address}/events\"\nretry_initial_ms = 10\n"),
    );
    let mut daemon = watching(["--config".as_ref(), config.as_os_str()]);
    let (head, first) = receive(&listener, "500 Internal Server Error");
    assert!(head.starts_with("POST /events HTTP/1.1"), "{head}");
    assert!(
        head.contains("content-type: application/cloudevents+json"),
        "{head}"
    );
    let (_, again) = receive(&listener, "204 No Content");
    assert_eq!(first, again);
    let posted: Value = serde_json::from_slice(&again).expect("JSON");
    assert_eq!(posted["type"], "detector.agent.started");
    let printed = daemon
        .wait_event(soon(), |event| event["id"] == posted["id"])
        .expect("stdout says the same");
    assert_eq!(printed.event, posted);
    drop(listener);
    // Nobody listens any more: what waits is kept for the next start, and the daemon still ends.
    assert!(daemon.stop().expect("it stops").success());
    let log = daemon.stderr_tail().join("\n");
    assert!(
        log.contains("events wait in the outbox for the next start"),
        "{log}"
    );
}

#[test]
fn a_broken_configuration_on_reload_keeps_the_old_one_and_says_where() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("detector.toml");
    write_config(&config, "[detect]\nhost_share = 0.5\n");
    let mut daemon = watching(["--config".as_ref(), config.as_os_str()]);
    let said = |daemon: &tests::daemon::Daemon, what: &str| {
        let deadline = soon();
        while !daemon.stderr_tail().iter().any(|line| line.contains(what)) {
            assert!(
                std::time::Instant::now() < deadline,
                "{:#?}",
                daemon.stderr_tail()
            );
            std::thread::yield_now();
        }
    };
    let hang_up = |daemon: &tests::daemon::Daemon| {
        let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), Signal::HUP).expect("it is ours");
    };
    write_config(&config, "[detect]\nhost_share = 0.5\nhost_shares = 1\n");
    hang_up(&daemon);
    said(&daemon, "detector.toml:3:1");
    said(&daemon, "host_shares");
    write_config(&config, "[detect]\nhost_share = 0.6\n");
    hang_up(&daemon);
    said(&daemon, "configuration reloaded");
    assert!(daemon.stop().expect("it stops").success());
}
