//! The stub the stand-in talks to: the other half of the conversation, on loopback, with a memory.
//!
//! Owns a listener on 127.0.0.1 and what was said to it. Bounded everywhere: connections at a time,
//! seconds per connection, bytes per line, lines remembered. It hands out jobs that mean nothing, accepts
//! whatever is submitted, and refuses to listen on anything but loopback.

use crate::conversation::is_pause;
use crate::sys;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const MAX_CONNECTIONS: usize = 16;
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(600);
const MAX_LINE_BYTES: u64 = 4096;
/// Lines remembered; further ones are answered and counted, not kept.
const MAX_REMEMBERED: usize = 10_000;
const NEW_JOB_EVERY: Duration = Duration::from_secs(3);
const LISTEN_FOR: Duration = Duration::from_millis(100);

/// One line the stub heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// When it arrived.
    pub at: Instant,
    /// Who said it.
    pub peer: SocketAddr,
    /// The whole JSON object; `Null` where the line was not JSON.
    pub line: Value,
}

impl Said {
    /// The JSON-RPC method, where there is one.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.line.get("method")?.as_str()
    }
}

/// A running stub. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Pool {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    news: Condvar,
    stop: AtomicBool,
    connections: AtomicUsize,
}

#[derive(Debug, Default)]
struct Heard {
    said: Vec<Said>,
    forgotten: u64,
}

impl Pool {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no socket or thread is to be had.
    pub fn start() -> Result<Self> {
        Self::start_on(0)
    }

    /// Listens on `port` of 127.0.0.1; 0 takes a free one.
    ///
    /// # Errors
    /// When the port is taken, or no socket or thread is to be had.
    pub fn start_on(port: u16) -> Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, port).into())
    }

    /// Listens on a loopback address of either family.
    ///
    /// # Errors
    /// When it is no loopback address or taken, or no socket or thread is to be had.
    pub fn start_at(address: SocketAddr) -> Result<Self> {
        if !address.ip().is_loopback() {
            bail!("{address} is not a loopback address");
        }
        let listener = TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address} for the pool stub"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = std::thread::Builder::new()
            .name("pool-accept".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || accept(&listener, &shared)
            })?;
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// Where the stub listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything remembered so far, in the order of arrival.
    #[must_use]
    pub fn said(&self) -> Vec<Said> {
        self.shared.lock().said.clone()
    }

    /// How often `method` was called.
    #[must_use]
    pub fn count(&self, method: &str) -> usize {
        let heard = self.shared.lock();
        heard
            .said
            .iter()
            .filter(|said| said.method() == Some(method))
            .count()
    }

    /// Lines heard beyond the stub's memory.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.shared.lock().forgotten
    }

    /// The first call of `method`, waiting for it until `deadline`.
    ///
    /// # Errors
    /// At the deadline, or when this process is asked to stop.
    pub fn wait_for(&self, method: &str, deadline: Instant) -> Result<Said> {
        let mut heard = self.shared.lock();
        loop {
            if let Some(said) = heard.said.iter().find(|said| said.method() == Some(method)) {
                return Ok(said.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || sys::interrupted() {
                bail!(
                    "nobody said `{method}` to the pool stub; it heard {:?}",
                    heard.said
                );
            }
            heard = self
                .shared
                .news
                .wait_timeout(heard, left.min(LISTEN_FOR))
                .expect("no holder of this lock panics")
                .0;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes `accept`; the connection itself is dropped at once.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let (Ok(_), Some(accepting)) = (woken, self.accepting.take()) {
            let _finished = accepting.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("no holder of this lock panics")
    }

    fn remember(&self, said: Said) {
        let mut heard = self.lock();
        if heard.said.len() < MAX_REMEMBERED {
            heard.said.push(said);
        } else {
            heard.forgotten += 1;
        }
        self.news.notify_all();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut conversations = Vec::new();
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let Ok(stream) = stream else { continue };
        if shared.connections.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
            eprintln!("pool: refused a connection beyond {MAX_CONNECTIONS}");
            continue;
        }
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        conversations.push(std::thread::spawn(move || {
            // A peer that hangs up or talks nonsense ends its own conversation only.
            let _ended = converse(&stream, &shared);
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        }));
        conversations.retain(|conversation| !conversation.is_finished());
    }
    for conversation in conversations {
        let _finished = conversation.join();
    }
}

fn converse(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LISTEN_FOR))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let peer = stream.peer_addr()?;
    let begun = Instant::now();
    let say = |message: Value| {
        let mut writer = stream;
        writer.write_all(format!("{message}\n").as_bytes())
    };
    let mut listener = BufReader::new(stream);
    let mut line = Vec::new();
    let mut jobs = 0_u64;
    let mut last_job = None::<Instant>;
    let mut dialect = Dialect::Monero;
    while !shared.stop.load(Ordering::Relaxed) && begun.elapsed() < MAX_CONNECTION_AGE {
        if last_job.is_some_and(|at| at.elapsed() >= NEW_JOB_EVERY) {
            jobs += 1;
            last_job = Some(Instant::now());
            say(dialect.job(jobs))?;
        }
        let room = MAX_LINE_BYTES - line.len() as u64;
        match listener.by_ref().take(room).read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) if !line.ends_with(b"\n") => continue,
            Ok(_) => {}
            Err(error) if is_pause(&error) => continue,
            Err(error) => return Err(error),
        }
        let said = Said {
            at: Instant::now(),
            peer,
            line: serde_json::from_slice(&line).unwrap_or(Value::Null),
        };
        line.clear();
        let id = said.line.get("id").cloned().unwrap_or(Value::Null);
        match said.method() {
            Some("login") => {
                jobs += 1;
                last_job = Some(Instant::now());
                let result = json!({"id": "stand-in", "job": job(jobs), "status": "OK"});
                say(json!({"id": id, "jsonrpc": "2.0", "error": null, "result": result}))?;
            }
            Some("mining.subscribe") => {
                dialect = Dialect::Bitcoin;
                let session = json!([[["mining.notify", "stand-in"]], "00000000", 4]);
                say(json!({"id": id, "error": null, "result": session}))?;
            }
            Some("mining.authorize") => {
                jobs += 1;
                last_job = Some(Instant::now());
                say(json!({"id": id, "error": null, "result": true}))?;
                say(dialect.job(jobs))?;
            }
            Some("mining.submit") => say(json!({"id": id, "error": null, "result": true}))?,
            Some("submit" | "keepalived") => {
                say(
                    json!({"id": id, "jsonrpc": "2.0", "error": null, "result": {"status": "OK"}}),
                )?;
            }
            _ => {
                let error = json!({"code": -32601, "message": "unknown method"});
                say(json!({"id": id, "jsonrpc": "2.0", "error": error}))?;
            }
        }
        shared.remember(said);
    }
    Ok(())
}

/// How a client speaks, as its first line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Monero,
    Bitcoin,
}

impl Dialect {
    /// The message that hands out a job.
    fn job(self, number: u64) -> Value {
        match self {
            Dialect::Monero => json!({"jsonrpc": "2.0", "method": "job", "params": job(number)}),
            Dialect::Bitcoin => {
                let zero = "00".repeat(32);
                let params = json!([
                    format!("job-{number}"),
                    zero,
                    "00",
                    "00",
                    [],
                    "20000000",
                    "1d00ffff",
                    "00000000",
                    true
                ]);
                json!({"id": null, "method": "mining.notify", "params": params})
            }
        }
    }
}

/// A job without meaning, shaped like one: an id, a blob and a target.
fn job(number: u64) -> Value {
    json!({"job_id": format!("job-{number}"), "blob": "00".repeat(76), "target": "ffffffff", "height": number})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{self, NO_RESULT};

    #[test]
    fn the_stub_gets_login_and_submits() {
        let pool = Pool::start().unwrap();
        let until = Instant::now() + Duration::from_millis(2_600);
        let address = pool.address().to_string().parse().unwrap();
        let talking = std::thread::spawn(move || conversation::talk(address, until));
        talking.join().unwrap().unwrap();

        let said = pool.said();
        let methods: Vec<_> = said.iter().filter_map(Said::method).collect();
        assert_eq!(methods, ["login", "submit", "submit"]);
        assert_eq!(
            said[1].line["params"],
            json!({"job_id": "job-1", "nonce": "00000000", "result": NO_RESULT})
        );
    }

    #[test]
    fn the_stub_speaks_the_other_dialect_to_who_begins_with_it() {
        let pool = Pool::start().unwrap();
        let until = Instant::now() + Duration::from_millis(2_600);
        let address = pool.address().to_string().parse().unwrap();
        let talking = std::thread::spawn(move || conversation::talk_bitcoin(address, until));
        talking.join().unwrap().unwrap();

        let said = pool.said();
        let methods: Vec<_> = said.iter().filter_map(Said::method).collect();
        assert_eq!(
            methods,
            [
                "mining.subscribe",
                "mining.authorize",
                "mining.submit",
                "mining.submit"
            ]
        );
        let submitted = json!(["stand-in", "job-1", "00000000", "00000000", NO_RESULT]);
        assert_eq!(said[2].line["params"], submitted);
    }

    #[test]
    fn a_stranger_cannot_fill_the_stub() {
        let pool = Pool::start().unwrap();
        let mut stream = TcpStream::connect(pool.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        // The stub may hang up in the middle of the line.
        let _hung_up = stream.write_all(&[b'x'; 8 * 1024]);
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(
            end.is_ok() || end.is_err_and(|error| !is_pause(&error)),
            "the stub still listens"
        );
        assert_eq!(pool.said(), []);
    }
}
