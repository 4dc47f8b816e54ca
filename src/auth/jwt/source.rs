//! Sources: where a set of keys is read again and again, a file or a URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{StatusCode, Uri};
use actix_web::rt::task::spawn_blocking;
use actix_web::rt::time::timeout;
use anyhow::{Context, ensure};
use awc::{Client, Connector};
use rustls::ClientConfig;

use super::super::trust;

/// The largest set of keys.
const SET_BYTES_MAX: usize = 256 * 1024;

/// How long it may take to get one.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Where keys come from.
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A server.
    Server {
        /// Where exactly.
        url: Uri,
        /// How it is believed to be the one that is meant, if it has to prove that.
        tls: Option<Arc<ClientConfig>>,
    },
}

impl Source {
    /// The source that `auth_jwt.keys` names.
    ///
    /// # Errors
    /// If it is a URL that cannot be used.
    pub fn from_text(text: &str) -> anyhow::Result<Self> {
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Source::File(PathBuf::from(text)));
        };
        let expected = "expected a file, or a URL such as https://login.example.org/keys";
        let url: Uri = text.parse().with_context(|| format!("auth_jwt.keys: {expected}"))?;
        let host = url.host().unwrap_or_default();
        ensure!(!host.is_empty(), "auth_jwt.keys: the URL has no host: {expected}");
        let has_password =
            url.authority().is_some_and(|authority| authority.as_str().contains('@'));
        ensure!(!has_password, "auth_jwt.keys: the URL has a user in it, which is not sent");
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => Some(trust::https("auth_jwt.keys")?),
            "http" => {
                if !trust::is_loopback(host) {
                    log::warn!(
                        "auth_jwt.keys: over http who is on the way can replace the keys and be \
                         every user; https prevents that"
                    );
                }
                None
            }
            _ => anyhow::bail!("auth_jwt.keys: the URL begins with {scheme}: {expected}"),
        };
        Ok(Source::Server { url, tls })
    }

    /// What is there now.
    ///
    /// # Errors
    /// Why it could not be read.
    pub async fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Source::File(path) => {
                let path = path.clone();
                let read = spawn_blocking(move || read_file(&path));
                read.await.map_err(|error| error.to_string())?
            }
            Source::Server { url, tls } => timeout(FETCH_TIMEOUT, fetch(url, tls.clone()))
                .await
                .map_err(|_| format!("no answer in {} s", FETCH_TIMEOUT.as_secs()))?,
        }
    }
}

/// Where it is, for people: without what may be secret in it.
impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(formatter),
            Source::Server { url, .. } => {
                let (scheme, host) = (url.scheme_str(), url.authority());
                let host = host.map(|host| host.as_str()).unwrap_or_default();
                write!(formatter, "{}://{host}{}", scheme.unwrap_or_default(), url.path())
            }
        }
    }
}

/// Reads a file that is not too large.
///
/// # Errors
/// Why it could not be read.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let most = SET_BYTES_MAX as u64 + 1;
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut text))
        .map_err(|error| error.to_string())?;
    if text.len() > SET_BYTES_MAX {
        return Err(format!("it is larger than {SET_BYTES_MAX} bytes"));
    }
    Ok(text)
}

async fn fetch(url: &Uri, tls: Option<Arc<ClientConfig>>) -> Result<Vec<u8>, String> {
    let mut connector = Connector::new().timeout(FETCH_TIMEOUT);
    if let Some(tls) = tls {
        connector = connector.rustls_0_23(tls);
    }
    let client =
        Client::builder().connector(connector).timeout(FETCH_TIMEOUT).disable_redirects().finish();
    let mut response = client.get(url).send().await.map_err(|error| error.to_string())?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(format!("the answer is {status}"));
    }
    let body = response.body().limit(SET_BYTES_MAX).await.map_err(|error| error.to_string())?;
    Ok(body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        match (Source::from_text(text), expected) {
            (Ok(source), Ok(shown)) => assert_eq!(source.to_string(), shown, "{text}"),
            (Err(error), Err(part)) => {
                let error = format!("{error:#}");
                assert!(error.contains(part) && !error.contains("hush"), "{text}: {error}");
            }
            (Ok(source), Err(part)) => panic!("{text}: {source} in place of {part}"),
            (Err(error), Ok(_)) => panic!("{text}: {error:#}"),
        }
    }

    #[test]
    fn a_source_is_a_file_or_a_server_and_is_shown_without_secrets() {
        check("keys.json", Ok("keys.json"));
        check("/etc/fanal/keys.json", Ok("/etc/fanal/keys.json"));
        check("https://a.example/keys?key=hush", Ok("https://a.example/keys"));
        check("http://127.0.0.1:8000/", Ok("http://127.0.0.1:8000/"));
        check("HTTP://[::1]/keys", Ok("http://[::1]/keys"));
        check("ftp://a.example/keys", Err("begins with ftp"));
        check("file:///keys.json", Err("auth_jwt.keys: "));
        check("https://", Err("expected a file, or a URL"));
        check("https://ann:hush@a.example/", Err("has a user in it"));
        check("http://a b/hush", Err("expected a file, or a URL"));
    }
}
