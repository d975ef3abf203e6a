//! Events as a busy host makes them: incidents side by side, each opened, updated many times and resolved.

use detector::{
    deliver::Event,
    event::{self, CloudEvent, Data, Drill, HostInfo, Sequence},
    incident::Severity,
    output::Change,
    state::{Record, StoredIncident},
};

/// A host that numbers its events and tells of `width` incidents at a time, in turn.
#[derive(Debug)]
pub struct Story {
    host: HostInfo,
    sequence: Sequence,
    lives: Vec<Life>,
    next: usize,
    /// Incidents begun so far, and what makes their names unique over restarts.
    begun: u64,
    run: u64,
    steps: u32,
    /// Of incidents that begin from now on.
    pub severity: Severity,
}

#[derive(Debug)]
struct Life {
    drill: Drill,
    /// Events told of it.
    told: u32,
}

impl Story {
    /// Goes on after `last_sequence`. Each incident has `steps` events, the first and the last included.
    #[must_use]
    pub fn new(last_sequence: u64, width: usize, steps: u32) -> Story {
        Story {
            host: HostInfo {
                id: "h-1".to_owned(),
                name: "web03".to_owned(),
                agent_id: "a-1".to_owned(),
                cpu_count: 2,
                ..HostInfo::default()
            },
            sequence: Sequence::after(last_sequence),
            lives: (0..width)
                .map(|_| Life::new(String::new(), Severity::Critical, 0))
                .collect(),
            next: 0,
            begun: 0,
            run: last_sequence,
            steps: steps.max(2),
            severity: Severity::Critical,
        }
    }

    /// Number of the last event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.sequence.last()
    }

    /// The next event, with its incident's state. Standard output gets its number.
    pub fn event(&mut self, now_unix_ns: i64) -> Record {
        let at = self.next;
        self.next = (at + 1) % self.lives.len();
        if self.lives[at].drill.incident.is_empty() {
            let id = format!("i-{}-{}", self.run, self.begun);
            self.begun += 1;
            self.lives[at] = Life::new(id, self.severity, now_unix_ns);
        }
        let life = &mut self.lives[at];
        let change = match life.told {
            0 => Change::Opened,
            told if told + 1 >= self.steps => Change::Resolved,
            _ => Change::Updated,
        };
        life.told += 1;
        let event = life
            .drill
            .event(change, now_unix_ns, &self.host, &mut self.sequence);
        let incident = stored(&event, life.drill.opened_unix_ns, now_unix_ns);
        if change == Change::Resolved {
            life.drill.incident.clear();
        }
        Record {
            incident: Some(incident),
            ..self.record(&event, None)
        }
    }

    /// Says that events were given up: [`detector::state::Gap::total`].
    pub fn declaration(&mut self, total: u64, now_unix_ns: i64) -> Record {
        let event = event::degraded(
            "events given up",
            now_unix_ns,
            &self.host,
            &mut self.sequence,
        );
        self.record(&event, Some(total))
    }

    fn record(&self, event: &CloudEvent, declares: Option<u64>) -> Record {
        Record {
            event: Event::new(event),
            incident: None,
            text: Some(event.sequence.clone().into()),
            declares,
        }
    }
}

impl Life {
    fn new(incident: String, severity: Severity, opened_unix_ns: i64) -> Life {
        let drill = Drill {
            incident,
            severity,
            opened_unix_ns,
        };
        Life { drill, told: 0 }
    }
}

fn stored(event: &CloudEvent, opened: i64, updated: i64) -> StoredIncident {
    let Data::Incident(data) = &event.data else {
        unreachable!("a drill is about an incident")
    };
    let incident = &data.incident;
    StoredIncident {
        id: incident.id.clone(),
        status: incident.status.clone(),
        severity: incident.severity.clone(),
        title: incident.title.clone(),
        group_key: incident.group_key.clone(),
        opened,
        updated,
        resolved: incident.resolved_at.as_ref().map(|_| updated),
        executable: None,
        sha256: None,
        unit: None,
        boot_id: None,
        process: None,
        event: Event::new(event).body,
    }
}
