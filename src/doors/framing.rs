//! Framing: how messages and the signs between them stand on a connection.
//!
//! What differs between WebSocket (`frames`) and messages back to back (`messages`); everything
//! else about a connection is the same and is in `connection`.

use super::close::CloseReason;

/// What came from a client.
#[derive(Debug, PartialEq)]
pub enum Incoming<'a> {
    /// A whole message.
    Message(&'a [u8]),
    /// A ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
}

/// A way to put messages on a stream of bytes, and the state of one connection in it.
pub trait Framing: Unpin + 'static {
    /// Whether a peer can be pinged.
    const PINGS: bool;

    /// Takes bytes from the front, in place. Returns how many it took and what they were, if
    /// something is whole; nothing is whole when no bytes are left. Memory that was put together
    /// from several pieces is given back at the next call.
    ///
    /// # Errors
    /// The reason to close the connection; nothing sensible comes after it.
    fn decode<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
    ) -> Result<(usize, Option<Incoming<'a>>), CloseReason>;

    /// Appends what stands before a message of so many bytes.
    fn begin_message(bytes: usize, out: &mut Vec<u8>);

    /// Appends a ping.
    fn ping(out: &mut Vec<u8>);

    /// Appends the answer to a ping.
    fn pong(payload: &[u8], out: &mut Vec<u8>);

    /// Appends the last thing that is said before a connection ends.
    fn close(reason: &CloseReason, out: &mut Vec<u8>);
}
