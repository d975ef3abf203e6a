//! Answers `GET /metrics`, and nothing else.
//!
//! What it costs is bounded by its shape: [`SLOTS`] tasks a place, each of which takes one connection at a time and the
//! next one no sooner than [`PACE`] after it; a connection has [`LIMIT`] for all of it, 8 KiB for its request and one
//! answer. More connections wait in the kernel's queue, which costs the daemon nothing. The text is made by the loop,
//! which is asked through a queue and makes it at most once a second.

use std::{convert::Infallible, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{self, Instant},
};

use super::{
    Page,
    place::{Place, Stream},
};
use crate::config;

/// Connections at a time, of each place: Prometheus keeps one, people need another.
pub const SLOTS: usize = 4;
/// Connections of one slot are at least this far apart: twenty answers a second at most, about 50 µs each.
const PACE: Duration = Duration::from_millis(200);
/// From a connection's beginning to its end. Prometheus itself waits ten seconds.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of a request's head; hyper's minimum.
const HEAD_BYTES: usize = 8_192;
/// Header lines of a request: Prometheus sends six.
const HEADERS: usize = 32;

/// Somebody wants the text.
pub type Scrape = oneshot::Sender<Bytes>;

/// Listens; dropping it closes every place and connection.
#[derive(Debug)]
pub struct Server {
    config: config::Metrics,
    scrapes: mpsc::Sender<Scrape>,
    slots: Vec<JoinHandle<()>>,
}

impl Server {
    /// A server that listens nowhere yet, and the questions that the loop has to answer.
    pub fn new() -> (Server, mpsc::Receiver<Scrape>) {
        let (scrapes, questions) = mpsc::channel(SLOTS);
        let server = Server {
            config: config::Metrics::default(),
            scrapes,
            slots: Vec::new(),
        };
        (server, questions)
    }

    /// Listens where `config` says, and no longer elsewhere. Must be called within a tokio runtime. Gives a reason for each
    /// place that cannot be had; the others are served.
    pub fn listen(&mut self, config: &config::Metrics) -> Vec<String> {
        if self.config == *config && !self.slots.is_empty() {
            return Vec::new();
        }
        self.close();
        self.config = config.clone();
        let mut missing = Vec::new();
        let mut open = |place: io::Result<Place>, what: String| match place {
            Ok(place) => self.serve(place),
            Err(error) => missing.push(format!("no metrics on {what}: {error}")),
        };
        if let Some(path) = config.socket() {
            open(Place::unix(&path), path.display().to_string());
        }
        if let Some(address) = config.listen {
            open(Place::tcp(address), address.to_string());
        }
        missing
    }

    fn serve(&mut self, place: Place) {
        tracing::info!(at = place.name(), "metrics");
        let place = Arc::new(place);
        let slot = |_| tokio::spawn(slot(Arc::clone(&place), self.scrapes.clone()));
        self.slots.extend((0..SLOTS).map(slot));
    }

    fn close(&mut self) {
        for slot in self.slots.drain(..) {
            slot.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

/// One connection after the other, for ever.
async fn slot(place: Arc<Place>, scrapes: mpsc::Sender<Scrape>) {
    loop {
        let accepted = place.accept().await;
        let next = Instant::now() + PACE;
        match accepted {
            Ok(stream) => {
                let scrapes = &scrapes;
                let served = time::timeout(LIMIT, serve(stream, scrapes)).await;
                if served.is_err() {
                    tracing::debug!(?LIMIT, "connection for metrics given up");
                }
            }
            // No descriptor is left, or the other side was faster: both pass.
            Err(error) => tracing::debug!(%error, "no connection for metrics"),
        }
        time::sleep_until(next).await;
    }
}

async fn serve(stream: Box<dyn Stream>, scrapes: &mpsc::Sender<Scrape>) {
    let service = service_fn(|request| answer(request, scrapes));
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .header_read_timeout(None) // The whole connection has a limit.
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection for metrics");
    }
}

async fn answer(
    request: Request<Incoming>,
    scrapes: &mpsc::Sender<Scrape>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let plain = |status, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        Ok(response)
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    let (scrape, text) = oneshot::channel();
    // The loop is gone: the program ends.
    let asked = scrapes.send(scrape).await.is_ok();
    let Some(text) = (if asked { text.await.ok() } else { None }) else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    };
    let mut response = Response::new(Full::new(text));
    let kind = header::HeaderValue::from_static(Page::CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

impl config::Metrics {
    /// The socket that is wanted, if any.
    fn socket(&self) -> Option<PathBuf> {
        match &self.socket {
            Some(path) => (!path.as_os_str().is_empty()).then(|| path.clone()),
            None => config::runtime_folder().map(|folder| folder.join("metrics.sock")),
        }
    }
}

#[cfg(test)]
mod tests;
