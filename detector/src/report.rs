//! From what happened to who is told: events, numbered, kept by the state and from there to every sink.

use std::{collections::HashMap, io::IsTerminal as _, time::Duration};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{
    config::Config,
    deliver::{
        Class, Delivery, Event, Ping, StartError,
        sink::{Stdout, stdout},
    },
    event::{self, CloudEvent, Data, HeartbeatDetector, HostInfo, Sequence},
    incident::{Finding, Incident},
    metrics::Page,
    output::Change,
    render::{self, Style},
    runtime::RunError,
    source::scan::Clock,
    state::{self, Earlier, StoredFinding, StoredIncident},
    supervisor::Supervisor,
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
    state: state::Handle,
    delivery: Delivery,
    /// What earlier runs told about incidents that go on.
    earlier: HashMap<String, Box<event::IncidentData>>,
    ping: Option<Ping>,
    supervisor: Supervisor,
    config_digest: String,
    /// Some receiver asks for findings.
    sends_findings: bool,
    /// Severity each open incident was last shown with in full.
    shown: HashMap<String, String>,
}

impl Report {
    /// Starts the sinks and opens the state. Gives what it knew beside.
    ///
    /// # Errors
    /// A sink or a thread cannot start.
    pub fn start(
        host: HostInfo,
        config: &Config,
        format: Format,
        now: Clock,
    ) -> Result<(Self, state::Before), RunError> {
        let stdout = Stdout::spawn()?;
        let path = state::path(config.state.path.as_deref());
        let sinks: Vec<String> = config.sink.keys().cloned().collect();
        let show = Box::new(stdout.sender());
        let (state, before) = state::start(&path, &config.state, &sinks, show, now.unix_ns)?;
        let delivery = Delivery::start(&config.sink, |name| state.feed(name))?;
        let report = Report {
            host,
            sequence: Sequence::after(before.last_sequence),
            format,
            style: Style {
                colour: std::io::stdout().is_terminal(),
            },
            stdout,
            state,
            delivery,
            earlier: HashMap::new(),
            ping: ping(config)?,
            supervisor: Supervisor::from_environment(),
            config_digest: digest(config),
            sends_findings: sends_findings(config),
            shown: HashMap::new(),
        };
        Ok((report, before))
    }

    /// The state, to be told what is seen.
    pub fn state(&mut self) -> &mut state::Handle {
        &mut self.state
    }

    /// This boot.
    pub fn boot_id(&self) -> Option<&str> {
        self.host.boot_id.as_deref()
    }

    /// The daemon began; what it lacks is said at once.
    pub fn started(&mut self, degraded: &[String], now: Clock) {
        let event = event::started("start", now.unix_ns, &self.host, &mut self.sequence);
        self.send(event);
        for reason in degraded {
            self.degraded(reason, None, now);
        }
    }

    /// Something is worse than it should be. `gap`: the gap in the outbox that this declares.
    pub fn degraded(&mut self, reason: &str, gap: Option<u64>, now: Clock) {
        tracing::warn!(reason, "degraded");
        let event = event::degraded(reason, now.unix_ns, &self.host, &mut self.sequence);
        self.keep(event, None, gap);
    }

    /// Somebody keeps it from seeing.
    pub fn tampered(&mut self, reason: &str, now: Clock) {
        tracing::error!(reason, "tampered with");
        let event = event::tampered(reason, now.unix_ns, &self.host, &mut self.sequence);
        self.send(event);
    }

    /// An incident of an earlier run: goes on, or is over.
    pub fn earlier(&mut self, earlier: Earlier, now: Clock) {
        if earlier.resumed.is_some() {
            self.earlier.insert(earlier.stored.id, earlier.data);
            return;
        }
        let event = event::restart::ended(
            (*earlier.data).clone(),
            state::RESTARTED,
            now.unix_ns,
            &self.host,
            &mut self.sequence,
        );
        self.keep(
            event,
            Some(Kept::Ended(Box::new(earlier), now.unix_ns)),
            None,
        );
    }

    /// An incident began, changed or ended.
    pub fn incident(&mut self, change: Change, incident: &Incident) {
        let mut event = event::from_incident(incident, change, &self.host, &mut self.sequence);
        if let Data::Incident(data) = &mut event.data
            && let Some(earlier) = self.earlier.get(&data.incident.id)
        {
            event::restart::merge(earlier, data);
        }
        if change == Change::Resolved {
            self.earlier.remove(&incident.id.to_string());
        }
        self.keep(event, Some(Kept::Changed(incident)), None);
    }

    /// A signal that woke nobody: kept, and sent where a receiver asks for them. Only what is sent is numbered.
    pub fn finding(&mut self, finding: &Finding) {
        tracing::debug!(kind = finding.kind.name(), process = ?finding.process, "finding");
        let at = finding.last_seen_unix_ns;
        let data = event::finding_data(finding, &self.host);
        let json = serde_json::to_vec(&data).expect("a finding is made of strings and numbers");
        self.state.saw_finding(StoredFinding {
            at,
            kind: finding.kind.name().to_owned(),
            severity: finding.severity.name().to_owned(),
            data: json.into(),
        });
        if self.sends_findings {
            let event = event::finding(at, data, &self.host, &mut self.sequence);
            self.send(event);
        }
    }

    /// It watches: every planned probe is attached, the processes that were there are known.
    pub fn ready(&self) {
        self.supervisor.ready();
    }

    /// Rings are drained and a pass is done. systemd is told, unless the state hangs: then nobody would be paged, and a new
    /// start may help.
    ///
    /// A state that goes on in memory counts as alive, though its file cannot be written: a restart would mend no disk,
    /// and lose what memory holds. That is told by `agent.degraded` and in heartbeats, until it is mended.
    pub fn alive(&self) {
        if self.state.is_alive() {
            self.supervisor.alive();
        }
    }

    /// The configuration is read again; [`Report::ready`] ends that.
    pub fn reloading(&self) {
        self.supervisor.reloading();
    }

    /// Says that the daemon lives, and how.
    pub fn heartbeat(&mut self, vitals: HeartbeatDetector, now: Clock) {
        let health = self.state.health();
        if let Some(ping) = &self.ping {
            ping.alive();
        }
        let vitals = HeartbeatDetector {
            config_digest: self.config_digest.clone(),
            last_sequence: self.sequence.last(),
            outbox_depth: health.depth,
            state_durable: health.is_durable,
            dead_letters: health.dead_letters,
            collapsed: health.collapsed,
            superseded: health.superseded,
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
        let ping = ping(config)?;
        let sinks: Vec<String> = config.sink.keys().cloned().collect();
        let state = &self.state;
        self.delivery
            .reconfigure(&config.sink, |name| state.feed(name))?;
        self.state.set_sinks(sinks);
        self.ping = ping;
        self.host.redactor = config.privacy.redactor();
        self.config_digest = digest(config);
        self.sends_findings = sends_findings(config);
        Ok(())
    }

    /// Says that a receiver refuses incidents, once for each time it began to.
    pub fn refusals(&mut self, now: Clock) {
        for reason in self.delivery.take_refusals() {
            self.degraded(&reason, None, now);
        }
    }

    /// What is written survives the program; `false`: only the memory has it.
    pub fn is_durable(&self) -> bool {
        self.state.health().is_durable
    }

    /// How events go out, for whoever measures.
    pub fn tell(&self, page: &mut Page) {
        let health = self.state.health();
        page.gauge(
            "detector_outbox_depth",
            "Events that the slowest receiver does not have yet.",
        )
        .is(health.depth);
        page.gauge(
            "detector_dead_letters",
            "Events kept that a receiver refused for good.",
        )
        .is(health.dead_letters);
        page.counter(
            "detector_events_collapsed",
            "Updates that became part of a later one, since the state file was made.",
        )
        .is(health.collapsed);
        page.gauge(
            "detector_state_durable",
            "Events are on disk before they are sent.",
        )
        .is(health.is_durable);
        page.gauge("detector_last_sequence", "Number of the event made last.")
            .is(self.sequence.last());
        let deliveries = page.counter(
            "detector_deliveries",
            "Events by receiver and what became of them; retried are attempts.",
        );
        for (sink, counters) in self.delivery.counters() {
            deliveries
                .with(
                    [("sink", sink), ("result", "delivered")],
                    counters.delivered,
                )
                .with([("sink", sink), ("result", "retried")], counters.retried)
                .with(
                    [("sink", sink), ("result", "refused")],
                    counters.dead_lettered,
                );
        }
    }

    /// What sinks could not take or deliver since the start, by name.
    pub fn losses(&self) -> [(&'static str, u64); 4] {
        let [dropped, forgotten] = self.state.losses();
        [
            (stdout::LOSS, self.stdout.dropped()),
            dropped,
            forgotten,
            self.delivery.loss(),
        ]
    }

    /// The last event, then everything queued is delivered, for at most `patience`.
    pub async fn stop(mut self, why: &str, now: Clock, patience: Duration) {
        self.supervisor.stopping();
        let event = event::stopped(why, now.unix_ns, &self.host, &mut self.sequence);
        self.send(event);
        self.state.close().await;
        for (sink, counters) in self.delivery.stop(patience).await {
            tracing::info!(sink, ?counters, "receiver");
        }
        let waiting = self.state.health().depth;
        if waiting > 0 {
            tracing::warn!(waiting, "events wait in the outbox for the next start");
        }
        if !self.state.stop(patience).await {
            tracing::error!("the state was not written to its end");
        }
        let dropped = self.stdout.shutdown(patience);
        if dropped > 0 {
            tracing::error!(dropped, "texts were not written to standard output");
        }
    }

    fn send(&mut self, event: CloudEvent) {
        self.keep(event, None, None);
    }

    /// Gives an event to the state, which gives it to everybody else.
    fn keep(&mut self, event: CloudEvent, incident: Option<Kept<'_>>, declares: Option<u64>) {
        let text = match self.format {
            Format::Json => None,
            Format::Human => self.for_people(&event).map(Bytes::from),
        };
        let ready = Event::new(&event);
        let text = match self.format {
            Format::Human => text,
            Format::Json => Some([&ready.body[..], b"\n"].concat().into()),
        };
        let body = ready.body.clone();
        let incident = match (incident, &event.data) {
            (Some(Kept::Changed(incident)), Data::Incident(data)) => {
                let boot_id = self.host.boot_id.as_deref();
                Some(StoredIncident::new(incident, data, boot_id, body.clone()))
            }
            (Some(Kept::Ended(earlier, at)), _) => Some(earlier.ended(body.clone(), at)),
            _ => None,
        };
        self.state.record(state::Record {
            event: ready,
            incident,
            text,
            declares,
        });
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

fn sends_findings(config: &Config) -> bool {
    let mut sinks = config.sink.values();
    sinks.any(|sink| sink.events().contains(&Class::Finding))
}

fn ping(config: &Config) -> Result<Option<Ping>, StartError> {
    Ping::start(&config.heartbeat).map_err(|source| StartError {
        section: "heartbeat".to_owned(),
        source,
    })
}

/// The incident that an event is about, as it has to be kept with it.
enum Kept<'a> {
    Changed(&'a Incident),
    Ended(Box<Earlier>, i64),
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
