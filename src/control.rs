//! The control socket of a running server, in its data directory: who may read the data may ask
//! for a copy of all of it, which is consistent because the broker itself makes it.
//!
//! A client connects, sends a line, and is answered until the connection ends:
//!
//! | line | answer |
//! |---|---|
//! | `snapshot` | a snapshot file, which ends with a checksum |
//! | `reload` | `ok` or `error` and what there is to say, each line of it |
//! | `explain` and a [`Question`] in JSON | `ok` and an [`Answer`] in JSON, or `error` and why |
//!
//! Any other line ends the connection.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use fanal_actors::Broker;

use crate::auth::{Answer, Authority, Question, explain};
use crate::reload::Reloader;
use crate::store::write_to;

/// The name of the socket in the data directory.
const FILE: &str = "fanal.control";

/// What a client asks for.
const SNAPSHOT: &str = "snapshot";
const RELOAD: &str = "reload";
const EXPLAIN: &str = "explain ";

/// The longest line that is read.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// How long a client may take nothing, or say nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the socket has to do with.
pub struct Controls {
    /// The broker.
    pub broker: Broker,
    /// Who may do what.
    pub authority: Authority,
    /// What reads that anew.
    pub reloader: Reloader,
}

/// Where the server of this data directory listens.
pub fn place(directory: &FilePath) -> PathBuf {
    directory.join(FILE)
}

/// Answers on the socket until the process ends. Whoever holds the lock of the data may call this.
///
/// # Errors
/// If the socket cannot be made.
pub fn serve(directory: &FilePath, controls: Controls) -> anyhow::Result<()> {
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
    let answer_all = move || {
        // One after the other: a copy of everything is enough work for the disk.
        for stream in listener.incoming() {
            if let Err(error) = stream.and_then(|stream| answer(&stream, &controls)) {
                log::debug!("control socket: {error}");
            }
        }
    };
    std::thread::Builder::new().name("control".into()).spawn(answer_all)?;
    Ok(())
}

fn answer(stream: &UnixStream, controls: &Controls) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream).take(LINE_BYTES_MAX).read_line(&mut line)?;
    let line = line.trim_end();
    let broker = &controls.broker;
    if line == SNAPSHOT {
        let report = write_to(stream.try_clone()?, broker.snapshot())?;
        log::info!("a copy of {} resources was taken from the control socket", report.resources);
    } else if line == RELOAD {
        say(stream, controls.reloader.reload())?;
    } else if let Some(question) = line.strip_prefix(EXPLAIN) {
        let answer = serde_json::from_str(question)
            .map_err(|error| error.to_string())
            .and_then(|question| explain(&question, &controls.authority, &broker.policy()))
            .and_then(|answer| serde_json::to_string(&answer).map_err(|error| error.to_string()));
        say(stream, answer)?;
    }
    Ok(())
}

fn say(mut stream: &UnixStream, outcome: Result<String, String>) -> io::Result<()> {
    let (word, text) = match outcome {
        Ok(text) => ("ok", text),
        Err(text) => ("error", text),
    };
    stream.write_all(format!("{word} {text}\n").as_bytes())
}

/// Asks the server of this data directory to reload, and returns what it says; `None` if none runs.
///
/// # Errors
/// If one runs and does not answer.
pub fn reload(directory: &FilePath) -> anyhow::Result<Option<Result<String, String>>> {
    let Some(answer) = ask(directory, RELOAD)? else { return Ok(None) };
    let answer = String::from_utf8_lossy(&answer).trim_end().to_owned();
    match answer.split_once(' ') {
        Some(("ok", text)) => Ok(Some(Ok(text.to_owned()))),
        Some(("error", text)) => Ok(Some(Err(text.to_owned()))),
        _ => bail!("the server at {} does not answer", place(directory).display()),
    }
}

/// Asks the server of this data directory to explain something; `None` if none runs.
///
/// # Errors
/// If one runs and does not answer, or the question makes no sense.
pub fn explain_by(directory: &FilePath, question: &Question) -> anyhow::Result<Option<Answer>> {
    let line = format!("{EXPLAIN}{}", serde_json::to_string(question)?);
    let Some(answer) = ask(directory, &line)? else { return Ok(None) };
    let answer = String::from_utf8_lossy(&answer).trim_end().to_owned();
    match answer.split_once(' ') {
        Some(("ok", text)) => Ok(Some(serde_json::from_str(text)?)),
        Some(("error", text)) => bail!("{text}"),
        _ => bail!("the server at {} does not answer", place(directory).display()),
    }
}

/// Asks the server of this data directory for a snapshot; `None` if none runs.
///
/// # Errors
/// If one runs and does not answer.
pub fn take_snapshot(directory: &FilePath) -> anyhow::Result<Option<Vec<u8>>> {
    ask(directory, SNAPSHOT)
}

/// Sends a line to the server of this data directory; `None` if none runs.
fn ask(directory: &FilePath, line: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let path = place(directory);
    let mut stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused]
                .contains(&error.kind()) =>
        {
            return Ok(None);
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot connect to {}", path.display()));
        }
    };
    let cannot = || format!("the server at {} does not answer", path.display());
    stream.set_read_timeout(Some(PATIENCE)).with_context(cannot)?;
    stream.write_all(format!("{line}\n").as_bytes()).with_context(cannot)?;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = stream.read(&mut buffer).with_context(cannot)?;
        if count == 0 {
            return Ok(Some(bytes));
        }
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}
