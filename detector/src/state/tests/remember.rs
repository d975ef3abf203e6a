//! Inventory, incidents and what the command line leaves for the daemon.

use super::*;
use crate::{
    incident::{Acceptance, AcceptedBy, FindingType},
    input::{
        Destination, ExecutableFacts, ExecutableId, Known, KnownDestination, Owner, ProcessKey,
        Sha256,
    },
};

const DAY: i64 = 86_400 * SECOND;

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_nanos()).expect("before 2262")
}

fn facts(path: &str, content: u8) -> ExecutableFacts {
    ExecutableFacts {
        id: ExecutableId {
            dev: 1,
            inode: 2,
            ctime_sec: 3,
            ctime_nsec: 4,
        },
        path: Some(path.as_bytes().into()),
        owner: Owner::Unowned,
        integrity: None,
        namesake: None,
        sha256: Sha256::Digest([content; 32]),
        modified_unix_ns: None,
        stat: None,
        known: None,
    }
}

fn incident(sha256: Option<u8>, severity: &str) -> StoredIncident {
    StoredIncident {
        id: "0198c0de-1111-7000-8000-000000000001".to_owned(),
        status: "open".to_owned(),
        severity: severity.to_owned(),
        title: "unpackaged program x".to_owned(),
        group_key: "file:1".to_owned(),
        opened: NOW,
        updated: NOW + SECOND,
        resolved: None,
        executable: Some("/srv/x".to_owned()),
        sha256: sha256.map(|content| crate::event::hex(&[content; 32])),
        unit: None,
        boot_id: Some("boot".to_owned()),
        process: Some(ProcessKey {
            tgid: 7,
            start_ns: u64::MAX,
        }),
        event: Bytes::from_static(b"{}"),
    }
}

impl Bench {
    fn tell(&mut self, incident: StoredIncident) {
        self.sequence += 1;
        self.handle.record(Record {
            event: event(self.sequence, Class::Incident, &incident.id, 9),
            incident: Some(incident),
            text: None,
            declares: None,
        });
    }
}

#[tokio::test]
async fn a_program_is_known_by_content_and_path_after_a_week_without_an_incident() {
    let mut ages = Vec::new();
    for (days, accused) in [(6, false), (8, false), (8, true)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first_seen = now() - days * DAY;
        let mut bench = Bench::with(folder, &[], first_seen, &config());
        bench
            .handle
            .saw_program(program(&facts("/srv/x", 1)).expect("content and path"));
        bench.tick(6 * SECOND).await;
        if accused {
            bench.now = now() - DAY;
            let at = bench.now;
            bench.handle.tick(at);
            bench.tell(incident(Some(1), "warning"));
        }
        let bench = bench.restart(&[]).await;
        let (_, _, mut memory) = bench.before.split();
        let first_seen_unix_ns = first_seen;
        assert_eq!(
            memory.known(&facts("/srv/other", 1)),
            None,
            "not by content alone"
        );
        assert_eq!(memory.known(&facts("/srv/x", 2)), None, "not by path alone");
        ages.push(memory.known(&facts("/srv/x", 1)) == Some(Known { first_seen_unix_ns }));
    }
    assert_eq!(ages, [false, true, false]);
}

#[tokio::test]
async fn what_ran_when_the_detector_came_is_listed_as_such() {
    let mut bench = Bench::new(&[]);
    bench
        .handle
        .saw_program(program(&facts("/opt/old", 1)).expect("content and path"));
    bench.tick(6 * SECOND).await;
    bench.tick(3_600 * SECOND).await;
    bench
        .handle
        .saw_program(program(&facts("/opt/new", 2)).expect("content and path"));
    bench.tick(6 * SECOND).await;
    let bench = bench.restart(&[]).await;
    let desk = Desk::open(&bench.path(), false).expect("the file is there");
    let programs = desk.programs().expect("readable");
    let how: Vec<(&[u8], &str)> = programs
        .iter()
        .map(|seen| (&*seen.program.path, seen.how.as_str()))
        .collect();
    let expected: [(&[u8], &str); 2] = [(b"/opt/new", "ran"), (b"/opt/old", "first_start")];
    assert_eq!(how, expected);
}

#[tokio::test]
async fn an_incident_is_found_again_as_it_was_told_last() {
    let mut bench = Bench::new(&[]);
    bench.tell(incident(None, "warning"));
    bench.tell(incident(Some(3), "critical"));
    let bench = bench.restart(&[]).await;
    assert_eq!(bench.before.open, [incident(Some(3), "critical")]);
    let desk = Desk::open(&bench.path(), false).expect("the file is there");
    assert_eq!(
        desk.incidents(9).expect("readable"),
        [Some(incident(Some(3), "critical"))]
    );
    let by_beginning = desk.incident("0198C0DE-11").expect("one begins like that");
    assert_eq!(by_beginning, incident(Some(3), "critical"));
    for wrong in ["0198", "ffff", "%", "0198c0de-1111-7000-8000-0000000000012"] {
        let found = desk.incident(wrong);
        assert_eq!(found.is_ok(), wrong == "0198", "{wrong}: {found:?}");
    }
}

#[tokio::test]
async fn what_the_command_line_says_reaches_the_daemon_within_two_ticks() {
    let mut bench = Bench::new(&[]);
    bench.tell(incident(Some(3), "critical"));
    bench.tick(SECOND).await;
    let desk = Desk::open(&bench.path(), true).expect("the file is there");
    let acceptance = Acceptance {
        number: 1,
        by: AcceptedBy::Path {
            path: b"/srv/\xff".as_slice().into(),
            uid: Some(33),
        },
        findings: vec![FindingType::NewBinary, FindingType::CpuSaturation],
        reason: "our own".to_owned(),
        incident: incident(None, "").id,
        expires_unix_ns: NOW + 90 * DAY,
    };
    let expired = Acceptance {
        expires_unix_ns: NOW - 1,
        ..acceptance.clone()
    };
    assert_eq!(desk.accept(&acceptance, NOW).expect("writable"), 1);
    assert_eq!(desk.accept(&expired, NOW).expect("writable"), 2);
    let request = Request {
        incident: incident(None, "").id,
        reason: "done".to_owned(),
    };
    desk.request(&request, NOW).expect("writable");
    for _ in 0..2 {
        bench.tick(SECOND).await;
    }
    let told = bench
        .told(|told| matches!(told, Told::Accepted(list) if !list.is_empty()))
        .await;
    assert_eq!(told, Told::Accepted(vec![acceptance.clone()]));
    let told = bench.told(|told| matches!(told, Told::Resolve(_))).await;
    assert_eq!(told, Told::Resolve(request.clone()));
    assert!(
        !desk.is_requested(&request.incident).expect("readable"),
        "taken once"
    );
    // And what it says while the daemon is down, at the next start.
    desk.request(&request, NOW).expect("writable");
    let bench = bench.restart(&[]).await;
    assert_eq!(
        bench.before.first,
        [Told::Accepted(vec![acceptance]), Told::Resolve(request)]
    );
}

#[tokio::test]
async fn baselines_come_back_as_they_were_saved() {
    let bench = Bench::new(&[]);
    let baseline = |identity: &str, body: &[u8]| Baseline {
        identity: identity.to_owned(),
        version: 3,
        body: body.to_vec(),
    };
    bench.handle.save(baseline("cpu:a", &[0, 1]));
    bench.handle.save(baseline("cpu:b", &[2]));
    bench.handle.save(baseline("cpu:a", &[3]));
    let bench = bench.restart(&[]).await;
    assert_eq!(
        bench.before.baselines,
        [baseline("cpu:a", &[3]), baseline("cpu:b", &[2])]
    );
}

#[tokio::test]
async fn findings_are_kept_newest_first_and_in_a_storm_the_first_of_them() {
    let finding = |number: i64| StoredFinding {
        at: NOW + number,
        kind: "execution.new_binary".to_owned(),
        severity: "info".to_owned(),
        data: Bytes::from(format!("{{\"n\":{number}}}")),
    };
    let bench = Bench::new(&[]);
    bench.handle.saw_finding(finding(0));
    bench.handle.saw_finding(finding(1));
    let bench = bench.restart(&[]).await;
    let desk = Desk::open(&bench.path(), false).expect("readable");
    assert_eq!(
        desk.findings(10).expect("readable"),
        [finding(1), finding(0)]
    );
    assert_eq!(desk.findings(1).expect("readable"), [finding(1)]);
    for number in 2..900 {
        bench.handle.saw_finding(finding(number));
    }
    let bench = bench.restart(&[]).await;
    let desk = Desk::open(&bench.path(), false).expect("readable");
    let kept = desk.findings(10_000).expect("readable");
    assert_eq!(kept.len(), 2 + 256);
    assert_eq!(kept.first(), Some(&finding(257)));
}

#[tokio::test]
async fn destinations_come_back_least_recently_seen_first() {
    let bench = Bench::new(&[]);
    let to = |identity: &str, network: &str| Destination {
        identity: identity.to_owned(),
        network: network.parse().expect("valid"),
        port: 443,
    };
    let (mail, api) = (
        to("/usr/sbin/exim4", "2001:db8:1::/48"),
        to("/usr/bin/curl of /usr/sbin/php-fpm8.2", "203.0.113.0/24"),
    );
    bench.handle.saw_destination(api.clone());
    bench.handle.saw_destination(mail.clone());
    let mut bench = bench.restart(&[]).await;
    bench.tick(5).await;
    bench.handle.saw_destination(api.clone());
    let bench = bench.restart(&[]).await;
    let known = |destination, last_seen_unix_ns| KnownDestination {
        destination,
        first_seen_unix_ns: NOW,
        last_seen_unix_ns,
    };
    assert_eq!(
        bench.before.destinations,
        [known(mail, NOW), known(api, NOW + 5)]
    );
}

#[tokio::test]
async fn each_destination_that_newer_ones_push_out_is_counted() {
    let bench = Bench::new(&[]);
    let path = bench.path();
    let Bench { folder, handle, .. } = bench;
    assert!(handle.stop(PATIENCE).await, "it ends");
    let file = rusqlite::Connection::open(path).expect("nobody holds it");
    let full = format!(
        "WITH RECURSIVE n(port) AS (SELECT 0 UNION ALL SELECT port + 1 FROM n WHERE port < 16383)
         INSERT INTO destination (identity, ip, port, first_seen, last_seen)
         SELECT 'old', '10.0.0.0/8', port, {NOW}, {NOW} FROM n"
    );
    assert_eq!(file.execute(&full, ()), Ok(16_384));
    drop(file);
    let mut bench = Bench::with(folder, &[], NOW, &config());
    let deadline = std::time::Instant::now() + PATIENCE;
    for port in 0..3 {
        bench.handle.saw_destination(Destination {
            identity: "new".to_owned(),
            network: "192.0.2.0/24".parse().expect("valid"),
            port,
        });
    }
    while bench.handle.losses()[1] != ("inventory_forgotten", 3) {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?}",
            bench.handle.losses()
        );
        bench.tick(SECOND).await;
        tokio::task::yield_now().await;
    }
}
