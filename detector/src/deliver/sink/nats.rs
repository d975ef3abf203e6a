//! NATS JetStream: the stream of a fleet.
//!
//! Each event goes to `<subject>.<host id>.<type>` with `<source>/<id>` as `Nats-Msg-Id`, so that the stream itself drops
//! a repetition within its window. Delivered means acknowledged by the stream, that is stored by as many servers as it
//! has replicas; one event is in flight at a time, so that the stream has them in order. The stream is the operator's: a
//! subject that no stream listens to is a failure that is repeated, not a loss.

use std::{path::PathBuf, time::Duration};

use async_nats::{
    Client, ConnectOptions, HeaderMap,
    connection::State,
    header::NATS_MESSAGE_ID,
    jetstream::{
        self,
        context::{Context, PublishErrorKind},
    },
};

use super::{
    Reply, Sink, SinkError,
    secret::{self, Files, SecretError},
    tls, with_causes,
};
use crate::{
    config,
    deliver::{Event, feed::Pending},
    event::SOURCE_PREFIX,
};

/// A cluster.
pub(super) struct Nats {
    config: config::NatsSink,
    tls: config::Tls,
    limit: Duration,
    files: Files,
    stream: Option<(Client, Context)>,
}

impl Nats {
    pub(super) fn new(kind: &config::NatsSink, config: &config::Sink) -> Result<Nats, SinkError> {
        let nats = Nats {
            files: Files::new([
                &kind.credentials_file,
                &kind.token_file,
                &kind.password_file,
                &config.tls.ca_file,
                &config.tls.client_cert_file,
                &config.tls.client_key_file,
            ]),
            config: kind.clone(),
            tls: config.tls.clone(),
            limit: Duration::from_millis(config.common.timeout_ms),
            stream: None,
        };
        nats.options()?;
        Ok(nats)
    }

    /// Reads every secret.
    fn options(&self) -> Result<ConnectOptions, SinkError> {
        let mut options = ConnectOptions::new()
            .name("detector")
            .connection_timeout(self.limit)
            .ping_interval(Duration::from_secs(20));
        if self.config.urls.iter().any(|url| url.starts_with("tls:"))
            || self.tls != config::Tls::default()
        {
            options = options
                .require_tls(true)
                .tls_client_config(tls::client(&self.tls)?);
        }
        if let Some(path) = &self.config.token_file {
            options = options.token(secret::read(path)?);
        }
        if let (Some(user), Some(path)) = (&self.config.username, &self.config.password_file) {
            options = options.user_and_password(user.clone(), secret::read(path)?);
        }
        if let Some(path) = &self.config.credentials_file {
            let bytes = secret::read_private(path)?;
            let malformed = || SecretError::Malformed {
                path: PathBuf::from(path),
            };
            let text = String::from_utf8(bytes).map_err(|_| malformed())?;
            options = options.credentials(&text).map_err(|_| malformed())?;
        }
        Ok(options)
    }

    /// The connection there is, or a new one.
    async fn stream(&mut self) -> Result<&Context, String> {
        let replaced = self.files.changed();
        if let Some((client, _)) = &self.stream
            && (replaced || client.connection_state() != State::Connected)
        {
            // One that the library would bring back by itself would meanwhile queue in memory what the outbox keeps.
            self.stream = None;
        }
        if self.stream.is_none() {
            let options = self.options().map_err(|error| error.to_string())?;
            let client = options
                .connect(&self.config.urls)
                .await
                .map_err(|error| with_causes(&error))?;
            let context = jetstream::context::ContextBuilder::new()
                .timeout(self.limit)
                .ack_timeout(self.limit)
                .build(client.clone());
            self.stream = Some((client, context));
        }
        let (_, context) = self.stream.as_ref().expect("made above");
        Ok(context)
    }

    async fn publish(&mut self, event: &Event) -> Reply {
        let (subject, message_id) = match event.parse() {
            Ok(parsed) => (
                subject(&self.config.subject, &parsed.source, &parsed.kind),
                // An id alone is unique on its host only: two hosts' heartbeats of one number are two events.
                format!("{}/{}", parsed.source, event.id),
            ),
            Err(reason) => return Reply::Refused(reason),
        };
        let context = match self.stream().await {
            Ok(context) => context,
            Err(reason) => return Reply::retry(reason),
        };
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, message_id.as_str());
        headers.insert("Content-Type", "application/cloudevents+json");
        let publish = context.publish_with_headers(subject, headers, event.body.clone());
        let acknowledgement = match publish.await {
            Ok(acknowledgement) => acknowledgement,
            Err(error) => return failed(&error),
        };
        match acknowledgement.await {
            Ok(stored) => {
                let again = if stored.duplicate {
                    ", a repetition"
                } else {
                    ""
                };
                Reply::Delivered(format!(
                    "stream {} number {}{again}",
                    stored.stream, stored.sequence
                ))
            }
            Err(error) => failed(&error),
        }
    }
}

impl Sink for Nats {
    fn send<'a>(&'a mut self, events: &'a [Event]) -> Pending<'a, Reply> {
        Box::pin(async move {
            let mut last = Reply::Delivered("nothing to tell".to_owned());
            for event in events {
                last = self.publish(event).await;
                if !matches!(last, Reply::Delivered(_)) {
                    break;
                }
            }
            last
        })
    }
}

fn failed(error: &jetstream::context::PublishError) -> Reply {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            Reply::Refused("larger than the server takes".to_owned())
        }
        PublishErrorKind::StreamNotFound => Reply::retry("no stream listens to this subject"),
        _ => Reply::retry(with_causes(error)),
    }
}

/// `<prefix>.<host id>.<type without its first word>`; what would split or match a token becomes `_`.
fn subject(prefix: &str, source: &str, kind: &str) -> String {
    let host = source.strip_prefix(SOURCE_PREFIX).unwrap_or(source);
    let token = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "-_".contains(c) => c,
        _ => '_',
    };
    let host: String = host.chars().map(token).collect();
    let kind = kind.strip_prefix("detector.").unwrap_or(kind);
    format!("{prefix}.{host}.{kind}")
}

#[cfg(test)]
mod tests;
