//! The control socket of a running server, in its data directory: who may read the data may ask
//! for a copy of all of it, which is consistent because the broker itself makes it.
//!
//! A client connects, sends the word `snapshot` and a line feed, and gets a snapshot file, which
//! ends with a checksum and then with the connection. Any other word ends the connection.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use anyhow::Context;
use fanal_actors::Broker;

use crate::store::write_to;

/// The name of the socket in the data directory.
const FILE: &str = "fanal.control";

/// What a client asks for.
const SNAPSHOT: &str = "snapshot";

/// The longest line that is read.
const LINE_BYTES_MAX: u64 = 64;

/// How long a client may take nothing, or say nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the server of this data directory listens.
pub fn place(directory: &FilePath) -> PathBuf {
    directory.join(FILE)
}

/// Answers on the socket until the process ends. Whoever holds the lock of the data may call this.
///
/// # Errors
/// If the socket cannot be made.
pub fn serve(directory: &FilePath, broker: Broker) -> anyhow::Result<()> {
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
            if let Err(error) = stream.and_then(|stream| answer(&stream, &broker)) {
                log::debug!("control socket: {error}");
            }
        }
    };
    std::thread::Builder::new().name("control".into()).spawn(answer_all)?;
    Ok(())
}

fn answer(stream: &UnixStream, broker: &Broker) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream).take(LINE_BYTES_MAX).read_line(&mut line)?;
    if line.trim_end() == SNAPSHOT {
        let report = write_to(stream.try_clone()?, broker.snapshot())?;
        log::info!("a copy of {} resources was taken from the control socket", report.resources);
    }
    Ok(())
}

/// Asks the server of this data directory for a snapshot; `None` if none runs.
///
/// # Errors
/// If one runs and does not answer.
pub fn take_snapshot(directory: &FilePath) -> anyhow::Result<Option<Vec<u8>>> {
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
    io::Write::write_all(&mut stream, format!("{SNAPSHOT}\n").as_bytes()).with_context(cannot)?;
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
