//! The stand-in's half of a conversation that sounds like mining: newline-delimited JSON-RPC.
//!
//! It mines nothing. Every submitted result is the constant [`NO_RESULT`]; jobs are read and thrown away.
//! It refuses any address that is not loopback, at parsing, so there is no way to point it elsewhere.

use serde_json::{Value, json};
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What is submitted as the result of every job.
pub const NO_RESULT: &str = "this-stand-in-computes-nothing";

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(1);
const SUBMIT_EVERY: Duration = Duration::from_secs(2);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
/// How long a read waits before the next thing may be said.
const LISTEN_FOR: Duration = Duration::from_millis(200);
const MAX_LINE_BYTES: u64 = 4096;

/// A loopback address, written `127.0.0.1:PORT`, optionally behind `stratum+tcp://`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolAddress(SocketAddr);

/// Why a text is not a [`PoolAddress`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolAddressError {
    /// Not `IP:PORT`. Names are not resolved.
    Unreadable(String),
    /// Readable, but somewhere else than this machine.
    NotLoopback(SocketAddr),
}

impl fmt::Display for PoolAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(text) => write!(f, "`{text}` is not IP:PORT"),
            Self::NotLoopback(address) => write!(
                f,
                "{address} is not a loopback address, and the stand-in talks to nobody else"
            ),
        }
    }
}

impl std::error::Error for PoolAddressError {}

impl FromStr for PoolAddress {
    type Err = PoolAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.strip_prefix("stratum+tcp://").unwrap_or(text);
        let address: SocketAddr = address
            .parse()
            .map_err(|_| PoolAddressError::Unreadable(text.to_owned()))?;
        if address.ip().is_loopback() {
            Ok(Self(address))
        } else {
            Err(PoolAddressError::NotLoopback(address))
        }
    }
}

/// Which protocol it sounds like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// `login`, `submit`, `keepalived`.
    #[default]
    Monero,
    /// `mining.subscribe`, `mining.authorize`, `mining.submit`.
    Bitcoin,
}

/// Talks to `pool` until `until`, connecting again after every failure, as its model would.
pub fn keep_talking(pool: PoolAddress, dialect: Dialect, until: Instant) {
    let talk = match dialect {
        Dialect::Monero => talk,
        Dialect::Bitcoin => talk_bitcoin,
    };
    while Instant::now() < until {
        match talk(pool, until) {
            Ok(()) => {}
            Err(error) => {
                eprintln!("stand-in: conversation with {} broke off: {error}", pool.0);
                std::thread::sleep(
                    RETRY_AFTER.min(until.saturating_duration_since(Instant::now())),
                );
            }
        }
    }
}

/// One connection, from login to `until`.
///
/// # Errors
/// When connecting, reading or writing fails, or the other side hangs up.
pub fn talk(pool: PoolAddress, until: Instant) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&pool.0, CONNECT_WITHIN)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LISTEN_FOR))?;
    stream.set_write_timeout(Some(CONNECT_WITHIN))?;
    let mut said = 0_u64;
    let mut say = |method: &str, params: Value| {
        said += 1;
        let line = json!({"id": said, "jsonrpc": "2.0", "method": method, "params": params});
        (&stream).write_all(format!("{line}\n").as_bytes())
    };
    let agent = concat!("detector-stand-in/", env!("CARGO_PKG_VERSION"));
    say(
        "login",
        json!({"login": "stand-in", "pass": "x", "agent": agent}),
    )?;

    let mut listener = BufReader::new(&stream);
    let mut line = Vec::new();
    let mut job = None;
    let (mut submitted, mut kept_alive) = (None::<Instant>, Instant::now());
    while Instant::now() < until {
        if hear(&mut listener, &mut line)? {
            let heard = serde_json::from_slice::<Value>(&line).unwrap_or(Value::Null);
            line.clear();
            job = job_id(&heard).or(job);
        }
        let due = submitted.is_none_or(|at| at.elapsed() >= SUBMIT_EVERY);
        if let (Some(job), true) = (&job, due) {
            say(
                "submit",
                json!({"job_id": job, "nonce": "00000000", "result": NO_RESULT}),
            )?;
            submitted = Some(Instant::now());
        }
        if kept_alive.elapsed() >= KEEP_ALIVE_EVERY {
            say("keepalived", json!({}))?;
            kept_alive = Instant::now();
        }
    }
    Ok(())
}

/// One connection in Bitcoin's dialect, from subscription to `until`.
///
/// # Errors
/// When connecting, reading or writing fails, or the other side hangs up.
pub fn talk_bitcoin(pool: PoolAddress, until: Instant) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&pool.0, CONNECT_WITHIN)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LISTEN_FOR))?;
    stream.set_write_timeout(Some(CONNECT_WITHIN))?;
    let mut said = 0_u64;
    let mut say = |method: &str, params: Value| {
        said += 1;
        let line = json!({"id": said, "method": method, "params": params});
        (&stream).write_all(format!("{line}\n").as_bytes())
    };
    let agent = concat!("detector-stand-in/", env!("CARGO_PKG_VERSION"));
    say("mining.subscribe", json!([agent]))?;
    say("mining.authorize", json!(["stand-in", "x"]))?;

    let mut listener = BufReader::new(&stream);
    let mut line = Vec::new();
    let mut job = None;
    let mut submitted = None::<Instant>;
    while Instant::now() < until {
        if hear(&mut listener, &mut line)? {
            let heard = serde_json::from_slice::<Value>(&line).unwrap_or(Value::Null);
            line.clear();
            if heard["method"] == "mining.notify" {
                job = heard["params"][0].as_str().map(str::to_owned).or(job);
            }
        }
        let due = submitted.is_none_or(|at| at.elapsed() >= SUBMIT_EVERY);
        if let (Some(job), true) = (&job, due) {
            say(
                "mining.submit",
                json!(["stand-in", job, "00000000", "00000000", NO_RESULT]),
            )?;
            submitted = Some(Instant::now());
        }
    }
    Ok(())
}

/// Whether `line` now holds a whole line. A pause in the conversation is not an error.
fn hear(listener: &mut BufReader<&TcpStream>, line: &mut Vec<u8>) -> io::Result<bool> {
    let room = MAX_LINE_BYTES - line.len() as u64;
    match listener.take(room).read_until(b'\n', line) {
        Ok(0) if room == 0 => Err(io::Error::other("a line of more than 4096 bytes")),
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(line.ends_with(b"\n")),
        Err(error) if is_pause(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a read with a time-out simply found nothing yet.
pub(crate) fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// The job of a login's answer or of a pushed `job`.
fn job_id(heard: &Value) -> Option<String> {
    let job = heard
        .pointer("/result/job/job_id")
        .or_else(|| heard.pointer("/params/job_id"))?;
    job.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_a_pool() {
        assert!("127.0.0.1:3333".parse::<PoolAddress>().is_ok());
        assert!(
            "stratum+tcp://127.9.9.9:3333"
                .parse::<PoolAddress>()
                .is_ok()
        );
        assert!("[::1]:3333".parse::<PoolAddress>().is_ok());
        let elsewhere = "192.0.2.1:3333";
        assert_eq!(
            elsewhere.parse::<PoolAddress>(),
            Err(PoolAddressError::NotLoopback(elsewhere.parse().unwrap()))
        );
        for text in ["0.0.0.0:3333", "localhost:3333", "127.0.0.1", ""] {
            assert!(text.parse::<PoolAddress>().is_err(), "{text}");
        }
    }
}
