//! PagerDuty and OTLP against a recorder that holds every request to the documented rules.
//!
//! An OpenTelemetry collector is not packaged where these tests run, so the shape of its requests is checked against
//! the protocol's own words: `ExportLogsServiceRequest` in ProtoJSON.

use std::os::unix::fs::PermissionsExt;

use detector::{incident::Severity, output::Change};
use serde_json::Value;

use tests::recorder::{Act, Recorder, Request};

use crate::events::{Host, finish, send, sinks};

/// A string of 1 to `max` characters.
fn text(value: &Value, max: usize) -> Result<&str, String> {
    let text = value.as_str().ok_or(format!("{value} is no string"))?;
    let chars = text.chars().count();
    (1..=max)
        .contains(&chars)
        .then_some(text)
        .ok_or(format!("{chars} characters"))
}

/// What PagerDuty documents for `POST /v2/enqueue`; an answer of 400 otherwise.
fn pagerduty(request: &Request) -> Result<(), String> {
    let body = &request.body;
    if text(&body["routing_key"], 32)? != "0123456789abcdef0123456789abcdef" {
        return Err("wrong routing key".to_owned());
    }
    text(&body["dedup_key"], 255)?;
    let action = text(&body["event_action"], 16)?;
    if !["trigger", "acknowledge", "resolve"].contains(&action) {
        return Err(format!("event_action {action}"));
    }
    let payload = &body["payload"];
    text(&payload["summary"], 1024)?;
    text(&payload["source"], 1024)?;
    let severity = text(&payload["severity"], 16)?;
    if !["critical", "warning", "error", "info"].contains(&severity) {
        return Err(format!("severity {severity}"));
    }
    let known = [
        "routing_key",
        "event_action",
        "dedup_key",
        "payload",
        "client",
        "client_url",
        "images",
        "links",
    ];
    let strange = body
        .as_object()
        .into_iter()
        .flatten()
        .find(|(key, _)| !known.contains(&key.as_str()));
    match strange {
        Some((key, _)) => Err(format!("unknown key {key}")),
        None => Ok(()),
    }
}

#[tokio::test]
async fn pagerduty_takes_an_incident_from_trigger_to_resolve_under_one_key() {
    let api = Recorder::start(|number, request| match (number, pagerduty(request)) {
        (_, Err(why)) => panic!("PagerDuty would refuse this: {why}: {}", request.body),
        (0, _) => Act::Busy,
        (2, _) => Act::Status(500),
        _ => Act::Status(202),
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("writable");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("ours");
    let sinks = sinks(&format!(
        "[sink.pagerduty]\nurl = \"{}\"\nrouting_key_file = \"{}\"\nretry_initial_ms = 1\n",
        api.url("/v2/enqueue"),
        key.display()
    ));
    let mut host = Host::new("web01");
    for (change, severity) in [
        (Change::Opened, Severity::Warning),
        (Change::Updated, Severity::Critical),
        (Change::Resolved, Severity::Critical),
    ] {
        send(
            &sinks,
            &host.incident("i-1", change, severity, Some("ab12")),
        );
    }
    // Not for a pager.
    send(&sinks, &host.heartbeat());
    assert_eq!(finish(sinks).await, (3, 0));
    let told: Vec<(String, String, String)> = api
        .requests()
        .iter()
        .map(|request| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let body = &request.body;
            (
                text(&body["event_action"]),
                text(&body["dedup_key"]),
                text(&body["payload"]["severity"]),
            )
        })
        .collect();
    let step =
        |action: &str, severity: &str| (action.to_owned(), "i-1".to_owned(), severity.to_owned());
    assert_eq!(
        told,
        [
            step("trigger", "warning"),
            step("trigger", "warning"),
            step("trigger", "critical"),
            step("trigger", "critical"),
            step("resolve", "critical"),
        ]
    );
}

/// What the protocol says about a request; the error names the place.
fn otlp(request: &Request) -> Result<usize, String> {
    if request.path != "/v1/logs" || !request.head.contains("content-type: application/json") {
        return Err("path or content type".to_owned());
    }
    let mut count = 0;
    for resource in list(&request.body["resourceLogs"])? {
        attributes(&resource["resource"]["attributes"])?;
        for scope in list(&resource["scopeLogs"])? {
            for record in list(&scope["logRecords"])? {
                count += 1;
                for field in ["timeUnixNano", "observedTimeUnixNano"] {
                    let nanos = record[field]
                        .as_str()
                        .and_then(|text| text.parse::<u64>().ok());
                    nanos.ok_or(format!("{field} is no 64-bit number in a string"))?;
                }
                let number = record["severityNumber"].as_u64();
                number
                    .filter(|n| (1..=24).contains(n))
                    .ok_or("severityNumber")?;
                any_value(&record["body"])?;
                attributes(&record["attributes"])?;
            }
        }
    }
    Ok(count)
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or(format!("no list: {value}"))
}

/// Keys are unique within a list.
fn attributes(value: &Value) -> Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    for attribute in list(value)? {
        let key = attribute["key"].as_str().ok_or("a key that is no string")?;
        if !seen.insert(key) {
            return Err(format!("{key} twice"));
        }
        any_value(&attribute["value"]).map_err(|why| format!("{key}: {why}"))?;
    }
    Ok(())
}

fn any_value(value: &Value) -> Result<(), String> {
    let object = value.as_object().filter(|object| object.len() == 1);
    let (kind, value) = object
        .and_then(|object| object.iter().next())
        .ok_or(format!("not one value: {value}"))?;
    match kind.as_str() {
        "stringValue" if value.is_string() => Ok(()),
        "boolValue" if value.is_boolean() => Ok(()),
        "doubleValue" if value.is_number() => Ok(()),
        "intValue"
            if value
                .as_str()
                .is_some_and(|text| text.parse::<i64>().is_ok()) =>
        {
            Ok(())
        }
        "arrayValue" => list(&value["values"])?.iter().try_for_each(any_value),
        "kvlistValue" => attributes(&value["values"]),
        _ => Err(format!("{kind}: {value}")),
    }
}

#[tokio::test]
async fn otlp_collector_gets_records_that_follow_the_protocol() {
    let collector = Recorder::start(|number, request| match (number, otlp(request)) {
        (_, Err(why)) => panic!("a collector would refuse this: {why}: {}", request.body),
        (0, _) => Act::Status(503),
        _ => Act::Status(200),
    });
    let sinks = sinks(&format!(
        "[sink.otlp]\nurl = \"{}\"\nretry_initial_ms = 1\n",
        collector.url("/v1/logs")
    ));
    let mut host = Host::new("web01");
    for n in 0..10 {
        let id = format!("i-{n}");
        send(
            &sinks,
            &host.incident(&id, Change::Opened, Severity::Critical, Some("ab12")),
        );
        send(&sinks, &host.heartbeat());
    }
    assert_eq!(finish(sinks).await, (20, 0));
    let records: usize = collector
        .requests()
        .iter()
        .skip(1)
        .map(|request| otlp(request).expect("checked above"))
        .sum();
    assert_eq!(records, 20);
}
