//! Messages back to back, for doors without frames: MessagePack delimits itself.

use fanal_actors::{Boundary, Fault, Response, encode_response};

use super::close::CloseReason;
use super::framing::{Framing, Incoming};

/// The messages of one connection.
pub struct Messages {
    message_bytes_max: usize,
    boundary: Boundary,
    /// What is there of a message that comes in several pieces.
    message: Vec<u8>,
    /// `message` was handed out, and is given back at the next call.
    handed_out: bool,
}

impl Messages {
    /// Messages of at most `message_bytes_max`.
    pub fn new(message_bytes_max: usize) -> Self {
        Messages {
            message_bytes_max,
            boundary: Boundary::default(),
            message: Vec::new(),
            handed_out: false,
        }
    }
}

impl Framing for Messages {
    const PINGS: bool = false;

    fn decode<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
    ) -> Result<(usize, Option<Incoming<'a>>), CloseReason> {
        if self.handed_out {
            self.handed_out = false;
            self.message = Vec::new();
        }
        // One byte over the limit is enough to know; what is wrong behind it does not matter, and
        // would be seen or not as the network cuts the bytes.
        let most = self.message_bytes_max.saturating_sub(self.message.len()).saturating_add(1);
        let look = bytes.get(..most).unwrap_or(bytes);
        let (taken, whole) = self.boundary.advance(look).map_err(|fault| {
            CloseReason::ProtocolError(match fault {
                Fault::UnusedByte => "a message had the byte c1, which MessagePack does not use",
                _ => "what came was no request: one is a MessagePack map",
            })
        })?;
        if taken >= most {
            return Err(CloseReason::MessageTooBig);
        }
        let piece = bytes.get(..taken).unwrap_or_default();
        if whole && self.message.is_empty() {
            return Ok((taken, Some(Incoming::Message(piece))));
        }
        self.message.extend_from_slice(piece);
        if !whole {
            return Ok((taken, None));
        }
        self.handed_out = true;
        Ok((taken, Some(Incoming::Message(&self.message))))
    }

    fn begin_message(_: usize, _: &mut Vec<u8>) {}

    fn ping(_: &mut Vec<u8>) {}

    fn pong(_: &[u8], _: &mut Vec<u8>) {}

    fn close(reason: &CloseReason, out: &mut Vec<u8>) {
        let (Some(rnum), Some((_, text))) = (reason.rnum(), reason.code_and_text()) else { return };
        let response = Response { reid: &[0xc0], rnum, payload: None, warning: Some(&text) };
        encode_response(&response, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&[u8]], expected: &[&[u8]], outcome: Result<(), CloseReason>) {
        let mut messages = Messages::new(8);
        let mut seen = Vec::new();
        let mut read = |piece: &[u8]| {
            let mut bytes = piece.to_vec();
            let mut rest = &mut bytes[..];
            loop {
                let is_all = rest.is_empty();
                let (taken, incoming) = messages.decode(rest)?;
                match incoming {
                    Some(Incoming::Message(message)) => seen.push(message.to_vec()),
                    Some(other) => panic!("{other:?}"),
                    None if is_all => return Ok(()),
                    None => {}
                }
                rest = &mut rest[taken..];
            }
        };
        assert_eq!(pieces.iter().try_for_each(|piece| read(piece)), outcome);
        assert_eq!(seen, expected);
    }

    #[test]
    fn messages_come_whole_from_any_pieces() {
        check(&[&[0x81, 1, 2, 0x80]], &[&[0x81, 1, 2], &[0x80]], Ok(()));
        check(&[&[0x81], &[1], &[2, 0x80, 0x81]], &[&[0x81, 1, 2], &[0x80]], Ok(()));
    }

    #[test]
    fn what_cannot_be_delimited_or_is_too_long_is_a_reason_to_close() {
        let no_map = "what came was no request: one is a MessagePack map";
        check(&[b"GET / HTTP"], &[], Err(CloseReason::ProtocolError(no_map)));
        check(&[&[0x80, 0xc0]], &[&[0x80]], Err(CloseReason::ProtocolError(no_map)));
        check(&[&[0x81, 1, 0xa9], &[0; 9]], &[], Err(CloseReason::MessageTooBig));
        let wrong_behind: &[u8] = &[0x82, 1, 0xa6, 0, 0, 0, 0, 0, 0, 0xc1];
        check(&[wrong_behind], &[], Err(CloseReason::MessageTooBig));
        check(&[&wrong_behind[..9], &[0xc1]], &[], Err(CloseReason::MessageTooBig));
        check(&[&[0x81, 1, 0xa5, 0, 0, 0, 0, 0]], &[&[0x81, 1, 0xa5, 0, 0, 0, 0, 0]], Ok(()));
    }
}
