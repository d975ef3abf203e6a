use super::*;
use crate::{
    deliver::testing::{data, whole_life},
    event::MomentFields,
};

#[test]
fn an_incident_is_triggered_twice_and_resolved_under_one_key() {
    let requests: Vec<Value> = whole_life().iter().filter_map(request).collect();
    let actions: Vec<(&str, &str)> = requests
        .iter()
        .filter_map(|r| Some((r["event_action"].as_str()?, r["dedup_key"].as_str()?)))
        .collect();
    assert_eq!(
        actions,
        [
            ("trigger", "0190-1"),
            ("trigger", "0190-1"),
            ("resolve", "0190-1")
        ]
    );
    let payload = &requests[0]["payload"];
    assert_eq!(
        [
            &payload["summary"],
            &payload["source"],
            &payload["severity"],
            &payload["timestamp"],
            &payload["class"]
        ],
        [
            "web03: TEST alert of the detector on web03",
            "web03",
            "critical",
            "2026-01-02T03:04:05.000000Z",
            "agent.test"
        ]
    );
}

#[test]
fn what_the_api_would_refuse_as_too_long_is_cut_and_named() {
    let mut event = whole_life().remove(0);
    let long = "ü".repeat(2000);
    data(&mut event).incident.title.clone_from(&long);
    data(&mut event).incident.timeline = (0..600)
        .map(|_| MomentFields {
            at: String::new(),
            what: long.clone(),
        })
        .collect();
    let request = request(&event).unwrap();
    assert!(request.to_string().len() <= REQUEST_BYTES - 1024);
    let summary = request["payload"]["summary"].as_str().unwrap();
    assert_eq!(summary.chars().count(), SUMMARY_CHARS);
    assert!(summary.ends_with('…'));
    let details = &request["payload"]["custom_details"];
    assert_eq!(details["left_out"], json!(["timeline"]));
    assert_eq!(details["timeline"], Value::Null);
    assert_eq!(
        details["next_steps"][0],
        "TEST: nothing to do; it resolves itself"
    );
}
