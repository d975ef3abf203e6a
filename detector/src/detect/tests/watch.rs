//! How many are listened to, for how long, and when a CPU counts as kept busy: the numbers of `watch.rs`.

use crate::{
    detect::{
        table::Table,
        testing::{Bench, SECOND, asked, key},
        watch::{Cause, Open, Watches},
    },
    input::{Flow, ProcessKey},
};

const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};

fn open(process: ProcessKey, socket: Option<u64>) -> Open {
    Open {
        socket,
        since_ns: 0,
        flow: Flow {
            process,
            network_namespace: 1,
            remote_port: 443,
            local_port: 50_000,
            remote: [0x20; 16],
        },
    }
}

fn number(n: u32) -> ProcessKey {
    key(1_000 + n, SECOND)
}

/// Whole seconds from now until it is not listened to any more, when it is asked for again every ten.
fn listened_s(watches: &mut Watches, cause: Cause, from_s: u64, again: bool) -> Option<u64> {
    let table = Table::new(64);
    let mut out = Vec::new();
    (0..2_000).find(|second| {
        let now_ns = (from_s + second) * SECOND;
        if *second == 0 || again && second % 10 == 0 {
            watches.look(number(0), cause, now_ns, &mut out);
        }
        watches.pass(SECOND, &table, now_ns, &mut out);
        asked(&out).last() == Some(&Err(number(0)))
    })
}

#[test]
fn sixteen_thousand_connections_are_remembered_of_them_256_of_one_process() {
    let mut watches = Watches::default();
    for n in 0..256 {
        watches.opened(open(number(0), Some(n)));
    }
    assert_eq!(watches.flows_refused, 0);
    watches.opened(open(number(0), Some(256)));
    assert_eq!(watches.flows_refused, 1, "the 257th of one process");
    for process in 1..64 {
        for n in 0..256 {
            watches.opened(open(number(process), Some(n)));
        }
    }
    assert_eq!(watches.flows_refused, 1, "16,384 fit");
    watches.opened(open(number(64), Some(0)));
    assert_eq!(watches.flows_refused, 2, "and no more");
}

#[test]
fn sixty_four_are_listened_to_of_them_half_before_they_connect() {
    let mut watches = Watches::default();
    let mut out = Vec::new();
    for n in 0..33 {
        watches.look(number(n), Cause::Suspect, SECOND, &mut out);
    }
    assert_eq!((asked(&out).len(), watches.refused), (32, 1));
    for n in 100..133 {
        watches.look(number(n), Cause::Connected, SECOND, &mut out);
    }
    assert_eq!((asked(&out).len(), watches.refused), (64, 2));
}

#[test]
fn sixty_four_older_connections_of_a_process_are_listened_to() {
    let mut watches = Watches::default();
    for _ in 0..65 {
        watches.opened(open(number(0), None));
    }
    let mut out = Vec::new();
    watches.look(number(0), Cause::Connected, SECOND, &mut out);
    assert_eq!(asked(&out), [Ok((number(0), 16, 64))]);
}

#[test]
fn a_suspect_is_listened_to_for_a_minute_a_connection_for_two_and_nobody_for_more_than_five() {
    for (cause, again, expected_s) in [
        (Cause::Suspect, false, 60),
        (Cause::Connected, false, 120),
        (Cause::Connected, true, 300),
    ] {
        let mut watches = Watches::default();
        let lasted_s = listened_s(&mut watches, cause, 10, again);
        assert_eq!(lasted_s, Some(expected_s), "{cause:?}, again: {again}");
    }
}

#[test]
fn who_was_listened_to_is_left_alone_for_ten_minutes_and_then_heard_twice_as_long() {
    let mut watches = Watches::default();
    assert_eq!(
        listened_s(&mut watches, Cause::Suspect, 10, false),
        Some(60)
    );
    let mut out = Vec::new();
    let ended_s = 10 + 60;
    watches.look(
        number(0),
        Cause::Suspect,
        (ended_s + 599) * SECOND,
        &mut out,
    );
    assert_eq!(asked(&out), []);
    watches.look(
        number(0),
        Cause::Suspect,
        (ended_s + 600) * SECOND,
        &mut out,
    );
    assert_eq!(asked(&out), [Ok((number(0), 32, 0))]);
}

/// Whether a program with a connection is listened to after so many seconds of so much CPU time each.
fn is_listened_to(ns: u64, seconds: u32) -> bool {
    let mut bench = Bench::new();
    let agent = key(900, 10 * SECOND + 1);
    bench.run(INIT, agent, "/usr/bin/agent");
    bench.connect(agent, [45, 9, 148, 1], 443, true);
    bench.burn(seconds, &[(agent, ns)]);
    !asked(&bench.out).is_empty()
}

#[test]
fn fifteen_hundredths_of_a_cpu_for_ten_seconds_are_busy_and_less_is_not() {
    let told = [(150, 10), (150, 9), (149, 60)].map(|(ms, s)| is_listened_to(ms * 1_000_000, s));
    assert_eq!(told, [true, false, false]);
}

#[test]
fn half_a_minute_of_work_is_remembered_for_twenty_seconds_and_no_longer() {
    let mut watches = Watches::default();
    let mut table = Table::new(64);
    let of = number(0);
    watches.opened(open(of, Some(1)));
    let mut pass = |watches: &mut Watches, cpu_ns: u64, seconds: u64| {
        for _ in 0..seconds {
            table.ensure(of, SECOND);
            table.charge(of, |process| process.cpu.interval.cpu_ns = cpu_ns);
            watches.pass(SECOND, &table, SECOND, &mut Vec::new());
        }
        watches.is_busy(of)
    };
    assert!(pass(&mut watches, SECOND, 600));
    assert!(pass(&mut watches, 0, 20));
    assert!(!pass(&mut watches, 0, 1));
}
