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
    foothold::Foothold,
    scenario::DETECTOR_STAND_IN,
    told::{Suspect, Told, seconds},
};

use crate::{
    actor::{Actor, PROGRAM},
    program::watching,
    watch::{Turn, obstacle, skip},
};

/// After this a run is over, whatever was found.
const LIMIT: Duration = Duration::from_secs(30);
/// A flood lasts as long as the attack that it is to cover.
const FLOOD_MS: &str = "40000";
/// What a flood may add to the daemon's memory: its tables, full. (The cap of the unit is for a release build.)
const GROWTH_KIB: u64 = 24 << 10;

/// Starts an intruder at full speed and follows the daemon until it is critical.
fn attack(daemon: &Daemon, name: &str) -> Told {
    let stand_in = std::env::var_os(DETECTOR_STAND_IN).map(PathBuf::from);
    let stand_in = stand_in.expect("`cargo xtask test` names it");
    let foothold = Foothold::new(".cache-").expect("a folder");
    let planted = foothold.plant(&stand_in, name).expect("it is planted");
    let command = [
        planted.as_os_str(),
        "--threads=2".as_ref(),
        "--for=60".as_ref(),
    ];
    let session = foothold.start(&command).expect("it starts");
    let suspect = Suspect {
        folder: foothold.path().to_str().expect("text").to_owned(),
        pid: session.pid(),
        started: session.started,
    };
    let mut next = 0;
    loop {
        next += daemon.events_from(next, Duration::from_millis(100)).len();
        let told = suspect.told(&daemon.events());
        let over = suspect.started.elapsed() > LIMIT || daemon.has_exited();
        if told.critical.is_some() || over {
            return told;
        }
    }
}

/// CPU time of the daemon, s, and the most memory it ever had, KiB.
fn cost(daemon: &Daemon) -> (f64, u64) {
    let pid = daemon.pid();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok());
    let user_hz = rustix::param::clock_ticks_per_second();
    (
        ticks as f64 / user_hz as f64,
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
        let mut flood = Actor::start_command(cgroup.inside(&command));
        assert_eq!(flood.says()["began"], true);
        let (begun, (cpu_before, _)) = (Instant::now(), cost(&daemon));
        let told = attack(&daemon, with);
        let (cpu, peak) = cost(&daemon);
        let elapsed = begun.elapsed().as_secs_f64();
        flood.enough();
        let made = flood.says()["made"].as_u64().expect("it counts");
        assert!(flood.finish().success());
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
