//! A connection to a syslog server, and whether it still holds.

use std::{
    future::Future as _,
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::super::{SinkError, tls, web};
use crate::config;

/// Where the server is, and how it is spoken to.
pub(super) struct Address {
    host: String,
    port: u16,
    tls: Option<(ServerName<'static>, config::Tls)>,
}

impl Address {
    pub(super) fn new(url: &str, config: &config::Tls) -> Result<Address, SinkError> {
        let parsed = web::url(url)?;
        let bad = |reason: &str| SinkError::Address {
            address: url.to_owned(),
            reason: reason.to_owned(),
        };
        let (Some(host), Some(port)) = (parsed.host_str(), parsed.port()) else {
            return Err(bad("it must name host and port"));
        };
        // An IPv6 address has brackets in a URL and none elsewhere.
        let host = host.trim_matches(['[', ']']).to_owned();
        let tls = match parsed.scheme() {
            "tls" => {
                let name = ServerName::try_from(host.clone()).map_err(|_| bad("no host name"))?;
                // Read now to fail at start, and again for each connection.
                tls::client(config)?;
                Some((name, config.clone()))
            }
            _ => None,
        };
        Ok(Address { host, port, tls })
    }

    pub(super) async fn connect(&self) -> io::Result<Stream> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let Some((name, config)) = &self.tls else {
            return Ok(Stream(Box::new(tcp)));
        };
        let config = tls::client(config).map_err(io::Error::other)?;
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Stream(Box::new(tls.connect(name.clone(), tcp).await?)))
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection.
pub(super) struct Stream(Box<dyn Duplex>);

impl Stream {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Whether the peer has closed or reset it. Servers say nothing else; what one says all the same is ignored.
    pub(super) fn is_broken(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let mut buffer = [0; 256];
            let read = std::pin::pin!(self.0.read(&mut buffer));
            match read.poll(&mut context) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
            }
        }
    }
}
