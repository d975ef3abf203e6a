//! A real nats-server with JetStream, killed and restarted in the middle.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use async_nats::jetstream::{self, stream::Config as Stream};
use tests::process::Owned;

use crate::{
    events::{Host, finish, send, sinks},
    server::{find, free_port, start, until},
};

pub async fn server(program: &Path, folder: &Path, port: u16) -> Owned {
    let mut command = Command::new(program);
    command
        .args([
            "--jetstream",
            "--addr",
            "127.0.0.1",
            "--port",
            &port.to_string(),
        ])
        .args(["--user", "detector", "--pass", "hunter2"])
        .arg("--store_dir")
        .arg(folder);
    start("nats-server", &mut command, folder, port).await
}

pub async fn connect(port: u16) -> jetstream::Context {
    let options = async_nats::ConnectOptions::new()
        .user_and_password("detector".to_owned(), "hunter2".to_owned());
    let client = options.connect(format!("nats://127.0.0.1:{port}")).await;
    jetstream::new(client.expect("a connection"))
}

/// (subject, `Nats-Msg-Id`) of every message of the stream, in order.
pub async fn stored(context: &jetstream::Context) -> Vec<(String, String)> {
    let stream = context.get_stream("DETECTOR").await.expect("the stream");
    let last = stream
        .get_info()
        .await
        .expect("its state")
        .state
        .last_sequence;
    let mut out = Vec::new();
    for number in 1..=last {
        let message = stream.get_raw_message(number).await.expect("a message");
        let id = message.headers.get("Nats-Msg-Id").map(ToString::to_string);
        out.push((message.subject.to_string(), id.unwrap_or_default()));
    }
    out
}

/// The file with the password that [`server`] wants.
pub fn password(folder: &Path) -> PathBuf {
    let path = folder.join("password");
    std::fs::write(&path, "hunter2\n").expect("writable");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("ours");
    path
}

/// The sink's configuration, to which keys may be added.
pub fn section(port: u16, password: &Path) -> String {
    format!(
        "[sink.nats]\nurls = [\"nats://127.0.0.1:{port}\"]\nusername = \"detector\"\npassword_file = \"{}\"\n\
         timeout_ms = 5000\nretry_initial_ms = 1\nretry_max_ms = 100\n",
        password.display()
    )
}

/// The stream of `docs/recipes/nats.md`.
pub async fn make_stream(port: u16) {
    let context = connect(port).await;
    let made = context.create_stream(Stream {
        name: "DETECTOR".to_owned(),
        subjects: vec!["detector.events.>".to_owned()],
        ..Stream::default()
    });
    made.await.expect("a stream");
}

#[tokio::test]
async fn stream_killed_in_the_middle_holds_every_event_once_and_in_order() {
    let Some(program) = find("nats-server") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = free_port();
    let mut first = server(&program, folder.path(), port).await;
    let sinks = sinks(&section(port, &password(folder.path())));
    let mut host = Host::new("web01");
    let events: Vec<_> = (0..40).map(|n| host.opened(&format!("i-{n}"))).collect();
    // No stream yet: that is repeated, not refused.
    send(&sinks, &events[0]);
    until(|| sinks.counters().any(|(_, counters)| counters.retried > 1)).await;
    make_stream(port).await;
    events[1..20].iter().for_each(|event| send(&sinks, event));
    until(|| sinks.depth() < 15).await;
    first.signal(rustix::process::Signal::KILL).expect("ours");
    first.end().expect("it ends");
    events[20..].iter().for_each(|event| send(&sinks, event));
    let _second = server(&program, folder.path(), port).await;
    until(|| sinks.depth() == 0).await;
    let expected: Vec<(String, String)> = events
        .iter()
        .map(|event| {
            (
                "detector.events.id-of-web01.incident.opened".to_owned(),
                format!("urn:detector:host:id-of-web01/{}", event.id),
            )
        })
        .collect();
    assert_eq!(stored(&connect(port).await).await, expected);
    assert_eq!(finish(sinks).await, (40, 0));
}
