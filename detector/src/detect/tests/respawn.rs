//! Programs that come back.

use crate::{
    detect::testing::{Bench, INIT, SECOND, exec, facts, file_id, key, said},
    incident::{Evidence, FindingType::Respawn, RespawnEvidence, Restarter, Severity},
    input::{ExecutableFacts, Owner, ProcessKey, Sha256},
    output::Change,
};

const MINER: &str = "/var/tmp/.x/miner";

/// A run of `path` below `parent` that ends like this.
fn run(bench: &mut Bench, parent: ProcessKey, tgid: u32, path: &str, owner: &Owner) -> ProcessKey {
    let child = key(tgid, bench.now_ns);
    bench.fork(parent, child);
    let mut exec = exec(child, parent, path);
    exec.uid = 33;
    bench.exec(&exec);
    bench.file(&facts(file_id(path), path, owner.clone()));
    bench.second();
    child
}

fn respawns(bench: &Bench) -> Vec<(Severity, RespawnEvidence)> {
    let mut found: Vec<_> = bench
        .incidents()
        .iter()
        .flat_map(|(_, incident)| incident.findings.iter())
        .filter_map(|finding| match &finding.evidence {
            Evidence::Respawn(back) if finding.kind == Respawn => {
                Some((finding.severity, back.clone()))
            }
            _ => None,
        })
        .collect();
    found.dedup();
    found
}

#[test]
fn a_suspect_that_was_killed_and_is_back_belongs_to_the_same_incident() {
    let mut bench = Bench::new();
    let shell = key(700, 10 * SECOND + 1);
    bench.run(INIT, shell, "/bin/bash");
    let first = run(&mut bench, shell, 900, MINER, &Owner::Unowned);
    bench.exit(first, 9);
    bench.second();
    run(&mut bench, shell, 901, MINER, &Owner::Unowned);
    said(&mut bench);
    let found = respawns(&bench);
    let [(Severity::Warning, back)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (
            back.restarter,
            &*back.restarted_by,
            back.times,
            back.last_wait_status,
            back.same_identity
        ),
        (Restarter::Process, b"bash".as_slice(), 1, Some(9), true)
    );
    let mut ids: Vec<_> = bench
        .incidents()
        .iter()
        .map(|(_, incident)| incident.id)
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[test]
fn a_copy_under_another_name_is_the_same_program() {
    let mut bench = Bench::new();
    let shell = key(700, 10 * SECOND + 1);
    bench.run(INIT, shell, "/bin/bash");
    let first = run(&mut bench, shell, 900, MINER, &Owner::Unowned);
    bench.exit(first, 9);
    let copy = "/var/tmp/.y/other";
    let child = key(901, bench.now_ns);
    bench.fork(shell, child);
    let mut again = exec(child, shell, copy);
    again.uid = 33;
    bench.exec(&again);
    let mut file = facts(file_id(copy), copy, Owner::Unowned);
    file.sha256 = facts(file_id(MINER), MINER, Owner::Unowned).sha256;
    bench.file(&file);
    said(&mut bench);
    let found = respawns(&bench);
    assert!(
        matches!(&found[..], [(Severity::Warning, back)] if !back.same_identity),
        "{found:?}"
    );
}

#[test]
fn what_cron_starts_every_minute_stays_one_incident_from_the_third_return_on() {
    let mut bench = Bench::new();
    let cron = key(600, 10 * SECOND + 1);
    bench.run(INIT, cron, "/usr/sbin/cron");
    for n in 0..6 {
        let child = run(&mut bench, cron, 900 + n, MINER, &Owner::Unowned);
        bench.exit(child, 0);
        for _ in 0..59 {
            bench.second();
        }
    }
    let opened = bench
        .incidents()
        .iter()
        .filter(|(change, _)| *change == Change::Opened)
        .count();
    assert_eq!(opened, 4, "each return doubles the wait");
    let found = respawns(&bench);
    assert!(
        found
            .iter()
            .all(|(_, back)| back.restarter == Restarter::Cron),
        "{found:?}"
    );
}

#[test]
fn tools_of_a_web_service_and_single_ends_are_no_respawn() {
    let mut bench = Bench::new();
    let web = crate::detect::testing::web(&mut bench);
    for n in 0..5 {
        let child = run(
            &mut bench,
            web,
            900 + n,
            "/var/www/x/wp-content/plugins/cwebp",
            &Owner::Unowned,
        );
        bench.exit(child, 0);
    }
    said(&mut bench);
    assert_eq!(respawns(&bench), []);
    let mut bench = Bench::new();
    let shell = key(700, 10 * SECOND + 1);
    bench.run(INIT, shell, "/bin/bash");
    for n in 0..2 {
        let child = run(&mut bench, shell, 900 + n, MINER, &Owner::Unowned);
        bench.exit(child, 0);
    }
    said(&mut bench);
    assert_eq!(respawns(&bench), []);
}

#[test]
fn a_packaged_service_in_a_crash_loop_is_a_warning_with_its_story_and_nobody_is_frozen() {
    let mut bench = Bench::new();
    let owner = Owner::Package("mariadb-server".to_owned());
    for n in 0..5 {
        let child = run(&mut bench, INIT, 900 + n, "/usr/sbin/mariadbd", &owner);
        bench.exit(child, 11);
    }
    said(&mut bench);
    let found = respawns(&bench);
    let Some((Severity::Warning, back)) = found.first() else {
        panic!("{found:?}");
    };
    assert_eq!((back.restarter, back.times), (Restarter::ServiceManager, 3));
    let incidents = bench.incidents();
    let (_, incident) = incidents.last().expect("a warning");
    assert_eq!(incident.severity, Severity::Warning);
    assert!(
        !incident
            .next_steps
            .iter()
            .any(|step| step.contains("-STOP")),
        "{incident:?}"
    );
    assert!(
        incident.reason.contains("signal 11 ended it"),
        "{}",
        incident.reason
    );
}

/// A run whose content nobody could read: only its identity can be known again.
fn run_unread(
    bench: &mut Bench,
    parent: ProcessKey,
    tgid: u32,
    path: &str,
    owner: &Owner,
) -> ProcessKey {
    let child = key(tgid, bench.now_ns + 1);
    bench.fork(parent, child);
    let mut exec = exec(child, parent, path);
    exec.uid = 33;
    exec.at_ns = child.start_ns;
    bench.exec(&exec);
    bench.file(&ExecutableFacts {
        sha256: Sha256::Missing("too_large"),
        ..facts(file_id(path), path, owner.clone())
    });
    child
}

#[test]
fn a_return_counts_for_ten_minutes() {
    let back = |after_ns: u64| {
        let mut bench = Bench::new();
        let shell = key(700, 10 * SECOND + 1);
        bench.run(INIT, shell, "/bin/bash");
        let first = run_unread(&mut bench, shell, 900, MINER, &Owner::Unowned);
        bench.exit(first, 9);
        bench.now_ns += after_ns - 1;
        run_unread(&mut bench, shell, 901, MINER, &Owner::Unowned);
        said(&mut bench);
        respawns(&bench).len()
    };
    assert_eq!((back(600 * SECOND), back(600 * SECOND + 1)), (1, 0));
}

#[test]
fn a_thousand_programs_that_ended_are_remembered() {
    let back = |others: u32| {
        let mut bench = Bench::new();
        let shell = key(700, 10 * SECOND + 1);
        bench.run(INIT, shell, "/bin/bash");
        let first = run_unread(&mut bench, shell, 900, MINER, &Owner::Unowned);
        bench.exit(first, 9);
        let owner = Owner::Package("some".to_owned());
        for n in 0..others {
            let path = format!("/usr/sbin/{n}");
            let crashed = run_unread(&mut bench, INIT, 1_000 + n, &path, &owner);
            bench.exit(crashed, 11);
        }
        run_unread(&mut bench, shell, 901, MINER, &Owner::Unowned);
        said(&mut bench);
        respawns(&bench).len()
    };
    assert_eq!((back(1_023), back(1_024)), (1, 0));
}

#[test]
fn the_last_sixteen_ends_of_a_program_are_remembered() {
    let mut bench = Bench::new();
    let web = crate::detect::testing::web(&mut bench);
    let shell = key(700, 10 * SECOND + 1);
    bench.run(INIT, shell, "/bin/bash");
    for n in 0..20 {
        // What a web service starts for each request is no return.
        let tool = run_unread(&mut bench, web, 900 + n, MINER, &Owner::Unowned);
        bench.exit(tool, 0);
    }
    run_unread(&mut bench, shell, 950, MINER, &Owner::Unowned);
    said(&mut bench);
    let times: Vec<u32> = respawns(&bench)
        .iter()
        .map(|(_, back)| back.times)
        .collect();
    assert_eq!(times, [16]);
}
