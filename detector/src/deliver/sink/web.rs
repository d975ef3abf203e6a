//! HTTP as every sink that posts speaks it.
//!
//! Secrets and certificates are read again when their files change; what cannot be read then leaves the old ones in
//! force, and is logged. Refuses: following redirects (they would carry the token elsewhere), proxies from the
//! environment, waiting without a time limit, and answers without end.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::{
    Client, Proxy, RequestBuilder, Response, Url,
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect,
};

use super::{
    Reply, SinkError,
    secret::{self, Files},
    tls, with_causes,
};
use crate::{
    config,
    deliver::retry::{self, Meaning, Protocol},
};

/// How much of an answer is read, bytes.
const BODY_BYTES: usize = 16 << 10;
/// How much of an answer is logged, bytes.
const REASON_BYTES: usize = 1024;

/// A client with its secrets.
pub(super) struct Web {
    client: Client,
    credentials: Credentials,
    config: config::Sink,
    encrypted: bool,
    files: Files,
}

/// How one request ended.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    retry_after: Option<Duration>,
    /// As much of the body as was wanted and came.
    pub body: Vec<u8>,
}

/// Which answers are read and not only their status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Refusals, to explain them.
    Refusals,
    /// All: the protocol hides refusals in acceptances.
    All,
}

pub(in crate::deliver) fn url(text: &str) -> Result<Url, SinkError> {
    text.parse().map_err(|error| SinkError::Address {
        address: text.to_owned(),
        reason: format!("{error}"),
    })
}

impl Web {
    /// A client for these addresses.
    pub(super) fn new(config: &config::Sink, urls: &[&Url]) -> Result<Web, SinkError> {
        let proxy = config.web.proxy.as_deref().unwrap_or_default();
        // Without TLS the system's authorities are not needed, and a host without any is no error.
        let encrypted =
            urls.iter().any(|url| url.scheme() == "https") || proxy.starts_with("https:");
        let files = Files::new([
            &config.web.bearer_token_file,
            &config.web.password_file,
            &config.tls.ca_file,
            &config.tls.client_cert_file,
            &config.tls.client_key_file,
        ]);
        Ok(Web {
            client: client(config, encrypted)?,
            credentials: Credentials::read(&config.web)?,
            config: config.clone(),
            encrypted,
            files,
        })
    }

    /// Reads what changed on disk. To be called before each attempt.
    pub(super) fn refresh(&mut self) {
        if !self.files.changed() {
            return;
        }
        let read = client(&self.config, self.encrypted)
            .and_then(|client| Ok((client, Credentials::read(&self.config.web)?)));
        match read {
            Ok(read) => {
                tracing::info!("secrets and certificates read again");
                (self.client, self.credentials) = read;
            }
            Err(error) => {
                tracing::error!(%error, "changed secrets or certificates cannot be used, the old ones stay");
            }
        }
    }

    /// One POST; the error in words.
    pub(super) async fn post(
        &self,
        url: &Url,
        content_type: &'static str,
        body: Bytes,
        read: Read,
    ) -> Result<Answer, String> {
        let request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, content_type)
            .body(body);
        let response = match self.credentials.sign(request).send().await {
            Ok(response) => response,
            Err(error) => return Err(with_causes(&error.without_url())),
        };
        let status = response.status().as_u16();
        let asked = response.headers().get(RETRY_AFTER);
        let retry_after = asked
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry::retry_after(value, unix_now_s()));
        // Usually the status settles it, and a slow body must not hold up the next event.
        let wanted = match (read, (200..300).contains(&status)) {
            (Read::All, _) => BODY_BYTES,
            (Read::Refusals, false) => REASON_BYTES,
            (Read::Refusals, true) => 0,
        };
        Ok(Answer {
            status,
            retry_after,
            body: beginning(response, wanted).await,
        })
    }
}

impl Answer {
    /// What it means for the events, by the rules of the protocol.
    pub(super) fn reply(&self, protocol: Protocol) -> Reply {
        match retry::meaning(protocol, self.status) {
            Meaning::Delivered => Reply::Delivered(self.words()),
            Meaning::Retry => Reply::Retry {
                after: self.retry_after,
                reason: self.words(),
            },
            Meaning::Refused => Reply::Refused(self.words()),
        }
    }

    /// Status and the beginning of the body.
    pub(super) fn words(&self) -> String {
        let mut out = format!("status {}", self.status);
        let body = self.body.trim_ascii();
        if !body.is_empty() {
            let shown = &body[..body.len().min(REASON_BYTES)];
            out += &format!(": {}", shown.escape_ascii());
        }
        out
    }
}

/// The first bytes of a body, as far as they come within the time limit of the request.
async fn beginning(mut response: Response, limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < limit {
        match response.chunk().await {
            Ok(Some(chunk)) => out.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    out.truncate(limit);
    out
}

pub(super) fn unix_now_s() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

fn client(config: &config::Sink, encrypted: bool) -> Result<Client, SinkError> {
    // Err: another part of the program has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let timeout = Duration::from_millis(config.common.timeout_ms);
    let mut builder = Client::builder()
        .user_agent(concat!("detector/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(1);
    if let Some(proxy) = &config.web.proxy {
        builder = builder.proxy(Proxy::all(proxy).map_err(SinkError::Client)?);
    }
    builder = match encrypted {
        true => builder.tls_backend_preconfigured(tls::client(&config.tls)?),
        false => builder.tls_certs_only([]),
    };
    builder.build().map_err(SinkError::Client)
}

/// How we say who we are.
enum Credentials {
    None,
    Bearer(String),
    Basic { user: String, password: String },
}

impl Credentials {
    fn read(config: &config::Web) -> Result<Credentials, SinkError> {
        Ok(match config {
            config::Web {
                bearer_token_file: Some(path),
                ..
            } => Credentials::Bearer(secret::read(path)?),
            config::Web {
                username: Some(user),
                password_file: Some(path),
                ..
            } => Credentials::Basic {
                user: user.clone(),
                password: secret::read(path)?,
            },
            _ => Credentials::None,
        })
    }

    /// Adds the header, marked so that no log shows it.
    fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Credentials::None => request,
            Credentials::Bearer(token) => request.bearer_auth(token),
            Credentials::Basic { user, password } => request.basic_auth(user, Some(password)),
        }
    }
}
