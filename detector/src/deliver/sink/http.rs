//! CloudEvents over HTTP, structured mode: one POST an event.
//!
//! One event is in flight at a time, so order is kept and a struggling receiver is not flooded. 2xx is
//! delivered; 429, 5xx, redirects and network errors are repeated ([`retry`]); any other 4xx is a dead
//! letter, logged with its reason. Delivery is at least once: an answer that is lost after the
//! receiver took the event causes a repetition with the same `id`.
//!
//! Refuses: following redirects (they would carry the token elsewhere), proxies from the environment, and
//! waiting without a time limit.

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use reqwest::{
    Certificate, Client, Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use tokio::{sync::Notify, task::JoinHandle, time};

use super::secret::{self, SecretError};
use crate::{
    config,
    deliver::{
        Counters, Event, Kind,
        queue::Queue,
        retry::{self, Decision, Outcome, Policy},
    },
};

/// Stable name of events pushed out of the queue.
pub const LOSS_DROPPED: &str = "http_dropped";
/// Stable name of events that the receiver refused for good.
pub const LOSS_DEAD_LETTERED: &str = "http_dead_lettered";

/// Longest wait a receiver may ask for: an outage plan, not a way to silence us for a night.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// How much of a refusal is logged, bytes.
const REASON_BYTES: usize = 1024;
/// Structured mode.
const CLOUDEVENTS: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// A sink that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HttpSinkError {
    /// Not a URL.
    #[error("sink.http.url `{url}` is not a URL: {reason}")]
    Url {
        /// As configured.
        url: String,
        /// Why.
        reason: String,
    },
    /// The token cannot be used.
    #[error("sink.http.bearer_token_file")]
    Token(#[from] SecretError),
    /// The certificate authorities cannot be used.
    #[error("sink.http.ca_file: cannot use {}: {reason}", path.display())]
    Authorities {
        /// As configured.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The HTTP client refuses to start.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Starts sinks.
#[derive(Debug)]
pub struct HttpSink {
    client: Client,
    url: Url,
    policy: Policy,
    shared: Arc<Shared>,
    random: RandomState,
}

/// What the caller and the task share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something was queued, or shutdown began.
    changed: Notify,
    delivered: AtomicU64,
    retried: AtomicU64,
    dead_lettered: AtomicU64,
    dropped: AtomicU64,
    undelivered: AtomicU64,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// Taken from the queue and not yet settled.
    in_flight: bool,
    /// No more events are taken.
    closing: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

/// A running sink.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Queues an event. Never blocks: a full queue gives up its oldest event that is no incident, else
    /// its oldest, and counts it.
    pub fn send(&self, event: Event) {
        let mut state = self.shared.state();
        let lost = if state.closing {
            Some(event)
        } else {
            state.queue.push(event)
        };
        drop(state);
        self.shared.changed.notify_one();
        if let Some(lost) = lost {
            let total = self.shared.dropped.fetch_add(1, Relaxed) + 1;
            if lost.kind == Kind::Incident || total.is_power_of_two() {
                tracing::error!(id = lost.id, subject = lost.subject, total, "event dropped");
            }
        }
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        let shared = &self.shared;
        Counters {
            delivered: shared.delivered.load(Relaxed),
            retried: shared.retried.load(Relaxed),
            dead_lettered: shared.dead_lettered.load(Relaxed),
            dropped: shared.dropped.load(Relaxed),
            undelivered_at_exit: shared.undelivered.load(Relaxed),
        }
    }

    /// Events not yet settled, the one in flight included.
    pub fn depth(&self) -> usize {
        let state = self.shared.state();
        state.queue.len() + usize::from(state.in_flight)
    }

    /// Takes no more events and tries to deliver those it has for as long as `limit`. What is left is
    /// counted and logged; the one in flight may have arrived nevertheless.
    pub async fn shutdown(mut self, limit: Duration) -> Counters {
        self.shared.state().closing = true;
        self.shared.changed.notify_one();
        if time::timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
            // The task is at an await point or ends there: nothing is settled after this.
            let _ = (&mut self.task).await;
        }
        let left = self.depth() as u64;
        self.shared.undelivered.store(left, Relaxed);
        let counters = self.counters();
        if left > 0 {
            tracing::error!(undelivered = left, "events not delivered before exit");
        }
        counters
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpSink {
    /// Reads token and certificates and starts delivering. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`HttpSinkError`], which names the key.
    pub fn spawn(config: &config::Http) -> Result<Handle, HttpSinkError> {
        let url: Url = config.url.parse().map_err(|error| HttpSinkError::Url {
            url: config.url.clone(),
            reason: format!("{error}"),
        })?;
        let client = client(config, &url)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: Queue::new(config.queue),
                in_flight: false,
                closing: false,
            }),
            changed: Notify::new(),
            delivered: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            undelivered: AtomicU64::new(0),
        });
        let sink = HttpSink {
            client,
            url,
            policy: Policy {
                initial: Duration::from_millis(config.retry_initial_ms),
                max: Duration::from_millis(config.retry_max_ms),
                retry_after_max: RETRY_AFTER_MAX,
            },
            shared: Arc::clone(&shared),
            random: RandomState::new(),
        };
        let task = tokio::spawn(sink.run());
        Ok(Handle { shared, task })
    }

    async fn run(self) {
        loop {
            let (event, closing) = {
                let mut state = self.shared.state();
                let event = state.queue.pop();
                state.in_flight = event.is_some();
                (event, state.closing)
            };
            match event {
                Some(event) => {
                    let settled = self.deliver(&event).await;
                    settled.fetch_add(1, Relaxed);
                    self.shared.state().in_flight = false;
                }
                None if closing => return,
                // A permit is kept when nobody waits, so no event is overlooked.
                None => self.shared.changed.notified().await,
            }
        }
    }

    /// Repeats until the event is settled; gives the counter of how.
    async fn deliver(&self, event: &Event) -> &AtomicU64 {
        let mut was_closing = false;
        for attempt in 0_u32.. {
            let (outcome, reason) = self.attempt(event).await;
            let random = self.random.hash_one((&event.id, attempt));
            match retry::decide(&self.policy, attempt, outcome, random) {
                Decision::Delivered => return &self.shared.delivered,
                Decision::DeadLetter => {
                    let (id, subject) = (&event.id, &event.subject);
                    tracing::error!(id, subject, reason, "event refused by the receiver");
                    return &self.shared.dead_lettered;
                }
                Decision::Retry(wait) => {
                    let total = self.shared.retried.fetch_add(1, Relaxed) + 1;
                    if total.is_power_of_two() {
                        tracing::warn!(
                            id = event.id,
                            attempt,
                            reason,
                            total,
                            "event not delivered"
                        );
                    }
                    self.pause(wait, &mut was_closing).await;
                }
            }
        }
        unreachable!("2^32 attempts")
    }

    /// Waits, but not through the beginning of shutdown: that is worth one attempt at once.
    async fn pause(&self, wait: Duration, was_closing: &mut bool) {
        let end = time::Instant::now() + wait;
        loop {
            let closing = self.shared.state().closing;
            if closing && !*was_closing {
                *was_closing = true;
                return;
            }
            tokio::select! {
                () = time::sleep_until(end) => return,
                // A new event wakes this too; it has to wait like the others.
                () = self.shared.changed.notified() => {}
            }
        }
    }

    /// One POST: how it ended, and why in words.
    async fn attempt(&self, event: &Event) -> (Outcome, String) {
        let request = self.client.post(self.url.clone()).body(event.body.clone());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return (Outcome::Unanswered, describe(error.without_url())),
        };
        let status = response.status().as_u16();
        let asked = response.headers().get(RETRY_AFTER);
        let retry_after = asked
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry::retry_after(value, unix_now_s()));
        let mut reason = format!("status {status}");
        // The status settles it; a body is read only to explain a refusal.
        if !(200..300).contains(&status) {
            let body = beginning(response).await;
            reason += &format!(": {}", body.escape_ascii());
        }
        (
            Outcome::Answered {
                status,
                retry_after,
            },
            reason,
        )
    }
}

/// The first bytes of a body, as far as they come within the time limit of the request.
async fn beginning(mut response: Response) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < REASON_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => out.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    out.truncate(REASON_BYTES);
    out
}

/// An error with its causes: reqwest's own text stops at "error sending request".
fn describe(error: reqwest::Error) -> String {
    let mut out = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        out += &format!(": {error}");
        cause = error.source();
    }
    out
}

fn unix_now_s() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

fn client(config: &config::Http, url: &Url) -> Result<Client, HttpSinkError> {
    // Err: another part of the program has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, CLOUDEVENTS)]);
    if let Some(path) = &config.bearer_token_file {
        let token = secret::read(path)?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .expect("printable ASCII is a header value");
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let timeout = Duration::from_millis(config.timeout_ms);
    let mut builder = Client::builder()
        .default_headers(headers)
        .user_agent(concat!("detector/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(1);
    if let Some(path) = &config.ca_file {
        builder = builder.tls_certs_only(authorities(path)?);
    } else if url.scheme() == "http" {
        // The system's authorities are not needed, and a host without any is no error.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(HttpSinkError::Client)
}

fn authorities(path: &PathBuf) -> Result<Vec<Certificate>, HttpSinkError> {
    let fail = |reason: String| HttpSinkError::Authorities {
        path: path.clone(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|error| fail(error.to_string()))?;
    if certificates.is_empty() {
        return Err(fail("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests;
