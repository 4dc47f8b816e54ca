//! Trust: whom to believe, when another server is asked, that it is the one that is meant.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// The authorities that this machine trusts. `key` is the key of the configuration that messages
/// begin with.
pub fn authorities(key: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::warn!("{key}: some certificates of this machine cannot be read: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        log::warn!(
            "{key}: this machine trusts no certificate authority, so no server can be believed; on \
             Debian the package ca-certificates has them, and SSL_CERT_FILE names a file of others"
        );
    }
    roots
}

/// What encryption needs that believes these authorities.
///
/// # Errors
/// If encryption cannot be used at all.
pub fn encryption(key: &str, roots: RootCertStore) -> anyhow::Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .with_context(|| format!("{key}: TLS cannot be used"))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// What encryption of HTTP needs.
///
/// # Errors
/// If encryption cannot be used at all.
pub fn https(key: &str) -> anyhow::Result<Arc<ClientConfig>> {
    let mut config = encryption(key, authorities(key))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Whether a host of a URL is this machine itself, so that nobody else is on the way.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_here = |address: IpAddr| address.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(is_here)
}
