//! What has to hold for every stream of bytes on every framing, for the tests and the fuzz targets.

use fanal::doors::close::CloseReason;
use fanal::doors::{Frames, Framing, Incoming, Messages};
use fanal_actors::{Boundary, Fault};

/// Small, so that the limit is reached often.
pub const MESSAGE_BYTES_MAX: usize = 300;

/// What came, in memory of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// All that came of these pieces, and the fault that ended it, if one did.
pub type Outcome = (Vec<Seen>, Option<CloseReason>);

/// The input of a fuzzer: a stream, and its pieces of the size that the last byte says.
pub fn in_pieces(input: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let Some((size, bytes)) = input.split_last() else { return (input, Vec::new()) };
    (bytes, bytes.chunks(usize::from(*size).max(1)).collect())
}

/// Reads WebSocket frames in pieces and in one, which has to be the same, and returns it.
pub fn check_frames(bytes: &[u8], pieces: &[&[u8]]) -> Outcome {
    check(|| Frames::new(MESSAGE_BYTES_MAX), bytes, pieces)
}

/// The same for messages back to back.
pub fn check_messages(bytes: &[u8], pieces: &[&[u8]]) -> Outcome {
    let outcome = check(|| Messages::new(MESSAGE_BYTES_MAX), bytes, pieces);
    let mut position = 0;
    for seen in &outcome.0 {
        let Seen::Message(message) = seen else { panic!("not a message: {seen:?}") };
        assert_eq!(bytes.get(position..position + message.len()), Some(message.as_slice()));
        position += message.len();
    }
    outcome
}

/// Finds the end of the first message in pieces and in one, and by a decoder that is not ours,
/// which have to be the same.
pub fn check_boundary(bytes: &[u8], pieces: &[&[u8]]) {
    let whole = first_end(&[bytes]);
    assert_eq!(first_end(pieces), whole);
    let mut rest = bytes;
    if let Ok(Some(end)) = whole
        && rmpv::decode::read_value_with_max_depth(&mut rest, 100).is_ok()
    {
        assert_eq!(bytes.len() - rest.len(), end);
    }
}

/// Where the first message ends, if it does.
fn first_end(pieces: &[&[u8]]) -> Result<Option<usize>, Fault> {
    let mut boundary = Boundary::default();
    let mut position = 0;
    for piece in pieces {
        let (taken, ends) = boundary.advance(piece)?;
        position += taken;
        if ends {
            return Ok(Some(position));
        }
        assert_eq!(taken, piece.len(), "bytes of an unfinished message were left");
    }
    Ok(None)
}

fn check<F: Framing>(new: impl Fn() -> F, bytes: &[u8], pieces: &[&[u8]]) -> Outcome {
    assert_eq!(pieces.concat(), bytes);
    let whole = read(new(), &[bytes]);
    assert_eq!(read(new(), pieces), whole);
    for seen in &whole.0 {
        match seen {
            Seen::Message(message) => assert!(message.len() <= MESSAGE_BYTES_MAX),
            Seen::Ping(payload) => assert!(payload.len() <= 125),
            Seen::Pong | Seen::Close(_) => {}
        }
    }
    whole
}

fn read<F: Framing>(mut framing: F, pieces: &[&[u8]]) -> Outcome {
    let mut seen = Vec::new();
    for piece in pieces {
        // As a connection does it: in place, and once more when nothing is left.
        let mut piece = piece.to_vec();
        let mut rest = piece.as_mut_slice();
        loop {
            let is_all = rest.is_empty();
            let (taken, incoming) = match framing.decode(rest) {
                Ok(decoded) => decoded,
                Err(fault) => return (seen, Some(fault)),
            };
            match incoming {
                None if is_all => break,
                None => assert!(taken > 0, "nothing was taken of {} bytes", rest.len()),
                Some(Incoming::Message(message)) => seen.push(Seen::Message(message.to_vec())),
                Some(Incoming::Ping(payload)) => seen.push(Seen::Ping(payload.to_vec())),
                Some(Incoming::Pong) => seen.push(Seen::Pong),
                Some(Incoming::Close(code)) => seen.push(Seen::Close(code)),
            }
            rest = &mut rest[taken..];
        }
    }
    (seen, None)
}
