//! What an earlier run knew is not lost, and what ended unseen validates.

use super::*;
use crate::{
    event::{Drill, schema},
    incident::Severity,
    output::Change,
};

fn host() -> HostInfo {
    HostInfo {
        id: "h".to_owned(),
        name: "web".to_owned(),
        cpu_count: 2,
        ..HostInfo::default()
    }
}

/// One incident of the drill, with one finding and one moment.
fn told(change: Change, at_unix_ns: i64) -> IncidentData {
    let drill = Drill {
        incident: "0198c0de-1111-7000-8000-000000000001".to_owned(),
        severity: Severity::Critical,
        opened_unix_ns: 0,
    };
    let event = drill.event(change, at_unix_ns, &host(), &mut Sequence::after(0));
    match event.data {
        Data::Incident(data) => *data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_resumed_incident_keeps_what_only_the_earlier_run_knew() {
    let mut earlier = told(Change::Opened, 1_000);
    earlier.incident.title = "the earlier title".to_owned();
    let mut now = told(Change::Updated, 2_000);
    let own = now.incident.findings[0].clone();
    now.incident.findings.clear();
    now.incident.title = String::new();
    merge(&earlier, &mut now);
    assert_eq!(now.incident.title, "the earlier title");
    assert_eq!(now.incident.findings, earlier.incident.findings);
    let moments: Vec<&MomentFields> = now.incident.timeline.iter().collect();
    assert_eq!(moments.len(), 2, "of both runs");
    assert!(moments[0].at < moments[1].at, "in order");

    // What comes again is told once, as it is now.
    let mut again = told(Change::Updated, 3_000);
    again.incident.findings = vec![own.clone()];
    merge(&earlier, &mut again);
    assert_eq!(again.incident.findings, [own]);
}

#[test]
fn an_incident_that_ended_unseen_is_resolved_with_the_reason_and_validates() {
    let opened = told(Change::Opened, 1_000);
    let event = ended(
        opened,
        "the detector was restarted",
        5_000,
        &host(),
        &mut Sequence::after(8),
    );
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let json = serde_json::to_value(&event).expect("an event");
    assert!(validator.is_valid(&json), "{json}");
    assert_eq!(
        (&json["type"], &json["sequence"], &json["subject"]),
        (
            &"detector.incident.resolved".into(),
            &"9".into(),
            &"0198c0de-1111-7000-8000-000000000001".into()
        )
    );
    let data = &json["data"];
    assert_eq!(data["event"]["reason"], "the detector was restarted");
    assert_eq!(data["incident"]["status"], "resolved");
    assert_eq!(
        data["incident"]["resolved_at"],
        "1970-01-01T00:00:00.000005Z"
    );
}
