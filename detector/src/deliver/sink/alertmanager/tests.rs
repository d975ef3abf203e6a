use std::time::Duration;

use super::*;
use crate::deliver::testing::{ERROR, OK, REFUSED, Server, quick, until, whole_life};

fn sink(urls: &[&Server], resend_s: u64) -> Alertmanager {
    let kind = config::AlertmanagerSink {
        urls: urls.iter().map(|server| server.url.clone()).collect(),
        labels: Default::default(),
        resend_s,
        dead_mans_switch: false,
        silent_after_s: 60,
    };
    let config = quick(config::SinkKind::Alertmanager(kind.clone()));
    Alertmanager::new(&kind, &config).unwrap()
}

#[tokio::test]
async fn every_member_gets_every_alert_and_one_that_took_it_is_enough() {
    let (sound, broken) = (Server::start([OK]).await, Server::start([ERROR]).await);
    let mut sink = sink(&[&broken, &sound], 60);
    let events: Vec<Event> = whole_life().iter().map(Event::new).collect();
    for event in &events {
        let reply = sink.send(std::slice::from_ref(event)).await;
        assert!(matches!(reply, Reply::Delivered(_)), "{reply:?}");
    }
    assert_eq!(sound.bodies().len(), 3);
    assert_eq!(
        broken.bodies().len(),
        1,
        "then it is left alone for a while"
    );
    assert_eq!(broken.bodies()[0], sound.bodies()[0]);
    let head = sound.received.lock().unwrap()[0].head.clone();
    assert!(
        head.starts_with("post /events/api/v2/alerts http/1.1"),
        "{head}"
    );
}

#[tokio::test]
async fn all_members_failing_is_a_failure_and_all_refusing_a_refusal() {
    let events: Vec<Event> = whole_life().iter().map(Event::new).collect();
    let (broken, refusing) = (
        Server::start([ERROR, OK]).await,
        Server::start([REFUSED]).await,
    );
    let mut both = sink(&[&broken, &refusing], 60);
    let reply = both.send(&events[..1]).await;
    assert!(matches!(reply, Reply::Retry { .. }), "{reply:?}");
    // All rest, so all are tried.
    let reply = both.send(&events[..1]).await;
    assert!(matches!(reply, Reply::Delivered(_)), "{reply:?}");
    let mut alone = sink(&[&refusing], 60);
    let reply = alone.send(&events[..1]).await;
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
}

#[tokio::test]
async fn what_fires_is_repeated_without_an_event() {
    let server = Server::start([OK]).await;
    let kind = config::AlertmanagerSink {
        urls: vec![server.url.clone()],
        labels: Default::default(),
        resend_s: 1,
        dead_mans_switch: false,
        silent_after_s: 60,
    };
    let config = quick(config::SinkKind::Alertmanager(kind));
    let delivery =
        crate::deliver::testing::Queued::start(&crate::deliver::testing::only(&config)).unwrap();
    delivery.send(&Event::new(&whole_life()[0]));
    let begin = std::time::Instant::now();
    until(|| server.bodies().len() == 3).await;
    assert!(begin.elapsed() >= Duration::from_secs(1));
}
