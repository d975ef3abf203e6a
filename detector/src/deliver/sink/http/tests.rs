use std::time::Duration;

use super::*;
use crate::deliver::{
    Counters,
    sink::secret::SecretError,
    testing::{
        Act, ERROR, OK, Queued, REFUSED, Server, bodies, counters, event, only, quick, until,
    },
};

fn to(url: &str, mode: Mode) -> config::Sink {
    quick(config::SinkKind::Http(config::HttpSink {
        url: url.to_owned(),
        mode,
    }))
}

fn config(url: &str) -> config::Sink {
    to(url, Mode::Structured)
}

async fn deliver(config: &config::Sink, ids: &[&str]) -> Counters {
    crate::deliver::testing::deliver(config, ids.iter().map(|id| event(id))).await
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
    let mut quick = config(&server.url);
    quick.common.timeout_ms = 300;
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
    let mut quick = config(&server.url);
    quick.common.timeout_ms = 300;
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
    let sinks = Queued::start(&only(&config(&server.url))).unwrap();
    sinks.send(&event("a"));
    until(|| sinks.depth() == 0).await;
    let counters = counters(&sinks);
    assert_eq!((counters.delivered, counters.retried), (1, 1));
    let received = server.received.lock().unwrap();
    let waited = received[1].at.duration_since(received[0].at);
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
}

#[tokio::test]
async fn shutdown_does_not_sleep_through_a_long_wait() {
    let server = Server::start([ERROR, OK]).await;
    let mut patient = config(&server.url);
    patient.common.retry_initial_ms = 3_600_000;
    patient.common.retry_max_ms = 3_600_000;
    let sinks = Queued::start(&only(&patient)).unwrap();
    sinks.send(&event("a"));
    until(|| counters(&sinks).retried == 1).await;
    let counters = sinks.stop(Duration::from_secs(30)).await["it"];
    assert_eq!((counters.delivered, counters.retried), (1, 1));
}

#[tokio::test]
async fn token_is_read_again_when_its_file_is_replaced_and_never_from_an_exposed_one() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let write = |token: &str, mode| {
        std::fs::write(&path, token).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    };
    write("s3cret\n", 0o600);
    let server = Server::start([OK]).await;
    let mut secret = config(&server.url);
    secret.web.bearer_token_file = Some(path.clone());
    let sinks = Queued::start(&only(&secret)).unwrap();
    let head = async |number: usize| {
        until(|| server.received.lock().unwrap().len() > number).await;
        server.received.lock().unwrap()[number].head.clone()
    };
    sinks.send(&event("a"));
    assert!(head(0).await.contains("authorization: bearer s3cret\r\n"));
    write("another-one\n", 0o600);
    sinks.send(&event("b"));
    assert!(
        head(1)
            .await
            .contains("authorization: bearer another-one\r\n")
    );
    write("exposed\n", 0o644);
    sinks.send(&event("c"));
    // The old one stays in force.
    assert!(
        head(2)
            .await
            .contains("authorization: bearer another-one\r\n")
    );

    let error = Queued::start(&only(&secret)).expect_err("refused");
    assert!(matches!(
        error.source,
        SinkError::Secret(SecretError::Exposed { .. })
    ));
    assert!(error.to_string().starts_with("sink.it: "), "{error}");
}

#[tokio::test]
async fn password_goes_as_basic_authentication() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "open sesame\n").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let server = Server::start([OK]).await;
    let mut secret = config(&server.url);
    secret.web.username = Some("aladdin".to_owned());
    secret.web.password_file = Some(path);
    deliver(&secret, &["a"]).await;
    // aladdin:open sesame, in lower case as the recorder keeps heads.
    let head = server.received.lock().unwrap()[0].head.clone();
    assert!(
        head.contains("authorization: basic ywxhzgrpbjpvcgvuihnlc2ftzq==\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn proxy_is_asked_for_the_whole_address() {
    let proxy = Server::start([OK]).await;
    let mut behind = config("http://receiver.invalid/events");
    behind.web.proxy = Some(proxy.url.clone());
    assert_eq!(deliver(&behind, &["a"]).await.delivered, 1);
    let head = proxy.received.lock().unwrap()[0].head.clone();
    assert!(
        head.starts_with("post http://receiver.invalid/events http/1.1"),
        "{head}"
    );
}

#[tokio::test]
async fn private_authority_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, "no certificate\n").unwrap();
    let mut private = config("https://127.0.0.1:1/");
    private.tls.ca_file = Some(path);
    let error = Queued::start(&only(&private)).expect_err("refused");
    assert!(matches!(error.source, SinkError::Certificate { .. }));
}

#[tokio::test]
async fn batch_is_one_array_and_a_refused_one_is_sent_again_one_by_one() {
    let server = Server::start([ERROR, REFUSED, OK, REFUSED, OK]).await;
    let sinks = to(&server.url, Mode::Batch);
    let counters = deliver(&sinks, &["a", "b", "c"]).await;
    let all = r#"[{"id":"a"},{"id":"b"},{"id":"c"}]"#;
    assert_eq!(
        server.bodies(),
        [
            all,
            all,
            r#"[{"id":"a"}]"#,
            r#"[{"id":"b"}]"#,
            r#"[{"id":"c"}]"#
        ]
    );
    assert_eq!(
        counters,
        Counters {
            delivered: 2,
            retried: 1,
            dead_lettered: 1,
        }
    );
    let received = server.received.lock().unwrap();
    for request in &*received {
        let expected = "content-type: application/cloudevents-batch+json";
        assert!(request.head.contains(expected), "{}", request.head);
    }
}
