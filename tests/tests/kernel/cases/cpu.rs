//! CPU time: final bills against the process's own CPU clock, running totals against `/proc`.

use std::{
    collections::HashSet,
    fs,
    time::{Duration, Instant},
};

use detector_common::event::ThreadEnd;

use crate::{
    actor::Actor,
    watch::{DEFAULT_SIZES, Turn, Watch, bills, forks, watch},
};

/// Relative difference allowed.
const TOLERANCE: f64 = 0.02;

/// The leader, and the guard that bounds the actor's life.
pub const THREADS_OF_AN_ACTOR: usize = 2;

#[track_caller]
fn assert_close(measured_ns: u64, said_ns: u64) {
    let ratio = measured_ns as f64 / said_ns as f64;
    assert!(
        (1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&ratio),
        "measured {measured_ns} ns where {said_ns} ns were used: ratio {ratio}"
    );
}

/// Runs an act to its end; gives what was billed and what the process's own clock said.
fn bill(watch: &mut Watch, burners: usize, args: &[&str]) -> (u64, u64) {
    let mut actor = Actor::start(args);
    let said = actor.says()["cpu_ns"]
        .as_u64()
        .expect("it says its CPU time");
    let pid = actor.pid();
    assert!(actor.finish().success());
    let bills = watch.bills(pid, THREADS_OF_AN_ACTOR + burners);
    (bills.iter().map(|bill| bill.cpu_ns).sum(), said)
}

#[test]
fn a_burner_is_billed_what_its_own_clock_says() {
    let mut watch = watch!();
    let (billed, said) = bill(&mut watch, 1, &["burn", "--ms", "10000"]);
    assert!(said >= 10_000_000_000);
    assert_close(billed, said);
}

#[test]
fn a_loop_that_sleeps_across_the_ticks_is_billed_in_full() {
    let mut watch = watch!();
    let (billed, said) = bill(&mut watch, 1, &["burn", "--ms", "5000", "--dodge-ticks"]);
    assert_close(billed, said);
}

#[test]
fn threads_that_exit_are_billed_to_their_process() {
    let mut watch = watch!();
    let (billed, said) = bill(
        &mut watch,
        300,
        &["churn", "--ms", "10", "--threads", "300"],
    );
    assert_close(billed, said);
}

#[test]
fn five_hundred_children_too_short_for_a_pass_are_all_billed() {
    let mut watch = watch!();
    let mut actor = Actor::start(["children", "--ms", "10", "--count", "500"]);
    let said = actor.says();
    let pid = actor.pid();
    assert!(actor.finish().success());
    watch.exec(pid, |_| true);
    let children: HashSet<u32> = forks(&watch.records)
        .filter(|fork| fork.parent.tgid == pid)
        .map(|fork| fork.child.tgid)
        .collect();
    assert_eq!(children.len(), 500);
    // A child may be freed after its parent: every thread must get its bill.
    let threads = 500 * (THREADS_OF_AN_ACTOR + 1);
    let billed = watch.until("every child's bill", |records| {
        let bills = bills(records, |bill| children.contains(&bill.tgid));
        (bills.len() == threads).then(|| bills.iter().map(|bill| bill.cpu_ns).sum::<u64>())
    });
    assert_close(
        billed,
        said["children_cpu_ns"]
            .as_u64()
            .expect("it says its children's CPU time"),
    );
}

#[test]
fn running_totals_equal_schedstat_read_before_and_after() {
    let mut watch = watch!();
    let actor = Actor::start(["burn", "--ms", "2000"]);
    let pid = actor.pid();
    watch.exec(pid, |_| true);
    let mut compared = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    while compared < 20 && Instant::now() < deadline {
        let Some(before) = schedstats(pid) else { break };
        watch.pass();
        let Some(after) = schedstats(pid) else { break };
        for task in watch
            .scan
            .tasks
            .iter()
            .filter(|task| task.process.tgid == pid)
        {
            let of = |stats: &[(u32, u64, u64)]| {
                stats.iter().find(|(tid, ..)| *tid == task.pid).copied()
            };
            if let (Some(before), Some(after)) = (of(&before), of(&after)) {
                assert!(
                    (before.1..=after.1).contains(&task.cpu_ns)
                        && (before.2..=after.2).contains(&task.run_delay_ns),
                    "{before:?} {task:?} {after:?}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared >= 20, "compared {compared} times only");
    assert!(actor.finish().success());
}

#[test]
fn context_switches_equal_status_read_before_and_after() {
    let mut watch = watch!();
    let actor = Actor::start(["burn", "--ms", "1000", "--dodge-ticks"]);
    let pid = actor.pid();
    watch.exec(pid, |_| true);
    let (mut compared, mut most_voluntary) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while compared < 10 && Instant::now() < deadline {
        let Some(before) = switches(pid) else { break };
        watch.pass();
        let Some(after) = switches(pid) else { break };
        let tasks = watch.scan.tasks.iter();
        for task in tasks.filter(|task| task.process.tgid == pid) {
            let of = |switches: &[(u32, u64, u64)]| {
                switches.iter().find(|(tid, ..)| *tid == task.pid).copied()
            };
            if let (Some(before), Some(after)) = (of(&before), of(&after)) {
                assert!(
                    (before.1..=after.1).contains(&task.voluntary_switches)
                        && (before.2..=after.2).contains(&task.involuntary_switches),
                    "{before:?} {task:?} {after:?}"
                );
                compared += 1;
                most_voluntary = most_voluntary.max(task.voluntary_switches);
            }
        }
    }
    assert!(compared >= 10, "compared {compared} times only");
    assert!(most_voluntary > 0, "it sleeps across every tick");
    assert!(actor.finish().success());
}

/// Thread id, voluntary and involuntary context switches of each thread.
fn switches(pid: u32) -> Option<Vec<(u32, u64, u64)>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks
        .map(|task| {
            let task = task.ok()?;
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let number = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim().parse().ok()
            };
            Some((
                task.file_name().to_str()?.parse().ok()?,
                number("voluntary_ctxt_switches:")?,
                number("nonvoluntary_ctxt_switches:")?,
            ))
        })
        .collect()
}

/// Thread id, CPU time and run delay of each thread, ns.
fn schedstats(pid: u32) -> Option<Vec<(u32, u64, u64)>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks
        .map(|task| {
            let task = task.ok()?;
            let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let mut numbers = stat.split_whitespace().map(str::parse::<u64>);
            Some((
                task.file_name().to_str()?.parse().ok()?,
                numbers.next()?.ok()?,
                numbers.next()?.ok()?,
            ))
        })
        .collect()
}

#[test]
fn a_pass_skips_threads_that_did_not_run() {
    let mut watch = watch!();
    let mut actor = Actor::start(["show"]);
    actor.says();
    let seen = |watch: &Watch, tgid: u32| {
        watch
            .scan
            .tasks
            .iter()
            .any(|task| task.process.tgid == tgid)
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        watch.pass();
        // This test runs all the time, though the scheduler says so at its ticks only.
        if seen(&watch, std::process::id()) && !seen(&watch, actor.pid()) {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "a sleeping process is seen on every pass"
        );
    }
    assert!(actor.finish().success());
}

#[test]
fn a_reused_pid_is_billed_to_the_process_that_used_it() {
    // Alone: it makes the kernel give ids again that other tests hold for unique.
    let mut watch = watch!(DEFAULT_SIZES, Turn::alone());
    let last_pid = "/proc/sys/kernel/ns_last_pid";
    let mut first = Actor::start(["burn", "--ms", "200"]);
    let first_said = first.says()["cpu_ns"]
        .as_u64()
        .expect("it says its CPU time");
    let pid = first.pid();
    assert!(first.finish().success());
    // Other processes fork too: ask for the same id until it is ours.
    let (mut second, tries) = (0..2_000)
        .find_map(|tries| {
            fs::write(last_pid, (pid - 1).to_string()).ok()?;
            let second = Actor::start(["burn", "--ms", "400"]);
            (second.pid() == pid).then_some((second, tries))
        })
        .expect("the kernel gives the id again");
    let second_said = second.says()["cpu_ns"]
        .as_u64()
        .expect("it says its CPU time");
    assert!(second.finish().success());
    let starts: Vec<u64> = watch.until("both processes", |records| {
        let starts: Vec<_> = forks(records)
            .filter(|fork| fork.child.tgid == pid)
            .map(|fork| fork.child.start_boottime_ns)
            .collect();
        let bills = bills(records, |bill| bill.tgid == pid);
        let threads = 2 * (THREADS_OF_AN_ACTOR + 1);
        (starts.len() == 2 && bills.len() == threads).then_some(starts)
    });
    let billed = |from: u64, to: u64| -> u64 {
        let of_one =
            |bill: &ThreadEnd| bill.tgid == pid && (from..to).contains(&bill.start_boottime_ns);
        bills(&watch.records, of_one)
            .iter()
            .map(|bill| bill.cpu_ns)
            .sum()
    };
    println!("the id came again after {tries} tries");
    assert_close(billed(starts[0], starts[1]), first_said);
    assert_close(billed(starts[1], u64::MAX), second_said);
}
