//! Facts are asked for once per need, and again only when nobody could look.

use crate::{
    detect::testing::{Bench, SECOND, exec, facts, file_id, key},
    input::{ExecutableFacts, NOT_REACHED, Owner, ProcessKey, Sha256},
    output::Enrich,
};

const T: u64 = 10 * SECOND + 1;
const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};

#[test]
fn an_executable_is_asked_for_once_however_often_it_runs() {
    let mut bench = Bench::new();
    for n in 0..100 {
        bench.exec(&exec(key(900 + n, T + u64::from(n)), INIT, "/usr/bin/id"));
    }
    assert_eq!(
        bench.requests(),
        [&Enrich {
            process: key(900, T),
            uid: 0,
            executable: Some(file_id("/usr/bin/id")),
            filename: b"/usr/bin/id".as_slice().into(),
            file_wanted: true,
            script: None,
        }]
    );
}

#[test]
fn an_executable_whose_process_died_is_asked_for_through_the_next() {
    let mut bench = Bench::new();
    bench.exec(&exec(key(900, T), INIT, "/opt/x"));
    bench.file(&ExecutableFacts {
        sha256: Sha256::Missing("gone"),
        ..facts(file_id("/opt/x"), "/opt/x", Owner::Unknown(NOT_REACHED))
    });
    let run = |bench: &mut Bench, tgid: u32| {
        let mut again = exec(key(tgid, bench.now_ns), INIT, "/opt/x");
        again.at_ns = bench.now_ns;
        bench.exec(&again);
        let asked = bench.requests();
        asked.iter().map(|ask| ask.process.tgid).collect::<Vec<_>>()
    };
    bench.second();
    bench.second();
    assert_eq!(run(&mut bench, 901), [900], "two seconds are not over yet");
    bench.second();
    assert_eq!(run(&mut bench, 902), [900, 902]);
}

#[test]
fn a_worse_answer_does_not_replace_a_better_one() {
    let mut bench = Bench::new();
    bench.unowned("/opt/x");
    bench.file(&ExecutableFacts {
        sha256: Sha256::Missing("gone"),
        ..facts(file_id("/opt/x"), "/opt/x", Owner::Unknown(NOT_REACHED))
    });
    bench.exec(&exec(key(900, T), INIT, "/opt/x"));
    assert_eq!(bench.findings().len(), 1, "still unowned");
}

#[test]
fn a_busy_process_without_facts_is_asked_for_once() {
    let mut bench = Bench::new();
    let of = key(900, T);
    bench.burn(3, &[(of, 49_000_000)]);
    assert_eq!(bench.requests().len(), 0, "a twentieth of a CPU is busy");
    bench.burn(3, &[(of, 50_000_000)]);
    let asked: Vec<_> = bench
        .requests()
        .iter()
        .map(|ask| (ask.process, ask.executable))
        .collect();
    assert_eq!(asked, [(of, None)]);
}

#[test]
fn a_missing_hash_is_asked_for_again_through_whoever_still_runs_it() {
    let mut bench = Bench::new();
    let of = key(900, T);
    let mut exec = exec(of, INIT, "/dev/shm/x");
    exec.uid = 33;
    bench.exec(&exec);
    bench.file(&ExecutableFacts {
        sha256: Sha256::Missing("rate_limited"),
        ..facts(file_id("/dev/shm/x"), "/dev/shm/x", Owner::Unowned)
    });
    let before = bench.requests().len();
    for _ in 0..20 {
        bench.second();
    }
    let again = bench.requests().len() - before;
    assert_eq!(again, 3, "and no more");
    let last = *bench.requests().last().expect("asked");
    assert_eq!(
        (last.process, last.executable),
        (of, Some(file_id("/dev/shm/x")))
    );
}
