//! Severity, correlation and life of incidents, through the engine.

mod bounds;

use std::collections::BTreeSet;

use crate::{
    detect::testing::{Bench, SECOND, exec, facts, file_id, key, task},
    incident::{FindingType, Severity, Status},
    input::{Exec, Owner, ProcessKey, Sha256},
    output::Change,
};

const T: u64 = 10 * SECOND + 1;
const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};

fn dropped(of: ProcessKey, parent: ProcessKey, path: &str) -> Exec {
    let mut exec = exec(of, parent, path);
    exec.uid = 33;
    exec
}

/// A file of no package with content of its own.
fn unowned(bench: &mut Bench, path: &str, content: u8) {
    let mut facts = facts(file_id(path), path, Owner::Unowned);
    facts.sha256 = Sha256::Digest([content; 32]);
    bench.file(&facts);
}

fn changes(bench: &Bench) -> Vec<(Change, Severity)> {
    bench
        .incidents()
        .iter()
        .map(|(change, incident)| (*change, incident.severity))
        .collect()
}

#[test]
fn busy_packaged_software_alone_is_a_warning_and_ends_after_a_while() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.run(INIT, of, "/usr/bin/convert");
    bench.burn(20, &[(of, 2 * SECOND)]);
    assert_eq!(changes(&bench), [(Change::Opened, Severity::Warning)]);
    bench.burn(60, &[(of, 0)]);
    assert_eq!(
        changes(&bench).last(),
        Some(&(Change::Resolved, Severity::Warning))
    );
    let incidents = bench.incidents();
    let incident = incidents[incidents.len() - 1].1;
    let lasted_s = incident
        .resolved_unix_ns
        .map(|at| (at - incident.opened_unix_ns) / 1_000_000_000);
    assert!(
        lasted_s.is_some_and(|lasted_s| (50..=62).contains(&lasted_s)),
        "{lasted_s:?}"
    );
}

#[test]
fn an_administrators_compile_job_does_not_page() {
    let mut bench = Bench::new();
    let (bash, make, tool) = (key(700, T), key(701, T + 1), key(702, T + 2));
    bench.run(INIT, bash, "/bin/bash");
    bench.run(bash, make, "/usr/bin/make");
    bench.fork(make, tool);
    let mut exec = exec(tool, make, "/home/anna/src/target/release/build-script");
    exec.uid = 1_000;
    exec.loginuid = Some(1_000);
    bench.exec(&exec);
    bench.unowned("/home/anna/src/target/release/build-script");
    bench.connect(tool, [151, 101, 1, 1], 443, true);
    bench.burn(20, &[(tool, 2 * SECOND)]);
    let incidents = bench.incidents();
    let (_, incident) = incidents.last().expect("saturation is told");
    assert_eq!(incident.severity, Severity::Warning);
    let mut kinds: Vec<_> = incident
        .findings
        .iter()
        .map(|finding| finding.kind)
        .collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            FindingType::CpuSaturation,
            FindingType::NewBinary,
            FindingType::NewDestination
        ],
        "what was only info is attached"
    );
}

#[test]
fn execution_and_saturation_of_one_program_are_critical() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.exec(&dropped(of, INIT, "/dev/shm/x"));
    bench.burn(11, &[(of, 2 * SECOND)]);
    let severities: Vec<_> = changes(&bench);
    assert_eq!(
        severities.first(),
        Some(&(Change::Opened, Severity::Warning))
    );
    assert_eq!(
        severities.last(),
        Some(&(Change::Updated, Severity::Critical))
    );
}

#[test]
fn traffic_of_the_web_service_is_not_blamed_on_what_it_dropped() {
    let mut bench = Bench::new();
    let (web, worker, tool) = (key(800, T), key(801, T + 1), key(900, T + 2));
    bench.run(INIT, web, "/usr/sbin/php-fpm8.2");
    bench.fork(web, worker);
    bench.fork(worker, tool);
    bench.exec(&dropped(
        tool,
        worker,
        "/var/www/x/wp-content/plugins/img/optipng",
    ));
    bench.unowned("/var/www/x/wp-content/plugins/img/optipng");
    bench.burn(12, &[(worker, SECOND), (web, SECOND / 2)]);
    let mut open: Vec<_> = bench
        .incidents()
        .iter()
        .map(|(_, incident)| incident.id)
        .collect();
    open.sort();
    open.dedup();
    assert_eq!(open.len(), 2);
    assert!(
        changes(&bench)
            .iter()
            .all(|(_, severity)| *severity == Severity::Warning)
    );
}

#[test]
fn a_miner_that_forks_is_one_incident() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.exec(&dropped(of, INIT, "/dev/shm/x"));
    let workers: Vec<ProcessKey> = (0..4)
        .map(|n| key(910 + n, T + 10 + u64::from(n)))
        .collect();
    for worker in &workers {
        bench.fork(of, *worker);
    }
    let busy: Vec<_> = workers.iter().map(|worker| (*worker, SECOND / 2)).collect();
    bench.burn(12, &busy);
    let mut ids: Vec<_> = bench
        .incidents()
        .iter()
        .map(|(_, incident)| incident.id)
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(
        changes(&bench).last().map(|(_, severity)| *severity),
        Some(Severity::Critical)
    );
}

#[test]
fn the_same_file_started_again_elsewhere_joins() {
    let mut bench = Bench::new();
    bench.exec(&dropped(key(900, T), INIT, "/dev/shm/x"));
    bench.exec(&dropped(key(950, T + 5), INIT, "/dev/shm/x"));
    assert_eq!(bench.engine.open_incidents(), 1);
}

#[test]
fn the_same_content_under_another_name_is_the_same_incident_from_the_first_word() {
    let mut bench = Bench::new();
    let copies = ["/dev/shm/x", "/var/tmp/.y/z"];
    for (n, path) in (0..).zip(copies) {
        bench.exec(&dropped(key(900 + n, T + u64::from(n)), INIT, path));
        unowned(&mut bench, path, 7);
    }
    let ids: BTreeSet<_> = bench
        .incidents()
        .iter()
        .map(|(_, incident)| incident.id)
        .collect();
    assert_eq!((ids.len(), bench.engine.open_incidents()), (1, 1));
    let other = key(950, T + 5);
    bench.exec(&dropped(other, INIT, "/dev/shm/other"));
    unowned(&mut bench, "/dev/shm/other", 8);
    assert_eq!(bench.engine.open_incidents(), 2, "other content");
    bench.exit(key(900, T), 0);
    for _ in 0..20 {
        bench.second();
    }
    assert_eq!(bench.engine.open_incidents(), 2, "the copy is watched, too");
}

#[test]
fn an_opening_waits_a_second_for_facts_and_no_longer() {
    let mut bench = Bench::new();
    bench.exec(&dropped(key(900, T), INIT, "/dev/shm/x"));
    assert_eq!(changes(&bench), []);
    bench.second();
    assert_eq!(changes(&bench), [(Change::Opened, Severity::Warning)]);
}

#[test]
fn a_session_below_a_suspect_is_an_incident_of_its_own_that_names_the_first() {
    let mut bench = Bench::new();
    let (agent, runuser, tool) = (key(900, T), key(901, T + 1), key(902, T + 2));
    bench.exec(&dropped(agent, INIT, "/dev/shm/agent"));
    bench.unowned("/dev/shm/agent");
    bench.run(agent, runuser, "/usr/sbin/runuser");
    bench.fork(runuser, tool);
    bench.exec(&dropped(tool, runuser, "/var/tmp/.x/tool"));
    unowned(&mut bench, "/var/tmp/.x/tool", 9);
    let incidents = bench.incidents();
    let [(_, first), (_, second)] = incidents[..] else {
        panic!("{incidents:#?}");
    };
    let named = format!(
        "it was started below agent(900), which incident {} is about",
        first.id
    );
    assert!(
        second.timeline.iter().any(|moment| moment.what == named),
        "{:?}",
        second.timeline
    );
}

#[test]
fn the_load_of_a_shared_cgroup_does_not_keep_a_dead_suspect_open() {
    let mut bench = Bench::new();
    let (miner, one, two) = (key(900, T), key(910, T + 1), key(920, T + 2));
    bench.exec(&dropped(miner, INIT, "/dev/shm/x"));
    bench.unowned("/dev/shm/x");
    bench.run(INIT, one, "/usr/bin/cc");
    bench.run(INIT, two, "/usr/bin/ld");
    for of in [miner, one, two] {
        let mut in_cgroup = task(of, 0);
        in_cgroup.cgroup_id = 7;
        bench.load.push(in_cgroup);
    }
    bench.burn(20, &[(miner, SECOND), (one, SECOND / 2), (two, SECOND / 2)]);
    bench.exit(miner, 9);
    bench.burn(40, &[(one, SECOND), (two, SECOND)]);
    let incidents = bench.incidents();
    let (_, accused) = incidents
        .iter()
        .find(|(_, incident)| incident.severity == Severity::Critical)
        .expect("the miner");
    let ended = incidents
        .iter()
        .any(|(change, incident)| *change == Change::Resolved && incident.id == accused.id);
    assert!(ended, "{:?}", changes(&bench));
    assert!(bench.engine.open_incidents() > 0, "the load goes on");
}

#[test]
fn a_verdict_that_comes_after_the_end_opens_nothing() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.exec(&dropped(of, INIT, "/dev/shm/x"));
    bench.second();
    bench.exit(of, 0);
    while bench.engine.open_incidents() > 0 {
        bench.second();
    }
    let told = bench.incidents().len();
    bench.unowned("/dev/shm/x");
    assert_eq!(
        (bench.incidents().len(), bench.engine.open_incidents()),
        (told, 0)
    );
    let kinds: Vec<_> = bench
        .findings()
        .iter()
        .map(|finding| finding.kind)
        .collect();
    assert_eq!(kinds, [FindingType::NewBinary], "for the record");
}

#[test]
fn a_program_that_is_started_again_and_again_is_one_incident() {
    let mut bench = Bench::new();
    let (web, shell) = (key(800, T), key(801, T + 1));
    bench.run(INIT, web, "/usr/sbin/php-fpm8.2");
    bench.run(web, shell, "/bin/sh");
    bench.second(); // no child is older than its parent
    let path = "/var/www/x/wp-content/uploads/.x/again";
    for n in 0..5 {
        let of = key(900 + n, bench.now_ns);
        bench.fork(shell, of);
        bench.exec(&dropped(of, shell, path));
        bench.unowned(path);
        bench.burn(10, &[(of, 2 * SECOND)]);
        bench.exit(of, 0);
        bench.second();
    }
    let ids: BTreeSet<_> = bench
        .incidents()
        .iter()
        .map(|(_, incident)| incident.id)
        .collect();
    assert_eq!(ids.len(), 1, "{:?}", changes(&bench));
}

#[test]
fn what_flaps_stays_open_longer_each_time() {
    let mut bench = Bench::new();
    let mut lasted = Vec::new();
    for n in 0..4 {
        let of = key(900 + n, bench.now_ns);
        bench.exec(&dropped(of, INIT, "/dev/shm/x"));
        bench.unowned("/dev/shm/x");
        bench.exit(of, 0);
        let before = bench.now_ns;
        while bench.engine.open_incidents() > 0 {
            bench.second();
        }
        lasted.push((bench.now_ns - before) / SECOND);
    }
    assert_eq!(
        lasted,
        [11, 21, 41, 81],
        "the quiet begins with the first pass"
    );
}

#[test]
fn updates_are_damped_and_the_last_change_is_sent() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.exec(&dropped(of, INIT, "/dev/shm/x"));
    bench.unowned("/dev/shm/x");
    bench.unit(of, "/dev/shm/x", "shop.service", "www-data");
    assert_eq!(changes(&bench), [(Change::Opened, Severity::Warning)]);
    for _ in 0..3 {
        bench.second();
    }
    assert_eq!(changes(&bench).len(), 1);
    for _ in 0..20 {
        bench.second();
    }
    assert_eq!(
        changes(&bench),
        [
            (Change::Opened, Severity::Warning),
            (Change::Updated, Severity::Warning)
        ]
    );
    let incidents = bench.incidents();
    let subject = incidents[1].1.subject.as_ref().expect("a process");
    assert!(subject.file.is_some() && subject.facts.is_some());
}

#[test]
fn a_rise_in_severity_does_not_wait() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.exec(&dropped(of, INIT, "/dev/shm/x"));
    bench.unowned("/dev/shm/x");
    bench.connect(of, [45, 9, 148, 1], 443, true);
    assert_eq!(
        changes(&bench),
        [
            (Change::Opened, Severity::Warning),
            (Change::Updated, Severity::Critical)
        ]
    );
}

#[test]
fn it_is_over_ten_seconds_after_the_last_descendant_is_gone() {
    let mut bench = Bench::new();
    let (of, child) = (key(900, T), key(901, T + 1));
    bench.exec(&dropped(of, INIT, "/dev/shm/x"));
    bench.fork(of, child);
    bench.exit(of, 0);
    for _ in 0..30 {
        bench.second();
    }
    assert_eq!(bench.engine.open_incidents(), 1, "the child lives");
    bench.exit(child, 0);
    for _ in 0..10 {
        bench.second();
    }
    assert_eq!(bench.engine.open_incidents(), 1);
    bench.second();
    assert_eq!(bench.engine.open_incidents(), 0);
    let incidents = bench.incidents();
    assert_eq!(
        incidents.last().map(|(_, incident)| incident.status),
        Some(Status::Resolved)
    );
}

#[test]
fn what_comes_back_is_a_new_incident_that_names_the_old_one() {
    let mut bench = Bench::new();
    for n in 0..2 {
        let of = key(900 + n, bench.now_ns);
        bench.exec(&dropped(of, INIT, "/dev/shm/x"));
        bench.exit(of, 0);
        for _ in 0..12 {
            bench.second();
        }
    }
    let incidents = bench.incidents();
    let opened: Vec<_> = incidents
        .iter()
        .filter(|(change, _)| *change == Change::Opened)
        .collect();
    let [(_, first), (_, second)] = opened[..] else {
        panic!("{opened:?}");
    };
    assert_ne!(first.id, second.id);
    assert_eq!(first.group_key, second.group_key);
    let named = format!("incident {} had been resolved", first.id);
    assert!(
        second
            .timeline
            .iter()
            .any(|moment| moment.what.contains(&named)),
        "{:?}",
        second.timeline
    );
}

#[test]
fn commands_in_next_steps_quote_what_an_attacker_named() {
    let mut bench = Bench::new();
    let path = "/dev/shm/$(reboot)/x;id";
    bench.exec(&dropped(key(900, T), INIT, path));
    bench.unowned(path);
    let incidents = bench.incidents();
    let steps = incidents[0].1.next_steps.join("\n");
    assert!(steps.contains("ls -lac '/dev/shm/$(reboot)/'"), "{steps}");
    assert!(steps.contains("kill -STOP 900"), "{steps}");
}
