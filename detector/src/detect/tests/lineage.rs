//! Groups and ancestors survive double forks, exits and late knowledge.

use crate::{
    detect::{
        Config, Engine, Seed,
        lineage::web_ancestor,
        process::ParentFrom,
        table::Table,
        testing::{Bench, SECOND, exec, key},
    },
    input::{Input, Observed, ProcessKey, Scan},
};

const T: u64 = 10 * SECOND;

fn group(bench: &Bench, of: ProcessKey) -> ProcessKey {
    bench.engine.process(of).expect("known").group
}

#[test]
fn a_daemonised_grandchild_stays_in_the_group_of_its_service() {
    let mut bench = Bench::new();
    let (web, shell, between, miner) = (
        key(800, T),
        key(901, T + 1),
        key(902, T + 2),
        key(903, T + 3),
    );
    bench.run(key(1, 0), web, "/usr/sbin/php-fpm8.2");
    bench.run(web, shell, "/bin/sh");
    bench.fork(shell, between);
    bench.fork(between, miner);
    bench.exit(between, 0);
    bench.exit(shell, 0);
    // Reparented: the exec sees init as its parent.
    bench.exec(&exec(miner, key(1, 0), "/var/tmp/m"));
    assert_eq!(group(&bench, miner), web);
    for _ in 0..120 {
        bench.second();
    }
    let names: Vec<u32> = bench
        .engine
        .process(miner)
        .and_then(|process| process.parent)
        .into_iter()
        .map(|parent| parent.tgid)
        .collect();
    assert_eq!(names, [902]);
    assert!(
        bench.engine.process(shell).is_some(),
        "kept for its descendant"
    );
}

#[test]
fn each_login_and_cron_job_is_a_group_of_its_own() {
    let mut bench = Bench::new();
    let (sshd, bash, make) = (key(700, T), key(701, T + 1), key(702, T + 2));
    let (cron, job) = (key(710, T), key(711, T + 1));
    bench.run(key(1, 0), sshd, "/usr/sbin/sshd");
    bench.run(sshd, bash, "/bin/bash");
    bench.run(bash, make, "/usr/bin/make");
    bench.run(key(1, 0), cron, "/usr/sbin/cron");
    bench.run(cron, job, "/bin/sh");
    assert_eq!(
        [sshd, bash, make, cron, job].map(|of| group(&bench, of)),
        [sshd, bash, bash, cron, job]
    );
}

#[test]
fn a_snapshot_in_any_order_gives_the_same_groups() {
    let mut engine = Engine::new(Config::default(), Seed(1));
    let mut out = Vec::new();
    let (web, worker) = (key(800, T), key(810, T + 1));
    for mut snapshot in [
        exec(worker, web, "/usr/sbin/php-fpm8.2"),
        exec(web, key(1, 0), "/usr/sbin/php-fpm8.2"),
    ] {
        snapshot.observed = Observed::Snapshot;
        engine.apply(Input::Exec(&snapshot), &mut out);
    }
    engine.apply(Input::Scan(&Scan::default()), &mut out);
    assert_eq!(
        engine.process(worker).map(|process| process.group),
        Some(web)
    );
}

#[test]
fn a_process_that_calls_itself_its_own_ancestor_does_not_loop() {
    let mut table = Table::new(16);
    let (one, two) = (key(5, 10), key(6, 20));
    table.ensure(one, 0);
    table.ensure(two, 0);
    table.set_parent(two, one, ParentFrom::Fork);
    table.set_parent(one, two, ParentFrom::Fork);
    table.set_parent(one, one, ParentFrom::Fork);
    assert_eq!(table.ancestors(two).count(), 1);
    assert_eq!(table.ancestors(one).count(), 0);
    assert_eq!(web_ancestor(&table, two), None);
}

#[test]
fn a_fork_tells_the_parent_better_than_a_pass() {
    let mut table = Table::new(16);
    for of in [key(1, 0), key(5, 10), key(6, 20)] {
        table.ensure(of, 0);
    }
    table.set_parent(key(6, 20), key(1, 0), ParentFrom::Seen);
    table.set_parent(key(6, 20), key(5, 10), ParentFrom::Fork);
    table.set_parent(key(6, 20), key(1, 0), ParentFrom::Exec);
    assert_eq!(
        table.get(key(6, 20)).and_then(|process| process.parent),
        Some(key(5, 10))
    );
}

#[test]
fn a_dropped_program_called_cron_does_not_split_its_load_over_groups() {
    let mut bench = Bench::new();
    let (dropper, child) = (key(900, T), key(901, T + 1));
    let mut dropped = exec(dropper, key(1, 0), "/var/tmp/.x/cron");
    dropped.executable.uid = 33;
    bench.fork(key(1, 0), dropper);
    bench.exec(&dropped);
    bench.fork(dropper, child);
    assert_eq!(group(&bench, child), dropper);
}
