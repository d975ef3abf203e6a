use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// How the server treats one request.
#[derive(Clone, Copy)]
enum Act {
    /// These bytes, then the connection is closed.
    Answer(&'static str),
    /// A reset in place of an answer.
    Reset,
    /// These bytes, and nothing more until the client leaves.
    Stall(&'static str),
}

const OK: Act =
    Act::Answer("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
const ERROR: Act =
    Act::Answer("HTTP/1.1 500 Oops\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops");
const REFUSED: Act = Act::Answer(
    "HTTP/1.1 400 Bad Request\r\ncontent-length: 12\r\nconnection: close\r\n\r\nno \x1b[31m data",
);

/// A request as it came.
#[derive(Debug)]
struct Received {
    head: String,
    body: String,
    at: Instant,
}

/// A receiver on 127.0.0.1 that follows a script, then keeps to its last line.
struct Server {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    async fn start(script: impl IntoIterator<Item = Act>) -> Server {
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

    fn bodies(&self) -> Vec<String> {
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
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
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

fn config(url: &str) -> config::Http {
    config::Http {
        retry_initial_ms: 1,
        retry_max_ms: 5,
        timeout_ms: 60_000,
        ..config::Http::new(url)
    }
}

fn event(id: &str) -> Event {
    Event {
        id: id.to_owned(),
        kind: Kind::Incident,
        subject: "incident".to_owned(),
        body: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
    }
}

fn bodies(ids: &[&str]) -> Vec<String> {
    ids.iter()
        .map(|id| format!("{{\"id\":\"{id}\"}}"))
        .collect()
}

/// Sends the events, waits until all are settled, and ends the sink.
async fn deliver(config: &config::Http, ids: &[&str]) -> Counters {
    let sink = HttpSink::spawn(config).unwrap();
    ids.iter().for_each(|id| sink.send(event(id)));
    sink.shutdown(Duration::from_secs(30)).await
}

#[tokio::test]
async fn events_arrive_once_in_order_as_structured_cloudevents() {
    let server = Server::start([OK]).await;
    let counters = deliver(&config(&server.url), &["a", "b", "c"]).await;
    assert_eq!(server.bodies(), bodies(&["a", "b", "c"]));
    assert_eq!(
        counters,
        Counters {
            delivered: 3,
            ..Counters::default()
        }
    );
    let received = server.received.lock().unwrap();
    let head = &received[0].head;
    assert!(head.starts_with("post /events http/1.1"), "{head}");
    assert!(
        head.contains("content-type: application/cloudevents+json"),
        "{head}"
    );
    assert!(!head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn failing_receiver_gets_every_event_again_in_order() {
    let redirect = Act::Answer(
        "HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n",
    );
    let server = Server::start([ERROR, ERROR, OK, Act::Reset, redirect, OK]).await;
    let counters = deliver(&config(&server.url), &["a", "b", "c"]).await;
    assert_eq!(
        server.bodies(),
        bodies(&["a", "a", "a", "b", "b", "b", "c"])
    );
    assert_eq!(
        counters,
        Counters {
            delivered: 3,
            retried: 4,
            ..Counters::default()
        }
    );
}

#[tokio::test]
async fn refused_event_is_a_dead_letter_and_does_not_hold_up_the_next() {
    let stalled = Act::Stall("HTTP/1.1 404 No\r\ncontent-length: 5000\r\n\r\nwhy");
    let server = Server::start([REFUSED, stalled, OK]).await;
    let quick = config::Http {
        timeout_ms: 300,
        ..config(&server.url)
    };
    let counters = deliver(&quick, &["a", "b", "c"]).await;
    assert_eq!(server.bodies(), bodies(&["a", "b", "c"]));
    assert_eq!(
        counters,
        Counters {
            delivered: 1,
            dead_lettered: 2,
            ..Counters::default()
        }
    );
}

#[tokio::test]
async fn receiver_that_never_answers_is_left_at_the_time_limit() {
    let server = Server::start([Act::Stall(""), Act::Stall("HTTP/1.1 20"), OK]).await;
    let quick = config::Http {
        timeout_ms: 300,
        ..config(&server.url)
    };
    let counters = deliver(&quick, &["a"]).await;
    assert_eq!(server.bodies(), bodies(&["a", "a", "a"]));
    assert_eq!((counters.delivered, counters.retried), (1, 2));
}

#[tokio::test]
async fn slow_body_of_an_acceptance_does_not_hold_up_the_next_event() {
    let slow = Act::Stall("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nx");
    let server = Server::start([slow, OK]).await;
    let counters = deliver(&config(&server.url), &["a", "b"]).await;
    assert_eq!(server.bodies(), bodies(&["a", "b"]));
    assert_eq!((counters.delivered, counters.retried), (2, 0));
}

#[tokio::test]
async fn busy_receiver_is_left_alone_for_as_long_as_it_asks() {
    let busy = Act::Answer(
        "HTTP/1.1 429 Slow Down\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let server = Server::start([busy, OK]).await;
    let sink = HttpSink::spawn(&config(&server.url)).unwrap();
    sink.send(event("a"));
    settled(&sink).await;
    assert_eq!((sink.counters().delivered, sink.counters().retried), (1, 1));
    let received = server.received.lock().unwrap();
    let waited = received[1].at.duration_since(received[0].at);
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
}

#[tokio::test]
async fn dead_receiver_costs_the_least_important_events_and_all_are_counted() {
    // A port nobody listens on: bound and released.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let small = config::Http {
        queue: 2,
        retry_initial_ms: 3_600_000,
        retry_max_ms: 3_600_000,
        ..config(&url)
    };
    let sink = HttpSink::spawn(&small).unwrap();
    sink.send(event("in flight"));
    until(|| sink.counters().retried == 1).await;
    for id in ["a", "b", "c"] {
        sink.send(Event {
            kind: Kind::Other,
            ..event(id)
        });
    }
    sink.send(event("d"));
    assert_eq!((sink.depth(), sink.counters().dropped), (3, 2));
    let counters = sink.shutdown(Duration::from_millis(50)).await;
    assert_eq!(
        counters,
        Counters {
            // One attempt more, at the beginning of shutdown.
            retried: 2,
            dropped: 2,
            undelivered_at_exit: 3,
            ..Counters::default()
        }
    );
}

#[tokio::test]
async fn shutdown_does_not_sleep_through_a_long_wait() {
    let server = Server::start([ERROR, OK]).await;
    let patient = config::Http {
        retry_initial_ms: 3_600_000,
        retry_max_ms: 3_600_000,
        ..config(&server.url)
    };
    let sink = HttpSink::spawn(&patient).unwrap();
    sink.send(event("a"));
    until(|| sink.counters().retried == 1).await;
    let counters = sink.shutdown(Duration::from_secs(30)).await;
    assert_eq!((counters.delivered, counters.undelivered_at_exit), (1, 0));
}

#[tokio::test]
async fn token_is_sent_from_its_file_and_an_exposed_file_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "s3cret\n").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let server = Server::start([OK]).await;
    let secret = config::Http {
        bearer_token_file: Some(path.clone()),
        ..config(&server.url)
    };
    deliver(&secret, &["a"]).await;
    let head = server.received.lock().unwrap()[0].head.clone();
    assert!(head.contains("authorization: bearer s3cret\r\n"), "{head}");

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let error = HttpSink::spawn(&secret).expect_err("refused");
    assert!(matches!(
        error,
        HttpSinkError::Token(SecretError::Exposed { .. })
    ));
}

#[tokio::test]
async fn private_authority_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, "no certificate\n").unwrap();
    let private = config::Http {
        ca_file: Some(path),
        ..config::Http::new("https://127.0.0.1:1/")
    };
    let error = HttpSink::spawn(&private).expect_err("refused");
    assert!(matches!(error, HttpSinkError::Authorities { .. }));
}

/// Waits on a condition, with a deadline.
async fn until(condition: impl Fn() -> bool) {
    let watch = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(Duration::from_secs(30), watch)
        .await
        .expect("the condition holds within 30 s");
}

async fn settled(sink: &Handle) {
    until(|| sink.depth() == 0).await;
}
