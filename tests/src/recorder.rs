//! A receiver that writes down what it gets and answers as it is told: well, badly, slowly or not at all.
//!
//! HTTP on loopback, a thread a connection, no bound on what it keeps: for tests and benches, whose end ends it.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime},
};

use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;

/// How one request is treated, after it was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// This status, with a short JSON body.
    Status(u16),
    /// 429, and to be left alone for a second.
    Busy,
    /// 200 and half of the body that was announced.
    HalfABody,
    /// 202 that comes one byte at a time, with this in between.
    ByteSlow(Duration),
    /// The connection is closed without an answer.
    Hangup,
    /// The connection is reset without an answer.
    Reset,
    /// Nothing, until the client gives up.
    Silence,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// Head in lower case.
    pub head: String,
    /// JSON; null, if it is none.
    pub body: Value,
    /// When the last byte was there.
    pub at: SystemTime,
}

impl Request {
    /// The CloudEvents in it: one, or those of a batch.
    #[must_use]
    pub fn events(&self) -> &[Value] {
        match &self.body {
            Value::Array(events) => events,
            event => std::slice::from_ref(event),
        }
    }
}

/// Decides how a request is treated.
type Decide = dyn Fn(&Request) -> Act + Send + Sync;

/// A running recorder.
#[derive(Debug)]
pub struct Recorder {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
}

impl Recorder {
    /// Answers every request with 202.
    #[must_use]
    pub fn kind() -> Recorder {
        Recorder::start(|_, _| Act::Status(202))
    }

    /// Asks `script` about every request, and keeps it.
    #[must_use]
    pub fn start(script: impl Fn(usize, &Request) -> Act + Send + Sync + 'static) -> Recorder {
        Recorder::on(loopback(), script)
    }

    /// On a port that is known already.
    #[must_use]
    pub fn on(
        listener: TcpListener,
        script: impl Fn(usize, &Request) -> Act + Send + Sync + 'static,
    ) -> Recorder {
        Recorder::serve(listener, script, true)
    }

    /// Keeps nothing itself: `script` takes from each request what it wants.
    #[must_use]
    pub fn forgetful(
        listener: TcpListener,
        script: impl Fn(usize, &Request) -> Act + Send + Sync + 'static,
    ) -> Recorder {
        Recorder::serve(listener, script, false)
    }

    fn serve(
        listener: TcpListener,
        script: impl Fn(usize, &Request) -> Act + Send + Sync + 'static,
        keeps: bool,
    ) -> Recorder {
        let port = listener.local_addr().expect("it listens").port();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let over: Arc<AtomicBool> = Arc::default();
        let count = AtomicUsize::new(0);
        let log = Arc::clone(&requests);
        let decide = move |request: &Request| {
            if keeps {
                log.lock().expect("no holder panics").push(request.clone());
            }
            script(count.fetch_add(1, Relaxed), request)
        };
        let decide: Arc<Decide> = Arc::new(decide);
        let done = Arc::clone(&over);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if done.load(Relaxed) {
                    return;
                }
                let (decide, done) = (Arc::clone(&decide), Arc::clone(&done));
                thread::spawn(move || serve(&stream, &*decide, &done));
            }
        });
        Recorder {
            port,
            requests,
            over,
        }
    }

    /// An address of it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What came so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no holder panics").clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        // Wakes the accept.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Listens on a free port of 127.0.0.1.
///
/// # Panics
/// Loopback is down.
#[must_use]
pub fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback is up")
}

/// Requests of one connection until it ends or the recorder is gone. A client that leaves in the middle is its own affair.
fn serve(stream: &TcpStream, decide: &Decide, over: &AtomicBool) {
    // An answer is several small writes: without this, all but the first wait 40 ms for a delayed acknowledgement as
    // soon as requests follow each other.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = read(&mut reader) {
        if over.load(Relaxed) {
            return;
        }
        match answer(stream, decide(&request)) {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

fn read(reader: &mut impl io::BufRead) -> io::Result<Option<Request>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let head = head.to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let at = SystemTime::now();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Some(Request {
        path,
        head,
        body,
        at,
    }))
}

/// Whether the connection stays open.
fn answer(mut stream: &TcpStream, act: Act) -> io::Result<bool> {
    match act {
        Act::Status(status) => {
            write!(
                stream,
                "HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\n{{}}"
            )?;
            Ok(true)
        }
        Act::Busy => {
            write!(
                stream,
                "HTTP/1.1 429 x\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
            )?;
            Ok(true)
        }
        Act::HalfABody => {
            write!(
                stream,
                "HTTP/1.1 200 x\r\ncontent-length: 1000\r\n\r\n{{\"a\":"
            )?;
            Ok(false)
        }
        Act::ByteSlow(pause) => {
            for byte in b"HTTP/1.1 202 x\r\ncontent-length: 0\r\n\r\n" {
                stream.write_all(&[*byte])?;
                thread::sleep(pause);
            }
            Ok(true)
        }
        Act::Hangup => Ok(false),
        Act::Reset => {
            // Closed without the time to say goodbye: the client gets RST instead of FIN.
            set_socket_linger(stream, Some(Duration::ZERO))?;
            Ok(false)
        }
        Act::Silence => {
            // Ends when the client closes.
            stream.read_to_end(&mut Vec::new())?;
            Ok(false)
        }
    }
}
