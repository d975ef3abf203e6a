//! The receiver in trouble, and what it wrote down.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tests::{
    faults::{Arrivals, PATIENCE},
    recorder::{Act, Recorder, Request, loopback},
};
use tokio::time;

use super::tls::{Certificate, Front};

/// Longer than the time limit of an attempt.
pub const SLOW: Act = Act::ByteSlow(Duration::from_millis(50));
pub const QUICK: Act = Act::ByteSlow(Duration::from_millis(1));

/// What a receiver does until it is mended; then it takes everything.
#[derive(Clone, Copy)]
pub enum Trouble {
    /// Nobody listens.
    Away,
    /// Every request goes like this, though in what comes of it a receiver may be ahead of its answer.
    Always(Act),
    /// Requests go like these in turn. Some are taken: nothing has to be mended.
    InTurn(&'static [Act]),
    /// 400 for every incident whose number is odd, for good.
    Refuses,
    /// It ends after every so many requests, in the middle of one, and is back a moment later.
    Flaps(usize),
    /// It shows this.
    Shows(Certificate),
}

/// What the receiver in trouble wrote down.
#[derive(Default)]
pub struct Log {
    /// Everything that was read, taken or not.
    pub read: Arrivals,
    /// What it said to have taken.
    pub taken: BTreeSet<u64>,
    pub refused: BTreeSet<u64>,
    pub requests: u64,
}

/// A receiver, its trouble, and what it wrote down.
pub struct Bad {
    log: Arc<Mutex<Log>>,
    mended: Arc<AtomicBool>,
    port: u16,
    pub trouble: Trouble,
    recorder: Option<Recorder>,
    front: Option<Front>,
}

fn number(event: &serde_json::Value) -> u64 {
    let text = event["sequence"].as_str().expect("numbered");
    text.parse().expect("a number")
}

/// Of every two incidents one.
fn is_odd(event: &serde_json::Value) -> bool {
    let subject = event["subject"].as_str().unwrap_or_default();
    matches!(
        subject.bytes().last(),
        Some(b'1' | b'3' | b'5' | b'7' | b'9')
    )
}

impl Bad {
    pub fn start(trouble: Trouble) -> Bad {
        let listener = loopback();
        let mut bad = Bad {
            log: Arc::default(),
            mended: Arc::default(),
            port: listener.local_addr().expect("it listens").port(),
            trouble,
            recorder: None,
            front: None,
        };
        match trouble {
            Trouble::Away => drop(listener),
            _ => bad.listen(listener),
        }
        if let Trouble::Shows(certificate) = trouble {
            bad.front = Some(Front::start(bad.port, certificate));
        }
        bad
    }

    fn listen(&mut self, listener: TcpListener) {
        let (log, mended, trouble) = (
            Arc::clone(&self.log),
            Arc::clone(&self.mended),
            self.trouble,
        );
        let script = move |at: usize, request: &Request| {
            let act = match trouble {
                _ if mended.load(Relaxed) && !matches!(trouble, Trouble::Refuses) => {
                    Act::Status(202)
                }
                Trouble::Always(act) => act,
                Trouble::InTurn(acts) => acts[at % acts.len()],
                Trouble::Refuses if request.events().iter().any(is_odd) => Act::Status(400),
                Trouble::Flaps(requests) if at >= requests => Act::Hangup,
                Trouble::Away | Trouble::Refuses | Trouble::Flaps(_) | Trouble::Shows(_) => {
                    Act::Status(202)
                }
            };
            let mut log = log.lock().expect("no holder panics");
            log.requests += 1;
            for event in request.events() {
                log.read.take(event);
                if matches!(act, Act::Status(202) | Act::HalfABody) || act == QUICK {
                    log.taken.insert(number(event));
                } else if act == Act::Status(400) && request.events().len() == 1 {
                    log.refused.insert(number(event));
                }
            }
            act
        };
        self.recorder = Some(Recorder::forgetful(listener, script));
    }

    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no holder panics")
    }

    /// Whether it gets events while in trouble.
    pub fn takes(&self) -> bool {
        matches!(
            self.trouble,
            Trouble::InTurn(_) | Trouble::Refuses | Trouble::Flaps(_)
        )
    }

    /// One that flaps goes, and is back.
    pub async fn flap(&mut self) {
        if matches!(self.trouble, Trouble::Flaps(_)) {
            self.recorder = None;
            let listener = self.bind().await;
            self.listen(listener);
        }
    }

    pub async fn mend(&mut self) {
        self.mended.store(true, Relaxed);
        if self.recorder.is_none() {
            let listener = self.bind().await;
            self.listen(listener);
        }
        if let Some(front) = &self.front {
            front.show(Certificate::Right);
        }
    }

    /// Its port, which the one before lets go of in a moment.
    async fn bind(&self) -> TcpListener {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpListener::bind(("127.0.0.1", self.port)) {
                Ok(listener) => return listener,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn section(&self, mode: &str, folder: &Path) -> String {
        let address = match &self.front {
            Some(front) => {
                let ca = folder.join("ca.pem");
                front.write_authority(&ca);
                let port = front.port;
                format!(
                    "url = \"https://localhost:{port}/\"\nca_file = \"{}\"\n",
                    ca.display()
                )
            }
            None => format!("url = \"http://127.0.0.1:{}/\"\n", self.port),
        };
        format!(
            "[sink.bad]\ntype = \"http\"\nmode = \"{mode}\"\ntimeout_ms = 500\nretry_initial_ms = 1\n\
             retry_max_ms = 20\nrate_per_s = 100000\n{address}"
        )
    }
}
