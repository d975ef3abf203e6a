use super::*;
use crate::deliver::testing::{Act, OK, Server, data, deliver, quick, whole_life};

#[test]
fn a_record_follows_the_data_model_of_logs() {
    let mut event = whole_life().remove(0);
    data(&mut event).incident.confidence = 0.5;
    let request = record::request(&[event]);
    let log = &request["resourceLogs"][0];
    assert_eq!(
        log["resource"]["attributes"][3],
        serde_json::json!({"key": "host.name", "value": {"stringValue": "web03"}})
    );
    let record = &log["scopeLogs"][0]["logRecords"][0];
    assert_eq!(record["timeUnixNano"], "1767323045000000000");
    assert_eq!(record["severityNumber"], 21);
    assert_eq!(
        record["body"]["stringValue"],
        "TEST alert of the detector on web03"
    );
    let value = |key: &str| {
        let attributes = record["attributes"].as_array().unwrap();
        let found = attributes.iter().find(|attribute| attribute["key"] == key);
        found.map(|attribute| attribute["value"].to_string())
    };
    assert_eq!(
        value("cloudevents.event_id").unwrap(),
        r#"{"stringValue":"0190-1/41"}"#
    );
    // 64-bit numbers are strings, floating point ones are not, lists of objects are kept.
    assert_eq!(value("event.severity").unwrap(), r#"{"intValue":"90"}"#);
    assert_eq!(
        value("incident.confidence").unwrap(),
        r#"{"doubleValue":0.5}"#
    );
    assert!(
        value("incident.timeline")
            .unwrap()
            .starts_with(r#"{"arrayValue":{"values":[{"kvlistValue":"#)
    );
    assert_eq!(value("host.name"), None, "said by the resource");
}

#[test]
fn rejections_are_counted_however_they_are_written() {
    for (body, expected) in [
        (
            r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"no"}}"#,
            3,
        ),
        (r#"{"partialSuccess":{"rejectedLogRecords":2}}"#, 2),
        (r#"{"partialSuccess":{"errorMessage":"a warning"}}"#, 0),
        (r#"{"partialSuccess":{}}"#, 0),
        ("{}", 0),
        ("", 0),
        ("<html>", 0),
    ] {
        assert_eq!(rejected(body.as_bytes()), expected, "{body}");
    }
}

#[tokio::test]
async fn only_what_may_be_repeated_is_and_partial_success_never() {
    let partly = Act::Answer(
        "HTTP/1.1 200 OK\r\ncontent-length: 47\r\nconnection: close\r\n\r\n\
         {\"partialSuccess\":{\"rejectedLogRecords\":\"1\"}}\n",
    );
    let busy = Act::Answer("HTTP/1.1 503 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let broken = Act::Answer("HTTP/1.1 500 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    for (script, delivered, dead, retried) in [
        (vec![OK], 3, 0, 0),
        (vec![busy, busy, OK], 3, 0, 2),
        (vec![partly], 0, 3, 0),
        // Refused as a whole, then one by one: two are taken.
        (vec![broken, OK, broken, OK], 2, 1, 0),
    ] {
        let server = Server::start(script).await;
        let sink = quick(config::SinkKind::Otlp(config::OtlpSink {
            url: server.url.clone(),
        }));
        let events = whole_life();
        let counters = deliver(&sink, events.iter().map(Event::new)).await;
        assert_eq!(
            (counters.delivered, counters.dead_lettered, counters.retried),
            (delivered, dead, retried)
        );
    }
}
