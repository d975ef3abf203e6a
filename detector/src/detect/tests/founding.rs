//! The night this was built for, from the first exec to the end.

use crate::{
    detect::testing::{BOOT_UNIX_S, Bench, SECOND, exec, facts, file_id, key},
    event::{self, Data, HostInfo, Sequence},
    incident::{FindingType, Severity, Status},
    input::{Owner, ProcessKey},
    output::Change,
    render::{self, Style},
};

const INIT: ProcessKey = ProcessKey {
    tgid: 1,
    start_ns: 0,
};
const DROPPED: &str = "/var/www/shop/wp-content/uploads/.x/kworkerd";

fn host() -> HostInfo {
    HostInfo {
        id: "7f3a".to_owned(),
        name: "web03".to_owned(),
        boot_id: Some("b0".to_owned()),
        kernel: Some("6.12.1".to_owned()),
        cpu_count: 2,
        cloud: None,
        agent_id: "a1".to_owned(),
        ..HostInfo::default()
    }
}

fn night() -> Bench {
    let mut bench = Bench::new();
    let (master, worker) = (key(800, SECOND), key(812, 2 * SECOND));
    let (db, shell, miner) = (
        key(700, SECOND),
        key(901, 11 * SECOND),
        key(902, 12 * SECOND),
    );
    bench.run(INIT, master, "/usr/sbin/php-fpm8.2");
    bench.fork(master, worker);
    bench.run(INIT, db, "/usr/sbin/mariadbd");
    bench.unit(db, "/usr/sbin/mariadbd", "mariadb.service", "mysql");
    bench.unit(master, "/usr/sbin/php-fpm8.2", "php8.2-fpm.service", "root");
    bench.burn(2, &[(worker, SECOND / 10), (db, SECOND / 10)]);

    let mut sh = exec(shell, worker, "/bin/sh");
    sh.uid = 33;
    bench.fork(worker, shell);
    bench.exec(&sh);
    bench.packaged("/bin/sh");

    let mut dropped = exec(miner, shell, DROPPED);
    dropped.uid = 33;
    dropped.executable.uid = 33;
    dropped.executable.id.ctime_sec = BOOT_UNIX_S - 29;
    dropped.args = b"kworkerd\0-o\0pool\n\x1b[2J\0".as_slice().into();
    dropped.args_total_bytes = 22;
    bench.fork(shell, miner);
    bench.exec(&dropped);
    bench.exit(shell, 0);
    let mut id = file_id(DROPPED);
    id.ctime_sec = BOOT_UNIX_S - 29;
    bench.file(&facts(id, DROPPED, Owner::Unowned));
    bench.unit(miner, DROPPED, "php8.2-fpm.service", "www-data");
    bench.connect(miner, [45, 9, 148, 1], 3_333, false);
    bench.connect(miner, [45, 9, 148, 1], 3_333, true);
    for _ in 0..16 {
        for of in [worker, db] {
            if let Some(task) = bench.load.iter_mut().find(|task| task.pid == of.tgid) {
                task.run_delay_ns += SECOND * 6 / 10;
            }
        }
        bench.burn(
            1,
            &[
                (miner, SECOND * 198 / 100),
                (worker, SECOND / 100),
                (db, SECOND / 100),
            ],
        );
    }
    bench.exit(miner, 9);
    bench.burn(15, &[(worker, SECOND / 10), (db, SECOND / 10)]);
    bench
}

#[test]
fn one_incident_has_all_parts_and_ends() {
    let bench = night();
    let incidents = bench.incidents();
    let changes: Vec<Change> = incidents.iter().map(|(change, _)| *change).collect();
    let mut ids: Vec<_> = incidents.iter().map(|(_, incident)| incident.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(changes.first(), Some(&Change::Opened));
    assert_eq!(changes.last(), Some(&Change::Resolved));
    assert!(changes.len() <= 8, "{changes:?}");

    let (_, last) = incidents.last().expect("resolved");
    assert_eq!(
        (last.severity, last.status),
        (Severity::Critical, Status::Resolved)
    );
    let mut kinds: Vec<FindingType> = last.findings.iter().map(|finding| finding.kind).collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            FindingType::CpuSaturation,
            FindingType::NewBinary,
            FindingType::FromWritableDir,
            FindingType::WebServerSpawnedShell,
            FindingType::MasqueradedName,
            FindingType::NewDestination,
        ]
    );
    let subject = last.subject.as_ref().expect("a process");
    assert_eq!(subject.path.as_deref(), Some(DROPPED.as_bytes()));
    let lineage: Vec<&[u8]> = subject
        .ancestors
        .iter()
        .map(|ancestor| &*ancestor.name)
        .collect();
    assert_eq!(
        lineage,
        [b"sh".as_slice(), b"php-fpm8.2", b"php-fpm8.2", b""]
    );
    let mut victims: Vec<_> = last
        .victims
        .iter()
        .filter_map(|victim| victim.unit.as_deref())
        .collect();
    victims.sort_unstable();
    assert_eq!(victims, ["mariadb.service", "php8.2-fpm.service"]);
    assert_eq!(last.connections.len(), 1);
    assert!(last.impact.is_some_and(|impact| impact.cpu_cores > 1.9));
    assert!(
        last.timeline
            .iter()
            .any(|moment| moment.what.contains("ended by signal 9"))
    );
    assert_eq!(bench.engine.open_incidents(), 0);
}

#[test]
fn critical_as_soon_as_the_second_signal_is_there() {
    let bench = night();
    let incidents = bench.incidents();
    let first = incidents
        .iter()
        .find(|(_, incident)| incident.severity == Severity::Critical)
        .map(|(_, incident)| incident.updated_unix_ns - incident.opened_unix_ns);
    assert!(
        first.is_some_and(|after_ns| after_ns < 1_000_000_000),
        "{first:?}"
    );
}

#[test]
fn every_event_of_the_night_validates_and_reads_well() {
    let bench = night();
    let schema = event::schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let mut sequence = Sequence::after(41);
    let mut text = String::new();
    for (number, (change, incident)) in bench.incidents().into_iter().enumerate() {
        let event = event::from_incident(incident, change, &host(), &mut sequence);
        assert_eq!(event.sequence, (42 + number).to_string());
        let json = serde_json::to_value(&event).expect("an event");
        let errors: Vec<String> = validator
            .iter_errors(&json)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, Vec::<String>::new());
        let back: event::CloudEvent = serde_json::from_value(json).expect("the same event");
        assert_eq!(back, event);
        if let Data::Incident(data) = &event.data {
            text = render::incident(data, Style::default());
        }
    }
    println!("{text}");
    assert!(
        !text.contains('\x1b'),
        "an argument's escape sequence came through"
    );
    for part in [
        "CRITICAL",
        "web03",
        DROPPED,
        "php-fpm8.2(812) → sh(901) → kworkerd(902)",
        "45.9.148.1:3333",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}
