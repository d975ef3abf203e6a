//! What people and restarts do to incidents, through the engine.

use super::*;
use crate::{
    detect::testing::{Bench, SECOND, exec, facts, file_id, key},
    incident::Incident,
    input::{Exec, Input, Owner},
};

const T: u64 = 10 * SECOND + 1;
const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};
const PATH: &str = "/dev/shm/x";

fn dropped(of: ProcessKey) -> Exec {
    let mut exec = exec(of, INIT, PATH);
    exec.uid = 33;
    exec
}

/// An unowned program in a place where programs do not belong.
fn start(bench: &mut Bench, of: ProcessKey) {
    bench.exec(&dropped(of));
    bench.file(&facts(file_id(PATH), PATH, Owner::Unowned));
}

fn accepted(by: AcceptedBy, findings: &[FindingType], expires_unix_ns: i64) -> Acceptance {
    Acceptance {
        number: 4,
        by,
        findings: findings.to_vec(),
        reason: "our own".to_owned(),
        incident: String::new(),
        expires_unix_ns,
    }
}

fn by_hash() -> AcceptedBy {
    // That of `facts`.
    AcceptedBy::Hash([0xab; 32])
}

const ODD: [FindingType; 2] = [FindingType::NewBinary, FindingType::FromWritableDir];

fn told(bench: &Bench) -> Vec<(Change, Severity)> {
    let told = bench.incidents();
    told.iter()
        .map(|(change, incident)| (*change, incident.severity))
        .collect()
}

fn last(bench: &Bench) -> Incident {
    bench
        .incidents()
        .last()
        .expect("something was told")
        .1
        .clone()
}

#[test]
fn what_is_accepted_is_told_as_info_with_the_acceptance_named() {
    let owner = exec(key(1, 1), INIT, PATH).executable.uid;
    let path = |uid| AcceptedBy::Path {
        path: PATH.as_bytes().into(),
        uid,
    };
    for (by, expires, findings, quiet) in [
        (by_hash(), i64::MAX, &ODD[..], true),
        (by_hash(), 0, &ODD[..], false),
        (
            by_hash(),
            i64::MAX,
            &[FindingType::CpuSaturation][..],
            false,
        ),
        (AcceptedBy::Hash([1; 32]), i64::MAX, &ODD[..], false),
        (path(Some(owner)), i64::MAX, &ODD[..], true),
        (path(Some(owner + 1)), i64::MAX, &ODD[..], false),
        (
            AcceptedBy::Unit("other.service".to_owned()),
            i64::MAX,
            &ODD[..],
            false,
        ),
    ] {
        let mut bench = Bench::new();
        let acceptance = accepted(by, findings, expires);
        bench.apply(Input::Accepted(T, std::slice::from_ref(&acceptance)));
        start(&mut bench, key(900, T));
        bench.second();
        assert_eq!(bench.incidents().is_empty(), quiet, "{acceptance:?}");
        if quiet {
            let findings = bench.findings();
            assert!(!findings.is_empty(), "it never vanishes");
            for finding in findings {
                assert_eq!(finding.severity, Severity::Info);
                let name = acceptance.to_string();
                assert_eq!(finding.accepted.as_deref(), Some(&*name), "{finding:?}");
            }
        }
    }
}

#[test]
fn an_open_incident_is_over_when_all_of_it_is_accepted_and_goes_on_when_a_part_is() {
    let mut bench = Bench::new();
    start(&mut bench, key(900, T));
    bench.burn(8, &[]);
    let kinds: Vec<FindingType> = last(&bench).findings.iter().map(|f| f.kind).collect();
    assert!(kinds.len() > 1, "{kinds:?}");
    bench.apply(Input::Accepted(
        T + SECOND,
        &[accepted(by_hash(), &kinds[..1], i64::MAX)],
    ));
    assert!(!told(&bench).contains(&(Change::Resolved, Severity::Warning)));
    bench.apply(Input::Accepted(
        T + SECOND,
        &[accepted(by_hash(), &kinds, i64::MAX)],
    ));
    let incident = last(&bench);
    assert_eq!(incident.status, Status::Resolved);
    let moment = incident.timeline.last().expect("it says why");
    assert_eq!(moment.what, "accepted by hash (no. 4): our own");
    assert_eq!(bench.engine.open_incidents(), 0);
}

#[test]
fn an_incident_resolved_by_hand_says_so_and_what_comes_back_is_a_new_one() {
    let mut bench = Bench::new();
    start(&mut bench, key(900, T));
    bench.second();
    let id = last(&bench).id;
    let other = Resolve {
        id: Uuid::from_u128(9),
        reason: String::new(),
    };
    bench.apply(Input::Resolve(T + SECOND, &other));
    assert_eq!(bench.engine.open_incidents(), 1);
    let reason = "cleaned up".to_owned();
    bench.apply(Input::Resolve(T + SECOND, &Resolve { id, reason }));
    let incident = last(&bench);
    assert_eq!((incident.id, incident.status), (id, Status::Resolved));
    let moment = incident.timeline.last().expect("it says why");
    assert_eq!(moment.what, "resolved by hand: cleaned up");
    start(&mut bench, key(901, T + 2 * SECOND));
    bench.second();
    assert_ne!(last(&bench).id, id);
}

fn resumed(suspect: bool) -> Resumed {
    Resumed {
        id: Uuid::from_u128(77),
        process: key(900, 5),
        suspect,
        severity: Severity::Critical,
        group_key: "file:1".to_owned(),
        started_unix_ns: 1,
        opened_unix_ns: 2,
    }
}

#[test]
fn an_incident_whose_process_still_runs_goes_on_under_its_id_until_that_ends() {
    let mut bench = Bench::new();
    let of = key(900, 5);
    bench.apply(Input::Resumed(&resumed(true)));
    let mut snapshot = dropped(of);
    snapshot.observed = crate::input::Observed::Snapshot;
    bench.exec(&snapshot);
    bench.file(&facts(file_id(PATH), PATH, Owner::Unowned));
    bench.burn(8, &[(of, SECOND / 10)]);
    let incident = last(&bench);
    assert_eq!(
        told(&bench),
        [(Change::Updated, Severity::Critical)],
        "told once, never as new"
    );
    assert_eq!(
        (
            incident.id,
            incident.opened_unix_ns,
            incident.group_key.as_str()
        ),
        (Uuid::from_u128(77), 2, "file:1")
    );
    assert!(
        incident
            .findings
            .iter()
            .any(|finding| finding.kind == FindingType::NewBinary)
    );
    bench.exit(of, 0);
    bench.burn(15, &[]);
    assert_eq!(
        told(&bench).last(),
        Some(&(Change::Resolved, Severity::Critical))
    );
    assert_eq!(last(&bench).id, Uuid::from_u128(77));
}

#[test]
fn resumed_load_that_does_not_come_again_is_over() {
    let mut bench = Bench::new();
    bench.apply(Input::Resumed(&resumed(false)));
    bench.burn(60, &[(key(900, 5), SECOND / 100)]);
    assert_eq!(
        told(&bench).last(),
        Some(&(Change::Resolved, Severity::Critical))
    );
    assert_eq!(bench.engine.open_incidents(), 0);
}
