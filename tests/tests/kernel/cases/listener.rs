//! Inbound connections by the process that listens, against how many were really made.

use std::{
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use detector::{
    detect::{Config, Engine, Seed},
    enrich::Answer,
    input::{Input, ProcessKey},
};

use crate::{
    actor::Actor,
    program::soon,
    watch::{DEFAULT_SIZES, Turn, Watch, assert_all_seen, watch},
};

/// A listening actor and where it listens.
struct Listening {
    actor: Actor,
    address: SocketAddr,
}

impl Listening {
    fn start(count: u32, address: &str, shared: bool) -> Listening {
        let count = count.to_string();
        let mut args = vec!["listen", "--count", &count, "--address", address];
        if shared {
            args.push("--shared");
        }
        let mut actor = Actor::start(args);
        let port = actor.says()["port"].as_u64().expect("it says its port");
        let mut address: SocketAddr = address.parse().expect("an address");
        address.set_port(u16::try_from(port).expect("a port"));
        Listening { actor, address }
    }

    /// Comes this often, and waits until each was accepted.
    fn visit(&mut self, times: u32) {
        for _ in 0..times {
            TcpStream::connect(self.address).expect("the actor listens");
        }
        assert_eq!(self.actor.says()["accepted"], times);
    }
}

/// The engine, told what the watch saw in the order in which the daemon would tell it.
struct Told {
    engine: Engine,
    applied: usize,
}

impl Told {
    fn new(watch: &Watch) -> Told {
        let mut told = Told {
            engine: Engine::new(Config::default(), Seed(1)),
            applied: 0,
        };
        told.tell(Input::Scan(&watch.scan));
        for answer in watch.snapshot() {
            match answer {
                Answer::Snapshot(exec) => told.tell(Input::Exec(&exec)),
                Answer::Sockets(sockets) => told.tell(Input::Sockets(1, &sockets)),
                _ => {}
            }
        }
        told
    }

    fn tell(&mut self, input: Input<'_>) {
        self.engine.apply(input, &mut Vec::new());
    }

    fn catch_up(&mut self, watch: &mut Watch) {
        watch.drain();
        watch.pass();
        for record in &watch.records[self.applied..] {
            self.engine.apply(record.input(), &mut Vec::new());
        }
        self.applied = watch.records.len();
        self.tell(Input::Scan(&watch.scan));
    }

    /// Catches up until the process accepted that many: the last answer of a handshake may come after `connect`.
    fn catch_up_to(&mut self, watch: &mut Watch, pid: u32, count: u64) {
        let deadline = soon();
        while self.accepted(pid).is_none_or(|accepted| accepted < count)
            && Instant::now() < deadline
        {
            self.catch_up(watch);
        }
    }

    /// Fails unless the process accepted that many, but for those that the kernel says the probe missed.
    fn assert_accepted(&self, watch: &mut Watch, pid: u32, made: u64) {
        let seen = self.accepted(pid).expect("it listens");
        assert_all_seen(seen, made, watch.missed_runs().unwrap_or(0));
    }

    fn accepted(&self, pid: u32) -> Option<u64> {
        let process = self
            .engine
            .processes()
            .find(|process| process.key.tgid == pid && process.is_alive());
        let key: ProcessKey = process?.key;
        self.engine.served(key).map(|served| served.total)
    }
}

#[test]
fn accepts_are_counted_exactly_for_listeners_older_and_younger_than_the_probes() {
    let mut old: Vec<_> = [("127.0.0.1:0", 7), ("[::1]:0", 11)]
        .map(|(address, count)| (Listening::start(count, address, false), count))
        .into();
    let mut watch = watch!();
    let mut told = Told::new(&watch);
    let young = [("127.0.0.1:0", 13), ("[::1]:0", 17)]
        .map(|(address, count)| (Listening::start(count, address, false), count));
    old.extend(young);
    for (listening, count) in &mut old {
        listening.visit(*count);
    }
    told.catch_up(&mut watch);
    for (listening, count) in old {
        told.assert_accepted(&mut watch, listening.actor.pid(), count.into());
        assert!(listening.actor.finish().success());
    }
}

#[test]
fn a_shared_port_is_counted_exactly_and_passes_on_when_the_first_listener_ends() {
    const MANY: u32 = 1_000;
    let first = Listening::start(MANY, "127.0.0.1:0", true);
    let address = first.address.to_string();
    let mut watch = watch!();
    let mut told = Told::new(&watch);
    let second = Listening::start(MANY, &address, true);
    let visit = |times: u32| {
        for _ in 0..times {
            TcpStream::connect(&address).expect("somebody listens");
        }
    };
    visit(40);
    told.catch_up(&mut watch);
    told.catch_up_to(&mut watch, first.actor.pid(), 40);
    // The kernel spreads them over both sockets; the first answers for the port.
    told.assert_accepted(&mut watch, first.actor.pid(), 40);
    assert_eq!(told.accepted(second.actor.pid()), Some(0));
    drop(first.actor);
    visit(5);
    told.catch_up(&mut watch);
    told.catch_up_to(&mut watch, second.actor.pid(), 5);
    told.assert_accepted(&mut watch, second.actor.pid(), 5);
}

#[test]
fn a_port_that_is_closed_and_opened_by_another_counts_for_the_other() {
    // Alone: another test could be given the port while nobody has it.
    let mut watch = watch!(DEFAULT_SIZES, Turn::alone());
    let mut told = Told::new(&watch);
    let mut first = Listening::start(3, "127.0.0.1:0", false);
    let address = first.address.to_string();
    first.visit(3);
    told.catch_up(&mut watch);
    assert_eq!(told.accepted(first.actor.pid()), Some(3));
    assert!(first.actor.finish().success());
    let mut second = Listening::start(4, &address, true);
    second.visit(4);
    told.catch_up(&mut watch);
    assert_eq!(told.accepted(second.actor.pid()), Some(4));
}
