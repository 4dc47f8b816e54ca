//! WebSocket frames by hand, right and wrong ones.

use std::ops::Range;

/// The opcodes of RFC 6455.
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame to send, with every freedom to be wrong.
#[derive(Clone, Debug)]
pub struct WireFrame {
    pub fin: bool,
    /// The three reserved bits, as a number up to 7.
    pub rsv: u8,
    pub opcode: u8,
    /// `None` sends it unmasked, which a client must not.
    pub mask: Option<[u8; 4]>,
    /// The length in the header, if it is not the payload's.
    pub announced_bytes: Option<u64>,
    pub payload: Vec<u8>,
}

impl WireFrame {
    /// A whole, masked message as a client should send it.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        WireFrame {
            fin: true,
            rsv: 0,
            opcode,
            mask: Some([0x37, 0xfa, 0x21, 0x3d]),
            announced_bytes: None,
            payload: payload.into(),
        }
    }

    /// More fragments of this message follow.
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    pub fn unmasked(mut self) -> Self {
        self.mask = None;
        self
    }

    pub fn announcing(mut self, bytes: u64) -> Self {
        self.announced_bytes = Some(bytes);
        self
    }

    /// The bytes on the wire with the length in so many bytes, 2 or 8, whether it needs them or
    /// not.
    pub fn encode_with_length_in(&self, length_bytes: usize) -> Vec<u8> {
        let usual = self.encode();
        let announced = self.announced_bytes.unwrap_or(self.payload.len() as u64);
        let length = announced.to_be_bytes();
        let mask_and_form = usual[1] & 0x80 | if length_bytes == 2 { 126 } else { 127 };
        let behind = usual.len() - self.payload.len() - 4 * usize::from(self.mask.is_some());
        [&[usual[0], mask_and_form], &length[8 - length_bytes..], &usual[behind..]].concat()
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let announced = self.announced_bytes.unwrap_or(self.payload.len() as u64);
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode];
        match announced {
            0..=125 => bytes.push(masked | announced as u8),
            126..=0xffff => {
                bytes.push(masked | 126);
                bytes.extend((announced as u16).to_be_bytes());
            }
            _ => {
                bytes.push(masked | 127);
                bytes.extend(announced.to_be_bytes());
            }
        }
        let key = self.mask.unwrap_or_default();
        bytes.extend(self.mask.iter().flatten());
        bytes.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }
}

/// What came from the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A whole binary message.
    Message(Vec<u8>),
    /// A whole text message, which the server never sends.
    Text(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The end. Without a close frame the code is `None`; with an empty one it is 1005.
    Closed {
        code: Option<u16>,
        reason: String,
    },
}

/// One frame as it came.
pub struct RawFrame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// Whether a whole frame has come.
pub fn has_frame(received: &[u8]) -> bool {
    payload_of_first(received).is_some_and(|payload| received.len() >= payload.end)
}

/// Where the payload of the first frame is, or will be.
fn payload_of_first(received: &[u8]) -> Option<Range<usize>> {
    let second = *received.get(1)?;
    let (header, length) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(received.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(received.get(2..10)?.try_into().unwrap())),
        short => (2, u64::from(short)),
    };
    Some(header..header + usize::try_from(length).unwrap())
}

/// Takes the first frame off the bytes that have come, if it is complete.
///
/// Panics on what a server must not send: reserved bits, a mask, a length in more bytes than it
/// needs, a control frame that is fragmented or too long.
pub fn take_frame(received: &mut Vec<u8>) -> Option<RawFrame> {
    let (&first, &second) = (received.first()?, received.get(1)?);
    assert_eq!(first & 0x70, 0, "the server sent reserved bits");
    assert_eq!(second & 0x80, 0, "the server sent a masked frame");
    let place = payload_of_first(received)?;
    let length = place.len();
    let shortest = match length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    assert_eq!(place.start, shortest, "the server sent a length of {length} in too many bytes");
    let payload = received.get(place.clone())?.to_vec();
    received.drain(..place.end);
    let frame = RawFrame { fin: first & 0x80 != 0, opcode: first & 0x0f, payload };
    assert!(frame.fin || frame.opcode < CLOSE, "the server sent a fragmented control frame");
    assert!(length <= 125 || frame.opcode < CLOSE, "the server sent a long control frame");
    Some(frame)
}
