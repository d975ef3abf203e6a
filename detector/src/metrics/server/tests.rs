//! What whoever connects can and cannot do.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
};

use super::*;

/// A server on a socket, and a loop that answers with how often it was asked.
async fn serving() -> (tempfile::TempDir, PathBuf, Server) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sock");
    let (mut server, mut scrapes) = Server::new();
    let config = config::Metrics {
        socket: Some(path.clone()),
        listen: None,
    };
    assert_eq!(server.listen(&config), Vec::<String>::new());
    tokio::spawn(async move {
        let mut asked = 0;
        while let Some(scrape) = scrapes.recv().await {
            asked += 1;
            let _ = scrape.send(format!("asked {asked}\n").into());
        }
    });
    (folder, path, server)
}

/// Sends bytes and reads to the end.
fn say(path: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    // It may have been answered before it was told everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

async fn ask(path: &Path, request: impl Into<Vec<u8>>) -> String {
    let (path, request) = (path.to_owned(), request.into());
    tokio::task::spawn_blocking(move || say(&path, &request))
        .await
        .unwrap()
}

const GET: &str = "GET /metrics HTTP/1.1\r\nhost: detector\r\n\r\n";

#[tokio::test(flavor = "current_thread")]
async fn metrics_are_answered_and_nothing_else() {
    let (_folder, path, _server) = serving().await;
    let answer = ask(&path, GET).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(body, "asked 1\n");
    for (request, status) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "404"),
        (
            "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "405",
        ),
        ("HEAD /metrics HTTP/1.0\r\n\r\n".to_owned(), "200"),
        ("\x16\x03\x01\x02\x00\r\n\r\n".to_owned(), "400"),
        (
            format!(
                "GET /metrics HTTP/1.1\r\n{}\r\n",
                "x: y\r\n".repeat(HEADERS + 1)
            ),
            "431",
        ),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * HEAD_BYTES)),
            "431",
        ),
    ] {
        let answer = ask(&path, request).await;
        let told = answer.split_whitespace().nth(1);
        assert!(
            told == Some(status) || told == Some("414"),
            "{status}: {answer}"
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn clients_that_hang_are_given_up_and_hold_nobody_up_for_longer() {
    let (_folder, path, _server) = serving().await;
    // Twice as many as are served at a time: silent ones, and some that stop in the middle.
    let hanging: Vec<UnixStream> = (0..2 * SLOTS)
        .map(|number| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream
                .write_all(&GET.as_bytes()[..3 * (number % 2)])
                .unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    let answer = ask(&path, GET).await;
    let waited = begun.elapsed();
    assert!(answer.ends_with("asked 1\n"), "{answer}");
    assert!(waited >= LIMIT && waited < 3 * LIMIT, "{waited:?}");
    drop(hanging);
}

#[tokio::test(flavor = "current_thread")]
async fn however_many_ask_twenty_a_second_are_answered() {
    let (_folder, path, _server) = serving().await;
    let begun = Instant::now();
    let clients = (0..32).map(|_| {
        let path = path.clone();
        thread::spawn(move || say(&path, GET.as_bytes()))
    });
    let clients: Vec<_> = clients.collect();
    let answers = tokio::task::spawn_blocking(|| {
        let answers = clients.into_iter().map(|client| client.join().unwrap());
        answers.filter(|answer| answer.contains("asked")).count()
    });
    assert_eq!(answers.await.unwrap(), 32);
    // The first of each slot at once, then one every `PACE`.
    let rounds = u32::try_from(32 / SLOTS - 1).unwrap();
    assert!(begun.elapsed() >= rounds * PACE, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "current_thread")]
async fn place_that_cannot_be_had_is_named_and_the_other_one_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("metrics.sock");
    let (mut server, _scrapes) = Server::new();
    let mut config = config::Metrics {
        socket: Some(path.clone()),
        listen: Some("127.0.0.1:0".parse().unwrap()),
    };
    let missing = server.listen(&config);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(
        missing[0].starts_with(&format!("no metrics on {}: ", path.display())),
        "{missing:?}"
    );
    assert_eq!(server.slots.len(), SLOTS);
    config.socket = Some(PathBuf::new());
    config.listen = None;
    assert_eq!(server.listen(&config), Vec::<String>::new());
    assert_eq!(server.slots.len(), 0);
}
