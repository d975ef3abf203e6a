use std::time::Duration;

use crate::{
    config,
    deliver::{
        Class, Counters, Event,
        testing::{
            Act, ERROR, OK, Queued, REFUSED, Server, bodies, counters, deliver, event, only, quick,
            until,
        },
    },
    incident::Severity,
};

fn to(url: &str) -> config::Sink {
    quick(config::SinkKind::Http(config::HttpSink {
        url: url.to_owned(),
        mode: config::Mode::Structured,
    }))
}

#[tokio::test]
async fn receiver_gets_only_the_classes_and_severities_it_is_for() {
    let server = Server::start([OK]).await;
    let mut sink = to(&server.url);
    sink.common.min_severity = Severity::Warning;
    sink.common.events = Some(vec![Class::Incident, Class::Agent]);
    let with = |id, class, severity| Event {
        class,
        severity,
        ..event(id)
    };
    let counters = deliver(
        &sink,
        [
            with("info", Class::Incident, Some(Severity::Info)),
            with("heartbeat", Class::Heartbeat, None),
            with("warning", Class::Incident, Some(Severity::Warning)),
            with("finding", Class::Finding, Some(Severity::Critical)),
            with("agent", Class::Agent, None),
            with("info again", Class::Incident, Some(Severity::Info)),
            with("critical", Class::Incident, Some(Severity::Critical)),
        ],
    )
    .await;
    assert_eq!(server.bodies(), bodies(&["warning", "agent", "critical"]));
    assert_eq!(
        counters,
        Counters {
            delivered: 3,
            ..Counters::default()
        }
    );
}

#[tokio::test]
async fn burst_goes_out_at_the_configured_rate() {
    let server = Server::start([OK]).await;
    let mut sink = to(&server.url);
    sink.common.rate_per_s = 20;
    let begin = std::time::Instant::now();
    let ids: Vec<String> = (0..40).map(|number| format!("{number:02}")).collect();
    deliver(&sink, ids.iter().map(|id| event(id))).await;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(server.bodies(), bodies(&ids));
    // Twenty at once, the other twenty in a second.
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(990), "{took:?}");
}

#[tokio::test]
async fn dead_receiver_holds_up_no_other() {
    let dead = Server::start([Act::Stall("")]).await;
    let alive = Server::start([OK]).await;
    let sinks = Queued::start(
        &[
            ("a-dead".to_owned(), to(&dead.url)),
            ("b-alive".to_owned(), to(&alive.url)),
        ]
        .into(),
    )
    .unwrap();
    for id in ["a", "b"] {
        sinks.send(&event(id));
    }
    // Both events of the dead one wait; those of the other are settled.
    until(|| sinks.depth() == 2).await;
    assert_eq!(alive.bodies(), bodies(&["a", "b"]));
}

#[tokio::test]
async fn changed_receiver_gets_what_waited_for_the_old_address() {
    let broken = Server::start([ERROR]).await;
    let sound = Server::start([OK]).await;
    let mut sinks = Queued::start(&only(&to(&broken.url))).unwrap();
    for id in ["a", "b"] {
        sinks.send(&event(id));
    }
    until(|| counters(&sinks).retried > 0).await;
    sinks.reconfigure(&only(&to(&sound.url))).unwrap();
    sinks.send(&event("c"));
    until(|| sinks.depth() == 0).await;
    assert_eq!(sound.bodies(), bodies(&["a", "b", "c"]));
    assert_eq!(counters(&sinks).delivered, 3);

    let mut wrong = to(&sound.url);
    wrong.web.bearer_token_file = Some("/nowhere/token".into());
    sinks.reconfigure(&only(&wrong)).expect_err("no such file");
    sinks.send(&event("d"));
    until(|| sinks.depth() == 0).await;
    assert_eq!(sound.bodies().len(), 4, "the old one goes on");
    sinks.reconfigure(&[].into()).unwrap();
    assert_eq!(sinks.counters().count(), 0);
}

#[tokio::test]
async fn refused_incident_is_told_once_and_a_refused_word_about_the_detector_never() {
    let server = Server::start([REFUSED]).await;
    let sinks = Queued::start(&only(&to(&server.url))).unwrap();
    sinks.send(&Event {
        class: Class::Agent,
        ..event("a")
    });
    until(|| counters(&sinks).dead_lettered == 1).await;
    assert_eq!(sinks.take_refusals(), Vec::<String>::new());
    sinks.send(&event("b"));
    until(|| counters(&sinks).dead_lettered == 2).await;
    assert_eq!(
        sinks.take_refusals(),
        [r"receiver `it` refuses events: status 400: no \x1b[31m data"]
    );
    sinks.send(&event("c"));
    until(|| counters(&sinks).dead_lettered == 3).await;
    assert_eq!(sinks.take_refusals(), Vec::<String>::new(), "told already");
    assert_eq!(sinks.loss(), ("event_dead_lettered", 3));
}
