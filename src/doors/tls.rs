//! TLS: the certificate and the key of the direct door.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Reads a certificate chain and its key, both in PEM.
///
/// # Errors
/// One sentence that names the key of the configuration and the file.
pub fn load(certificate: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let name = certificate.display();
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("tls.certificate: cannot read certificates from {name}"))?;
    ensure!(!chain.is_empty(), "tls.certificate: {name} has no certificate in PEM");
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("tls.key: cannot read a private key from {}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS cannot be used")?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| format!("tls.key: the key in {} is not that of {name}", key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
