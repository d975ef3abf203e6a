//! PagerDuty's Events API v2: an incident is triggered, triggered again with more, and resolved, under one key.
//!
//! 202 is accepted; 400 says that the event is wrong and must never be repeated; 429 and 5xx pass. What is longer than
//! the API takes is cut, and says so.

use std::path::PathBuf;

use bytes::Bytes;
use reqwest::Url;
use serde_json::{Value, json};

use super::{
    Capacity, Reply, Sink, SinkError,
    secret::{self, Files},
    web::{self, Read, Web},
};
use crate::{
    config,
    deliver::{Event, feed::Pending, retry::Protocol},
    event::{self, AgentEvent, CloudEvent, Data, IncidentData},
};

/// The API's limit of a whole request, bytes.
const REQUEST_BYTES: usize = 512 << 10;
/// The API's limit of `payload.summary`, characters.
const SUMMARY_CHARS: usize = 1024;

/// One integration of one PagerDuty service.
pub(super) struct Pagerduty {
    url: Url,
    web: Web,
    key_file: PathBuf,
    key: String,
    files: Files,
}

impl Pagerduty {
    pub(super) fn new(
        kind: &config::PagerdutySink,
        config: &config::Sink,
    ) -> Result<Pagerduty, SinkError> {
        let url = web::url(&kind.url)?;
        Ok(Pagerduty {
            web: Web::new(config, &[&url])?,
            url,
            files: Files::new([&Some(kind.routing_key_file.clone())]),
            key: secret::read(&kind.routing_key_file)?,
            key_file: kind.routing_key_file.clone(),
        })
    }

    fn refresh(&mut self) {
        self.web.refresh();
        if self.files.changed() {
            match secret::read(&self.key_file) {
                Ok(key) => self.key = key,
                Err(error) => {
                    tracing::error!(%error, "changed routing key cannot be used, the old one stays");
                }
            }
        }
    }
}

impl Sink for Pagerduty {
    fn capacity(&self) -> Capacity {
        Capacity::ONE
    }

    fn send<'a>(&'a mut self, events: &'a [Event]) -> Pending<'a, Reply> {
        Box::pin(async move {
            self.refresh();
            let mut last = Reply::Delivered("nothing to tell".to_owned());
            for event in events {
                let event = match event.parse() {
                    Ok(event) => event,
                    Err(reason) => return Reply::Refused(reason),
                };
                let Some(mut request) = request(&event) else {
                    continue;
                };
                request["routing_key"] = Value::from(self.key.as_str());
                let body = Bytes::from(request.to_string());
                let post = self
                    .web
                    .post(&self.url, "application/json", body, Read::All);
                last = match post.await {
                    Ok(answer) => answer.reply(Protocol::Pagerduty),
                    Err(reason) => Reply::retry(reason),
                };
                if !matches!(last, Reply::Delivered(_)) {
                    break;
                }
            }
            last
        })
    }
}

/// The request without its key; `None`: the event is nothing to be paged for.
fn request(event: &CloudEvent) -> Option<Value> {
    let request = match &event.data {
        Data::Incident(data) => incident(event, data),
        Data::Agent(data) if event.kind == "detector.agent.degraded" => {
            agent(event, data, "degraded", "warning")
        }
        Data::Agent(data) if event.kind == event::TAMPERED => {
            agent(event, data, "tampered", "critical")
        }
        _ => return None,
    };
    Some(fitting(request))
}

/// What the detector says about itself: one page a host for each kind.
fn agent(event: &CloudEvent, data: &AgentEvent, what: &str, severity: &str) -> Value {
    let (host, reason) = (&data.host, data.event.reason.as_deref().unwrap_or_default());
    json!({
        "event_action": "trigger",
        "dedup_key": format!("detector-{what}-{}", host.id),
        "client": "detector",
        "payload": {
            "summary": cut(&format!("{}: detector {what}: {reason}", host.name), SUMMARY_CHARS),
            "source": host.name,
            "severity": severity,
            "timestamp": event.time,
            "component": "detector",
        },
    })
}

fn incident(event: &CloudEvent, data: &IncidentData) -> Value {
    let incident = &data.incident;
    let mut request = json!({
        "event_action": if incident.resolved_at.is_some() { "resolve" } else { "trigger" },
        "dedup_key": incident.id,
        "client": "detector",
        "payload": {
            "summary": cut(&format!("{}: {}", data.host.name, incident.title), SUMMARY_CHARS),
            "source": data.host.name,
            "severity": incident.severity,
            "timestamp": event.time,
            "group": incident.group_key,
            "custom_details": {
                "event_id": event.id,
                "reason": data.event.reason,
                "next_steps": incident.next_steps,
                "confidence": incident.confidence,
                "findings": incident.findings,
                "process": data.process,
                "destination": data.destination,
                "victims": incident.victims,
                "impact": incident.impact,
                "loss": incident.loss,
                "timeline": incident.timeline,
            },
        },
    });
    let payload = &mut request["payload"];
    if let Some(process) = &data.process {
        payload["component"] = Value::from(
            process
                .executable
                .as_ref()
                .unwrap_or(&process.name)
                .as_str(),
        );
    }
    if let Some(finding) = incident.findings.first() {
        payload["class"] = Value::from(finding.kind.as_str());
    }
    if let Value::Object(details) = &mut payload["custom_details"] {
        details.retain(|_, value| !value.is_null());
    }
    request
}

/// Leaves out the longest details until the request is short enough; names them.
fn fitting(mut request: Value) -> Value {
    // Room for the key, which is not in yet.
    while request.to_string().len() > REQUEST_BYTES - 1024 {
        let Value::Object(details) = &mut request["payload"]["custom_details"] else {
            break;
        };
        let longest = details
            .iter()
            .filter(|(name, _)| *name != "left_out")
            .max_by_key(|(_, value)| value.to_string().len());
        let Some(name) = longest.map(|(name, _)| name.clone()) else {
            break;
        };
        details.remove(&name);
        match details.entry("left_out").or_insert_with(|| json!([])) {
            Value::Array(left_out) => left_out.push(Value::from(name)),
            _ => break,
        }
    }
    request
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests;
