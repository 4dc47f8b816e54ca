//! The ways to a server: a TCP connection, one that is encrypted, or a socket in the file system.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::http::Uri;

use super::failure::{Failure, Kind};
use super::now;
use super::target::Target;
use crate::auth::trust;

/// How long to wait for a connection, and for its handshakes.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What an address looks like.
const EXAMPLE: &str = "ws://127.0.0.1:3000/websocket";

/// Where a server is, and how to speak to it.
#[derive(Debug, PartialEq, Eq)]
pub enum Address {
    /// WebSocket, with TLS or without.
    WebSocket { encrypted: bool, host: String, port: u16 },
    /// Messages back to back on a TCP port.
    Tcp { host: String, port: u16 },
    /// Messages back to back on a socket in the file system.
    Unix { path: PathBuf },
}

impl Address {
    /// Reads an address such as `wss://host/websocket`.
    ///
    /// # Errors
    /// What is wrong with it, and what it should look like.
    pub fn read(url: &str) -> Result<Self> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                bail!("address {url:?}: a socket is named as unix:///run/fanal.sock");
            }
            return Ok(Address::Unix { path: PathBuf::from(path) });
        }
        let uri: Uri = url
            .parse()
            .with_context(|| format!("address {url:?} cannot be read; it looks like {EXAMPLE}"))?;
        let (scheme, usual_port) = match uri.scheme_str() {
            Some("ws") => ("ws", 80),
            Some("wss") => ("wss", 443),
            Some("tcp") => ("tcp", 3002),
            _ => bail!(
                "address {url:?} does not begin with ws://, wss://, tcp:// or unix:; it looks like \
                 {EXAMPLE}"
            ),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.with_context(|| format!("address {url:?} names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(usual_port);
        Ok(match scheme {
            "tcp" => Address::Tcp { host, port },
            scheme => Address::WebSocket { encrypted: scheme == "wss", host, port },
        })
    }

    /// Whether it is on this machine, so that nobody else is on the way.
    pub fn is_here(&self) -> bool {
        match self {
            Address::WebSocket { host, .. } | Address::Tcp { host, .. } => trust::is_loopback(host),
            Address::Unix { .. } => true,
        }
    }
}

/// A socket that does not wait for longer than it may, however little comes at a time.
pub struct Timed<S> {
    stream: S,
    deadline: Instant,
}

impl<S> Timed<S> {
    fn new(stream: S) -> Self {
        Timed { stream, deadline: now() + CONNECT_MAX }
    }
}

impl<S: Read> Read for Timed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if now() >= self.deadline {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.stream.read(buffer)
    }
}

impl<S: Write> Write for Timed<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A connection.
pub enum Transport {
    /// TCP.
    Plain(Timed<TcpStream>),
    /// TLS over TCP.
    Encrypted(Box<StreamOwned<ClientConnection, Timed<TcpStream>>>),
    /// A socket in the file system.
    File(Timed<UnixStream>),
}

impl Transport {
    /// Connects.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn open(address: &Address, target: &Target) -> Result<Self> {
        let (host, port, encrypted) = match address {
            Address::WebSocket { encrypted, host, port } => (host, *port, *encrypted),
            Address::Tcp { host, port } => (host, *port, false),
            Address::Unix { path } => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(CONNECT_MAX))?;
                return Ok(Transport::File(Timed::new(stream)));
            }
        };
        // Files that are no good are no fault of the server, which may not even be there.
        let encryption = if encrypted {
            Some(encryption(target).map_err(|error| Failure::of(Kind::Usage, &error))?)
        } else {
            None
        };
        let stream = open(host, port)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT_MAX))?;
        stream.set_write_timeout(Some(CONNECT_MAX))?;
        let stream = Timed::new(stream);
        let Some(encryption) = encryption else { return Ok(Transport::Plain(stream)) };
        let name = ServerName::try_from(host.clone())
            .with_context(|| format!("{host:?} is no name that a certificate has"))?;
        let connection = ClientConnection::new(encryption, name)?;
        let mut stream = StreamOwned::new(connection, stream);
        // Now, so that a certificate that is not believed is what the message is about.
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Transport::Encrypted(Box::new(stream)))
    }

    /// How long reads may wait, all together.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_read_timeout(&mut self, time: Duration) -> io::Result<()> {
        let deadline = now() + time;
        match self {
            Transport::Plain(timed) => {
                timed.deadline = deadline;
                timed.stream.set_read_timeout(Some(time))
            }
            Transport::Encrypted(stream) => {
                stream.sock.deadline = deadline;
                stream.sock.stream.set_read_timeout(Some(time))
            }
            Transport::File(timed) => {
                timed.deadline = deadline;
                timed.stream.set_read_timeout(Some(time))
            }
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        let _ = match self {
            Transport::Plain(timed) => timed.stream.shutdown(Shutdown::Write),
            Transport::Encrypted(stream) => stream.sock.stream.shutdown(Shutdown::Write),
            Transport::File(timed) => timed.stream.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.read(buffer),
            Transport::Encrypted(stream) => stream.read(buffer),
            Transport::File(stream) => stream.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(stream) => stream.write(buffer),
            Transport::Encrypted(stream) => stream.write(buffer),
            Transport::File(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(stream) => stream.flush(),
            Transport::Encrypted(stream) => stream.flush(),
            Transport::File(stream) => stream.flush(),
        }
    }
}

fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whom to believe, and who to be.
fn encryption(target: &Target) -> Result<Arc<ClientConfig>> {
    let roots = match &target.ca {
        None => trust::authorities("wss"),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).with_context(|| {
                    format!("{}: this certificate is no authority", file.display())
                })?;
            }
            roots
        }
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(Arc::new(match (&target.cert, &target.key) {
        (Some(cert), Some(key)) => config
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .with_context(|| format!("{} and {} do not fit", cert.display(), key.display()))?,
        (None, None) => config.with_no_client_auth(),
        (Some(_), None) => bail!("a certificate is named, and no key of it"),
        (None, Some(_)) => bail!("a key is named, and no certificate of it"),
    }))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let reader = BufReader::new(open_file(path)?);
    let found: Vec<_> = CertificateDer::pem_reader_iter(reader)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is no file of PEM certificates", path.display()))?;
    if found.is_empty() {
        bail!("{} has no certificate in it", path.display());
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_reader(BufReader::new(open_file(path)?))
        .with_context(|| format!("{} has no private key in PEM form", path.display()))
}

fn open_file(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("{} cannot be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Address) {
        assert_eq!(Address::read(url).unwrap(), expected, "{url}");
    }

    #[test]
    fn addresses_are_read() {
        let web = |encrypted, host: &str, port| Address::WebSocket {
            encrypted,
            host: host.to_owned(),
            port,
        };
        check("ws://[::1]:3000/w", web(false, "::1", 3000));
        check("ws://house/w", web(false, "house", 80));
        check("wss://house", web(true, "house", 443));
        check("tcp://house", Address::Tcp { host: "house".to_owned(), port: 3002 });
        check("unix:/run/a.sock", Address::Unix { path: "/run/a.sock".into() });
        check("unix:///run/a.sock", Address::Unix { path: "/run/a.sock".into() });
    }

    #[test]
    fn addresses_that_cannot_work_are_explained() {
        for (url, expected) in [
            ("http://127.0.0.1:3000", "does not begin with ws://"),
            ("127.0.0.1:3000", "ws://127.0.0.1:3000/websocket"),
            ("", "ws://127.0.0.1:3000/websocket"),
            ("unix:run", "unix:///run/fanal.sock"),
            ("ws://", "ws://127.0.0.1:3000/websocket"),
        ] {
            let error = Address::read(url).unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }

    #[test]
    fn what_is_on_this_machine_is_known() {
        for (url, expected) in [
            ("ws://127.0.0.1/", true),
            ("wss://localhost/", true),
            ("unix:/a", true),
            ("tcp://[::1]:1", true),
            ("tcp://10.0.0.1", false),
            ("ws://localhost.example/", false),
        ] {
            assert_eq!(Address::read(url).unwrap().is_here(), expected, "{url}");
        }
    }
}
