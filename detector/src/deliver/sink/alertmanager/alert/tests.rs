use super::*;
use crate::{
    deliver::testing::{OPENED_UNIX_NS, data, host, life, whole_life},
    event::{HashFields, HeartbeatDetector, Sequence, degraded, heartbeat},
    incident::Severity,
    output::Change,
};

fn book() -> Book {
    Book::new(&config::AlertmanagerSink {
        urls: Vec::new(),
        labels: BTreeMap::from([("customer".to_owned(), "acme".to_owned())]),
        resend_s: 60,
        dead_mans_switch: true,
        silent_after_s: 45,
    })
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        + Duration::from_nanos(OPENED_UNIX_NS.unsigned_abs())
        + Duration::from_secs(seconds)
}

/// Name, labels that are ours, start and end.
fn shown(alerts: &[Alert]) -> Vec<(Vec<String>, &str, &str)> {
    let one = |alert: &Alert| -> Vec<String> {
        alert
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    };
    alerts
        .iter()
        .map(|alert| (one(alert), alert.starts_at.as_str(), alert.ends_at.as_str()))
        .collect()
}

fn labels(severity: &str) -> Vec<String> {
    [
        "alertname=DetectorIncident",
        "customer=acme",
        "incident=0190-1",
        "instance=web03",
        &format!("severity={severity}"),
    ]
    .map(str::to_owned)
    .to_vec()
}

const OPENED: &str = "2026-01-02T03:04:05.000000Z";

#[test]
fn an_incident_keeps_its_labels_and_start_and_ends_when_it_is_resolved() {
    let mut book = book();
    let events = whole_life();
    let told: Vec<Alert> = events
        .iter()
        .zip([0, 10, 20])
        .flat_map(|(event, s)| book.tell(event, at(s)))
        .collect();
    assert_eq!(
        shown(&told),
        [
            (labels("critical"), OPENED, "2026-01-02T03:09:05.000000Z"),
            (labels("critical"), OPENED, "2026-01-02T03:09:15.000000Z"),
            (labels("critical"), OPENED, "2026-01-02T03:04:25.000000Z"),
        ]
    );
    assert_eq!(
        told[0].annotations["summary"],
        "TEST alert of the detector on web03"
    );
}

#[test]
fn what_fires_is_told_again_before_it_expires_and_an_end_three_times() {
    let mut book = book();
    let events = whole_life();
    assert!(book.is_empty());
    book.tell(&events[0], at(0));
    let ends: Vec<String> = [60, 120]
        .map(|s| book.again(at(s))[0].ends_at.clone())
        .into();
    assert_eq!(
        ends,
        ["2026-01-02T03:10:05.000000Z", "2026-01-02T03:11:05.000000Z"]
    );
    book.tell(&events[2], at(130));
    let counts: Vec<usize> = (0..5).map(|n| book.again(at(200 + n)).len()).collect();
    assert_eq!(counts, [1, 1, 1, 0, 0]);
    assert!(book.is_empty());
}

#[test]
fn a_new_severity_or_hash_ends_the_old_alert_with_the_new_one() {
    let mut book = book();
    let mut events = life(&[
        (Change::Opened, Severity::Warning),
        (Change::Updated, Severity::Critical),
        (Change::Updated, Severity::Critical),
    ]);
    data(&mut events[2]).process = Some(process("ab12"));
    book.tell(&events[0], at(0));
    let rise = book.tell(&events[1], at(10));
    assert_eq!(
        shown(&rise),
        [
            (labels("warning"), OPENED, "2026-01-02T03:04:15.000000Z"),
            (labels("critical"), OPENED, "2026-01-02T03:09:15.000000Z"),
        ]
    );
    let hashed = book.tell(&events[2], at(20));
    assert_eq!(
        shown(&hashed)[0],
        (labels("critical"), OPENED, "2026-01-02T03:04:25.000000Z")
    );
    assert_eq!(hashed[1].labels["executable_sha256"], "ab12");
    assert_eq!(book.again(at(60)).len(), 1, "only the last one fires");
    // What moves or would tell apart two alerts of one incident is no label.
    let names: Vec<&str> = hashed[1].labels.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "alertname",
            "customer",
            "executable_sha256",
            "incident",
            "instance",
            "severity"
        ]
    );
    assert_eq!(hashed[1].annotations["pid"], "902");
}

fn process(sha256: &str) -> crate::event::ProcessFields {
    let process = serde_json::json!({
        "entity_id": "e", "pid": 902, "start": OPENED, "name": "kworkerd", "args": [], "ancestors": [],
    });
    let mut process: crate::event::ProcessFields = serde_json::from_value(process).unwrap();
    process.hash = Some(HashFields {
        sha256: sha256.to_owned(),
    });
    process
}

#[test]
fn a_heartbeat_is_two_alerts_and_only_where_the_switch_is_wanted() {
    let mut sequence = Sequence::after(0);
    let beat = |sequence: &mut Sequence| {
        heartbeat(
            HeartbeatDetector::default(),
            OPENED_UNIX_NS,
            &host(),
            sequence,
        )
    };
    let mut book = book();
    book.tell(&beat(&mut sequence), at(0));
    let told = book.tell(&beat(&mut sequence), at(10));
    let expected = |name: &str, more: &[&str]| -> Vec<String> {
        let all = [&[name, "customer=acme", "instance=web03"], more].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    assert_eq!(
        shown(&told),
        [
            (
                expected("alertname=DetectorHeartbeat", &[]),
                OPENED,
                "2026-01-02T03:05:00.000000Z"
            ),
            (
                expected("alertname=DetectorSilent", &["severity=critical"]),
                OPENED,
                "2026-01-03T03:04:15.000000Z"
            ),
        ]
    );
    book.dead_mans_switch = false;
    assert_eq!(book.tell(&beat(&mut sequence), at(20)), []);
    let degraded = degraded("a ring is gone", OPENED_UNIX_NS, &host(), &mut sequence);
    let told = book.tell(&degraded, at(0));
    assert_eq!(
        (
            told[0].labels["alertname"].as_str(),
            told[0].annotations["summary"].as_str()
        ),
        ("DetectorDegraded", "a ring is gone")
    );
}

#[test]
fn more_incidents_than_are_remembered_let_the_oldest_expire() {
    let mut book = book();
    let mut event = whole_life().remove(0);
    for number in 0..=FIRING_MAX as u64 {
        data(&mut event).incident.id = format!("i-{number}");
        book.tell(&event, at(number));
    }
    assert_eq!(book.incidents.len(), FIRING_MAX);
    assert!(!book.incidents.contains_key("i-0"));
}
