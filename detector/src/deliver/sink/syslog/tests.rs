use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    config::Message,
    deliver::testing::{data, quick, whole_life},
};

fn kind(url: &str) -> config::SyslogSink {
    config::SyslogSink {
        url: url.to_owned(),
        facility: 10,
        message: Message::Text,
    }
}

fn sink(url: &str) -> Syslog {
    let kind = kind(url);
    let config = quick(config::SinkKind::Syslog(kind.clone()));
    Syslog::new(&kind, &config).unwrap()
}

#[test]
fn message_is_that_of_rfc_5424_with_hostile_text_escaped() {
    let mut event = whole_life().remove(0);
    let payload = data(&mut event);
    payload.incident.id = r#"a"b\c]d"#.to_owned();
    payload.host.name = "web 03é".to_owned();
    payload.incident.title = "title".to_owned();
    payload.event.reason = Some("why".to_owned());
    let text = message::rfc5424(&kind("tcp://127.0.0.1:1"), &event, b"");
    assert_eq!(
        String::from_utf8(text.clone()).unwrap(),
        "<82>1 2026-01-02T03:04:05.000000Z web_03_ detector - incident.opened \
         [meta sequenceId=\"41\"][detector@32473 id=\"0190-1/41\" source=\"urn:detector:host:h-1\" \
         type=\"detector.incident.opened\" incident=\"a\\\"b\\\\c\\]d\" severity=\"critical\"] \
         \u{feff}incident.opened [critical] title: why (incident a\"b\\c]d)"
    );
    let counted = message::counted(&text);
    assert!(counted.starts_with(format!("{} <82>1 ", text.len()).as_bytes()));
}

#[test]
fn long_text_is_cut_and_json_is_whole() {
    let mut event = whole_life().remove(0);
    data(&mut event).incident.title = "é".repeat(5000);
    let mut kind = kind("tcp://127.0.0.1:1");
    let text = String::from_utf8(message::rfc5424(&kind, &event, b"{}")).unwrap();
    assert!(text.len() < 5000 && text.ends_with('…'), "{text}");
    kind.message = Message::Json;
    let text = String::from_utf8(message::rfc5424(&kind, &event, b"{}")).unwrap();
    assert!(text.ends_with("] \u{feff}{}"), "{text}");
}

async fn one(reader: &mut BufReader<TcpStream>) -> String {
    let mut length = Vec::new();
    reader.read_until(b' ', &mut length).await.unwrap();
    let length: usize = String::from_utf8(length).unwrap().trim().parse().unwrap();
    let mut text = vec![0; length];
    reader.read_exact(&mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let id = text.split("id=\"").nth(1).unwrap();
    id.split('"').next().unwrap().to_owned()
}

async fn accept(listener: &TcpListener) -> BufReader<TcpStream> {
    let accepted = tokio::time::timeout(Duration::from_secs(30), listener.accept());
    BufReader::new(accepted.await.unwrap().unwrap().0)
}

#[tokio::test]
async fn what_a_broken_connection_may_have_lost_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut syslog = sink(&format!("tcp://{}", listener.local_addr().unwrap()));
    let events: Vec<Event> = whole_life().iter().map(Event::new).collect();
    let first = syslog.send(&events[..2]);
    assert!(matches!(first.await, Reply::Delivered(_)));
    let mut server = accept(&listener).await;
    assert_eq!(one(&mut server).await, "0190-1/41");
    // The second lies unread in its buffer when the server goes.
    drop(server);
    assert!(syslog.due().is_some());
    let (again, ()) = tokio::join!(
        async {
            let mut server = accept(&listener).await;
            [one(&mut server).await, one(&mut server).await]
        },
        async {
            let To::Server(server) = &mut syslog.to else {
                panic!("a server");
            };
            // The reset takes a moment even here.
            while !server.open.as_mut().is_none_or(Stream::is_broken) {
                tokio::task::yield_now().await;
            }
            syslog.tick().await;
        }
    );
    assert_eq!(again, ["0190-1/41", "0190-1/42"]);
}

#[tokio::test]
async fn local_socket_gets_what_every_syslogd_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    let mut syslog = sink(&format!("unix://{}", path.display()));
    let events: Vec<Event> = whole_life().iter().map(Event::new).collect();
    assert!(matches!(
        syslog.send(&events[..1]).await,
        Reply::Delivered(_)
    ));
    let mut text = vec![0; 4096];
    let length = server.recv(&mut text).await.unwrap();
    let text = String::from_utf8_lossy(&text[..length]);
    assert!(text.starts_with("<82>"), "{text}");
    let expected = format!(
        " detector[{}]: incident.opened [critical] TEST alert",
        std::process::id()
    );
    assert!(text.contains(&expected), "{text}");
    // The server is restarted.
    drop(server);
    assert!(matches!(
        syslog.send(&events[1..2]).await,
        Reply::Retry { .. }
    ));
    std::fs::remove_file(&path).unwrap();
    let _server = UnixDatagram::bind(&path).unwrap();
    assert!(matches!(
        syslog.send(&events[1..2]).await,
        Reply::Delivered(_)
    ));
}
