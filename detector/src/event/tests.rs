//! What goes out follows the schema, and the schema in `docs/` is the one of the types.

use std::path::Path;

use super::{
    Cloud, CloudInstance, Data, Heartbeat, HeartbeatDetector, HostInfo, Sequence, degraded,
    heartbeat, schema, started, stopped, tampered, timestamp,
};

fn host() -> HostInfo {
    HostInfo {
        id: "h".to_owned(),
        name: "web\n03".to_owned(),
        cloud: Some(Cloud {
            provider: "aws".to_owned(),
            instance: Some(CloudInstance {
                id: "i-1".to_owned(),
            }),
            region: None,
        }),
        agent_id: "a".to_owned(),
        cpu_count: 2,
        ..HostInfo::default()
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the file in docs is what is compared"
)]
fn the_schema_in_docs_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/event.schema.json");
    let generated = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &generated).expect("docs/ is writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == generated,
        "docs/event.schema.json is not what the types say; regenerate it: detector schema > docs/event.schema.json"
    );
}

#[test]
fn events_about_the_detector_validate() {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let mut sequence = Sequence::after(0);
    let host = host();
    let events = [
        started("start", 0, &host, &mut sequence),
        stopped("SIGTERM", 1, &host, &mut sequence),
        degraded("sink \x1b lost", 2, &host, &mut sequence),
        tampered("stopped for 4 s", 3, &host, &mut sequence),
        heartbeat(HeartbeatDetector::default(), 4, &host, &mut sequence),
    ];
    for event in &events {
        let json = serde_json::to_value(event).expect("an event");
        assert!(validator.is_valid(&json), "{json}");
        assert!(
            !json.to_string().contains("null"),
            "absent is absent: {json}"
        );
    }
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "detector.agent.started/1",
            "detector.agent.stopped/2",
            "detector.agent.degraded/3",
            "detector.agent.tampered/4",
            "detector.heartbeat/5"
        ]
    );
    assert_eq!(sequence.last(), 5);
}

#[test]
fn a_payload_of_the_wrong_type_does_not_validate() {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let mut event = heartbeat(
        HeartbeatDetector::default(),
        3,
        &host(),
        &mut Sequence::after(0),
    );
    assert!(matches!(&event.data, Data::Heartbeat(data) if matches!(**data, Heartbeat { .. })));
    event.kind = "detector.incident.opened".to_owned();
    let json = serde_json::to_value(&event).expect("an event");
    assert!(!validator.is_valid(&json));
}

#[test]
fn times_are_utc_with_microseconds() {
    assert_eq!(
        timestamp(1_700_000_000_123_456_789),
        "2023-11-14T22:13:20.123456Z"
    );
}
