//! CloudEvents over HTTP: structured mode, one event a request, or batch mode, up to a hundred.
//!
//! 2xx is delivered; 429, 5xx, redirects and network errors are repeated; any other 4xx refuses the event. A batch is
//! taken or refused as a whole. Delivery is at least once: an answer that is lost after the receiver took the event
//! causes a repetition with the same `id`.

use bytes::Bytes;
use reqwest::Url;

use super::{
    Capacity, Reply, Sink, SinkError,
    web::{self, Read, Web},
};
use crate::{
    config::{self, Mode},
    deliver::{Event, feed::Pending, retry::Protocol},
};

/// A receiver of CloudEvents.
pub(super) struct Http {
    url: Url,
    mode: Mode,
    web: Web,
}

impl Http {
    pub(super) fn new(kind: &config::HttpSink, config: &config::Sink) -> Result<Http, SinkError> {
        let url = web::url(&kind.url)?;
        Ok(Http {
            web: Web::new(config, &[&url])?,
            url,
            mode: kind.mode,
        })
    }
}

impl Sink for Http {
    fn capacity(&self) -> Capacity {
        match self.mode {
            Mode::Structured => Capacity::ONE,
            Mode::Batch => Capacity::BATCH,
        }
    }

    fn send<'a>(&'a mut self, events: &'a [Event]) -> Pending<'a, Reply> {
        self.web.refresh();
        let (content_type, body) = match (self.mode, events) {
            (Mode::Structured, [event]) => ("application/cloudevents+json", event.body.clone()),
            _ => ("application/cloudevents-batch+json", array(events)),
        };
        Box::pin(async move {
            let post = self.web.post(&self.url, content_type, body, Read::Refusals);
            match post.await {
                Ok(answer) => answer.reply(Protocol::Http),
                Err(reason) => Reply::retry(reason),
            }
        })
    }
}

/// The events as one JSON array.
fn array(events: &[Event]) -> Bytes {
    let mut out = vec![b'['];
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&event.body);
    }
    out.push(b']');
    Bytes::from(out)
}

#[cfg(test)]
mod tests;
