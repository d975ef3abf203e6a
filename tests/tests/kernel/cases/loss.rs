//! Nothing is lost without being counted, and at default sizes nothing is lost.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use detector::{
    kernel::{Sizes, btf::Btf, support::BTF_PATH},
    source::decode::Record,
};
use detector_common::{counter::Counter, event::connection::change};

use super::cpu::THREADS_OF_AN_ACTOR;
use crate::{
    actor::Actor,
    tally::{DROPPED, cut, losses},
    watch::{DEFAULT_SIZES, Turn, Watch, connections, execs, watch},
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

#[test]
fn a_full_ring_counts_every_lost_record_by_kind() {
    // One page each, not drained: full after five execs.
    let one_page = Sizes {
        process_ring_bytes: 4096,
        network_ring_bytes: 4096,
        ..DEFAULT_SIZES
    };
    // Where cgroups cannot be told apart, nobody is throttled and a ring can be full.
    let mut small = watch!(one_page, Turn::alone(), |_, plan| plan.throttle = false);
    // A second set of probes with room for everything is the independent source.
    let mut large = watch!(DEFAULT_SIZES, Turn::Same);
    let now = || detector::source::scan::Clock::now().boot_ns;
    // From here on the small rings are empty: what they lost before is not counted.
    small.drain();
    let lost_before = losses(&small, DROPPED);
    let after = now();
    let mut storm = Actor::start(["storm", "--count", "300", "/bin/true"]);
    assert_eq!(storm.says()["ran"], 300);
    assert!(storm.finish().success());
    for _ in 0..100 {
        // The discard port: an answer and a refusal are two records alike.
        drop(TcpStream::connect("127.0.0.1:9"));
    }
    // Threads are freed some milliseconds after they end: all of the storm's are when one that
    // ended later is.
    let last = Actor::start(["burn", "--ms", "1"]);
    let pid = last.pid();
    last.finish();
    large.bills(pid, THREADS_OF_AN_ACTOR + 1);

    let cut = cut(&mut small, &mut large, DROPPED, lost_before, after);
    cut.assert_whole();
    let lost = cut.lost;
    assert!(lost.exec >= 290 && lost.connection >= 150, "{lost:?}");
}

/// Changes of any connection that the watch saw.
fn changes(watch: &Watch, wanted: u32) -> u64 {
    let changes = watch.records.iter().filter_map(|record| match record {
        Record::Connection(connection) => Some(connection.change),
        _ => None,
    });
    changes.filter(|change| *change == wanted).count() as u64
}

#[test]
fn each_connection_that_the_table_of_open_sockets_refuses_is_counted() {
    let sizes = Sizes {
        open_sockets: 8,
        ..DEFAULT_SIZES
    };
    let mut watch = watch!(sizes, Turn::alone());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let open: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(address).expect("it listens"))
        .collect();
    watch.drain();
    let own = connections(&watch.records, std::process::id());
    let answers = own.iter().filter(|own| own.change == change::ESTABLISHED);
    let (attempts, closed) = (
        changes(&watch, change::ATTEMPT),
        changes(&watch, change::CLOSED) + changes(&watch, change::FAILED),
    );
    // Whoever else on this machine connected meanwhile took a place too.
    let lost = watch.lost(Counter::SocketTableFull);
    assert_eq!(lost, attempts - 8 - closed);
    assert!(lost >= 12, "{lost}");
    assert_eq!(answers.count() as u64, 20 - lost.min(20));
    drop(open);
}

#[test]
fn each_inbound_connection_to_a_port_beyond_the_table_is_counted() {
    let sizes = Sizes {
        listening_ports: 4,
        ..DEFAULT_SIZES
    };
    let mut watch = watch!(sizes, Turn::alone());
    let listeners: Vec<_> = (0..6)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"))
        .collect();
    for listener in &listeners {
        let address = listener.local_addr().expect("it is bound");
        for _ in 0..3 {
            drop(TcpStream::connect(address).expect("it listens"));
        }
    }
    watch.pass();
    let counted: u64 = watch.scan.accepts.iter().map(|accepts| accepts.count).sum();
    let lost = watch.lost(Counter::ListenTableFull);
    assert_eq!((watch.scan.accepts.len(), counted, lost), (4, 12, 6));
}

/// The offset of another member than the one it stands for: whatever is read there is no address that can be read.
fn offset_of(structure: &str, member: &str) -> u32 {
    let types = Btf::read(Path::new(BTF_PATH)).expect("obstacles are told before");
    types
        .member(structure, member)
        .expect("every kernel has it")
        .offset
}

#[test]
fn each_exec_whose_arguments_or_path_cannot_be_read_is_counted_and_told_without() {
    let mut watch = watch!(DEFAULT_SIZES, Turn::alone(), |facts, _| {
        let types = facts.types.as_mut().expect("obstacles are told before");
        types.found.offsets.mm_arg_start = offset_of("mm_struct", "total_vm");
        // The top of the new stack: an address of user space.
        types.found.offsets.binprm_filename = offset_of("linux_binprm", "p");
    });
    let mut storm = Actor::start(["storm", "--count", "20", "/bin/true"]);
    let pid = storm.pid();
    assert_eq!(storm.says()["ran"], 20);
    assert!(storm.finish().success());
    watch.drain();
    assert_eq!(children(&watch, pid), 20);
    let without =
        execs(&watch.records).filter(|exec| exec.args.is_empty() && exec.filename.is_empty());
    let (seen, without) = (execs(&watch.records).count() as u64, without.count() as u64);
    let lost =
        [Counter::ArgsUnreadable, Counter::PathUnreadable].map(|counter| watch.lost(counter));
    assert_eq!((without, lost), (seen, [seen, seen]));
}

#[test]
fn each_record_of_a_connection_that_is_thrown_away_is_counted() {
    let mut keeps = watch!(DEFAULT_SIZES, Turn::alone());
    let mut throws = watch!(DEFAULT_SIZES, Turn::Same);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    keeps.drain();
    throws.discard_connections();
    let before = keeps.records.len();
    for _ in 0..50 {
        drop(std::net::TcpStream::connect(address).expect("somebody listens"));
        drop(listener.accept().expect("somebody connects"));
    }
    let connections = |watch: &Watch| {
        let since = watch.records[before..].iter();
        since
            .filter(|record| matches!(record, Record::Connection(_)))
            .count()
    };
    keeps.drain();
    let at_least = connections(&keeps);
    let thrown_away = throws.discard_connections();
    keeps.drain();
    let at_most = connections(&keeps);
    assert!(at_least >= 100, "{at_least}: an attempt and an end of each");
    assert!(
        (at_least..=at_most).contains(&thrown_away),
        "{thrown_away} of {at_least} to {at_most}"
    );
}
