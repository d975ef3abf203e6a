//! Nothing grows without end, and what is forgotten is counted; the same inputs give the same outputs.

use crate::{
    detect::{
        Config,
        testing::{Bench, SECOND, exec, key},
    },
    incident::MAX_PARTS,
    input::ProcessKey,
};

const T: u64 = 10 * SECOND + 1;
const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};

#[test]
fn fifty_thousand_processes_fit_into_the_table_and_the_rest_is_counted() {
    let mut bench = Bench::new();
    let parent = key(500, T);
    bench.run(INIT, parent, "/usr/bin/bomb");
    for n in 0..50_000 {
        bench.fork(parent, key(1_000 + n, T + 1 + u64::from(n)));
    }
    bench.second();
    assert_eq!(bench.engine.process_count(), 32_768);
    assert_eq!(bench.engine.counters().live_forgotten, 50_002 - 32_768);
}

#[test]
fn ended_processes_go_first() {
    let mut bench = Bench::with(Config {
        max_processes: 100,
        ..Config::default()
    });
    let idle = key(500, T);
    bench.run(INIT, idle, "/usr/sbin/sshd");
    for n in 0..1_000 {
        let child = key(1_000 + n, T + 1 + u64::from(n));
        bench.fork(INIT, child);
        bench.exit(child, 0);
    }
    assert!(bench.engine.process(idle).is_some());
    assert_eq!(bench.engine.counters().live_forgotten, 0);
    assert_eq!(bench.engine.process_count(), 100);
}

#[test]
fn ended_processes_are_kept_for_a_minute() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.fork(INIT, of);
    bench.exit(of, 0);
    for _ in 0..59 {
        bench.second();
    }
    assert!(bench.engine.process(of).is_some());
    for _ in 0..3 {
        bench.second();
    }
    assert!(bench.engine.process(of).is_none());
}

#[test]
fn an_incident_is_bounded_and_says_what_did_not_fit() {
    let mut bench = Bench::new();
    let of = key(900, T);
    let mut dropped = exec(of, INIT, "/dev/shm/x");
    dropped.uid = 33;
    bench.exec(&dropped);
    for n in 0..200 {
        let child = key(1_000 + n, T + 1 + u64::from(n));
        bench.fork(of, child);
        bench.exec(&exec(child, of, "/usr/bin/env"));
        bench.exec(&exec(child, of, "/usr/bin/true"));
    }
    for _ in 0..6 {
        bench.second();
    }
    bench.unowned("/dev/shm/x");
    let incidents = bench.incidents();
    let (_, incident) = incidents.last().expect("opened");
    assert_eq!(incident.timeline.len(), MAX_PARTS);
    assert!(incident.truncated.timeline > 0 && incident.truncated.processes > 0);
}

#[test]
fn open_incidents_are_bounded_and_refusals_are_told() {
    let mut bench = Bench::new();
    for n in 0..300 {
        let mut dropped = exec(
            key(900 + n, T + u64::from(n)),
            INIT,
            &format!("/dev/shm/{n}"),
        );
        dropped.uid = 33;
        bench.exec(&dropped);
    }
    assert_eq!(bench.engine.open_incidents(), 256);
    assert_eq!(bench.engine.counters().incidents_refused, 300 - 256);
    assert_eq!(bench.findings().len(), 300 - 256);
}

#[test]
fn the_same_inputs_and_seed_give_the_same_outputs() {
    let run = || {
        let mut bench = Bench::new();
        let (web, miner) = (key(800, T), key(900, T + 1));
        bench.run(INIT, web, "/usr/sbin/php-fpm8.2");
        for n in 0..50 {
            bench.fork(web, key(810 + n, T + 1));
        }
        bench.fork(web, miner);
        bench.exec(&exec(miner, web, "/var/www/x/wp-content/uploads/m"));
        bench.unowned("/var/www/x/wp-content/uploads/m");
        bench.connect(miner, [45, 9, 148, 1], 3_333, true);
        bench.burn(12, &[(miner, 2 * SECOND), (web, SECOND / 10)]);
        bench.exit(miner, 9);
        bench.burn(30, &[(web, SECOND / 10)]);
        bench.out
    };
    assert_eq!(run(), run());
}
