//! What receivers answer (`deliver/sink/`): raw bytes of a server, through the real client.

use std::{cell::RefCell, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use super::assert_safe_to_show;
use crate::{
    config::Config,
    deliver::{
        Event,
        retry::{self, Policy},
        sink::{self, Reply},
    },
    event::{Drill, HostInfo, Sequence},
    incident::Severity,
    output::Change,
};

/// No answer keeps more words than this, bytes: a kilobyte of the body, escaped, and what the client says.
const WORDS_BYTES: usize = 6 << 10;

/// A receiver on loopback, and the sinks that speak HTTP.
struct Bench {
    runtime: Runtime,
    listener: TcpListener,
    config: Config,
    event: Event,
    /// Holds PagerDuty's key.
    _folder: tempfile::TempDir,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

impl Bench {
    fn new() -> Bench {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let folder = super::folder();
        let key = folder.path().join("key");
        std::fs::write(&key, "0123456789abcdef0123456789abcdef").expect("writable");
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("it is ours");
        let text = format!(
            "[sink.a]\ntype = 'http'\nurl = '{url}/'\ntimeout_ms = 2000\n\
             [sink.b]\ntype = 'otlp'\nurl = '{url}/v1/logs'\ntimeout_ms = 2000\n\
             [sink.c]\ntype = 'alertmanager'\nurls = ['{url}']\ntimeout_ms = 2000\n\
             [sink.d]\ntype = 'pagerduty'\nurl = '{url}/v2/enqueue'\nrouting_key_file = '{}'\ntimeout_ms = 2000\n",
            key.display()
        );
        let config = Config::parse(Path::new("fuzz.toml"), &text).expect("four receivers");
        let drill = Drill {
            incident: "i".to_owned(),
            severity: Severity::Critical,
            opened_unix_ns: 0,
        };
        let event = drill.event(
            Change::Opened,
            0,
            &HostInfo::default(),
            &mut Sequence::after(0),
        );
        Bench {
            runtime,
            listener,
            config,
            event: Event::new(&event),
            _folder: folder,
        }
    }

    /// One attempt of the sink number `which`, answered with `answer`.
    fn attempt(&self, which: u8, answer: &[u8]) -> Reply {
        let config = self
            .config
            .sink
            .values()
            .nth(usize::from(which) % self.config.sink.len());
        let mut sink = sink::build(config.expect("one of four")).expect("it is configured right");
        let events = [self.event.clone()];
        self.runtime.block_on(async {
            let serve = async {
                loop {
                    let Ok((mut stream, _)) = self.listener.accept().await else {
                        continue;
                    };
                    let mut request = [0; 16 << 10];
                    let mut read = 0;
                    // The whole request, or closing the socket would reset what was answered.
                    while !is_whole(&request[..read]) && read < request.len() {
                        match stream.read(&mut request[read..]).await {
                            Ok(0) | Err(_) => break,
                            Ok(more) => read += more,
                        }
                    }
                    let _ = stream.write_all(answer).await;
                    let _ = stream.shutdown().await;
                    while matches!(stream.read(&mut request).await, Ok(1..)) {}
                }
            };
            tokio::select! {
                reply = sink.send(&events) => reply,
                () = serve => unreachable!("it serves for ever"),
            }
        })
    }
}

/// Head and as much of a body as it announces.
fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|end| end == b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    request.len() >= head + 4 + length.unwrap_or(0)
}

/// The first byte chooses the receiver, the others are its answer: what comes of it is bounded and safe to log, an event
/// counts as delivered only after a 2xx, and no receiver gets more rest than the policy grants.
///
/// # Panics
/// A promise is broken.
pub fn response(bytes: &[u8]) {
    let Some((which, answer)) = bytes.split_first() else {
        return;
    };
    let reply = BENCH.with_borrow(|bench| bench.attempt(*which, answer));
    let words = match &reply {
        Reply::Delivered(words) | Reply::PartlyRefused(words) => {
            let begins = answer
                .windows(4)
                .any(|part| part[..2] == *b" 2" && part[2].is_ascii_digit());
            assert!(begins, "{reply:?}");
            words
        }
        Reply::Refused(words) => words,
        Reply::Retry { after, reason } => {
            let policy = Policy {
                initial: Duration::from_millis(500),
                max: Duration::from_secs(60),
                retry_after_max: Duration::from_secs(300),
            };
            let wait = retry::wait(&policy, 0, *after, u64::MAX);
            assert!(wait <= Duration::from_secs(301), "{wait:?}");
            reason
        }
    };
    assert!(words.len() <= WORDS_BYTES, "{} bytes", words.len());
    assert_safe_to_show(words);
}
