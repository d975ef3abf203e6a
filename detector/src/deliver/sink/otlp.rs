//! OpenTelemetry logs by OTLP/HTTP in JSON.
//!
//! Only 429, 502, 503 and 504 may be repeated. An answer of 200 may hide that records were rejected
//! (`partialSuccess`): they must not be sent again. Numbers of 64 bits are strings, as ProtoJSON wants it.

mod record;

use bytes::Bytes;
use reqwest::Url;
use serde_json::Value;

use super::{
    Capacity, Reply, Sink, SinkError,
    web::{self, Answer, Read, Web},
};
use crate::{
    config,
    deliver::{Event, feed::Pending, retry::Protocol},
};

/// A collector.
pub(super) struct Otlp {
    url: Url,
    web: Web,
}

impl Otlp {
    pub(super) fn new(kind: &config::OtlpSink, config: &config::Sink) -> Result<Otlp, SinkError> {
        let url = web::url(&kind.url)?;
        Ok(Otlp {
            web: Web::new(config, &[&url])?,
            url,
        })
    }
}

impl Sink for Otlp {
    fn capacity(&self) -> Capacity {
        Capacity::BATCH
    }

    fn send<'a>(&'a mut self, events: &'a [Event]) -> Pending<'a, Reply> {
        Box::pin(async move {
            self.web.refresh();
            let mut parsed = Vec::with_capacity(events.len());
            for event in events {
                match event.parse() {
                    Ok(event) => parsed.push(event),
                    Err(reason) => return Reply::Refused(reason),
                }
            }
            let body = Bytes::from(record::request(&parsed).to_string());
            let post = self
                .web
                .post(&self.url, "application/json", body, Read::All);
            match post.await {
                Ok(answer) => reply(&answer),
                Err(reason) => Reply::retry(reason),
            }
        })
    }
}

fn reply(answer: &Answer) -> Reply {
    match answer.reply(Protocol::Otlp) {
        Reply::Delivered(words) if rejected(&answer.body) > 0 => Reply::PartlyRefused(words),
        reply => reply,
    }
}

/// Records that an answer of 200 says were rejected.
fn rejected(body: &[u8]) -> u64 {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return 0;
    };
    match &body["partialSuccess"]["rejectedLogRecords"] {
        Value::String(text) => text.parse().unwrap_or(0),
        Value::Number(number) => number.as_u64().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
