//! TLS: the certificate and the key of the direct door, and who may issue those of clients. All of
//! them may change while the server runs; connections that are open stay as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, ensure};
use parking_lot::RwLock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::Clock;
use crate::config::{Config, TlsVersion};

/// How long before a certificate expires that is said.
const EXPIRY_NOTICE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Encryption whose certificates may be replaced. Clones are the same.
#[derive(Clone, Debug)]
pub struct Encryption(Arc<RwLock<Files>>);

/// What is in the files.
#[derive(Clone, Debug)]
pub struct Files {
    key: Arc<CertifiedKey>,
    /// What checks the certificates of clients, if they may have any.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    /// When the certificate expires, in seconds since 1970; `None` if it does not say so.
    until: Option<u64>,
}

impl Files {
    /// Reads a certificate chain and its key, and the authorities of clients if there are any, all
    /// in PEM.
    ///
    /// # Errors
    /// One sentence that names the key of the configuration and the file.
    pub fn read(config: &Config) -> anyhow::Result<Self> {
        let (certificate, key) = (&config.tls.certificate, &config.tls.key);
        let name = certificate.display();
        let chain = certificates("tls.certificate", certificate)?;
        let until = chain.first().and_then(expiry);
        let private = PrivateKeyDer::from_pem_file(key).with_context(|| {
            format!("tls.key: cannot read a private key from {}", key.display())
        })?;
        let key = CertifiedKey::from_der(chain, private, &ring::default_provider()).with_context(
            || format!("tls.key: the key in {} is not that of {name}", key.display()),
        )?;
        Ok(Files { key: Arc::new(key), clients: verifier(config)?, until })
    }

    /// Whether these are the certificates of a server as another one has them.
    fn are_those_of(&self, other: &Files) -> bool {
        self.key.cert == other.key.cert
    }

    /// When the certificate expires, for people.
    fn until(&self) -> String {
        match self.until {
            Some(until) => {
                let until = UNIX_EPOCH + Duration::from_secs(until);
                format!("until {}", humantime::format_rfc3339_seconds(until))
            }
            None => "without an end".to_owned(),
        }
    }

    /// Says so if the certificate expires soon, or has.
    pub fn warn_of_expiry(&self) {
        let Some(until) = self.until else { return };
        let now = Clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if until <= now {
            log::error!(
                "tls.certificate: it has expired; clients will not connect ({})",
                self.until()
            );
        } else if until - now < EXPIRY_NOTICE.as_secs() {
            log::warn!("tls.certificate: it expires soon ({})", self.until());
        }
    }
}

impl Encryption {
    /// As the configuration has it; `None` if it wants none.
    ///
    /// # Errors
    /// If the files cannot be used.
    pub fn from_config(config: &Config) -> anyhow::Result<Option<Self>> {
        if config.tls.certificate.as_os_str().is_empty() {
            return Ok(None);
        }
        let files = Files::read(config)?;
        files.warn_of_expiry();
        Ok(Some(Encryption(Arc::new(RwLock::new(files)))))
    }

    /// Takes other certificates, for connections from now on.
    pub fn replace(&self, mut files: Files) {
        let mut current = self.0.write();
        // Whether clients have any is settled at the start.
        files.clients = files.clients.or_else(|| current.clients.clone());
        if !current.are_those_of(&files) {
            log::info!("the certificate is another one now, {}", files.until());
        }
        *current = files;
        drop(current);
        self.warn_of_expiry();
    }

    /// Says so if the certificate expires soon, or has.
    pub fn warn_of_expiry(&self) {
        self.0.read().warn_of_expiry();
    }

    /// What a server is set up with.
    ///
    /// # Errors
    /// If TLS cannot be used.
    pub fn server(&self, config: &Config) -> anyhow::Result<ServerConfig> {
        let versions = match config.tls.version_min {
            TlsVersion::Tls12 => &[&TLS12, &TLS13][..],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .context("TLS cannot be used")?;
        let has_clients = self.0.read().clients.is_some();
        let builder = if has_clients {
            let required = config.auth_mtls.required;
            builder.with_client_cert_verifier(Arc::new(Clients { current: self.clone(), required }))
        } else {
            builder.with_no_client_auth()
        };
        let mut server = builder.with_cert_resolver(Arc::new(self.clone()));
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        if has_clients {
            // Who resumes a session shows no certificate, so nobody would see that it has expired.
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        }
        Ok(server)
    }
}

impl ResolvesServerCert for Encryption {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().key))
    }
}

/// Checks the certificates of clients by what is in the files now.
#[derive(Debug)]
struct Clients {
    current: Encryption,
    required: bool,
}

impl Clients {
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let clients = self.current.0.read().clients.clone();
        clients.ok_or_else(|| Error::General("no certificates of clients are taken now".to_owned()))
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    /// None: a client shows what it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verifier()?.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The files that are looked at for changes.
pub fn paths(config: &Config) -> impl Iterator<Item = &PathBuf> {
    let (tls, clients) = (&config.tls, &config.auth_mtls);
    let all = [&tls.certificate, &tls.key, &clients.authorities];
    all.into_iter().filter(|path| !path.as_os_str().is_empty())
}

fn verifier(config: &Config) -> anyhow::Result<Option<Arc<dyn ClientCertVerifier>>> {
    let path = &config.auth_mtls.authorities;
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

fn expiry(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}
