//! The real attack while another cgroup floods: still found, still in time, within the daemon's means.
//!
//! One daemon; the same intruder first on a quiet host, then under each kind of flood. The delays are printed as a
//! table. A flood takes CPUs as well: what is promised is twice the delay on the quiet host of the same run.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use detector::kernel::Facts;
use tests::{
    cgroup::Cgroup,
    daemon::Daemon,
    flood::{self, FLOOD_MS},
    scenario::DETECTOR_STAND_IN,
    told::{Told, seconds},
};

use crate::{
    actor::{Actor, PROGRAM},
    program::watching,
    watch::{Turn, obstacle, skip},
};

/// What a flood may add to the daemon's memory: its tables, full. (The cap of the unit is for a release build.)
const GROWTH_KIB: u64 = 24 << 10;

/// The same intruder as in `bench flood`.
fn attack(daemon: &Daemon, name: &str) -> Told {
    let stand_in = std::env::var_os(DETECTOR_STAND_IN).map(PathBuf::from);
    let stand_in = stand_in.expect("`cargo xtask test` names it");
    flood::attack(daemon, &stand_in, name).expect("it starts")
}

/// CPU time of the daemon, s, and the most memory it ever had, KiB.
fn cost(daemon: &Daemon) -> (f64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it lives");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok());
    (
        flood::cpu_s(daemon).expect("it lives"),
        peak.expect("every process has one"),
    )
}

#[test]
fn an_attack_under_a_flood_from_another_cgroup_is_found_within_twice_the_normal_delay() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    let mut daemon = watching(["--for", "200s"]);
    let normal = attack(&daemon, "quiet");
    let usual = normal.critical.unwrap_or(Duration::MAX);
    println!("| flood | a second | opened | critical | daemon's CPU, cores | peak memory, MiB |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let (_, quiet) = cost(&daemon);
    let (opened, critical) = (seconds(normal.opened), seconds(normal.critical));
    println!("| none | | {opened} | {critical} | | {} |", quiet >> 10);
    let root = Facts::read()
        .cgroup_v2
        .expect("a plan with every probe needs one");
    let mut faults = Vec::new();
    for with in ["fork", "exec", "connect"] {
        let cgroup = Cgroup::new(&root, "flood").expect("tests run as root");
        let mut command = Command::new(PROGRAM);
        command.args(["flood", with, "--count", "4000000", "--ms", FLOOD_MS]);
        let mut flooder = Actor::start_command(cgroup.inside(&command));
        assert_eq!(flooder.says()["began"], true);
        let (begun, (cpu_before, _)) = (Instant::now(), cost(&daemon));
        let told = attack(&daemon, with);
        let (cpu, peak) = cost(&daemon);
        let elapsed = begun.elapsed().as_secs_f64();
        flooder.enough();
        let made = flooder.says()["made"].as_u64().expect("it counts");
        assert!(flooder.finish().success());
        let cores = (cpu - cpu_before) / elapsed;
        let (opened, critical) = (seconds(told.opened), seconds(told.critical));
        println!(
            "| {with} | {:.0} | {opened} | {critical} | {cores:.2} | {} |",
            made as f64 / elapsed,
            peak >> 10,
        );
        if told.critical.is_none_or(|critical| critical > 2 * usual) {
            faults.push(format!(
                "{with}: {critical}, usually {}",
                seconds(Some(usual))
            ));
        }
        if told.ids.len() != 1 {
            faults.push(format!("{with}: {} incidents", told.ids.len()));
        }
        if peak > quiet + GROWTH_KIB {
            faults.push(format!("{with}: {} MiB", peak >> 10));
        }
    }
    let account = daemon.account();
    assert!(daemon.stop().expect("it stops").success(), "{account}");
    assert!(faults.is_empty(), "{faults:#?}\n{account}");
}
