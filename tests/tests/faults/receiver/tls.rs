//! TLS in front of a receiver, with the certificate of the moment: its own, a stranger's or one that has expired.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tests::recorder::loopback;
use tokio::{io::copy_bidirectional, net::TcpStream};
use tokio_rustls::TlsAcceptor;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// What a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Of the authority that the client trusts, for this name, in force.
    Right,
    /// Of an authority that the client does not know.
    Foreign,
    /// For another name.
    Misnamed,
    /// In force until 2001.
    Expired,
}

/// A server that ends TLS and hands on what is within.
pub struct Front {
    pub port: u16,
    ours: Authority,
    other: Authority,
    shown: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Front {
    /// Before the receiver at `port`, until the runtime ends.
    pub fn start(port: u16, shown: Certificate) -> Front {
        let (ours, other) = (authority("ours"), authority("other"));
        let config = Arc::new(Mutex::new(server(&ours, &other, shown)));
        let listener = loopback();
        let front = Front {
            port: listener.local_addr().expect("it listens").port(),
            shown: Arc::clone(&config),
            ours,
            other,
        };
        tokio::spawn(relay(listener, port, config));
        front
    }

    /// Shows another certificate to whoever connects from now on.
    pub fn show(&self, certificate: Certificate) {
        let config = server(&self.ours, &self.other, certificate);
        *self.shown.lock().expect("no holder panics") = config;
    }

    /// Writes down whom to trust.
    pub fn write_authority(&self, path: &Path) {
        fs::write(path, self.ours.pem()).expect("writable");
    }
}

async fn relay(listener: TcpListener, port: u16, config: Arc<Mutex<Arc<ServerConfig>>>) {
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    while let Ok((stream, _)) = listener.accept().await {
        let shown = Arc::clone(&config.lock().expect("no holder panics"));
        tokio::spawn(async move {
            // A client that does not like what it sees ends here.
            let mut outer = TlsAcceptor::from(shown).accept(stream).await?;
            let mut inner = TcpStream::connect(("127.0.0.1", port)).await?;
            copy_bidirectional(&mut outer, &mut inner).await
        });
    }
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn server(ours: &Authority, other: &Authority, shown: Certificate) -> Arc<ServerConfig> {
    let (name, year, signer) = match shown {
        Certificate::Right => ("localhost", 4096, ours),
        Certificate::Foreign => ("localhost", 4096, other),
        Certificate::Misnamed => ("elsewhere", 4096, ours),
        Certificate::Expired => ("localhost", 2001, ours),
    };
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.not_after = date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, signer).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key);
    Arc::new(config.expect("a key that fits"))
}
