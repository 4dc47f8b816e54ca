//! Sockets that the service manager opened before it started the server (sd_listen_fds(3)), so that
//! connections wait for a server that starts anew instead of being refused.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use anyhow::{Context, bail};
use listenfd::ListenFd;

/// Where the manager says what the sockets are called, separated by colons.
const NAMES: &str = "LISTEN_FDNAMES";

/// The sockets, by what they are for.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For WebSocket clients.
    pub websocket: Option<TcpListener>,
    /// For clients of the TCP port.
    pub tcp: Option<TcpListener>,
    /// For who operates the server.
    pub admin: Option<TcpListener>,
    /// For clients of the socket in the file system.
    pub unix: Option<UnixListener>,
}

impl Inherited {
    /// Takes them. Each has the name `websocket`, `tcp`, `admin` or `unix`; one that was given no
    /// such name is for WebSocket clients.
    ///
    /// # Errors
    /// One sentence that says which socket is no use.
    pub fn take() -> anyhow::Result<Self> {
        let names = std::env::var(NAMES).unwrap_or_default();
        Self::sort(&mut ListenFd::from_env(), &names)
    }

    fn sort(found: &mut ListenFd, names: &str) -> anyhow::Result<Self> {
        let mut names = names.split(':');
        let mut sorted = Inherited::default();
        for index in 0..found.len() {
            let name = names.next().unwrap_or_default();
            let shown = format!("socket {} of the service manager ({name:?})", index + 1);
            let known = match name {
                "tcp" => &mut sorted.tcp,
                "admin" => &mut sorted.admin,
                "unix" => {
                    let taken = found.take_unix_listener(index);
                    let listener = taken.with_context(|| format!("{shown} cannot be used"))?;
                    put(&mut sorted.unix, listener, &shown)?;
                    continue;
                }
                _ => &mut sorted.websocket,
            };
            let taken = found.take_tcp_listener(index);
            let listener = taken.with_context(|| format!("{shown} cannot be used"))?;
            put(known, listener, &shown)?;
        }
        for listener in [&sorted.websocket, &sorted.tcp, &sorted.admin].into_iter().flatten() {
            listener.set_nonblocking(true).context("a socket of the service manager")?;
        }
        if let Some(listener) = &sorted.unix {
            listener.set_nonblocking(true).context("a socket of the service manager")?;
        }
        Ok(sorted)
    }

    /// Where clients come in, for those sockets that are reached over a network.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let all = [&self.websocket, &self.tcp].into_iter().flatten();
        all.filter_map(|listener| listener.local_addr().ok())
    }
}

fn put<T>(place: &mut Option<T>, found: Option<T>, shown: &str) -> anyhow::Result<()> {
    if place.is_some() {
        bail!(
            "{shown} is one too many: expected each name once, FileDescriptorName=websocket, tcp, \
             admin or unix"
        );
    }
    *place = found;
    Ok(())
}
