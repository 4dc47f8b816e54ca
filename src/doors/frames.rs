//! WebSocket frames: from the bytes of a socket to whole messages, and back.
//!
//! The decoder of `actix_http` wants a whole frame in one buffer, buffers as much as a frame
//! announces before it looks at its limit, and allocates for each message. This one takes the bytes
//! as they come, in place: the header of each frame is judged by RFC 6455 and held against the
//! message limit as soon as it is there, a message that came in one piece is handed out where it
//! lies, and only one that came in several pieces is put together in memory of the connection.

use super::close::CloseReason;
use super::framing::{Framing, Incoming};

/// Longest header of a frame from a client: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;

/// Longest payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FINISHED: u8 = 0x80;

/// The frames of one connection.
pub struct Frames {
    message_bytes_max: u64,
    /// The header that is coming in, and how much of it is there.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    /// The frame whose payload is coming in.
    frame: Option<Frame>,
    /// Bytes of the current message that earlier fragments announced; `None` between messages.
    announced: Option<u64>,
    /// What came in several pieces; most comes in one, and a connection has no room for the rest.
    pieces: Option<Box<Pieces>>,
}

/// What is put together.
#[derive(Default)]
struct Pieces {
    message: Vec<u8>,
    control: Vec<u8>,
    /// One of them was handed out, and is given back at the next call.
    handed_out: bool,
}

/// A frame whose header is good.
struct Frame {
    finished: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Bytes of the payload that are yet to come.
    left: u64,
}

impl Frames {
    /// Frames of messages of at most `message_bytes_max`.
    pub fn new(message_bytes_max: usize) -> Self {
        Frames {
            message_bytes_max: message_bytes_max as u64,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            frame: None,
            announced: None,
            pieces: None,
        }
    }

    /// Takes bytes of a header, and judges it by its first two bytes and again when it is
    /// complete. Returns how many it took.
    fn take_header(&mut self, bytes: &[u8]) -> Result<usize, CloseReason> {
        let mut taken = self.fill_header(2, bytes);
        if self.header_bytes < 2 {
            return Ok(taken);
        }
        self.judge_start()?;
        let length = self.header_length();
        taken += self.fill_header(length, bytes.get(taken..).unwrap_or_default());
        if usize::from(self.header_bytes) == length {
            self.header_bytes = 0;
            let frame = self.decode_header(length);
            if !is_shortest(length, frame.left) {
                let what = "a length took more bytes than it needs";
                return Err(CloseReason::ProtocolError(what));
            }
            self.judge(&frame)?;
            self.frame = Some(frame);
        }
        Ok(taken)
    }

    /// Takes bytes until so many of the header are there.
    fn fill_header(&mut self, wanted: usize, bytes: &[u8]) -> usize {
        let place = self.header.get_mut(usize::from(self.header_bytes)..wanted).unwrap_or_default();
        let count = place.len().min(bytes.len());
        if let (Some(place), Some(bytes)) = (place.get_mut(..count), bytes.get(..count)) {
            place.copy_from_slice(bytes);
        }
        self.header_bytes += u8::try_from(count).unwrap_or(0);
        count
    }

    /// Length of the header, once its first two bytes are there.
    fn header_length(&self) -> usize {
        let [_, second, ..] = self.header;
        match second & 0x7f {
            126 => 8,
            127 => 14,
            _ => 6,
        }
    }

    /// Refuses what the first two bytes already show to be wrong.
    fn judge_start(&self) -> Result<(), CloseReason> {
        let [first, second, ..] = self.header;
        let wrong = |what| Err(CloseReason::ProtocolError(what));
        if first & 0x70 != 0 {
            return wrong("a frame had a reserved bit set");
        }
        if second & 0x80 == 0 {
            return wrong("a frame was not masked");
        }
        match first & 0x0f {
            CONTINUATION | BINARY => Ok(()),
            TEXT => Err(CloseReason::TextMessage),
            CLOSE | PING | PONG if first & FINISHED == 0 => wrong("a control frame was fragmented"),
            CLOSE | PING | PONG if u64::from(second & 0x7f) > CONTROL_BYTES_MAX => {
                wrong("a control frame was longer than 125 bytes")
            }
            CLOSE | PING | PONG => Ok(()),
            _ => wrong("a frame had a reserved opcode"),
        }
    }

    fn decode_header(&self, length: usize) -> Frame {
        let h = &self.header;
        let (left, mask) = match length {
            6 => (u64::from(h[1] & 0x7f), [h[2], h[3], h[4], h[5]]),
            8 => (u64::from(u16::from_be_bytes([h[2], h[3]])), [h[4], h[5], h[6], h[7]]),
            _ => (
                u64::from_be_bytes([h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9]]),
                [h[10], h[11], h[12], h[13]],
            ),
        };
        Frame { finished: h[0] & FINISHED != 0, opcode: h[0] & 0x0f, mask, left }
    }

    fn judge(&mut self, frame: &Frame) -> Result<(), CloseReason> {
        let wrong = |what| Err(CloseReason::ProtocolError(what));
        if frame.opcode >= CLOSE {
            return Ok(());
        }
        let before = match (frame.opcode, self.announced) {
            (CONTINUATION, None) => return wrong("a fragment came without a first one"),
            (CONTINUATION, Some(bytes)) => bytes,
            (_, Some(_)) => return wrong("a message began inside another one"),
            (_, None) => 0,
        };
        let bytes = before.saturating_add(frame.left);
        if bytes > self.message_bytes_max {
            return Err(CloseReason::MessageTooBig);
        }
        self.announced = if frame.finished { None } else { Some(bytes) };
        Ok(())
    }
}

impl Pieces {
    /// What is there of a frame with this opcode.
    fn of(&self, opcode: u8) -> &[u8] {
        if opcode >= CLOSE { &self.control } else { &self.message }
    }
}

impl Framing for Frames {
    const PINGS: bool = true;

    fn decode<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
    ) -> Result<(usize, Option<Incoming<'a>>), CloseReason> {
        if let Some(pieces) = &mut self.pieces
            && pieces.handed_out
        {
            // Control frames may come between the fragments of a message, which stays.
            pieces.handed_out = false;
            pieces.control = Vec::new();
            if self.announced.is_none() {
                self.pieces = None;
            }
        }
        let mut taken = 0;
        if self.frame.is_none() {
            taken = self.take_header(bytes)?;
        }
        let Some(frame) = &mut self.frame else { return Ok((taken, None)) };
        let rest = bytes.get_mut(taken..).unwrap_or_default();
        let count = usize::try_from(frame.left).unwrap_or(usize::MAX).min(rest.len());
        let piece = rest.get_mut(..count).unwrap_or_default();
        unmask(piece, frame.mask);
        frame.left -= count as u64;
        taken += count;
        let (opcode, finished) = (frame.opcode, frame.finished);
        if frame.left > 0 {
            // The mask goes on where this piece ends.
            frame.mask.rotate_left(count % 4);
        } else {
            self.frame = None;
        }
        let whole = self.frame.is_none();
        let last = whole && (opcode >= CLOSE || finished);
        if last && self.pieces.as_ref().is_none_or(|pieces| pieces.of(opcode).is_empty()) {
            return Ok((taken, Some(meaning(opcode, piece)?)));
        }
        if !last && piece.is_empty() {
            return Ok((taken, None));
        }
        let pieces: &mut Pieces = self.pieces.get_or_insert_default();
        let store = if opcode >= CLOSE { &mut pieces.control } else { &mut pieces.message };
        store.extend_from_slice(piece);
        if !last {
            return Ok((taken, None));
        }
        pieces.handed_out = true;
        Ok((taken, Some(meaning(opcode, store)?)))
    }

    fn begin_message(bytes: usize, out: &mut Vec<u8>) {
        write_header(BINARY, bytes, out);
    }

    fn ping(out: &mut Vec<u8>) {
        write_header(PING, 0, out);
    }

    fn pong(payload: &[u8], out: &mut Vec<u8>) {
        write_header(PONG, payload.len(), out);
        out.extend_from_slice(payload);
    }

    fn close(reason: &CloseReason, out: &mut Vec<u8>) {
        let Some((code, text)) = reason.code_and_text() else { return };
        match code {
            None => write_header(CLOSE, 0, out),
            Some(code) => {
                write_header(CLOSE, 2 + text.len(), out);
                out.extend_from_slice(&code.to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// Whether a payload of this length needs a header this long (RFC 6455, 5.2).
fn is_shortest(header_bytes: usize, payload_bytes: u64) -> bool {
    match header_bytes {
        6 => true,
        8 => payload_bytes > 125,
        _ => payload_bytes > 0xffff,
    }
}

/// What a whole message or control frame means.
fn meaning(opcode: u8, payload: &[u8]) -> Result<Incoming<'_>, CloseReason> {
    Ok(match opcode {
        CLOSE => Incoming::Close(close_code(payload)?),
        PING => Incoming::Ping(payload),
        PONG => Incoming::Pong,
        _ => Incoming::Message(payload),
    })
}

/// The code of a close frame (RFC 6455, 5.5.1 and 7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseReason> {
    let wrong = |what| Err(CloseReason::ProtocolError(what));
    match payload {
        [] => Ok(None),
        [_] => wrong("a close frame had half a code"),
        [high, low, text @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return wrong("a close frame had a code that may not be sent");
            }
            if std::str::from_utf8(text).is_err() {
                return wrong("the reason in a close frame was not UTF-8");
            }
            Ok(Some(code))
        }
    }
}

/// Writes the header of a frame that is not masked.
fn write_header(opcode: u8, bytes: usize, out: &mut Vec<u8>) {
    let first = FINISHED | opcode;
    match (u8::try_from(bytes), u16::try_from(bytes)) {
        (Ok(length @ 0..126), _) => out.extend_from_slice(&[first, length]),
        (_, Ok(length)) => {
            let [high, low] = length.to_be_bytes();
            out.extend_from_slice(&[first, 126, high, low]);
        }
        _ => {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&(bytes as u64).to_be_bytes());
        }
    }
}

/// Takes the mask off, in pieces that the compiler makes vectors of, and the rest four bytes at a
/// time: byte by byte it would take longer than all before it.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = [mask; 16];
    let (chunks, rest) = bytes.as_chunks_mut::<64>();
    for chunk in chunks {
        for (byte, mask) in chunk.iter_mut().zip(wide.as_flattened()) {
            *byte ^= mask;
        }
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
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

    fn step_over(frames: &mut Frames, piece: &[u8]) -> Result<(), CloseReason> {
        decode_all(frames, piece, |_| {})
    }

    fn decode_all(
        frames: &mut Frames,
        piece: &[u8],
        mut see: impl FnMut(Incoming<'_>),
    ) -> Result<(), CloseReason> {
        let mut bytes = piece.to_vec();
        let mut rest = &mut bytes[..];
        loop {
            let is_all = rest.is_empty();
            let (taken, incoming) = frames.decode(rest)?;
            match incoming {
                Some(incoming) => see(incoming),
                None if is_all => return Ok(()),
                None => {}
            }
            rest = &mut rest[taken..];
        }
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
    fn a_length_in_more_bytes_than_it_needs_is_refused() {
        let longer = || wrong("a length took more bytes than it needs");
        check(&[&[0x82, 0xfe, 0, 0], MASK], longer());
        check(&[&[0x82, 0xfe, 0, 125], MASK, &[0; 125]], longer());
        check(&[&[0x82, 0xfe, 0, 126], MASK, &[0; 126]], Ok(()));
        check(&[&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 126], MASK, &[0; 126]], longer());
        check(&[&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], MASK], longer());
        check(&[&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], MASK], Err(CloseReason::MessageTooBig));
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
            let mut frames = Frames::new(1000);
            let mut seen = Vec::new();
            for piece in all.chunks(size) {
                decode_all(&mut frames, piece, |incoming| seen.push(format!("{incoming:?}")))
                    .unwrap();
            }
            let message = |text: &[u8]| format!("{:?}", Incoming::Message(text));
            assert_eq!(
                seen,
                [
                    message(b"one"),
                    format!("{:?}", Incoming::Ping(b"ping")),
                    message(b"two"),
                    "Pong".to_owned(),
                    message(b""),
                    "Close(Some(1000))".to_owned(),
                ]
            );
            assert!(frames.pieces.is_none());
        }
    }

    #[test]
    fn the_payload_of_a_close_frame_is_judged() {
        let check = |payload: &[u8], expected: Result<Option<u16>, &'static str>| {
            let expected = expected.map_err(CloseReason::ProtocolError);
            assert_eq!(close_code(payload), expected, "{payload:?}");
        };
        check(&[], Ok(None));
        check(&[3], Err("a close frame had half a code"));
        check(&[3, 232], Ok(Some(1000)));
        check(&[3, 232, b'o', b'k'], Ok(Some(1000)));
        check(&[3, 232, 0xff], Err("the reason in a close frame was not UTF-8"));
        check(&[3, 246], Ok(Some(1014)));
        check(&[11, 184], Ok(Some(3000)));
        for forbidden in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535_u16] {
            let wrong = "a close frame had a code that may not be sent";
            check(&forbidden.to_be_bytes(), Err(wrong));
        }
    }

    #[test]
    fn the_mask_comes_off_at_any_length_and_offset() {
        for length in 0..70 {
            let plain: Vec<u8> = (0..length).collect();
            let mut bytes: Vec<u8> =
                plain.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            unmask(&mut bytes, [1, 2, 3, 4]);
            assert_eq!(bytes, plain);
        }
    }

    #[test]
    fn headers_take_their_shortest_form() {
        for (bytes, expected) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 255, 255]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            Frames::begin_message(bytes, &mut out);
            assert_eq!(out, expected);
        }
    }
}
