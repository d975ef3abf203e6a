//! Nothing is lost without being counted, and at default sizes nothing is lost.

use std::{
    thread,
    time::{Duration, Instant},
};

use detector::{kernel::Sizes, source::decode::Record};
use detector_common::counter::Counter;

use super::cpu::THREADS_OF_AN_ACTOR;
use crate::{
    actor::Actor,
    watch::{DEFAULT_SIZES, Turn, Watch, execs, watch},
};

/// Execs of children of `parent`.
fn children(watch: &Watch, parent: u32) -> u64 {
    execs(&watch.records)
        .filter(|exec| exec.parent.tgid == parent)
        .count() as u64
}

#[test]
fn of_twenty_thousand_execs_at_full_speed_none_is_lost_at_the_default_size() {
    let mut watch = watch!(DEFAULT_SIZES, Turn::alone());
    let actor = Actor::start(["storm", "--count", "20000", "/bin/true"]);
    let pid = actor.pid();
    let storm = thread::spawn(move || actor.finish());
    let deadline = Instant::now() + Duration::from_secs(240);
    // As the daemon does: drain on a timer, with other things to do in between.
    while !storm.is_finished() && Instant::now() < deadline {
        watch.drain();
        thread::park_timeout(Duration::from_millis(50));
    }
    assert!(storm.join().expect("the storm ends").success());
    watch.drain();
    let lost = watch.lost(Counter::ExecDropped) + watch.missed_runs().unwrap_or(0);
    assert_eq!((children(&watch, pid), lost), (20_000, 0));
}

/// What a watch saw of each kind between two moments, and what it says it lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    exec: u64,
    fork: u64,
    exit: u64,
    thread_end: u64,
    connection: u64,
}

impl Tally {
    fn zip(self, other: Tally, with: impl Fn(u64, u64) -> u64) -> Tally {
        Tally {
            exec: with(self.exec, other.exec),
            fork: with(self.fork, other.fork),
            exit: with(self.exit, other.exit),
            thread_end: with(self.thread_end, other.thread_end),
            connection: with(self.connection, other.connection),
        }
    }
}

impl std::ops::Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        self.zip(other, |a, b| a + b)
    }
}

impl std::ops::Sub for Tally {
    type Output = Tally;

    fn sub(self, other: Tally) -> Tally {
        self.zip(other, |a, b| a - b)
    }
}

/// What a watch says it lost since it was loaded.
fn losses(watch: &Watch) -> Tally {
    Tally {
        exec: watch.lost(Counter::ExecDropped),
        fork: watch.lost(Counter::ForkDropped),
        exit: watch.lost(Counter::ExitDropped),
        thread_end: watch.lost(Counter::ThreadEndDropped),
        connection: watch.lost(Counter::ConnectionDropped),
    }
}

fn tally(watch: &Watch, after: u64, before: u64) -> Tally {
    let mut tally = Tally {
        exec: 0,
        fork: 0,
        exit: 0,
        thread_end: 0,
        connection: 0,
    };
    for record in &watch.records {
        let count = match record {
            Record::Exec(_) => &mut tally.exec,
            Record::Fork(_) => &mut tally.fork,
            Record::Exit(_) => &mut tally.exit,
            Record::ThreadEnd(_) => &mut tally.thread_end,
            Record::Connection(_) => &mut tally.connection,
            // Nobody is watched.
            Record::Payload(_) => continue,
        };
        *count += u64::from((after..before).contains(&record.at_ns()));
    }
    tally
}

#[test]
fn a_full_ring_counts_every_lost_record_by_kind() {
    // One page each, not drained: full after five execs.
    let one_page = Sizes {
        process_ring_bytes: 4096,
        network_ring_bytes: 4096,
    };
    let mut small = watch!(one_page, Turn::alone());
    // A second set of probes with room for everything is the independent source.
    let mut large = watch!(DEFAULT_SIZES, Turn::Same);
    let now = || detector::source::scan::Clock::now().boot_ns;
    // From here on the small rings are empty: what they lost before is not counted.
    small.drain();
    let lost_before = losses(&small);
    let after = now();
    let mut storm = Actor::start(["storm", "--count", "300", "/bin/true"]);
    assert_eq!(storm.says()["ran"], 300);
    assert!(storm.finish().success());
    for _ in 0..100 {
        // The discard port: an answer and a refusal are two records alike.
        drop(std::net::TcpStream::connect("127.0.0.1:9"));
    }
    // Threads are freed some milliseconds after they end: all of the storm's are when one that
    // ended later is.
    let last = Actor::start(["burn", "--ms", "1"]);
    let pid = last.pid();
    last.finish();
    large.bills(pid, THREADS_OF_AN_ACTOR + 1);

    let before = now();
    let lost = losses(&small) - lost_before;
    small.drain();
    large.drain();
    let seen = tally(&small, after, before);
    assert_eq!(seen + lost, tally(&large, after, before));
    assert!(lost.exec >= 290 && lost.connection >= 150, "{lost:?}");
}
