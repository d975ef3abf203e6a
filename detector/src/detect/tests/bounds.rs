//! Nothing grows without end, and what is forgotten is counted; the same inputs give the same outputs.

use detector_common::event::{self, connection::change, kind};

use crate::{
    detect::{
        Config,
        cpu::Totals,
        process::ParentFrom,
        script::Scripts,
        table::Table,
        testing::{Bench, SECOND, exec, facts, file_id, header, key, process, thread_end},
        window::{Pass, Windows},
    },
    incident::{Evidence, Finding},
    input::{Input, Owner, ProcessKey},
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
fn a_storm_of_short_programs_leaves_the_table_to_others_and_is_charged_in_full() {
    let mut bench = Bench::with(Config {
        max_processes: 400,
        ..Config::default()
    });
    let storm = key(500, T);
    bench.run(INIT, storm, "/usr/bin/make");
    let others = bench.engine.process_count();
    let mut forgotten = 0;
    let mut last = storm;
    for second in 0..12 {
        for n in 0..300 {
            let id = second * 300 + n;
            let child = key(1_000 + id, T + 1 + u64::from(id));
            bench.fork(storm, child);
            bench.exit(child, 0);
            // Half of both CPUs, 1.5 s a second, in bills of 5 ms.
            let bill = thread_end(child.tgid, child.tgid, child.start_ns, SECOND / 200);
            bench.apply(Input::ThreadEnd(bill));
            last = child;
        }
        bench.second();
        assert_eq!(bench.engine.process_count(), others + 100, "{second}");
        forgotten += if second == 0 { 200 } else { 300 };
        assert_eq!(bench.engine.counters().dead_forgotten, forgotten);
    }
    assert!(bench.engine.process(last).is_some());
    let saturated = bench.incidents().into_iter().find_map(|(_, incident)| {
        let load = |finding: &Finding| match finding.evidence {
            Evidence::Cpu(cpu) => Some(cpu.cores),
            _ => None,
        };
        incident.findings.iter().find_map(load)
    });
    assert_eq!(saturated, Some(1.5));
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
    assert_eq!(incident.timeline.len(), 64);
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

#[test]
fn four_thousand_bills_wait_for_their_process_and_the_next_is_counted() {
    let mut bench = Bench::new();
    for n in 0..4_096 {
        bench.apply(Input::ThreadEnd(thread_end(1_000 + n, 1_000 + n, T, 1)));
    }
    assert_eq!(bench.engine.counters().thread_ends_unclaimed, 0);
    bench.apply(Input::ThreadEnd(thread_end(6_000, 6_000, T, 1)));
    assert_eq!(bench.engine.counters().thread_ends_unclaimed, 1);
}

#[test]
fn a_thousand_images_wait_for_facts_and_then_the_oldest_goes() {
    let mut bench = Bench::new();
    let run = |bench: &mut Bench, n: u32| {
        let of = key(1_000 + n, T + u64::from(n));
        bench.exec(&exec(of, INIT, &format!("/opt/{n}")));
    };
    for n in 0..1_024 {
        run(&mut bench, n);
    }
    assert_eq!(bench.engine.counters().verdicts_dropped, 0);
    run(&mut bench, 1_024);
    assert_eq!(bench.engine.counters().verdicts_dropped, 1);
}

#[test]
fn short_programs_do_not_push_out_the_verdict_on_what_runs_on() {
    let mut bench = Bench::new();
    let web = key(800, T);
    bench.run(INIT, web, "/usr/sbin/php-fpm8.2");
    let attack = key(900, T);
    bench.fork(web, attack);
    bench.exec(&exec(attack, web, "/opt/attack"));
    for n in 0..5_000 {
        let of = key(1_000 + n, T + u64::from(n));
        bench.exec(&exec(of, INIT, &format!("/opt/{n}")));
        bench.exit(of, 0);
    }
    assert_eq!(bench.engine.counters().verdicts_dropped, 5_001 - 1_024);
    bench.unowned("/opt/attack");
    let told = bench.incidents().iter().any(|(_, incident)| {
        let by = |finding: &Finding| finding.process == Some(attack);
        incident.findings.iter().any(by)
    });
    assert!(told);
}

#[test]
fn what_a_busy_program_runs_is_asked_for_until_there_is_an_answer() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.exec(&exec(of, INIT, "/opt/busy"));
    let asked = |bench: &Bench| {
        let requests = bench.requests();
        let about = requests.iter().filter(|request| request.process == of);
        about.filter(|request| request.file_wanted).count()
    };
    assert_eq!(asked(&bench), 1);
    bench.burn(6, &[(of, SECOND / 2)]);
    assert_eq!(asked(&bench), 3, "every two seconds");
    bench.unowned("/opt/busy");
    bench.burn(6, &[(of, SECOND / 2)]);
    assert_eq!(asked(&bench), 3);
}

#[test]
fn facts_that_come_within_a_minute_are_taken_into_account() {
    let told = |seconds: u32| {
        let mut bench = Bench::new();
        bench.exec(&exec(key(900, T), INIT, "/opt/x"));
        for _ in 0..seconds {
            bench.second();
        }
        bench.unowned("/opt/x");
        bench.findings().len()
    };
    assert_eq!(
        (told(60), told(61)),
        (1, 0),
        "it began a moment after a pass"
    );
}

#[test]
fn two_hundred_and_fifty_six_listeners_share_a_port() {
    let mut bench = Bench::new();
    let listen = |bench: &mut Bench, n: u32| {
        let of = key(1_000 + n, T);
        let mut connection: event::Connection = zerocopy::FromZeros::new_zeroed();
        connection.header = header(kind::CONNECTION, bench.now_ns);
        connection.process = process(of);
        connection.socket = u64::from(n) + 1;
        connection.change = change::LISTEN;
        connection.local_port = 80;
        bench.apply(Input::Connection(connection));
    };
    for n in 0..256 {
        listen(&mut bench, n);
    }
    assert_eq!(bench.engine.counters().listeners_refused, 0);
    listen(&mut bench, 256);
    assert_eq!(bench.engine.counters().listeners_refused, 1);
}

#[test]
fn a_walk_up_the_tree_ends_after_sixty_four_ancestors() {
    let mut table = Table::new(1_000);
    table.ensure(key(1_000, T), T);
    for n in 1..100 {
        let (child, parent) = (key(1_000 + n, T), key(999 + n, T));
        table.ensure(child, T);
        table.set_parent(child, parent, ParentFrom::Fork);
    }
    assert_eq!(table.ancestors(key(1_099, T)).count(), 64);
}

#[test]
fn the_first_four_connections_are_remembered_until_the_verdict() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.exec(&exec(of, INIT, "/opt/x"));
    let mut told = Vec::new();
    for n in 1..=6 {
        bench.connect(of, [45, 9, 148, n], 443, true);
    }
    let mut dropped = facts(file_id("/opt/x"), "/dev/shm/x", Owner::Unowned);
    dropped.stat = None;
    bench.file(&dropped);
    bench.second();
    for (_, incident) in bench.incidents() {
        told = incident
            .connections
            .iter()
            .map(|contact| contact.ip.to_string())
            .collect();
    }
    assert_eq!(
        told,
        ["45.9.148.1", "45.9.148.2", "45.9.148.3", "45.9.148.4"]
    );
}

#[test]
fn a_thousand_scripts_are_remembered_and_the_one_used_longest_ago_goes() {
    let mut scripts = Scripts::default();
    let path = |n: u32| format!("/opt/{n}.sh").into_bytes();
    for n in 0..1_025 {
        scripts.looked(None, &path(n), file_id("/opt/x.sh"), T);
    }
    let known = [0, 1].map(|n| scripts.get(None, &path(n), T).is_some());
    assert_eq!(known, [false, true]);
}

#[test]
fn a_look_at_a_script_counts_for_ten_seconds() {
    let mut scripts = Scripts::default();
    let id = file_id("/opt/x.sh");
    scripts.looked(None, b"/opt/x.sh", id, T);
    let mut at = |ns: u64| scripts.get(None, b"/opt/x.sh", ns);
    assert_eq!(at(T + 10 * SECOND - 1), Some(id));
    assert_eq!(at(T + 10 * SECOND), None);
}

#[test]
fn the_last_seconds_of_a_thousand_that_wait_are_remembered_and_of_all_that_work() {
    let count = |used: Totals| {
        let mut windows = Windows::new(10);
        let pass = Pass {
            elapsed_ns: SECOND,
            cpus: 2,
        };
        windows.close(pass, (0_u64..1_100).map(|n| (n, used)));
        windows.sorted().count()
    };
    let waits = Totals {
        run_delay_ns: SECOND,
        ..Totals::default()
    };
    let works = Totals {
        cpu_ns: SECOND,
        ..Totals::default()
    };
    assert_eq!((count(waits), count(works)), (1_024, 1_100));
}

#[test]
fn facts_of_eight_thousand_executables_are_remembered() {
    let mut bench = Bench::new();
    for n in 0..8_193 {
        bench.packaged(&format!("/usr/bin/{n}"));
    }
    let mut asked = |n: u32| {
        let before = bench.requests().len();
        bench.exec(&exec(key(900 + n, T), INIT, &format!("/usr/bin/{n}")));
        bench.requests().len() - before
    };
    assert_eq!((asked(1), asked(0)), (0, 1), "the one used longest ago");
}
