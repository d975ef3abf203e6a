//! The real attack under a flood, from another cgroup, from its own, and by an intruder's own programs: still found, still in time, within the daemon's means.
//!
//! One daemon; the same intruder first on a quiet host, then under each kind of flood. The delays are printed as a
//! table. A flood takes CPUs as well: what is promised is twice the delay on the quiet host of the same run.

use std::{fs, path::PathBuf};

use tests::{
    daemon::Daemon,
    flood::{self, Covered, Flood, Flooder},
    means::Means,
    scenario::DETECTOR_STAND_IN,
    told::seconds,
};

use crate::{
    actor::PROGRAM,
    program::watching_with,
    watch::{Turn, obstacle, skip},
};

/// What a flood may add to the daemon's memory: its tables, full. (The cap of the unit is for a release build.)
const GROWTH_KIB: u64 = 24 << 10;

/// Enough for 5,000 execs a second and more beside an attack that has every CPU.
const EXEC_THREADS: u32 = 4;

/// The most memory the daemon ever had, KiB.
fn peak_kib(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it lives");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok());
    peak.expect("every process has one")
}

#[test]
fn an_attack_under_a_flood_is_found_within_twice_the_normal_delay() {
    if let Some(why) = obstacle() {
        return skip(&why);
    }
    let _alone = Turn::alone();
    // Hardly optimised, it needs more than a quarter of a CPU.
    let means = Means::new(None, false).expect("tests run as root");
    let mut daemon = watching_with(&means, ["--for", "280s"]);
    let stand_in = std::env::var_os(DETECTOR_STAND_IN).map(PathBuf::from);
    let stand_in = stand_in.expect("`cargo xtask test` names it");
    let normal = flood::attack_in_the_open(&daemon, &stand_in).expect("it starts");
    let normal = normal.told;
    let usual = normal.critical.expect("it is found on a quiet host");
    println!(
        "| flood | from | a second | opened | critical | daemon's CPU, cores | peak memory, MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let quiet = peak_kib(&daemon);
    let (opened, critical) = (seconds(normal.opened), seconds(normal.critical));
    println!("| none | | | {opened} | {critical} | | {} |", quiet >> 10);
    let mut faults = Vec::new();
    for (events, flooder, from) in [
        ("fork", Flooder::AnotherCgroup, "another cgroup"),
        ("exec", Flooder::AnotherCgroup, "another cgroup"),
        ("connect", Flooder::AnotherCgroup, "another cgroup"),
        ("exec", Flooder::SameCgroup, "the attack's cgroup"),
        ("connect", Flooder::SameCgroup, "the attack's cgroup"),
        ("exec", Flooder::Intruder, "an intruder"),
    ] {
        let threads = match events {
            "exec" => EXEC_THREADS,
            _ => 2,
        };
        let flood = Flood {
            events,
            threads,
            flooder,
        };
        let covered = flood::attack_under(&daemon, &stand_in, PROGRAM.as_ref(), flood);
        let Covered {
            told,
            per_second,
            cores,
        } = covered.expect("both start");
        let peak = peak_kib(&daemon);
        let (opened, critical) = (seconds(told.opened), seconds(told.critical));
        println!(
            "| {events} | {from} | {per_second:.0} | {opened} | {critical} | {cores:.2} | {} |",
            peak >> 10,
        );
        if told.critical.is_none_or(|critical| critical > 2 * usual) {
            faults.push(format!(
                "{events} from {from}: {critical}, usually {}",
                seconds(Some(usual))
            ));
        }
        if told.ids.len() != 1 {
            faults.push(format!(
                "{events} from {from}: {} incidents",
                told.ids.len()
            ));
        }
        if peak > quiet + GROWTH_KIB {
            faults.push(format!("{events} from {from}: {} MiB", peak >> 10));
        }
    }
    let account = daemon.account();
    assert!(daemon.stop().expect("it stops").success(), "{account}");
    assert!(faults.is_empty(), "{faults:#?}\n{account}");
}
