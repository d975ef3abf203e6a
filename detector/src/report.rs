//! From what happened to who is told: events, numbered, to every sink.

use std::{collections::HashMap, io::IsTerminal as _, time::Duration};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{
    config::Config,
    deliver::{
        Delivery, Event, StartError,
        sink::{Stdout, stdout},
    },
    event::{self, CloudEvent, Data, HeartbeatDetector, HostInfo, Sequence},
    incident::{Finding, Incident},
    output::Change,
    render::{self, Style},
    runtime::RunError,
    source::scan::Clock,
};

/// What goes to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Blocks for people.
    Human,
    /// One CloudEvents object a line.
    Json,
}

/// Tells.
pub struct Report {
    host: HostInfo,
    sequence: Sequence,
    format: Format,
    style: Style,
    stdout: Stdout,
    delivery: Delivery,
    config_digest: String,
    /// Severity each open incident was last shown with in full.
    shown: HashMap<String, String>,
}

impl Report {
    /// Starts the sinks.
    ///
    /// # Errors
    /// A sink cannot start.
    pub fn start(
        host: HostInfo,
        config: &Config,
        format: Format,
        now: Clock,
    ) -> Result<Self, RunError> {
        let delivery = Delivery::start(&config.sink)?;
        Ok(Report {
            host,
            // Without a state file a number must not come again after a restart: milliseconds since
            // 1970 stay ahead of any earlier run that made fewer than a thousand events a second.
            sequence: Sequence::after(u64::try_from(now.unix_ns / 1_000_000).unwrap_or(0)),
            format,
            style: Style {
                colour: std::io::stdout().is_terminal(),
            },
            stdout: Stdout::spawn()?,
            delivery,
            config_digest: digest(config),
            shown: HashMap::new(),
        })
    }

    /// The daemon began; what it lacks is said at once.
    pub fn started(&mut self, degraded: &[String], now: Clock) {
        let event = event::started("start", now.unix_ns, &self.host, &mut self.sequence);
        self.send(event);
        for reason in degraded {
            tracing::warn!(reason, "degraded");
            let event = event::degraded(reason, now.unix_ns, &self.host, &mut self.sequence);
            self.send(event);
        }
    }

    /// An incident began, changed or ended.
    pub fn incident(&mut self, change: Change, incident: &Incident) {
        let event = event::from_incident(incident, change, &self.host, &mut self.sequence);
        self.send(event);
    }

    /// A signal that woke nobody. On the wire it is opt-in: it goes to the log.
    pub fn finding(&mut self, finding: &Finding) {
        tracing::debug!(kind = finding.kind.name(), process = ?finding.process, "finding");
    }

    /// Says that the daemon lives, and how.
    pub fn heartbeat(&mut self, vitals: HeartbeatDetector, now: Clock) {
        let vitals = HeartbeatDetector {
            config_digest: self.config_digest.clone(),
            last_sequence: self.sequence.last(),
            outbox_depth: self.delivery.depth() as u64,
            ..vitals
        };
        let event = event::heartbeat(vitals, now.unix_ns, &self.host, &mut self.sequence);
        self.send(event);
    }

    /// Another configuration is in force: receivers that changed are started anew.
    ///
    /// # Errors
    /// A receiver cannot start; all old ones go on.
    pub fn reconfigured(&mut self, config: &Config) -> Result<(), StartError> {
        self.delivery.reconfigure(&config.sink)?;
        self.config_digest = digest(config);
        Ok(())
    }

    /// Says that a receiver refuses incidents, once for each time it began to.
    pub fn refusals(&mut self, now: Clock) {
        for reason in self.delivery.take_refusals() {
            let event = event::degraded(&reason, now.unix_ns, &self.host, &mut self.sequence);
            self.send(event);
        }
    }

    /// What sinks could not take or deliver since the start, by name.
    pub fn losses(&self) -> [(&'static str, u64); 3] {
        let [dropped, dead_lettered] = self.delivery.losses();
        [
            (stdout::LOSS, self.stdout.dropped()),
            dropped,
            dead_lettered,
        ]
    }

    /// The last event, then everything queued is delivered, for at most `patience`.
    pub async fn stop(mut self, now: Clock, patience: Duration) {
        let event = event::stopped("stop", now.unix_ns, &self.host, &mut self.sequence);
        self.send(event);
        for (sink, counters) in self.delivery.stop(patience).await {
            tracing::info!(sink, ?counters, "receiver");
        }
        let dropped = self.stdout.shutdown(patience);
        if dropped > 0 {
            tracing::error!(dropped, "texts were not written to standard output");
        }
    }

    fn send(&mut self, event: CloudEvent) {
        let written = Event::new(&event);
        match self.format {
            Format::Json => {
                let mut line = Vec::with_capacity(written.body.len() + 1);
                line.extend_from_slice(&written.body);
                line.push(b'\n');
                self.stdout.send(Bytes::from(line));
            }
            Format::Human => {
                if let Some(text) = self.for_people(&event) {
                    self.stdout.send(Bytes::from(text));
                }
            }
        }
        self.delivery.send(&written);
    }

    /// The whole block when it is new or worse than it was shown, a line otherwise.
    fn for_people(&mut self, event: &CloudEvent) -> Option<String> {
        let Data::Incident(data) = &event.data else {
            return None;
        };
        let incident = &data.incident;
        if incident.resolved_at.is_some() {
            self.shown.remove(&incident.id);
            return Some(render::resolved(data, self.style) + "\n");
        }
        let shown = self
            .shown
            .insert(incident.id.clone(), incident.severity.clone());
        if shown.as_ref() == Some(&incident.severity) {
            Some(render::updated(data, self.style) + "\n")
        } else {
            Some(render::incident(data, self.style) + "\n")
        }
    }
}

/// The first 16 hexadecimal digits tell two configurations apart.
pub(crate) fn digest(config: &Config) -> String {
    let text = toml::to_string(config).expect("a configuration that was read can be written");
    let hash = Sha256::digest(text.as_bytes());
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
