//! Events to send: test incidents and heartbeats of hosts by name, and sinks from a text of configuration.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    time::{Duration, SystemTime},
};

use detector::{
    config::Config,
    deliver::{Counters, Delivery, Event, Queue},
    event::{
        self, CloudEvent, Data, Drill, HashFields, HeartbeatDetector, HostInfo, ProcessFields,
        Sequence,
    },
    incident::Severity,
    output::Change,
};

/// A host that tells its story.
pub struct Host {
    info: HostInfo,
    sequence: Sequence,
    /// When each incident was opened, by id.
    opened: HashMap<String, i64>,
}

impl Host {
    pub fn new(name: &str) -> Host {
        Host {
            info: HostInfo {
                id: format!("id-of-{name}"),
                name: name.to_owned(),
                agent_id: name.to_owned(),
                cpu_count: 2,
                ..HostInfo::default()
            },
            sequence: Sequence::after(0),
            opened: HashMap::new(),
        }
    }

    /// A step of an incident that is opened by its first one; with the hash of its executable, where given.
    pub fn incident(
        &mut self,
        id: &str,
        change: Change,
        severity: Severity,
        sha256: Option<&str>,
    ) -> CloudEvent {
        let drill = Drill {
            incident: id.to_owned(),
            severity,
            opened_unix_ns: *self.opened.entry(id.to_owned()).or_insert_with(now_unix_ns),
        };
        let mut event = drill.event(change, now_unix_ns(), &self.info, &mut self.sequence);
        if let (Data::Incident(data), Some(sha256)) = (&mut event.data, sha256) {
            data.process = Some(process(sha256));
        }
        event
    }

    /// Opened, critical.
    pub fn opened(&mut self, id: &str) -> CloudEvent {
        self.incident(id, Change::Opened, Severity::Critical, None)
    }

    pub fn heartbeat(&mut self) -> CloudEvent {
        event::heartbeat(
            HeartbeatDetector::default(),
            now_unix_ns(),
            &self.info,
            &mut self.sequence,
        )
    }
}

fn now_unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_nanos()).expect("before 2262")
}

fn process(sha256: &str) -> ProcessFields {
    let process = serde_json::json!({
        "entity_id": "e", "pid": 902, "start": "2026-01-02T03:04:05Z", "name": "kworkerd",
        "executable": "/var/www/kworkerd", "args": ["kworkerd"], "ancestors": [],
    });
    let mut process: ProcessFields = serde_json::from_value(process).expect("a process");
    process.hash = Some(HashFields {
        sha256: sha256.to_owned(),
    });
    process
}

/// Sinks that take from queues in memory, which hold more than any test sends.
pub struct Sinks {
    queues: BTreeMap<String, Queue>,
    delivery: Delivery,
}

impl std::ops::Deref for Sinks {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

impl Sinks {
    /// Events that are not settled, summed over sinks.
    pub fn depth(&self) -> usize {
        self.queues.values().map(Queue::len).sum()
    }

    /// Goes over to another configuration of the same receivers.
    pub fn reload(&mut self, config: &Config) {
        let queues = &self.queues;
        let reloaded = self
            .delivery
            .reconfigure(&config.sink, |name| queues[name].feed());
        reloaded.expect("sinks that start");
    }

    /// Delivers what is queued, all of it, and says what was done for each sink.
    pub async fn stop(self) -> BTreeMap<String, Counters> {
        self.queues.values().for_each(Queue::close);
        let counters = self.delivery.stop(Duration::from_secs(60)).await;
        for queue in self.queues.values() {
            assert_eq!((queue.len(), queue.dropped()), (0, 0));
        }
        counters
    }
}

/// The sinks of a configuration.
pub fn sinks(config: &str) -> Sinks {
    let config = Config::parse(Path::new("test.toml"), config).expect("a configuration");
    let queue = |name: &String| (name.clone(), Queue::new(10_000));
    let queues: BTreeMap<String, Queue> = config.sink.keys().map(queue).collect();
    let delivery = Delivery::start(&config.sink, |name| queues[name].feed());
    Sinks {
        delivery: delivery.expect("sinks that start"),
        queues,
    }
}

pub fn send(sinks: &Sinks, event: &CloudEvent) {
    for queue in sinks.queues.values() {
        queue.push(Event::new(event));
    }
}

/// Delivers what is queued and gives (delivered, dead-lettered) of the only sink.
pub async fn finish(sinks: Sinks) -> (u64, u64) {
    let counters = sinks.stop().await;
    let counters = counters.into_values().next().expect("one sink");
    (counters.delivered, counters.dead_lettered)
}
