//! Reads an incident event as a receiver would: by the documented fields, assuming nothing is there.
//!
//! It deliberately does not use the daemon's own types: what a customer's endpoint cannot find in the JSON,
//! this cannot find either.

use super::Planted;
use serde_json::Value;

/// Type of an incident's last event.
pub const RESOLVED: &str = "detector.incident.resolved";

const PREFIX: &str = "detector.incident.";

/// The event's type, if it is an incident's.
#[must_use]
pub fn kind(event: &Value) -> Option<&str> {
    let kind = event.get("type")?.as_str()?;
    kind.starts_with(PREFIX).then_some(kind)
}

/// The incident's id, if this is an incident event.
#[must_use]
pub fn id(event: &Value) -> Option<&str> {
    kind(event)?;
    text(event, "/incident/id").or_else(|| event.get("subject")?.as_str())
}

/// `info`, `warning` or `critical`.
#[must_use]
pub fn severity(event: &Value) -> Option<&str> {
    text(event, "/incident/severity")
}

/// A string below `data`, by JSON pointer.
#[must_use]
pub fn text<'a>(event: &'a Value, pointer: &str) -> Option<&'a str> {
    event.get("data")?.pointer(pointer)?.as_str()
}

/// A number below `data`, also one written as a string (ECS ids are keywords).
#[must_use]
pub fn number(event: &Value, pointer: &str) -> Option<f64> {
    let value = event.get("data")?.pointer(pointer)?;
    value
        .as_f64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// Whether an incident event is about the planted program: says its path or its hash anywhere, or its pid as the process.
#[must_use]
pub fn names(event: &Value, planted: &Planted) -> bool {
    let path = planted.executable.to_string_lossy();
    let said = |text: &str| text.contains(&*path) || text.contains(&planted.sha256);
    kind(event).is_some()
        && (number(event, "/process/pid") == Some(f64::from(planted.pid))
            || event.get("data").is_some_and(|data| any_text(data, &said)))
}

/// Executables from the process upwards: itself, its parent, its ancestors, its group leader, without repeats.
#[must_use]
pub fn lineage(event: &Value) -> Vec<String> {
    let mut lineage = Vec::new();
    let process = event.pointer("/data/process");
    let list = |name: &str| process.and_then(|process| process.get(name)?.as_array());
    let nodes = process
        .into_iter()
        .chain(process.and_then(|process| process.get("parent")))
        .chain(list("ancestors").into_iter().flatten())
        .chain(process.and_then(|process| process.get("group_leader")));
    for node in nodes {
        let name = node
            .as_str()
            .or_else(|| node.get("executable")?.as_str())
            .or_else(|| node.get("name")?.as_str());
        let Some(name) = name else { continue };
        if !lineage.iter().any(|known| known == name) {
            lineage.push(name.to_owned());
        }
    }
    lineage
}

/// Destinations of the incident as `ip:port`: its first one and each of its connections.
#[must_use]
pub fn destinations(event: &Value) -> Vec<String> {
    let connections = event.pointer("/data/detector/connections");
    let mut destinations = Vec::new();
    let nodes = event.pointer("/data/destination").into_iter();
    for node in nodes.chain(connections.and_then(Value::as_array).into_iter().flatten()) {
        let node = node.get("destination").unwrap_or(node);
        let port = node.get("port").and_then(Value::as_u64);
        if let (Some(ip), Some(port)) = (node.get("ip").and_then(Value::as_str), port) {
            let destination = format!("{ip}:{port}");
            if !destinations.contains(&destination) {
                destinations.push(destination);
            }
        }
    }
    destinations
}

fn any_text(value: &Value, wanted: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => wanted(text),
        Value::Array(items) => items.iter().any(|item| any_text(item, wanted)),
        Value::Object(fields) => fields.values().any(|field| any_text(field, wanted)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Instant;

    fn planted() -> Planted {
        Planted {
            executable: "/shop/.x/kworkerd".into(),
            sha256: "ab".repeat(32),
            pid: 42,
            uid: 33,
            started: Instant::now(),
        }
    }

    #[test]
    fn an_event_names_the_program_by_path_hash_or_pid() {
        let opened = |data: Value| json!({"type": "detector.incident.opened", "data": data});
        let planted = planted();
        for data in [
            json!({"process": {"pid": 42}}),
            json!({"process": {"hash": {"sha256": "ab".repeat(32)}}}),
            json!({"incident": {"findings": [{"evidence": {"path": "/shop/.x/kworkerd"}}]}}),
        ] {
            assert!(names(&opened(data.clone()), &planted), "{data}");
        }
        assert!(!names(&opened(json!({"process": {"pid": 43}})), &planted));
        let finding = json!({"type": "detector.finding", "data": {"process": {"pid": 42}}});
        assert!(!names(&finding, &planted));
    }

    #[test]
    fn lineage_and_destinations_are_read_from_every_documented_place() {
        let event = json!({"data": {
            "process": {
                "executable": "/x", "parent": {"executable": "/bin/sh"},
                "ancestors": [{"executable": "/bin/sh"}, {"executable": "/usr/sbin/php-fpm8.2"}],
                "group_leader": {"name": "php-fpm8.2"}
            },
            "destination": {"ip": "127.0.0.1", "port": 1},
            "detector": {"connections": [
                {"destination": {"ip": "127.0.0.1", "port": 1}}, {"ip": "127.0.0.1", "port": 2}
            ]}
        }});
        assert_eq!(
            lineage(&event),
            ["/x", "/bin/sh", "/usr/sbin/php-fpm8.2", "php-fpm8.2"]
        );
        assert_eq!(destinations(&event), ["127.0.0.1:1", "127.0.0.1:2"]);
        assert_eq!(lineage(&json!({})), Vec::<String>::new());
        assert_eq!(destinations(&json!({})), Vec::<String>::new());
    }
}
