//! What the tests of several sinks share: a receiver on loopback that follows a script, and one delivery.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time,
};

use super::{Class, Counters, Delivery, Event, Queue, StartError, queue::QueueFeed};
use crate::{
    config,
    event::{CloudEvent, Data, Drill, HostInfo, Sequence},
    incident::Severity,
    output::Change,
};

/// How the server treats one request.
#[derive(Clone, Copy)]
pub enum Act {
    /// These bytes, then the connection is closed.
    Answer(&'static str),
    /// A reset in place of an answer.
    Reset,
    /// These bytes, and nothing more until the client leaves.
    Stall(&'static str),
}

pub const OK: Act =
    Act::Answer("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
pub const ERROR: Act =
    Act::Answer("HTTP/1.1 500 Oops\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops");
pub const REFUSED: Act = Act::Answer(
    "HTTP/1.1 400 Bad Request\r\ncontent-length: 13\r\nconnection: close\r\n\r\nno \x1b[31m data",
);

/// A request as it came.
#[derive(Debug)]
pub struct Received {
    /// Lower case.
    pub head: String,
    pub body: String,
    pub at: Instant,
}

/// A receiver on 127.0.0.1 that follows a script, then keeps to its last line.
pub struct Server {
    pub url: String,
    pub received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    pub async fn start(script: impl IntoIterator<Item = Act>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let mut script: VecDeque<Act> = script.into_iter().collect();
        let log = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let act = match script.len() {
                    1 => script[0],
                    _ => script.pop_front().unwrap(),
                };
                serve(stream, act, &log).await;
            }
        });
        Server { url, received }
    }

    pub fn bodies(&self) -> Vec<String> {
        let received = self.received.lock().unwrap();
        received
            .iter()
            .map(|request| request.body.clone())
            .collect()
    }
}

async fn serve(mut stream: TcpStream, act: Act, log: &Mutex<Vec<Received>>) {
    let mut bytes = Vec::new();
    let received = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next());
        // A GET announces none.
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if body.len() == length {
            let body = body.to_owned();
            let at = Instant::now();
            break Received { head, body, at };
        }
    };
    log.lock().unwrap().push(received);
    match act {
        Act::Answer(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Act::Reset => stream.set_zero_linger().unwrap(),
        Act::Stall(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            // Ends when the client closes.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
}

/// A receiver whose waits are short and whose time limit is out of the way.
pub fn quick(kind: config::SinkKind) -> config::Sink {
    let mut sink = config::Sink::new(kind);
    sink.common.retry_initial_ms = 1;
    sink.common.retry_max_ms = 5;
    sink.common.timeout_ms = 60_000;
    sink
}

/// An event whose body says nothing but its id.
pub fn event(id: &str) -> Event {
    Event {
        sequence: id
            .bytes()
            .fold(7, |sum: u64, byte| sum.wrapping_mul(257) ^ u64::from(byte)),
        id: id.to_owned(),
        class: Class::Incident,
        severity: Some(Severity::Critical),
        subject: format!("incident of {id}"),
        body: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
    }
}

pub fn bodies(ids: &[&str]) -> Vec<String> {
    ids.iter()
        .map(|id| format!("{{\"id\":\"{id}\"}}"))
        .collect()
}

/// The only receiver of a delivery.
pub fn only(config: &config::Sink) -> BTreeMap<String, config::Sink> {
    BTreeMap::from([("it".to_owned(), config.clone())])
}

/// Receivers that take from queues in memory, each with room for a thousand events.
#[derive(Debug)]
pub struct Queued {
    delivery: Delivery,
    queues: RefCell<BTreeMap<String, Queue>>,
}

impl Queued {
    pub fn start(sinks: &BTreeMap<String, config::Sink>) -> Result<Queued, StartError> {
        let queues = RefCell::default();
        let delivery = Delivery::start(sinks, |name| feed(&queues, name))?;
        Ok(Queued { delivery, queues })
    }

    pub fn reconfigure(
        &mut self,
        sinks: &BTreeMap<String, config::Sink>,
    ) -> Result<(), StartError> {
        let queues = &self.queues;
        self.delivery.reconfigure(sinks, |name| feed(queues, name))
    }

    pub fn send(&self, event: &Event) {
        for queue in self.queues.borrow().values() {
            assert_eq!(queue.push(event.clone()), None, "there is room");
        }
    }

    pub fn depth(&self) -> usize {
        self.queues.borrow().values().map(Queue::len).sum()
    }

    pub async fn stop(self, limit: Duration) -> BTreeMap<String, Counters> {
        self.queues.borrow().values().for_each(Queue::close);
        self.delivery.stop(limit).await
    }
}

impl std::ops::Deref for Queued {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

fn feed(queues: &RefCell<BTreeMap<String, Queue>>, name: &str) -> QueueFeed {
    let mut queues = queues.borrow_mut();
    let queue = queues
        .entry(name.to_owned())
        .or_insert_with(|| Queue::new(1_000));
    queue.feed()
}

/// Sends the events, waits until all are settled, and ends the sink.
pub async fn deliver(config: &config::Sink, events: impl IntoIterator<Item = Event>) -> Counters {
    let delivery = Queued::start(&only(config)).expect("a sink that works");
    events.into_iter().for_each(|event| delivery.send(&event));
    delivery.stop(Duration::from_secs(30)).await["it"]
}

/// The counters of the only receiver.
pub fn counters(delivery: &Delivery) -> Counters {
    delivery.counters().next().expect("one receiver").1
}

/// Waits on a condition, with a deadline.
pub async fn until(condition: impl Fn() -> bool) {
    let watch = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(Duration::from_secs(30), watch)
        .await
        .expect("the condition holds within 30 s");
}

pub fn host() -> HostInfo {
    HostInfo {
        id: "h-1".to_owned(),
        name: "web03".to_owned(),
        cpu_count: 2,
        agent_id: "a-1".to_owned(),
        kernel: Some("6.1.0".to_owned()),
        ..HostInfo::default()
    }
}

/// 2026-01-02T03:04:05Z.
pub const OPENED_UNIX_NS: i64 = 1_767_323_045_000_000_000;

/// The steps of one incident, ten seconds apart, each with its severity.
pub fn life(steps: &[(Change, Severity)]) -> Vec<CloudEvent> {
    let mut sequence = Sequence::after(40);
    let mut out = Vec::new();
    for (number, (change, severity)) in (0..).zip(steps) {
        let drill = Drill {
            incident: "0190-1".to_owned(),
            severity: *severity,
            opened_unix_ns: OPENED_UNIX_NS,
        };
        let now = OPENED_UNIX_NS + number * 10_000_000_000;
        out.push(drill.event(*change, now, &host(), &mut sequence));
    }
    out
}

/// Opened, updated, resolved: all critical.
pub fn whole_life() -> Vec<CloudEvent> {
    life(&[
        (Change::Opened, Severity::Critical),
        (Change::Updated, Severity::Critical),
        (Change::Resolved, Severity::Critical),
    ])
}

/// The payload of an incident's event.
pub fn data(event: &mut CloudEvent) -> &mut crate::event::IncidentData {
    match &mut event.data {
        Data::Incident(data) => data,
        other => panic!("no incident: {other:?}"),
    }
}
