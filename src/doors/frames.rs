//! Frames: from the bytes of a socket to whole messages, with every limit kept before anything is
//! buffered.
//!
//! The frame decoder of `actix_http` buffers as much as a frame announces before it looks at its
//! limit. Here the header of each frame is judged by RFC 6455 and held against the message limit as
//! soon as it is there; the decoder then only cuts and unmasks a frame that is known to be good and
//! whole. Nothing is read ahead: the socket is asked for more only when the caller wants a message
//! and none is there, so a session without room stops its client.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_http::ws::{OpCode, Parser};
use actix_web::error::PayloadError;
use actix_web::web::{Bytes, BytesMut};
use futures_core::Stream;

use super::close::CloseReason;

/// Longest header of a frame from a client: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;

/// Longest payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// A buffer that has grown beyond this is given back when it is empty.
const BUFFER_KEPT_BYTES: usize = 16 * 1024;

/// What came from a client.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// A whole binary message.
    Message(Bytes),
    /// A ping, to be answered with the same bytes.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
    /// Something that ends the connection. Nothing sensible comes after it.
    Fault(CloseReason),
    /// The end of the stream.
    End,
}

/// Reads frames from the body of an upgraded request.
pub struct FrameReader<S> {
    stream: S,
    frames: Frames,
    /// Bytes that came and belong to no frame that was handed out.
    buffer: BytesMut,
    /// How many of those have been judged.
    judged: usize,
    /// Fragments of the message that is coming in.
    fragments: BytesMut,
    /// A fault was found, or the stream has ended: what still comes is thrown away.
    done: bool,
}

impl<S> FrameReader<S>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    /// A reader of messages of at most `message_bytes_max`.
    pub fn new(stream: S, message_bytes_max: usize) -> Self {
        FrameReader {
            stream,
            frames: Frames::new(message_bytes_max as u64),
            buffer: BytesMut::new(),
            judged: 0,
            fragments: BytesMut::new(),
            done: false,
        }
    }

    /// The next message or control frame. Counts the bytes that it took from the socket in
    /// `taken_bytes`.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        taken_bytes: &mut usize,
    ) -> Poll<Incoming> {
        loop {
            if self.done {
                self.buffer = BytesMut::new();
            } else {
                match self.next_buffered() {
                    Ok(Some(incoming)) => return Poll::Ready(incoming),
                    Ok(None) => {}
                    Err(fault) => {
                        self.done = true;
                        self.fragments = BytesMut::new();
                        return Poll::Ready(Incoming::Fault(fault));
                    }
                }
            }
            match Pin::new(&mut self.stream).poll_next(context) {
                Poll::Ready(Some(Ok(chunk))) => {
                    *taken_bytes += chunk.len();
                    self.buffer.extend_from_slice(&chunk);
                }
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(Incoming::End),
                Poll::Pending => {
                    if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_KEPT_BYTES {
                        self.buffer = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// The next whole frame of what is buffered, if there is one.
    fn next_buffered(&mut self) -> Result<Option<Incoming>, CloseReason> {
        loop {
            let unjudged = self.buffer.get(self.judged..).unwrap_or_default();
            let (judged, whole) = self.frames.advance(unjudged)?;
            self.judged += judged;
            if !whole {
                return Ok(None);
            }
            self.judged = 0;
            let malformed = |_| CloseReason::ProtocolError("a frame was malformed");
            let cut = Parser::parse(&mut self.buffer, true, usize::MAX).map_err(malformed)?;
            let Some((finished, opcode, payload)) = cut else { return Ok(None) };
            let payload = payload.map(BytesMut::freeze).unwrap_or_default();
            if let Some(incoming) = self.take_frame(finished, opcode, payload)? {
                return Ok(Some(incoming));
            }
        }
    }

    /// What a frame means; `None` for a fragment that is not the last one.
    fn take_frame(
        &mut self,
        finished: bool,
        opcode: OpCode,
        payload: Bytes,
    ) -> Result<Option<Incoming>, CloseReason> {
        Ok(match opcode {
            OpCode::Binary if finished => Some(Incoming::Message(payload)),
            OpCode::Binary | OpCode::Continue => {
                self.fragments.extend_from_slice(&payload);
                finished.then(|| Incoming::Message(std::mem::take(&mut self.fragments).freeze()))
            }
            OpCode::Ping => Some(Incoming::Ping(payload)),
            OpCode::Pong => Some(Incoming::Pong),
            OpCode::Close if payload.is_empty() => Some(Incoming::Close(None)),
            OpCode::Close => {
                let malformed = |_| CloseReason::ProtocolError("a close frame was malformed");
                let reason = Parser::try_parse_close_payload(&payload).map_err(malformed)?;
                Some(Incoming::Close(reason.map(|reason| u16::from(reason.code))))
            }
            OpCode::Text => return Err(CloseReason::TextMessage),
            OpCode::Bad => {
                return Err(CloseReason::ProtocolError("a frame had a reserved opcode"));
            }
        })
    }
}

/// Where in the sequence of frames the stream is.
struct Frames {
    message_bytes_max: u64,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// The header is complete, so many bytes of the payload are yet to come.
    in_payload: bool,
    payload_left: u64,
    /// Bytes of the current message so far; `None` between messages.
    message_bytes: Option<u64>,
}

/// What a frame's first bytes say.
struct Header {
    finished: bool,
    opcode: u8,
    length: u64,
}

impl Frames {
    fn new(message_bytes_max: u64) -> Self {
        Frames {
            message_bytes_max,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            in_payload: false,
            payload_left: 0,
            message_bytes: None,
        }
    }

    /// Steps over the bytes at hand up to the end of a frame. Returns how many it stepped over, and
    /// whether a frame ends there.
    fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), CloseReason> {
        let mut position = 0;
        if !self.in_payload {
            position = self.take_header(bytes)?;
        }
        if !self.in_payload {
            return Ok((position, false));
        }
        let rest = bytes.len().saturating_sub(position);
        let step = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(rest);
        self.payload_left -= step as u64;
        self.in_payload = self.payload_left > 0;
        Ok((position + step, !self.in_payload))
    }

    /// Takes bytes of a header, and judges it when it is complete. Returns how many it took.
    fn take_header(&mut self, bytes: &[u8]) -> Result<usize, CloseReason> {
        let mut taken = 0;
        for byte in bytes {
            if let Some(place) = self.header.get_mut(self.header_bytes) {
                *place = *byte;
            }
            self.header_bytes += 1;
            taken += 1;
            if self.header_bytes >= 2 && self.header_bytes == self.header_length() {
                let header = self.decode()?;
                self.judge(&header)?;
                self.header_bytes = 0;
                self.payload_left = header.length;
                self.in_payload = true;
                return Ok(taken);
            }
            if self.header_bytes == 2 {
                self.judge_start()?;
            }
        }
        Ok(taken)
    }

    fn start(&self) -> (u8, u8) {
        let [first, second, ..] = self.header;
        (first, second)
    }

    /// Length of the header, once its first two bytes are there.
    fn header_length(&self) -> usize {
        let (_, second) = self.start();
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        match second & 0x7f {
            126 => 4 + mask,
            127 => 10 + mask,
            _ => 2 + mask,
        }
    }

    /// Refuses what the first two bytes already show to be wrong.
    fn judge_start(&self) -> Result<(), CloseReason> {
        let (first, second) = self.start();
        let wrong = |what| Err(CloseReason::ProtocolError(what));
        if first & 0x70 != 0 {
            return wrong("a frame had a reserved bit set");
        }
        if second & 0x80 == 0 {
            return wrong("a frame was not masked");
        }
        match first & 0x0f {
            0x0 | 0x2 => Ok(()),
            0x1 => Err(CloseReason::TextMessage),
            0x8..=0xa if first & 0x80 == 0 => wrong("a control frame was fragmented"),
            0x8..=0xa if u64::from(second & 0x7f) > CONTROL_BYTES_MAX => {
                wrong("a control frame was longer than 125 bytes")
            }
            0x8..=0xa => Ok(()),
            _ => wrong("a frame had a reserved opcode"),
        }
    }

    fn decode(&self) -> Result<Header, CloseReason> {
        let (first, second) = self.start();
        let extended = match second & 0x7f {
            126 => self.header.get(2..4),
            127 => self.header.get(2..10),
            _ => None,
        };
        let length = match extended {
            None => u64::from(second & 0x7f),
            Some(bytes) => bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
        };
        self.judge_start()?;
        Ok(Header { finished: first & 0x80 != 0, opcode: first & 0x0f, length })
    }

    fn judge(&mut self, header: &Header) -> Result<(), CloseReason> {
        if header.opcode & 0x8 != 0 {
            return Ok(());
        }
        let before = match (header.opcode, self.message_bytes) {
            (0x0, None) => {
                return Err(CloseReason::ProtocolError("a fragment came without a first one"));
            }
            (0x0, Some(bytes)) => bytes,
            (_, Some(_)) => {
                return Err(CloseReason::ProtocolError("a message began inside another one"));
            }
            (_, None) => 0,
        };
        let bytes = before.saturating_add(header.length);
        if bytes > self.message_bytes_max {
            return Err(CloseReason::MessageTooBig);
        }
        self.message_bytes = if header.finished { None } else { Some(bytes) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds frames in pieces of each size, so that every header is cut everywhere.
    #[track_caller]
    fn check(frames: &[&[u8]], expected: Result<(), CloseReason>) {
        let all = frames.concat();
        for size in 1..=all.len() {
            let mut frames = Frames::new(1000);
            let outcome = all.chunks(size).try_for_each(|piece| step_over(&mut frames, piece));
            assert_eq!(outcome, expected, "in pieces of {size}");
        }
    }

    fn step_over(frames: &mut Frames, mut piece: &[u8]) -> Result<(), CloseReason> {
        while !piece.is_empty() {
            let (step, _) = frames.advance(piece)?;
            piece = &piece[step..];
        }
        Ok(())
    }

    fn wrong(what: &'static str) -> Result<(), CloseReason> {
        Err(CloseReason::ProtocolError(what))
    }

    const MASK: &[u8] = &[1, 2, 3, 4];

    #[test]
    fn good_frames_pass_in_any_cut() {
        check(&[&[0x82, 0x83], MASK, b"abc", &[0x89, 0x80], MASK, &[0x82, 0x80], MASK], Ok(()));
        check(&[&[0x82, 0xfe, 0x03, 0xe8], MASK, &[7; 1000], &[0x88, 0x80], MASK], Ok(()));
        check(
            &[&[0x02, 0x81], MASK, b"a", &[0x89, 0x81], MASK, b"p", &[0x80, 0x81], MASK, b"b"],
            Ok(()),
        );
    }

    #[test]
    fn frames_that_break_the_protocol_are_refused_by_their_first_bytes() {
        check(&[&[0xc2, 0x80], MASK], wrong("a frame had a reserved bit set"));
        check(&[&[0x92, 0x80], MASK], wrong("a frame had a reserved bit set"));
        check(&[&[0x82, 0x03], b"abc"], wrong("a frame was not masked"));
        check(&[&[0x83, 0x80], MASK], wrong("a frame had a reserved opcode"));
        check(&[&[0x8b, 0x80], MASK], wrong("a frame had a reserved opcode"));
        check(&[&[0x09, 0x80], MASK], wrong("a control frame was fragmented"));
        check(&[&[0x89, 0xfe, 0, 126], MASK], wrong("a control frame was longer than 125 bytes"));
        check(&[&[0x80, 0x80], MASK], wrong("a fragment came without a first one"));
        let inside = wrong("a message began inside another one");
        check(&[&[0x02, 0x80], MASK, &[0x82, 0x80], MASK], inside);
        check(&[&[0x81, 0x80], MASK], Err(CloseReason::TextMessage));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_announcement() {
        check(&[&[0x82, 0xfe, 0x03, 0xe9], MASK], Err(CloseReason::MessageTooBig));
        check(&[&[0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0], MASK], Err(CloseReason::MessageTooBig));
        check(&[&[0x82, 0xff], &[0xff; 8], MASK], Err(CloseReason::MessageTooBig));
        let first: &[u8] = &[0x02, 0xfe, 0x03, 0x00];
        let next: &[u8] = &[0x80, 0xfe, 0x01, 0x00];
        check(&[first, MASK, &[0; 0x300], next, MASK], Err(CloseReason::MessageTooBig));
    }

    /// A body that comes in pieces, and then nothing more.
    struct Pieces(std::collections::VecDeque<Bytes>);

    impl Stream for Pieces {
        type Item = Result<Bytes, PayloadError>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
        frame.extend(MASK);
        frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ MASK[i % 4]));
        frame
    }

    #[test]
    fn messages_come_whole_from_any_cut() {
        let all = [
            masked(0x82, b"one"),
            masked(0x02, b"t"),
            masked(0x89, b"ping"),
            masked(0x00, b"w"),
            masked(0x80, b"o"),
            masked(0x8a, b""),
            masked(0x82, b""),
            masked(0x88, &[0x03, 0xe8]),
        ]
        .concat();
        for size in 1..=all.len() {
            let pieces = all.chunks(size).map(Bytes::copy_from_slice).collect();
            let mut reader = FrameReader::new(Pieces(pieces), 1000);
            let mut context = Context::from_waker(std::task::Waker::noop());
            let mut taken = 0;
            let mut seen = Vec::new();
            while let Poll::Ready(incoming) = reader.poll_next(&mut context, &mut taken) {
                if incoming == Incoming::End {
                    break;
                }
                seen.push(incoming);
            }
            assert_eq!(
                seen,
                [
                    Incoming::Message(Bytes::from_static(b"one")),
                    Incoming::Ping(Bytes::from_static(b"ping")),
                    Incoming::Message(Bytes::from_static(b"two")),
                    Incoming::Pong,
                    Incoming::Message(Bytes::new()),
                    Incoming::Close(Some(1000)),
                ]
            );
            assert_eq!(taken, all.len());
        }
    }
}
