//! From events to an `ExportLogsServiceRequest` in ProtoJSON. Pure.
#![deny(clippy::disallowed_methods)]

use serde_json::{Map, Value, json};

use crate::event::{CloudEvent, Data};

/// One request with all events, which are of one host.
pub(super) fn request(events: &[CloudEvent]) -> Value {
    let resource = events.first().map(resource).unwrap_or_default();
    let records: Vec<Value> = events.iter().map(record).collect();
    json!({"resourceLogs": [{
        "resource": {"attributes": attributes(resource)},
        "scopeLogs": [{
            "scope": {"name": "detector", "version": env!("CARGO_PKG_VERSION")},
            "logRecords": records,
        }],
    }]})
}

/// Who speaks, under the names of the semantic conventions.
fn resource(event: &CloudEvent) -> Vec<(String, Value)> {
    let host = event.data.host();
    let mut out = vec![
        ("service.name".to_owned(), json!("detector")),
        (
            "service.version".to_owned(),
            json!(env!("CARGO_PKG_VERSION")),
        ),
        ("host.id".to_owned(), json!(host.id)),
        ("host.name".to_owned(), json!(host.name)),
        ("os.type".to_owned(), json!("linux")),
    ];
    if let Some(os) = &host.os {
        out.push(("os.version".to_owned(), json!(os.kernel)));
    }
    out
}

fn record(event: &CloudEvent) -> Value {
    let (number, text) = severity(event);
    let at = nanoseconds(&event.time);
    let mut fields = vec![
        ("cloudevents.event_id".to_owned(), json!(event.id)),
        ("cloudevents.event_source".to_owned(), json!(event.source)),
        (
            "cloudevents.event_spec_version".to_owned(),
            json!(event.specversion),
        ),
        ("cloudevents.event_type".to_owned(), json!(event.kind)),
        ("detector.sequence".to_owned(), json!(event.sequence)),
    ];
    if let Some(subject) = &event.subject {
        fields.push(("cloudevents.event_subject".to_owned(), json!(subject)));
    }
    let data = serde_json::to_value(&event.data).expect("a payload is made of strings and numbers");
    if let Value::Object(mut data) = data {
        // Said by the resource and by the record's own fields.
        data.remove("host");
        data.remove("@timestamp");
        flatten(String::new(), data, &mut fields);
    }
    json!({
        "timeUnixNano": at,
        "observedTimeUnixNano": at,
        "severityNumber": number,
        "severityText": text,
        "eventName": event.kind,
        "body": {"stringValue": title(event)},
        "attributes": attributes(fields),
    })
}

/// What a list of logs shows in its one line.
fn title(event: &CloudEvent) -> String {
    match &event.data {
        Data::Incident(data) => data.incident.title.clone(),
        Data::Finding(data) => data.finding.kind.clone(),
        Data::Heartbeat(_) => event.kind.clone(),
        Data::Agent(data) => match &data.event.reason {
            Some(reason) => format!("{}: {reason}", event.kind),
            None => event.kind.clone(),
        },
    }
}

/// Number and name by the data model of logs: 9 INFO, 13 WARN, 17 ERROR, 21 FATAL.
fn severity(event: &CloudEvent) -> (u8, &'static str) {
    let by_name = |name: &str| match name {
        "critical" => (21, "FATAL"),
        "warning" => (13, "WARN"),
        _ => (9, "INFO"),
    };
    match &event.data {
        Data::Incident(data) => by_name(&data.incident.severity),
        Data::Finding(data) => by_name(&data.finding.severity),
        Data::Agent(_) if event.kind != "detector.agent.started" => (17, "ERROR"),
        Data::Agent(_) | Data::Heartbeat(_) => (9, "INFO"),
    }
}

/// Nanoseconds since 1970, a string: ProtoJSON's form of a `fixed64`.
fn nanoseconds(rfc3339: &str) -> String {
    let at = rfc3339.parse::<jiff::Timestamp>();
    at.map_or(0, jiff::Timestamp::as_nanosecond)
        .max(0)
        .to_string()
}

/// Objects become dotted names, as ECS and the semantic conventions write them.
fn flatten(prefix: String, object: Map<String, Value>, out: &mut Vec<(String, Value)>) {
    for (name, value) in object {
        let name = match prefix.is_empty() {
            true => name,
            false => format!("{prefix}.{name}"),
        };
        match value {
            Value::Object(object) => flatten(name, object, out),
            value => out.push((name, value)),
        }
    }
}

fn attributes(fields: Vec<(String, Value)>) -> Vec<Value> {
    let pair = |(key, value): (String, Value)| json!({"key": key, "value": any_value(value)});
    fields.into_iter().map(pair).collect()
}

/// JSON as the protocol's `AnyValue`.
fn any_value(value: Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({"boolValue": value}),
        Value::String(value) => json!({"stringValue": value}),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => json!({"intValue": integer.to_string()}),
            None => json!({"doubleValue": number}),
        },
        Value::Array(values) => {
            let values: Vec<Value> = values.into_iter().map(any_value).collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Object(object) => {
            json!({"kvlistValue": {"values": attributes(object.into_iter().collect())}})
        }
    }
}
