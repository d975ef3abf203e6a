//! Sockets inside a network namespace of their own are attributed as those outside.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt as _,
    process::Command,
};

use detector::enrich::Answer;
use detector_common::event::connection::change;

use crate::{
    actor::{Actor, PROGRAM},
    watch::{connections, watch},
};

fn namespace_of(pid: u32) -> u32 {
    let namespace = fs::metadata(format!("/proc/{pid}/ns/net")).expect("it lives");
    u32::try_from(namespace.ino()).expect("namespaces have small numbers")
}

#[test]
fn a_connection_and_its_listener_in_another_namespace_are_told_apart_from_those_outside() {
    let mut watch = watch!();
    let port = 4_711;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new("unshare");
    command
        .args(["--net", "/bin/sh", "-c"])
        .arg(format!("ip link set lo up && exec \"$0\" speak {address}"))
        .arg(PROGRAM);
    let mut speaker = Actor::start_command(command);
    let pid = speaker.pid();
    watch.exec(pid, |exec| *exec.filename == *PROGRAM.as_bytes());
    let inside = namespace_of(pid);
    assert_ne!(inside, namespace_of(std::process::id()));
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).args([
        PROGRAM,
        "listen",
        "--count",
        "0",
        "--address",
        &address,
    ]);
    let mut listener = Actor::start_command(command);
    assert_eq!(listener.says()["port"], port);
    speaker.tell("hello");
    assert_eq!(speaker.says()["sent"], 1);
    let changes = watch.until("attempt and answer", |records| {
        let changes = connections(records, pid);
        (changes.len() >= 2).then_some(changes)
    });
    let told: Vec<_> = changes
        .iter()
        .map(|record| (record.change, record.network_namespace, record.remote_port))
        .collect();
    assert_eq!(
        told,
        [
            (change::ATTEMPT, inside, port),
            (change::ESTABLISHED, inside, port)
        ]
    );
    // Somebody outside has the same port: the counts stay apart.
    let outside = TcpListener::bind(&address).expect("the port is free here");
    for _ in 0..3 {
        TcpStream::connect(&address).expect("it listens");
    }
    watch.pass();
    let mut counts: Vec<_> = watch
        .scan
        .accepts
        .iter()
        .filter(|accepts| accepts.key.port == u32::from(port))
        .map(|accepts| (accepts.key.network_namespace, accepts.count))
        .collect();
    let mut expected = vec![(inside, 1), (namespace_of(std::process::id()), 3)];
    counts.sort_unstable();
    expected.sort_unstable();
    assert_eq!(counts, expected);
    let told = watch.snapshot();
    let sockets = told.iter().find_map(|answer| match answer {
        Answer::Sockets(sockets) => Some(sockets),
        _ => None,
    });
    let sockets = sockets.expect("every snapshot tells them");
    let listening: Vec<_> = sockets
        .listeners
        .iter()
        .filter(|listening| listening.key.network_namespace == inside)
        .map(|listening| (listening.process.tgid, listening.key.port))
        .collect();
    assert_eq!(listening, [(listener.pid(), u32::from(port))]);
    let flows: Vec<_> = sockets
        .flows
        .iter()
        .filter(|flow| flow.process.tgid == pid)
        .map(|flow| (flow.network_namespace, flow.remote_port))
        .collect();
    assert_eq!(flows, [(inside, port)], "and those older than the daemon");
    drop(outside);
    assert!(speaker.finish().success());
    assert!(listener.finish().success());
}
