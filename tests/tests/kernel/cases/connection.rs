//! TCP records against what the sockets themselves say.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener},
};

use detector::source::decode::Record;
use detector_common::event::{Connection, connection::change};

use crate::{
    actor::Actor,
    tally::count_of,
    watch::{Watch, assert_all_seen, connections, watch},
};

fn mapped(address: SocketAddr) -> [u8; 16] {
    match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Lets an actor connect, send 70,000 bytes and get 5; gives the three records.
fn converse(
    watch: &mut Watch,
    listener: &TcpListener,
    uring: bool,
) -> (Vec<Connection>, SocketAddr) {
    let remote = listener.local_addr().expect("it listens");
    let address = remote.to_string();
    let mut args = vec!["connect", &address, "--send", "70000"];
    if uring {
        args.push("--uring");
    }
    let mut actor = Actor::start(args);
    let (mut peer, _) = listener.accept().expect("the actor connects");
    let mut received = Vec::new();
    peer.read_to_end(&mut received).expect("the actor sends");
    peer.write_all(b"reply").expect("the actor listens");
    drop(peer);
    let local: SocketAddr = actor.says()["local"]
        .as_str()
        .expect("it says its address")
        .parse()
        .expect("an address");
    assert_eq!(
        (received.len(), actor.says()["received"].as_u64()),
        (70_000, Some(5))
    );
    let pid = actor.pid();
    let records = watch.until("attempt, established, closed", |records| {
        let changes = connections(records, pid);
        (changes.len() == 3).then_some(changes)
    });
    assert!(actor.finish().success());
    (records, local)
}

fn assert_conversation(records: &[Connection], local: SocketAddr, remote: SocketAddr) {
    let changes: Vec<u32> = records.iter().map(|record| record.change).collect();
    assert_eq!(
        changes,
        [change::ATTEMPT, change::ESTABLISHED, change::CLOSED]
    );
    for record in records {
        assert_eq!(
            (record.remote, record.remote_port),
            (mapped(remote), remote.port())
        );
        assert_eq!(record.socket, records[0].socket);
    }
    assert_eq!(
        (records[1].local, records[1].local_port),
        (mapped(local), local.port())
    );
    // The kernel counts SYN and FIN as bytes, in either direction.
    assert!(
        (5..=6).contains(&records[2].bytes_received),
        "{}",
        records[2].bytes_received
    );
    assert!(
        (70_000..=70_002).contains(&records[2].bytes_sent),
        "{}",
        records[2].bytes_sent
    );
    assert!(records[2].duration_ns > 0 && records[1].duration_ns > 0);
}

#[test]
fn an_ipv4_connection_is_told_from_attempt_to_close() {
    let mut watch = watch!();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    let (records, local) = converse(&mut watch, &listener, false);
    assert_conversation(&records, local, listener.local_addr().expect("it listens"));
}

#[test]
fn an_ipv6_connection_is_told_from_attempt_to_close() {
    let mut watch = watch!();
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("IPv6 loopback is up");
    let (records, local) = converse(&mut watch, &listener, false);
    assert_conversation(&records, local, listener.local_addr().expect("it listens"));
}

#[test]
fn a_connect_through_io_uring_is_the_process_that_submitted_it() {
    let mut watch = watch!();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    let (records, local) = converse(&mut watch, &listener, true);
    assert_conversation(&records, local, listener.local_addr().expect("it listens"));
}

#[test]
fn a_refused_connection_has_the_errno_of_connect() {
    let mut watch = watch!();
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
        listener.local_addr().expect("it listens")
    };
    let mut actor = Actor::start(["connect", &address.to_string()]);
    let errno = actor.says()["errno"].as_u64();
    let pid = actor.pid();
    actor.finish();
    let records = watch.until("attempt, failed", |records| {
        let changes = connections(records, pid);
        (changes.len() == 2).then_some(changes)
    });
    assert_eq!(
        records
            .iter()
            .map(|r| (r.change, r.error))
            .collect::<Vec<_>>(),
        [(change::ATTEMPT, 0), (change::FAILED, 111)]
    );
    assert_eq!(errno, Some(111));
}

#[test]
fn inbound_connections_are_counted_per_listening_port_and_its_process_is_known() {
    let mut watch = watch!();
    let mut actor = Actor::start(["listen", "--count", "37"]);
    let port = actor.says()["port"].as_u64().expect("it says its port") as u16;
    for _ in 0..37 {
        std::net::TcpStream::connect(("127.0.0.1", port)).expect("the actor accepts");
    }
    assert_eq!(actor.says()["accepted"].as_u64(), Some(37));
    watch.pass();
    let accepted: u64 = watch
        .scan
        .accepts
        .iter()
        .filter(|accepts| accepts.key.port == u32::from(port))
        .map(|accepts| accepts.count)
        .sum();
    let missed = count_of(&watch.scan.losses, "probe_missed");
    assert_all_seen(accepted, 37, missed);
    let pid = actor.pid();
    let listening = watch.until("the listen record", |records| {
        connections(records, pid)
            .into_iter()
            .find(|record| record.change == change::LISTEN)
    });
    assert_eq!(listening.local_port, port);
    assert!(
        !watch.records.iter().any(
            |record| matches!(record, Record::Connection(c) if c.process.tgid == pid && c.change != change::LISTEN)
        ),
        "inbound connections are counted, not reported"
    );
    assert!(actor.finish().success());
}
