//! How long and how many: what is kept for an incident, what is named in it, and what counts as its return.

use crate::{
    detect::testing::{BOOT_UNIX_S, Bench, INIT, SECOND, exec, facts, file_id, key, task},
    incident::{Finding, FindingType, Incident, narrate},
    input::{Loss, Owner, ProcessKey, Sha256},
    output::Change,
};

const MS: u64 = 1_000_000;

/// Runs a file of no package; `uid` 0: somebody installed it by hand, which is info.
fn run(bench: &mut Bench, tgid: u32, path: &str, uid: u32) -> ProcessKey {
    let of = key(tgid, bench.now_ns - 2 * MS);
    let mut image = exec(of, INIT, path);
    image.uid = uid;
    bench.exec(&image);
    let mut file = facts(file_id(path), path, Owner::Unowned);
    // Content of its own, or it would be the same program.
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&file.id.inode.to_le_bytes());
    file.sha256 = Sha256::Digest(digest);
    bench.file(&file);
    of
}

fn wait(bench: &mut Bench, seconds: u64) {
    for _ in 0..seconds {
        bench.second();
    }
}

fn last(bench: &Bench) -> Incident {
    let incidents = bench.incidents();
    incidents.last().expect("an incident").1.clone()
}

fn kinds(findings: &[Finding]) -> Vec<FindingType> {
    findings.iter().map(|finding| finding.kind).collect()
}

/// Whether what was said of a program belongs to the incident of its load, `others` findings and `seconds` later.
fn is_kept(others: u32, seconds: u64) -> bool {
    let mut bench = Bench::new();
    let of = run(&mut bench, 900, "/opt/x", 0);
    wait(&mut bench, seconds);
    for n in 0..others {
        run(&mut bench, 1_000 + n, &format!("/opt/{n}"), 0);
    }
    bench.burn(12, &[(of, 2 * SECOND)]);
    wait(&mut bench, 6);
    kinds(&last(&bench).findings).contains(&FindingType::NewBinary)
}

#[test]
fn two_hundred_and_fifty_six_findings_are_kept_for_incidents_that_may_come() {
    assert_eq!([255, 256].map(|others| is_kept(others, 0)), [true, false]);
}

#[test]
fn what_was_found_is_kept_for_ten_minutes() {
    assert_eq!([600, 601].map(|seconds| is_kept(1, seconds)), [true, false]);
}

#[test]
fn the_same_about_the_same_file_is_told_again_after_ten_minutes() {
    let told = |seconds: u64| {
        let mut bench = Bench::new();
        run(&mut bench, 900, "/opt/x", 0);
        wait(&mut bench, seconds);
        run(&mut bench, 901, "/opt/x", 0);
        kinds(&bench.findings().into_iter().cloned().collect::<Vec<_>>()).len()
    };
    assert_eq!([599, 600].map(told), [1, 2]);
}

#[test]
fn a_loss_of_the_last_minute_belongs_to_an_incident_and_an_older_one_does_not() {
    let declared = |seconds: u64| {
        let mut bench = Bench::new();
        bench.losses = vec![Loss {
            class: "exec_dropped",
            count: 3,
        }];
        wait(&mut bench, 1 + seconds);
        run(&mut bench, 900, "/dev/shm/x", 33);
        last(&bench).loss.is_some()
    };
    assert_eq!([60, 61].map(declared), [true, false]);
}

#[test]
fn a_thousand_and_twenty_four_losses_are_remembered() {
    let mut bench = Bench::new();
    let loss = Loss {
        class: "exec_dropped",
        count: 1,
    };
    bench.losses = vec![loss; 1_100];
    bench.second();
    run(&mut bench, 900, "/dev/shm/x", 33);
    let seen = last(&bench).loss.expect("declared");
    let expected = Loss {
        count: 1_024,
        ..loss
    };
    assert_eq!(seen.losses, [expected]);
}

#[test]
fn sixteen_who_wait_are_remembered_and_three_are_named() {
    let mut bench = Bench::new();
    let of = key(900, bench.now_ns);
    bench.run(INIT, of, "/usr/bin/convert");
    bench.load.push(task(of, 0));
    for n in 0..20 {
        let waiting = key(1_000 + n, bench.now_ns);
        bench.run(INIT, waiting, &format!("/usr/bin/w{n}"));
        bench.load.push(task(waiting, 0));
    }
    bench.second();
    for second in 0..40 {
        bench.load[0].cpu_ns += 2 * SECOND;
        // Ten at first, then ten others.
        let first = if second < 20 { 1 } else { 11 };
        for task in &mut bench.load[first..first + 10] {
            task.run_delay_ns += SECOND;
        }
        bench.second();
    }
    let incident = last(&bench);
    assert_eq!(incident.victims.len(), 16);
    let (_, named) = incident
        .reason
        .split_once("the time they want one: ")
        .expect("who waits is said");
    let named = named.split_once('.').expect("a sentence").0;
    assert_eq!(named.split(", ").count(), 3, "{named}");
}

/// Whether an incident says that it came back, with `others` over after the first and `seconds` later.
fn is_return(others: u32, seconds: u64) -> bool {
    let mut bench = Bench::new();
    let first = run(&mut bench, 900, "/dev/shm/x", 33);
    let others: Vec<ProcessKey> = (0..others)
        .map(|n| run(&mut bench, 1_000 + n, &format!("/dev/shm/{n}"), 33))
        .collect();
    bench.exit(first, 0);
    for of in others {
        bench.exit(of, 0);
    }
    while bench.engine.open_incidents() > 0 {
        bench.second();
    }
    wait(&mut bench, seconds);
    run(&mut bench, 901, "/dev/shm/x", 33);
    let what = last(&bench).timeline.into_iter().map(|moment| moment.what);
    what.into_iter()
        .any(|what| what.starts_with("it came back"))
}

#[test]
fn what_is_back_within_ten_minutes_is_a_return() {
    assert_eq!(
        [600, 601].map(|seconds| is_return(0, seconds)),
        [true, false]
    );
}

#[test]
fn sixty_four_incidents_that_are_over_are_remembered() {
    assert_eq!([63, 64].map(|others| is_return(others, 0)), [true, false]);
}

#[test]
fn the_wait_of_what_flaps_doubles_up_to_ten_minutes() {
    let mut bench = Bench::new();
    let mut lasted = Vec::new();
    for n in 0..8 {
        let of = run(&mut bench, 900 + n, "/dev/shm/x", 33);
        bench.exit(of, 0);
        let before = bench.now_ns;
        while bench.engine.open_incidents() > 0 {
            bench.second();
        }
        lasted.push((bench.now_ns - before) / SECOND);
    }
    assert_eq!(lasted, [11, 21, 41, 81, 161, 321, 601, 601]);
}

#[test]
fn an_opening_waits_half_a_second_for_facts() {
    let opened = |waited_ns: u64| {
        let mut bench = Bench::new();
        let mut image = exec(key(900, bench.now_ns - 2 * MS), INIT, "/dev/shm/x");
        image.uid = 33;
        bench.exec(&image);
        bench.now_ns += waited_ns;
        bench.packaged("/usr/bin/other");
        bench.incidents().len()
    };
    assert_eq!((opened(SECOND / 2 - 1), opened(SECOND / 2)), (0, 1));
}

#[test]
fn eight_processes_are_named_in_one_command() {
    let mut bench = Bench::new();
    for n in 0..10 {
        let mut image = exec(key(900 + n, bench.now_ns), INIT, "/dev/shm/x");
        image.uid = 33;
        bench.exec(&image);
    }
    wait(&mut bench, 1);
    let incident = last(&bench);
    let freeze = incident
        .next_steps
        .iter()
        .find_map(|step| step.split_once("kill -STOP "))
        .expect("a command");
    assert_eq!(freeze.1.split(' ').count(), 8);
}

#[test]
fn a_hundred_and_sixty_bytes_of_a_word_are_shown() {
    let word = |bytes: usize| narrate::word(&vec![b'a'; bytes]);
    assert_eq!(word(160), "a".repeat(160));
    assert_eq!(word(161), format!("{}…", "a".repeat(160)));
}

#[test]
fn load_is_over_half_a_minute_after_it_ended_and_is_told_so() {
    let mut bench = Bench::new();
    let of = key(900, bench.now_ns);
    bench.run(INIT, of, "/usr/bin/convert");
    bench.burn(20, &[(of, 2 * SECOND)]);
    let stopped_ns = bench.now_ns;
    while bench.engine.open_incidents() > 0 {
        bench.burn(1, &[(of, 0)]);
    }
    // 21 s until twenty busy ones count as over, then thirty of quiet.
    assert_eq!((bench.now_ns - stopped_ns) / SECOND, 51);
    let incidents = bench.incidents();
    let (change, incident) = incidents.last().expect("told");
    let at_ns = BOOT_UNIX_S * 1_000_000_000 + i64::try_from(bench.now_ns).expect("small");
    assert_eq!(
        (*change, incident.resolved_unix_ns),
        (Change::Resolved, Some(at_ns))
    );
}

#[test]
fn two_updates_are_five_seconds_apart() {
    let mut bench = Bench::new();
    let of = run(&mut bench, 900, "/dev/shm/x", 33);
    bench.unit(of, "/dev/shm/x", "shop.service", "www-data");
    let updated = (1..=60).find(|_| {
        bench.second();
        bench.incidents().len() > 1
    });
    assert_eq!(updated, Some(5));
}
