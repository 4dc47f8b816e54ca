//! Transports: what a connection needs of a socket besides reading and writing.

use std::net::SocketAddr;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::rt::net::{ActixStream, TcpStream, UnixStream};
use socket2::SockRef;

/// Bytes that the kernel may hold unsent of a connection with huge values. It is less than one of
/// them, so what a slow client gets is no older for it; and with the usual few it would take such a
/// value in a hundred pieces, each a wake-up.
const HUGE_LOWAT_BYTES: u32 = 128 * 1024;

/// Values of at least so many bytes are huge.
pub const HUGE_BYTES: usize = 256 * 1024;

/// A socket of any kind.
pub trait Transport: ActixStream + 'static {
    /// Prepares for huge values.
    fn expect_huge(&self);

    /// The other end of the socket.
    fn other_end(&self) -> Option<SocketAddr>;
}

impl Transport for TcpStream {
    fn expect_huge(&self) {
        if let Err(error) = SockRef::from(self).set_tcp_notsent_lowat(HUGE_LOWAT_BYTES) {
            log::debug!("TCP_NOTSENT_LOWAT could not be set: {error}");
        }
    }

    fn other_end(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}

impl Transport for TlsStream<TcpStream> {
    fn expect_huge(&self) {
        self.get_ref().0.expect_huge();
    }

    fn other_end(&self) -> Option<SocketAddr> {
        self.get_ref().0.other_end()
    }
}

impl Transport for UnixStream {
    fn expect_huge(&self) {}

    fn other_end(&self) -> Option<SocketAddr> {
        None
    }
}
