//! First bytes of packets against what was really said.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
};

use detector::{
    enrich::Answer,
    input::{Payload, ProcessKey},
    kernel::Sizes,
};
use detector_common::counter::Counter;

use crate::{
    actor::Actor,
    watch::{DEFAULT_SIZES, Turn, Watch, payloads, watch},
};

/// An actor that speaks when told to, and the test's end of its connection.
struct Talk {
    actor: Actor,
    listener: TcpListener,
    peer: Option<BufReader<TcpStream>>,
}

impl Talk {
    fn start(address: impl std::net::ToSocketAddrs, uring: bool) -> Talk {
        let listener = TcpListener::bind(address).expect("loopback is up");
        let address = listener.local_addr().expect("it listens").to_string();
        let mut args = vec!["speak", &address];
        if uring {
            args.push("--uring");
        }
        Talk {
            actor: Actor::start(args),
            listener,
            peer: None,
        }
    }

    /// Lets the actor say a line and waits until it is heard; gives its local port.
    fn say(&mut self, line: &str) -> u16 {
        self.actor.tell(line);
        let local = self.actor.says()["local"].clone();
        let peer = self.peer.get_or_insert_with(|| {
            let (stream, _) = self.listener.accept().expect("the actor connects");
            BufReader::new(stream)
        });
        let mut heard = String::new();
        peer.read_line(&mut heard).expect("the actor speaks");
        assert_eq!(heard.trim_end(), line);
        let local: SocketAddr = local
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an address");
        local.port()
    }

    fn answer(&mut self, line: &str) {
        let peer = self.peer.as_mut().expect("somebody spoke before");
        let line = format!("{line}\n");
        let written = peer.get_mut().write_all(line.as_bytes());
        written.expect("the actor listens");
    }

    fn process(&self, watch: &mut Watch) -> ProcessKey {
        watch.exec(self.actor.pid(), |_| true).process
    }

    /// What the probes kept of it, once there are this many.
    fn kept(&self, watch: &mut Watch, packets: usize) -> Vec<Payload> {
        let pid = self.actor.pid();
        watch.until("packets", |records| {
            let kept = payloads(records, pid);
            (kept.len() >= packets).then_some(kept)
        })
    }
}

fn said(kept: &[Payload]) -> Vec<(bool, u32, String)> {
    kept.iter()
        .map(|payload| {
            let text = String::from_utf8_lossy(&payload.bytes).into_owned();
            (payload.outbound, payload.total_bytes, text)
        })
        .collect()
}

/// Watches before the first word; gives what was kept of two lines and an answer.
fn watched_from_the_beginning(mut talk: Talk) {
    let mut watch = watch!();
    let actor = Actor::start(["show"]);
    let bystander = watch.exec(actor.pid(), |_| true).process;
    let process = process_of(&watch, talk.actor.pid());
    watch.look(process, 16, Vec::new());
    watch.look(bystander, 16, Vec::new());
    let long = "x".repeat(1_500);
    talk.say("first words");
    talk.answer("an answer");
    talk.say(&long);
    let kept = talk.kept(&mut watch, 3);
    let remote = talk.listener.local_addr().expect("it listens");
    let mut lines = said(&kept);
    // The answer and the second line cross.
    lines.sort_by_key(|(outbound, total, _)| (*total, *outbound));
    assert_eq!(
        lines,
        [
            (false, 10, "an answer\n".to_owned()),
            (true, 12, "first words\n".to_owned()),
            (true, 1_501, "x".repeat(512)),
        ]
    );
    let address = match remote.ip() {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(v6) => v6.octets(),
    };
    for payload in &kept {
        assert_eq!(
            (payload.process, payload.remote, payload.remote_port),
            (process, address, remote.port())
        );
        assert_eq!(payload.socket, kept[0].socket);
    }
    let sequences: Vec<u32> = kept
        .iter()
        .filter(|payload| payload.outbound)
        .map(|payload| payload.sequence)
        .collect();
    assert_eq!(sequences[1].wrapping_sub(sequences[0]), 12);
    watch.look_away(bystander);
    assert!(watch.is_watching());
    watch.look_away(process);
    assert!(!watch.is_watching(), "nobody is left");
    assert!(actor.finish().success());
}

/// A process that the last pass showed.
fn process_of(watch: &Watch, pid: u32) -> ProcessKey {
    let task = watch.scan.tasks.iter().find(|task| task.pid == pid);
    task.expect("the first pass shows all").process.into()
}

#[test]
fn the_first_words_over_ipv4_are_kept() {
    watched_from_the_beginning(Talk::start("127.0.0.1:0", false));
}

#[test]
fn the_first_words_over_ipv6_are_kept() {
    watched_from_the_beginning(Talk::start((Ipv6Addr::LOCALHOST, 0), false));
}

#[test]
fn the_first_words_of_a_connect_through_io_uring_are_kept() {
    watched_from_the_beginning(Talk::start("127.0.0.1:0", true));
}

#[test]
fn a_connection_older_than_the_watch_is_kept_from_then_on_and_up_to_its_limit() {
    let mut watch = watch!();
    let mut talk = Talk::start("127.0.0.1:0", false);
    let process = talk.process(&mut watch);
    talk.say("before anybody looked");
    watch.look(process, 3, Vec::new());
    for line in ["one", "two", "three", "four"] {
        talk.say(line);
    }
    let words = |kept: &[Payload]| -> Vec<String> {
        said(kept).into_iter().map(|(_, _, text)| text).collect()
    };
    assert_eq!(
        words(&talk.kept(&mut watch, 3)),
        ["one\n", "two\n", "three\n"]
    );
    // A new limit counts from the beginning of the connection.
    watch.look(process, 4, Vec::new());
    talk.say("five");
    talk.say("six");
    watch.look_away(process);
    talk.say("seven");
    let kept = talk.kept(&mut watch, 4);
    assert_eq!(words(&kept)[3..], ["five\n"]);
}

#[test]
fn a_connection_older_than_the_probes_is_found_by_its_address() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut talk = Talk::start(address, false);
        let port = talk.say("before there were probes");
        let mut watch = watch!();
        let flows: Vec<_> = watch
            .snapshot()
            .into_iter()
            .filter_map(|answer| match answer {
                Answer::Sockets(sockets) => Some(sockets.flows),
                _ => None,
            })
            .flatten()
            .filter(|flow| flow.local_port == port)
            .collect();
        let [flow] = flows[..] else {
            panic!("one connection has this port: {flows:?}");
        };
        assert_eq!(flow.process.tgid, talk.actor.pid());
        watch.look(flow.process, 16, vec![flow]);
        talk.say("submit");
        assert_eq!(
            said(&talk.kept(&mut watch, 1)),
            [(true, 7, "submit\n".to_owned())]
        );
    }
}

#[test]
fn two_watchers_hang_at_one_place_and_neither_displaces_the_other() {
    let mut one = watch!();
    let mut other = watch!(DEFAULT_SIZES, Turn::Same);
    let mut talk = Talk::start("127.0.0.1:0", false);
    let process = talk.process(&mut one);
    one.look(process, 16, Vec::new());
    other.look(process, 16, Vec::new());
    talk.say("to both");
    let expected = [(true, 8, "to both\n".to_owned())];
    assert_eq!(said(&talk.kept(&mut one, 1)), expected);
    assert_eq!(said(&talk.kept(&mut other, 1)), expected);
    other.look_away(process);
    talk.say("to one");
    assert_eq!(talk.kept(&mut one, 2).len(), 2);
    assert!(payloads(&other.records, process.tgid).len() == 1);
}

#[test]
fn a_full_ring_counts_every_lost_packet() {
    let one_page = Sizes {
        network_ring_bytes: 4096,
        ..DEFAULT_SIZES
    };
    let mut small = watch!(one_page, Turn::alone());
    let mut large = watch!(DEFAULT_SIZES, Turn::Same);
    let mut talk = Talk::start("127.0.0.1:0", false);
    let process = talk.process(&mut large);
    small.look(process, 64, Vec::new());
    large.look(process, 64, Vec::new());
    for _ in 0..20 {
        talk.say("some words");
    }
    let produced = talk.kept(&mut large, 20).len() as u64;
    let lost = small.lost(Counter::PayloadDropped);
    small.drain();
    let seen = payloads(&small.records, process.tgid).len() as u64;
    assert_eq!(
        (seen + lost, large.lost(Counter::PayloadDropped)),
        (produced, 0)
    );
    assert!(lost >= 10, "{lost}");
}
