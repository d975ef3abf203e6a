//! A receiver in trouble: whatever it does, each event arrives, in order, and a healthy receiver beside it is not held up.

use std::{collections::HashSet, net::TcpListener, time::Duration};

use serde_json::Value;

use tests::recorder::{Act, Recorder, Request};

use crate::{
    events::{Host, finish, send, sinks},
    server::until,
};

const COUNT: usize = 40;

/// Ids in order of their first arrival.
fn first_arrivals(requests: &[Request]) -> Vec<String> {
    let mut seen = HashSet::new();
    let ids = requests.iter().flat_map(|request| match &request.body {
        Value::Array(events) => events.iter().map(id).collect(),
        event => vec![id(event)],
    });
    ids.filter(|id| seen.insert(id.clone())).collect()
}

fn id(event: &Value) -> String {
    event["id"].as_str().expect("an event").to_owned()
}

#[tokio::test]
async fn misbehaving_receiver_gets_every_event_in_order_and_holds_up_no_other() {
    let acts = [
        Act::Status(500),
        Act::Status(202),
        Act::Hangup,
        Act::HalfABody,
        Act::ByteSlow(Duration::from_millis(5)),
        Act::Status(503),
        Act::Status(202),
        Act::Status(202),
    ];
    for mode in ["structured", "batch"] {
        let bad = Recorder::start(move |number, _| match number {
            // Once each: these take a second.
            3 => Act::Busy,
            9 => Act::Silence,
            _ => acts[number % acts.len()],
        });
        let good = Recorder::kind();
        let sinks = sinks(&format!(
            "[sink.bad]\ntype = \"http\"\nurl = \"{}\"\nmode = \"{mode}\"\ntimeout_ms = 1000\n\
             retry_initial_ms = 1\nretry_max_ms = 20\n\
             [sink.good]\ntype = \"http\"\nurl = \"{}\"\n",
            bad.url("/"),
            good.url("/")
        ));
        let mut host = Host::new("web01");
        let events: Vec<_> = (0..COUNT).map(|n| host.opened(&format!("i-{n}"))).collect();
        events.iter().for_each(|event| send(&sinks, event));
        until(|| good.requests().len() == COUNT).await;
        let counters = sinks.stop().await;
        for counters in counters.values() {
            assert_eq!(
                (counters.delivered, counters.dead_lettered),
                (COUNT as u64, 0)
            );
        }
        let sent: Vec<String> = events.into_iter().map(|event| event.id).collect();
        assert_eq!(first_arrivals(&bad.requests()), sent, "{mode}");
        assert_eq!(first_arrivals(&good.requests()), sent);
    }
}

#[tokio::test]
async fn receiver_that_comes_back_on_its_port_gets_what_waited() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    let port = listener.local_addr().expect("it listens").port();
    let first = Recorder::on(listener, |_, _| Act::Status(202));
    let sinks = sinks(&format!(
        "[sink.http]\nurl = \"http://127.0.0.1:{port}/\"\nretry_initial_ms = 1\nretry_max_ms = 50\n"
    ));
    let mut host = Host::new("web01");
    send(&sinks, &host.opened("a"));
    until(|| sinks.depth() == 0).await;
    // From now on nobody listens, and the connection there is ends unanswered.
    let before = first_arrivals(&first.requests());
    drop(first);
    let waiting = [host.opened("b"), host.opened("c")];
    waiting.iter().for_each(|event| send(&sinks, event));
    until(|| sinks.counters().any(|(_, counters)| counters.retried > 2)).await;
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
    let second = Recorder::on(listener, |_, _| Act::Status(202));
    assert_eq!(finish(sinks).await, (3, 0));
    assert_eq!(before, ["a/1"]);
    let ids: Vec<String> = waiting.into_iter().map(|event| event.id).collect();
    assert_eq!(first_arrivals(&second.requests()), ids);
}
