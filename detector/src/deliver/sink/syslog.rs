//! Syslog: RFC 5424 over TCP (octet counting, RFC 6587) or TLS (RFC 5425), or the host's own by its local socket.
//!
//! The protocol acknowledges nothing: delivered means that the kernel took it. To lose nothing when the server is
//! restarted in between, what was written in the last [`RECENT`] (at most [`RECENT_MAX`] messages) is kept, the connection
//! is looked at once a second meanwhile, and all of it is sent again when it turns out to be broken: the structured data
//! carries the event's id to drop repetitions by.

mod message;
mod stream;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{net::UnixDatagram, time::Instant};

use self::stream::Stream;
use super::{Reply, Sink, SinkError, secret::Files};
use crate::{
    config,
    deliver::{Event, feed::Pending},
};

/// How long a message is kept after it was written: longer than a peer that is gone takes to answer with a reset.
const RECENT: Duration = Duration::from_secs(10);
/// How many of them at most.
const RECENT_MAX: usize = 256;
/// How often a connection is looked at while messages on it may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A server, or the host's own.
pub(super) struct Syslog {
    config: config::SyslogSink,
    to: To,
}

enum To {
    Server(Box<Server>),
    Socket {
        path: PathBuf,
        open: Option<UnixDatagram>,
    },
}

struct Server {
    address: stream::Address,
    files: Files,
    open: Option<Stream>,
    recent: VecDeque<(Instant, Vec<u8>)>,
    looked: Instant,
}

impl Syslog {
    pub(super) fn new(
        kind: &config::SyslogSink,
        config: &config::Sink,
    ) -> Result<Syslog, SinkError> {
        let to = match kind.url.strip_prefix("unix://") {
            Some(path) => To::Socket {
                path: path.into(),
                open: None,
            },
            None => To::Server(Box::new(Server {
                files: Files::new([
                    &config.tls.ca_file,
                    &config.tls.client_cert_file,
                    &config.tls.client_key_file,
                ]),
                address: stream::Address::new(&kind.url, &config.tls)?,
                open: None,
                recent: VecDeque::new(),
                looked: Instant::now(),
            })),
        };
        Ok(Syslog {
            config: kind.clone(),
            to,
        })
    }

    async fn deliver(&mut self, event: &Event) -> Reply {
        let parsed = match event.parse() {
            Ok(parsed) => parsed,
            Err(reason) => return Reply::Refused(reason),
        };
        let done = match &mut self.to {
            To::Socket { path, open } => {
                let text = message::local(&self.config, &parsed, &event.body, &local_now());
                to_socket(path, open, &text).await
            }
            To::Server(server) => {
                let text = message::rfc5424(&self.config, &parsed, &event.body);
                server.write(message::counted(&text)).await
            }
        };
        match done {
            Ok(()) => Reply::Delivered("written; syslog does not acknowledge".to_owned()),
            Err(error) => Reply::retry(error.to_string()),
        }
    }
}

impl Server {
    /// Writes a message, after those that a broken connection may have lost.
    async fn write(&mut self, message: Vec<u8>) -> std::io::Result<()> {
        if self.files.changed() {
            // The next connection shows the new certificate; what was written on this one is said again.
            self.open = None;
        }
        self.connected().await?;
        let stream = self.open.as_mut().expect("connected above");
        if let Err(error) = stream.write(&message).await {
            self.open = None;
            return Err(error);
        }
        self.remember(message);
        Ok(())
    }

    /// The connection there is, or a new one on which everything recent is said again.
    async fn connected(&mut self) -> std::io::Result<()> {
        if self.open.as_mut().is_some_and(Stream::is_broken) {
            self.open = None;
        }
        if self.open.is_some() {
            return Ok(());
        }
        let mut stream = self.address.connect().await?;
        for (_, message) in &self.recent {
            stream.write(message).await?;
        }
        let now = Instant::now();
        self.recent.iter_mut().for_each(|(at, _)| *at = now);
        self.open = Some(stream);
        Ok(())
    }

    fn remember(&mut self, message: Vec<u8>) {
        let now = Instant::now();
        self.forget(now);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, message));
        self.looked = now;
    }

    fn forget(&mut self, now: Instant) {
        self.recent
            .retain(|(at, _)| now.duration_since(*at) < RECENT);
    }

    /// Looks whether the connection holds, and says again what a broken one may have lost.
    async fn look(&mut self) -> std::io::Result<()> {
        self.looked = Instant::now();
        self.connected().await?;
        self.forget(Instant::now());
        Ok(())
    }
}

/// Moment and process as the local form wants them. In UTC: the zone of a host is not this program's business.
fn local_now() -> message::Local {
    message::Local {
        time: jiff::Timestamp::now()
            .strftime("%b %e %H:%M:%S")
            .to_string(),
        pid: std::process::id(),
    }
}

async fn to_socket(
    path: &Path,
    open: &mut Option<UnixDatagram>,
    message: &[u8],
) -> std::io::Result<()> {
    if open.is_none() {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        *open = Some(socket);
    }
    let socket = open.as_ref().expect("opened above");
    let sent = socket.send(message).await;
    if sent.is_err() {
        // The server was restarted: its new socket has another inode.
        *open = None;
    }
    sent.map(drop)
}

impl Sink for Syslog {
    fn send<'a>(&'a mut self, events: &'a [Event]) -> Pending<'a, Reply> {
        Box::pin(async move {
            let mut last = Reply::Delivered("nothing to tell".to_owned());
            for event in events {
                last = self.deliver(event).await;
                if !matches!(last, Reply::Delivered(_)) {
                    break;
                }
            }
            last
        })
    }

    fn due(&self) -> Option<Instant> {
        match &self.to {
            To::Server(server) if !server.recent.is_empty() => Some(server.looked + LOOK_EVERY),
            _ => None,
        }
    }

    fn tick(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            if let To::Server(server) = &mut self.to
                && let Err(error) = server.look().await
            {
                tracing::debug!(%error, "syslog server is away");
            }
        })
    }
}

#[cfg(test)]
mod tests;
