//! CPU time is charged once, to the right process, whatever the order of records.

use detector_common::event::ThreadEnd;

use crate::{
    detect::{
        cpu::{Account, Passes},
        testing::{Bench, SECOND, exec, key, task, thread, thread_end},
    },
    input::{Input, ProcessKey},
};

const MS: u64 = 1_000_000;

fn used(bench: &Bench, of: ProcessKey) -> u64 {
    bench.engine.process(of).expect("known").cpu.total.cpu_ns
}

#[test]
fn what_was_used_before_the_first_pass_is_a_baseline() {
    let old = key(50, SECOND);
    let mut fresh = Bench {
        load: vec![task(old, 500 * SECOND)],
        ..Bench::new()
    };
    fresh.engine =
        crate::detect::Engine::new(crate::detect::Config::default(), crate::detect::Seed(1));
    fresh.second();
    assert_eq!(used(&fresh, old), 0);
    fresh.burn(1, &[(old, 300 * MS)]);
    assert_eq!(used(&fresh, old), 300 * MS);
}

#[test]
fn a_thread_that_came_and_went_between_passes_is_charged_in_full() {
    let mut bench = Bench::new();
    let child = key(60, 10 * SECOND + MS);
    bench.fork(key(1, 0), child);
    bench.apply(Input::ThreadEnd(thread_end(
        60,
        60,
        child.start_ns,
        20 * MS,
    )));
    assert_eq!(used(&bench, child), 20 * MS);
}

#[test]
fn a_final_bill_adds_only_what_the_passes_had_not_seen() {
    let mut bench = Bench::new();
    let of = key(60, 10 * SECOND + MS);
    bench.burn(2, &[(of, 100 * MS)]);
    bench.exit(of, 0);
    bench.apply(Input::ThreadEnd(thread_end(60, 60, of.start_ns, 230 * MS)));
    assert_eq!(used(&bench, of), 230 * MS);
}

#[test]
fn a_bill_told_at_exit_and_again_exactly_is_charged_once() {
    let mut bench = Bench::new();
    let of = key(60, 10 * SECOND + MS);
    bench.burn(2, &[(of, 100 * MS)]);
    for (thread, start_ns) in [(60, of.start_ns), (61, bench.now_ns)] {
        for (is_final, cpu_ns) in [(0, 226 * MS), (1, 230 * MS)] {
            bench.apply(Input::ThreadEnd(detector_common::event::ThreadEnd {
                is_final,
                ..thread_end(60, thread, start_ns, cpu_ns)
            }));
        }
    }
    assert_eq!(used(&bench, of), 2 * 230 * MS);
    assert!(
        bench
            .engine
            .process(of)
            .is_some_and(|process| !process.is_alive())
    );
}

#[test]
fn a_leader_that_ends_before_its_threads_does_not_end_the_process() {
    let mut bench = Bench::new();
    let of = key(60, 10 * SECOND + MS);
    bench.burn(1, &[(of, 100 * MS)]);
    bench.apply(Input::ThreadEnd(detector_common::event::ThreadEnd {
        is_final: 0,
        ..thread_end(60, 60, of.start_ns, 100 * MS)
    }));
    assert!(
        bench
            .engine
            .process(of)
            .is_some_and(|process| process.is_alive())
    );
}

#[test]
fn totals_that_fall_charge_nothing() {
    let mut bench = Bench::new();
    let of = key(60, 10 * SECOND + MS);
    bench.load = vec![task(of, 100 * MS)];
    bench.second();
    bench.load = vec![task(of, 40 * MS)];
    bench.second();
    assert_eq!(used(&bench, of), 100 * MS);
}

#[test]
fn a_bill_that_comes_before_its_process_is_claimed_by_it() {
    let mut bench = Bench::new();
    let of = key(60, 10 * SECOND + MS);
    bench.apply(Input::ThreadEnd(thread_end(
        60,
        61,
        of.start_ns + MS,
        20 * MS,
    )));
    bench.fork(key(1, 0), of);
    assert_eq!(used(&bench, of), 20 * MS);
}

#[test]
fn a_bill_nobody_claims_is_dropped_and_counted() {
    let mut bench = Bench::new();
    bench.apply(Input::ThreadEnd(thread_end(60, 60, 10 * SECOND, MS)));
    for _ in 0..12 {
        bench.second();
    }
    assert_eq!(bench.engine.counters().thread_ends_unclaimed, 1);
}

#[test]
fn a_late_bill_of_a_reused_id_goes_to_the_old_process() {
    let mut bench = Bench::new();
    let (old, new) = (key(60, 10 * SECOND + MS), key(60, 10 * SECOND + 5 * MS));
    bench.fork(key(1, 0), old);
    bench.exit(old, 0);
    bench.fork(key(1, 0), new);
    bench.apply(Input::ThreadEnd(thread_end(60, 60, old.start_ns, 20 * MS)));
    assert_eq!((used(&bench, old), used(&bench, new)), (20 * MS, 0));
}

#[test]
fn a_reused_id_ends_the_process_whose_exit_was_lost() {
    let mut bench = Bench::new();
    let (old, new) = (key(60, 10 * SECOND + MS), key(60, 10 * SECOND + 5 * MS));
    bench.fork(key(1, 0), old);
    bench.fork(key(1, 0), new);
    assert!(!bench.engine.process(old).expect("kept").is_alive());
    assert!(bench.engine.process(new).expect("known").is_alive());
}

/// A process with a leader that used 10 s and a thread 61 that used 2 s, both seen by a pass.
fn threaded() -> (Bench, ProcessKey) {
    let mut bench = Bench::new();
    let of = key(60, 10 * SECOND + MS);
    bench.load = vec![
        task(of, 900 * MS),
        thread(of, 61, of.start_ns + MS, 200 * MS),
    ];
    bench.second();
    assert_eq!(used(&bench, of), 1_100 * MS);
    (bench, of)
}

/// What thread 61 of `of` does: exec. Its struct is the leader now, the leader's ends as 61.
fn swapped_exec(bench: &mut Bench, of: ProcessKey) {
    let mut exec = exec(of, key(1, 0), "/usr/bin/x");
    exec.old_pid = 61;
    exec.at_ns = bench.now_ns;
    bench.exec(&exec);
}

fn old_leader_ends(bench: &mut Bench, of: ProcessKey) {
    bench.apply(Input::ThreadEnd(thread_end(60, 61, of.start_ns, 910 * MS)));
}

fn new_leader_seen(bench: &mut Bench, of: ProcessKey) {
    bench.load = vec![task(of, 250 * MS)];
    bench.second();
}

#[test]
fn an_exec_by_another_thread_swaps_the_totals_in_every_order() {
    type Step = fn(&mut Bench, ProcessKey);
    let orders: [[Step; 3]; 5] = [
        [swapped_exec, old_leader_ends, new_leader_seen],
        [old_leader_ends, swapped_exec, new_leader_seen],
        [swapped_exec, new_leader_seen, old_leader_ends],
        [new_leader_seen, swapped_exec, old_leader_ends],
        [new_leader_seen, old_leader_ends, swapped_exec],
    ];
    for (number, order) in orders.into_iter().enumerate() {
        let (mut bench, of) = threaded();
        for step in order {
            step(&mut bench, of);
        }
        // 900 + 200 before, 10 of the old leader and 50 of the new one since.
        assert_eq!(used(&bench, of), 1_160 * MS, "order {number}");
    }
}

#[test]
fn the_same_exec_told_twice_swaps_once() {
    let (mut bench, of) = threaded();
    swapped_exec(&mut bench, of);
    swapped_exec(&mut bench, of);
    new_leader_seen(&mut bench, of);
    old_leader_ends(&mut bench, of);
    assert_eq!(used(&bench, of), 1_160 * MS);
}

#[test]
fn the_leaders_final_bill_ends_a_process_whose_exit_was_lost() {
    let (mut bench, of) = threaded();
    bench.apply(Input::ThreadEnd(thread_end(60, 60, of.start_ns, 900 * MS)));
    assert!(!bench.engine.process(of).expect("kept").is_alive());
}

#[test]
fn the_cpu_of_short_lived_children_counts_for_their_group() {
    let mut bench = Bench::new();
    let root = key(100, 10 * SECOND + MS);
    bench.run(key(1, 0), root, "/usr/bin/make");
    for second in 0..12_u32 {
        for n in 0..10_u32 {
            let child = key(
                1_000 + second * 10 + n,
                bench.now_ns + u64::from(n) * 100 * MS + 1,
            );
            bench.run(root, child, "/usr/lib/cc1");
            bench.exit(child, 0);
            bench.apply(Input::ThreadEnd(thread_end(
                child.tgid,
                child.tgid,
                child.start_ns,
                150 * MS,
            )));
        }
        bench.second();
    }
    let incidents = bench.incidents();
    let (_, incident) = incidents.first().expect("1.5 of 2 CPUs");
    assert!(
        incident.title.starts_with("cc1 uses 1.4"),
        "{}",
        incident.title
    );
    assert_eq!(incident.findings.len(), 1);
}

#[test]
fn a_thread_first_seen_late_is_charged_what_it_can_have_used_since_the_last_pass() {
    let of = key(60, 2 * SECOND);
    let passes = Passes {
        first_ns: Some(SECOND),
        last_ns: Some(10 * SECOND),
        now_ns: 11 * SECOND,
    };
    let mut account = Account::default();
    account.running(of, &task(of, 5 * SECOND), &passes);
    // The second since, and a tenth that the pass itself may take.
    assert_eq!(account.total.cpu_ns, 1_100 * MS);
}

#[test]
fn the_exact_bill_of_an_ended_thread_is_awaited_for_two_minutes() {
    let charged = |waited_ns: u64| {
        let of = key(60, 20 * SECOND);
        let mut passes = Passes {
            first_ns: Some(SECOND),
            last_ns: Some(99 * SECOND),
            now_ns: 100 * SECOND,
        };
        let mut account = Account::default();
        account.running(of, &thread(of, 61, 21 * SECOND, 100 * MS), &passes);
        let end = thread_end(60, 61, 21 * SECOND, 100 * MS);
        let preliminary = ThreadEnd { is_final: 0, ..end };
        account.ended(of, &preliminary, &passes);
        passes.now_ns += waited_ns;
        passes.last_ns = Some(passes.now_ns - SECOND);
        let _used = account.close_interval(passes.now_ns);
        let exact = ThreadEnd {
            cpu_ns: 101 * MS,
            ..end
        };
        account.ended(of, &exact, &passes);
        account.total.cpu_ns
    };
    assert_eq!(charged(120 * SECOND - 1), 101 * MS);
    assert_eq!(charged(120 * SECOND), 201 * MS, "nobody knows it any more");
}

#[test]
fn threads_beyond_65_536_of_one_process_are_not_charged() {
    let of = key(60, 20 * SECOND);
    let passes = Passes {
        first_ns: Some(SECOND),
        last_ns: Some(19 * SECOND),
        now_ns: 21 * SECOND,
    };
    let mut account = Account::default();
    for n in 0..65_537 {
        account.running(of, &thread(of, 100 + n, 20 * SECOND + 1, MS), &passes);
    }
    assert_eq!(account.total.cpu_ns, 65_536 * MS);
}

#[test]
fn a_bill_waits_ten_seconds_for_its_process() {
    let mut bench = Bench::new();
    bench.apply(Input::ThreadEnd(thread_end(60, 60, 10 * SECOND, MS)));
    for _ in 0..10 {
        bench.second();
    }
    assert_eq!(bench.engine.counters().thread_ends_unclaimed, 0);
    bench.second();
    assert_eq!(bench.engine.counters().thread_ends_unclaimed, 1);
}
