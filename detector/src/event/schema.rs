//! The JSON Schema of every event, generated from the types.

use serde_json::{Value, json};

use super::CloudEvent;

/// Identity and version of the schema; `dataschema` of every event.
pub const SCHEMA_ID: &str = "urn:detector:schema:event:1";

/// Which payload goes with which type.
const PAYLOADS: [(&str, &str); 4] = [
    (
        r"^detector\.incident\.(opened|updated|resolved)$",
        "IncidentData",
    ),
    (r"^detector\.finding$", "FindingData"),
    (r"^detector\.heartbeat$", "Heartbeat"),
    (
        r"^detector\.agent\.(started|stopped|degraded|tampered)$",
        "AgentEvent",
    ),
];

/// The schema as it is printed by `detector schema` and kept in `docs/event.schema.json`.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(CloudEvent);
    schema.insert("$id".to_owned(), SCHEMA_ID.into());
    schema.insert("title".to_owned(), "detector event".into());
    schema.insert(
        "description".to_owned(),
        "One CloudEvents 1.0 event of the detector, version 1. Fields may be added; receivers ignore what they do not know."
            .into(),
    );
    // The union of payloads says less than what is true: the type decides.
    let by_type: Vec<Value> = PAYLOADS
        .iter()
        .map(|(pattern, payload)| {
            json!({
                "if": {"properties": {"type": {"pattern": pattern}}},
                "then": {"properties": {"data": {"$ref": format!("#/$defs/{payload}")}}},
            })
        })
        .collect();
    let any: Vec<&str> = PAYLOADS.iter().map(|(pattern, _)| *pattern).collect();
    let mut schema = schema.to_value();
    schema["allOf"] = Value::Array(by_type);
    schema["properties"]["type"]["pattern"] = any.join("|").into();
    schema["properties"]["data"] =
        json!({"type": "object", "description": "The payload, by type."});
    if let Some(definitions) = schema["$defs"].as_object_mut() {
        definitions.remove("Data");
    }
    schema
}
