//! A plain address that is asked for as long as the detector lives: the sign of life for services that call somebody
//! when they hear nothing.
//!
//! Asked for once an interval, and only if the loop said within it that it lives: a program that runs but does not watch
//! must not be taken for one that does. One failure is repeated with the next interval; the service tolerates one.

use std::time::Duration;

use reqwest::{Client, Url, redirect};
use tokio::{sync::watch, task::JoinHandle, time};

use super::sink::{SinkError, with_causes};
use crate::config;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A running task. Dropping it ends it.
#[derive(Debug)]
pub struct Ping {
    alive: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Ping {
    /// Starts asking, where an address is configured. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn start(config: &config::Heartbeat) -> Result<Option<Ping>, SinkError> {
        if config.ping_url.is_empty() {
            return Ok(None);
        }
        let url: Url = super::sink::web::url(&config.ping_url)?;
        // Err: another part of the program has chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("detector/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy();
        let client = match url.scheme() {
            "http" => client.tls_certs_only([]),
            _ => {
                client.tls_backend_preconfigured(super::sink::tls::client(&config::Tls::default())?)
            }
        };
        let client = client.build().map_err(SinkError::Client)?;
        let (alive, mut receiver) = watch::channel(0);
        let interval = Duration::from_secs(config.ping_interval_s);
        let task = tokio::spawn(async move {
            // Err: the handle is gone, and this task with it.
            while receiver.changed().await.is_ok() {
                ask(&client, &url).await;
                time::sleep(interval).await;
                receiver.mark_unchanged();
            }
        });
        Ok(Some(Ping { alive, task }))
    }

    /// The loop lives.
    pub fn alive(&self) {
        self.alive
            .send_modify(|beats| *beats = beats.wrapping_add(1));
    }
}

impl Drop for Ping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(client: &Client, url: &Url) {
    // The address is the secret: no log shows it.
    match client.get(url.clone()).send().await {
        Ok(answer) if answer.status().is_success() => {}
        Ok(answer) => tracing::warn!(status = answer.status().as_u16(), "ping refused"),
        Err(error) => {
            let reason = with_causes(&error.without_url());
            tracing::warn!(reason, "ping not answered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::testing::{OK, Server, until};

    #[tokio::test]
    async fn address_is_asked_for_only_while_the_loop_lives() {
        let server = Server::start([OK]).await;
        let config = config::Heartbeat {
            ping_url: server.url.clone(),
            ping_interval_s: 0,
        };
        let ping = Ping::start(&config).unwrap().expect("an address is set");
        let count = || server.received.lock().unwrap().len();
        tokio::task::yield_now().await;
        assert_eq!(count(), 0, "not yet alive");
        ping.alive();
        until(|| count() == 1).await;
        ping.alive();
        until(|| count() >= 1).await;
        let head = server.received.lock().unwrap()[0].head.clone();
        assert!(head.starts_with("get /events http/1.1"), "{head}");
        assert!(
            Ping::start(&config::Heartbeat::default())
                .unwrap()
                .is_none()
        );
    }
}
