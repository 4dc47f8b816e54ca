//! TLS: the certificate and the key of the direct door, and who may issue those of clients.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::config::{AuthMtls, Tls};

/// Reads a certificate chain and its key, and the authorities of clients if there are any, all in
/// PEM.
///
/// # Errors
/// One sentence that names the key of the configuration and the file.
pub fn load(tls: &Tls, clients: &AuthMtls) -> anyhow::Result<ServerConfig> {
    let (certificate, key) = (&tls.certificate, &tls.key);
    let name = certificate.display();
    let chain = certificates("tls.certificate", certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("tls.key: cannot read a private key from {}", key.display()))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS cannot be used")?;
    let verifier = verifier(clients)?;
    let has_clients = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, private)
        .with_context(|| format!("tls.key: the key in {} is not that of {name}", key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if has_clients {
        // Who resumes a session shows no certificate, so nobody would see that it has expired.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// What checks the certificates of clients, if they may have any.
fn verifier(clients: &AuthMtls) -> anyhow::Result<Option<Arc<dyn ClientCertVerifier>>> {
    let path = &clients.authorities;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates("auth_mtls.authorities", path)? {
        roots.add(certificate).with_context(|| {
            format!("auth_mtls.authorities: {} has one that cannot be used", path.display())
        })?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().context("auth_mtls.authorities: they cannot be used")?;
    Ok(Some(verifier))
}

fn certificates(key: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let name = path.display();
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{key}: cannot read certificates from {name}"))?;
    ensure!(!found.is_empty(), "{key}: {name} has no certificate in PEM");
    Ok(found)
}
