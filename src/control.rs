//! The control socket: how the commands of `fanal` reach the server that uses a data directory.
//!
//! It is a file in the data directory that only who owns the server may use, and what answers there
//! is the API of `src/admin/`. A server without a data directory has none.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::rt::System;
use actix_web::rt::net::UnixStream;
use anyhow::{Context, anyhow, bail};
use awc::Connector;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::auth::{Answer, Question};

/// Name of the socket's file.
const FILE: &str = "fanal.control";

/// How long the server may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a whole answer may take; a copy of everything is one.
const BODY_PATIENCE: Duration = Duration::from_secs(3600);

/// The longest answer that is no copy of everything.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where the server of this data directory listens.
pub fn place(directory: &FilePath) -> PathBuf {
    directory.join(FILE)
}

/// Makes the socket. Whoever holds the lock of the data may call this.
///
/// # Errors
/// If it cannot be made.
pub fn listen(directory: &FilePath) -> anyhow::Result<UnixListener> {
    let path = place(directory);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path)
        .with_context(|| format!("cannot make the socket {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect the socket {}", path.display()))?;
    Ok(listener)
}

/// The API of a server, as a client has it.
pub enum Api {
    /// That of the server which uses a data directory.
    Socket(PathBuf),
    /// One at a URL, with the token of its configuration.
    Url {
        /// Such as `http://127.0.0.1:3001`.
        url: String,
        /// `admin.token` of that server.
        token: String,
    },
}

/// What a server answered.
pub struct Answered {
    status: StatusCode,
    body: Vec<u8>,
}

/// Why a server did not do as asked.
#[derive(Deserialize)]
struct Failure {
    error: String,
}

impl Answered {
    /// The answer, or why there is none.
    ///
    /// # Errors
    /// If the server refused, or what it said cannot be read.
    pub fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        if !self.status.is_success() {
            return Err(anyhow!(self.failure()));
        }
        serde_json::from_slice(&self.body).context("the server answered something strange")
    }

    fn failure(&self) -> String {
        match serde_json::from_slice(&self.body) {
            Ok(Failure { error }) => error,
            Err(_) => format!("the server answered {}", self.status),
        }
    }
}

impl Api {
    /// That of the server which uses this data directory.
    pub fn of(directory: &FilePath) -> Self {
        Api::Socket(place(directory))
    }

    /// Asks for something below `/v1`, such as `status`; `None` if no server runs there.
    ///
    /// # Errors
    /// If one runs and does not answer.
    pub fn ask(&self, method: &Method, what: &str) -> anyhow::Result<Option<Answered>> {
        self.ask_for(method, what, ANSWER_BYTES_MAX)
    }

    fn ask_for(
        &self,
        method: &Method,
        what: &str,
        bytes_max: usize,
    ) -> anyhow::Result<Option<Answered>> {
        if let Api::Socket(path) = self {
            // Who may not use it is told so by the request.
            match std::os::unix::net::UnixStream::connect(path) {
                Err(error)
                    if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused]
                        .contains(&error.kind()) =>
                {
                    return Ok(None);
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot connect to {}", path.display()));
                }
                Ok(_) => {}
            }
        }
        System::new().block_on(self.request(method, what, bytes_max)).map(Some)
    }

    async fn request(
        &self,
        method: &Method,
        what: &str,
        bytes_max: usize,
    ) -> anyhow::Result<Answered> {
        let cannot = || format!("the server at {} does not answer", self.name());
        let (client, base) = match self {
            Api::Socket(path) => (through(path.clone()), "http://fanal"),
            Api::Url { url, .. } => (awc::Client::default(), url.trim_end_matches('/')),
        };
        let url: Uri = format!("{base}/v1/{what}")
            .parse()
            .map_err(|error| anyhow!("{base} is no URL: {error}"))?;
        let mut request = client.request(method.clone(), url).timeout(PATIENCE);
        if let Api::Url { token, .. } = self {
            request = request.bearer_auth(token);
        }
        let answer =
            request.send().await.map_err(|error| anyhow!("{error}")).with_context(cannot)?;
        let status = answer.status();
        let body = answer.timeout(BODY_PATIENCE).body().limit(bytes_max).await;
        let body = body.map_err(|error| anyhow!("{error}")).with_context(cannot)?;
        Ok(Answered { status, body: body.to_vec() })
    }

    fn name(&self) -> String {
        match self {
            Api::Socket(path) => path.display().to_string(),
            Api::Url { url, .. } => url.clone(),
        }
    }
}

/// A client whose connections are to a file, whatever the URL says.
fn through(path: PathBuf) -> awc::Client {
    let connect = actix_service::fn_service(move |info: ConnectInfo<Uri>| {
        let path = path.clone();
        async move {
            let stream = UnixStream::connect(path).await.map_err(ConnectError::Io)?;
            Ok::<_, ConnectError>(Connection::new(info.request().clone(), stream))
        }
    });
    awc::Client::builder().connector(Connector::new().connector(connect)).finish()
}

/// A part of a URL.
pub fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Asks the server of this data directory to reload, and returns what it says; `None` if none runs.
///
/// # Errors
/// If one runs and does not answer.
pub fn reload(directory: &FilePath) -> anyhow::Result<Option<Result<String, String>>> {
    #[derive(Deserialize)]
    struct Done {
        done: String,
    }
    let Some(answer) = Api::of(directory).ask(&Method::POST, "reload")? else { return Ok(None) };
    if answer.status == StatusCode::CONFLICT {
        return Ok(Some(Err(answer.failure())));
    }
    let Done { done } = answer.read()?;
    Ok(Some(Ok(done)))
}

/// Asks the server of this data directory to explain something; `None` if none runs.
///
/// # Errors
/// If one runs and does not answer, or the question makes no sense.
pub fn explain_by(directory: &FilePath, question: &Question) -> anyhow::Result<Option<Answer>> {
    let Question { user, roles, verb, path, source } = question;
    let mut what = format!(
        "auth/explain?user={}&verb={}&path={}",
        escaped(user),
        escaped(verb),
        escaped(path)
    );
    if let Some(roles) = roles {
        what += &format!("&role={}", escaped(&roles.join(",")));
    }
    if let Some(source) = source {
        what += &format!("&source={}", escaped(source));
    }
    let answer = Api::of(directory).ask(&Method::GET, &what)?;
    answer.map(|answer| answer.read()).transpose()
}

/// Asks the server of this data directory for a snapshot; `None` if none runs.
///
/// # Errors
/// If one runs and does not answer.
pub fn take_snapshot(directory: &FilePath) -> anyhow::Result<Option<Vec<u8>>> {
    let answer = Api::of(directory).ask_for(&Method::GET, "snapshot", usize::MAX)?;
    let Some(answer) = answer else { return Ok(None) };
    if !answer.status.is_success() {
        bail!("{}", answer.failure());
    }
    Ok(Some(answer.body))
}
