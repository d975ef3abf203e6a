//! What a TLS connection trusts and shows: one configuration of rustls for every sink that has connections.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{SinkError, secret};
use crate::config::Tls;

/// Reads the files that are configured.
///
/// # Errors
/// A file cannot be read or does not hold what it should; or the system knows no authority and none is named.
pub(in crate::deliver) fn client(config: &Tls) -> Result<ClientConfig, SinkError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(authorities(config)?);
    let (Some(chain), Some(key)) = (&config.client_cert_file, &config.client_key_file) else {
        return Ok(builder.with_no_client_auth());
    };
    let fail = |error: &dyn std::fmt::Display| bad(key, error);
    let pem = secret::read_private(key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| fail(&error))?;
    builder
        .with_client_auth_cert(certificates(chain)?, private)
        .map_err(|error| fail(&error))
}

fn authorities(config: &Tls) -> Result<RootCertStore, SinkError> {
    let mut store = RootCertStore::empty();
    let Some(path) = &config.ca_file else {
        // Some of a system's certificates may be unreadable: the others do.
        let system = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(system.certs);
        if store.is_empty() {
            return Err(bad(
                Path::new("/etc/ssl/certs"),
                &"the system trusts no certificate authority: install ca-certificates, or set ca_file",
            ));
        }
        return Ok(store);
    };
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| bad(path, &error))?;
    }
    Ok(store)
}

/// All certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SinkError> {
    let pem = secret::read_public(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.map_err(|error| bad(path, &error))?;
    if all.is_empty() {
        return Err(bad(path, &"it holds no certificate"));
    }
    Ok(all)
}

fn bad(path: &Path, reason: &dyn std::fmt::Display) -> SinkError {
    SinkError::Certificate {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
