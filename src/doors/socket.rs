//! Sockets: opening the ones that listen and setting the options of the others.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use actix_web::rt::net::TcpStream;
use anyhow::{Context, bail};
use rustix::fs::Mode;
use socket2::SockRef;

use super::DoorSettings;

/// Only the owner may connect, until the mode is set.
const OWNER_ONLY: Mode = Mode::from_raw_mode(0o177);

/// Sets the options of a new TCP connection. Without them it works less well, so a refusal of the
/// kernel is no error.
pub fn prepare(stream: &TcpStream, settings: &DoorSettings) {
    let socket = SockRef::from(stream);
    let timeout = Some(settings.user_timeout.get()).filter(|timeout| !timeout.is_zero());
    let outcomes = [
        ("TCP_NODELAY", socket.set_tcp_nodelay(settings.nodelay.get())),
        ("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(timeout)),
        ("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(settings.notsent_lowat_bytes.get())),
    ];
    for (option, outcome) in outcomes {
        if let Err(error) = outcome {
            log::debug!("{option} could not be set: {error}");
        }
    }
}

/// Has the kernel look after a TCP connection on which the peer cannot be pinged.
pub fn keep_alive(stream: &TcpStream, settings: &DoorSettings) {
    let interval = settings.ping_interval.get().max(std::time::Duration::from_secs(1));
    let probes = socket2::TcpKeepalive::new().with_time(interval).with_interval(interval);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&probes) {
        log::debug!("SO_KEEPALIVE could not be set: {error}");
    }
}

/// Opens the listening socket, so that an address in use is an error before anything starts.
///
/// # Errors
/// If the address cannot be bound.
pub fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Opens a listening socket in the file system. A socket that a server left behind is replaced,
/// one that is in use is not. To be called before there are other threads.
///
/// # Errors
/// One sentence that names the file.
pub fn listen_unix(
    path: &Path,
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
) -> anyhow::Result<UnixListener> {
    let name = path.display();
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            bail!("{name} is there and no socket; unix.path is another file, or remove this one");
        }
        if UnixStream::connect(path).is_ok() {
            bail!("{name} is in use; is another server running? unix.path takes another one");
        }
        fs::remove_file(path).with_context(|| format!("cannot replace the old socket {name}"))?;
    }
    let before = rustix::process::umask(OWNER_ONLY);
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener.with_context(|| format!("cannot listen on {name}"))?;
    listener.set_nonblocking(true).with_context(|| format!("cannot listen on {name}"))?;
    if owner.is_some() || group.is_some() {
        chown(path, owner, group)
            .with_context(|| format!("cannot give {name} to unix.owner and unix.group"))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {name} to unix.mode"))?;
    Ok(listener)
}
