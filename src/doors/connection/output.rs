//! Output: messages are encoded into memory of the thread and written at once; a connection keeps
//! only what its socket did not take.
//!
//! Small values are copied behind their prefix, so that many messages leave with one send. Large
//! ones are handed to the kernel where they lie, whoever else they go to, and what the socket did
//! not take of one is a reference to it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use fanal_actors::{Outgoing, Value, encode_after_payload, encode_before_payload};

use crate::doors::framing::Framing;
use crate::doors::transport::{HUGE_BYTES, Transport};

/// Values of at least so many bytes are not copied.
const LARGE_BYTES: usize = 8 * 1024;

/// Pieces that are handed to the kernel at once.
const SLICES_MAX: usize = 64;

/// Memory that is kept by a thread between turns; what a turn needed beyond it is given back.
const KEPT_BYTES: usize = 1024 * 1024;

/// What is to be written in this turn.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Large values, each with where in `bytes` it belongs.
    large: Vec<(usize, Value)>,
}

/// What a socket did not take.
#[derive(Default)]
pub struct Unsent {
    pieces: VecDeque<Piece>,
    /// The transport has bytes of its own that are yet to go out.
    unflushed: bool,
    /// The transport was told to expect huge values.
    huge: bool,
}

struct Piece {
    content: Content,
    /// Bytes of it that are gone.
    sent: usize,
}

enum Content {
    Copied(Box<[u8]>),
    Value(Value),
}

impl Piece {
    fn rest(&self) -> &[u8] {
        let all = match &self.content {
            Content::Copied(bytes) => bytes,
            Content::Value(value) => value.as_bytes(),
        };
        all.get(self.sent..).unwrap_or_default()
    }
}

/// The socket takes no more bytes for good.
pub struct Broken;

impl Output {
    /// For what is no message: signs of the framing.
    pub fn signs(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Adds a message.
    pub fn push<F: Framing>(&mut self, message: &Outgoing) {
        let response = message.as_response();
        let size = response.encoded_bytes();
        self.bytes.reserve(size.min(LARGE_BYTES) + 256);
        F::begin_message(size, &mut self.bytes);
        encode_before_payload(&response, &mut self.bytes);
        match message.value() {
            Some(value) if value.size_bytes() >= LARGE_BYTES => {
                self.large.push((self.bytes.len(), value.clone()));
            }
            _ => self.bytes.extend_from_slice(response.payload.unwrap_or(&[0xc0])),
        }
        encode_after_payload(&response, &mut self.bytes);
    }

    /// Writes what is there and leaves the rest in `unsent`, which has to be empty.
    ///
    /// # Errors
    /// If the socket is broken.
    pub fn write<T: Transport>(
        &mut self,
        io: &mut T,
        unsent: &mut Unsent,
        task: &mut Context<'_>,
    ) -> Result<(), Broken> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let (sent, total) = if self.large.is_empty() {
            (write_one(io, task, &self.bytes), self.bytes.len())
        } else {
            let sizes = self.large.iter().map(|(_, value)| value.size_bytes());
            if !unsent.huge && sizes.clone().any(|size| size >= HUGE_BYTES) {
                unsent.huge = true;
                io.expect_huge();
            }
            let large: usize = sizes.sum();
            (write_all(io, task, || self.segments()), self.bytes.len() + large)
        };
        if let Ok(sent) = sent {
            unsent.unflushed = true;
            if sent < total {
                self.keep(sent, unsent);
            }
        }
        self.clear();
        sent.map(drop)
    }

    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.large.iter().map(|(at, _)| *at));
        let ends = self.large.iter().map(|(at, _)| *at).chain([self.bytes.len()]);
        let values = self.large.iter().map(|(_, value)| value.as_bytes()).chain([&[][..]]);
        starts.zip(ends).zip(values).flat_map(|((start, end), value)| {
            [self.bytes.get(start..end).unwrap_or_default(), value]
        })
    }

    /// Moves what is behind the first `sent` bytes to the connection.
    fn keep(&mut self, mut sent: usize, unsent: &mut Unsent) {
        let mut add = |content: Content, size: usize| {
            if sent < size {
                unsent.pieces.push_back(Piece { content, sent });
                sent = 0;
            } else {
                sent -= size;
            }
        };
        let mut start = 0;
        for (at, value) in self.large.drain(..) {
            let bytes = self.bytes.get(start..at).unwrap_or_default();
            add(Content::Copied(Box::from(bytes)), bytes.len());
            let size = value.size_bytes();
            add(Content::Value(value), size);
            start = at;
        }
        let bytes = self.bytes.get(start..).unwrap_or_default();
        add(Content::Copied(Box::from(bytes)), bytes.len());
    }

    /// Forgets what is there.
    pub fn clear(&mut self) {
        self.large.clear();
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }
}

impl Unsent {
    /// Whether the socket took everything.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Adds bytes that are to follow what is there.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pieces.push_back(Piece { content: Content::Copied(Box::from(bytes)), sent: 0 });
    }

    /// Writes what the socket takes. Returns whether it took anything.
    ///
    /// # Errors
    /// If the socket is broken.
    pub fn write<T: Transport>(
        &mut self,
        io: &mut T,
        task: &mut Context<'_>,
    ) -> Result<bool, Broken> {
        let mut progress = false;
        if !self.pieces.is_empty() {
            let mut sent = write_all(io, task, || self.pieces.iter().map(Piece::rest))?;
            progress = sent > 0;
            self.unflushed |= progress;
            while let Some(piece) = self.pieces.front_mut() {
                let rest = piece.rest().len();
                if sent < rest {
                    piece.sent += sent;
                    break;
                }
                sent -= rest;
                self.pieces.pop_front();
            }
            if self.pieces.is_empty() {
                self.pieces = VecDeque::new();
            }
        }
        if self.unflushed {
            match Pin::new(io).poll_flush(task) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(Broken),
                Poll::Pending => {}
            }
        }
        Ok(progress)
    }
}

/// Writes bytes until all are gone or the socket takes no more; returns how many it took.
fn write_one<T: Transport>(
    io: &mut T,
    task: &mut Context<'_>,
    bytes: &[u8],
) -> Result<usize, Broken> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..)
        && !rest.is_empty()
    {
        match Pin::new(&mut *io).poll_write(task, rest) {
            Poll::Pending => break,
            Poll::Ready(Ok(taken)) if taken > 0 => sent += taken,
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(_) => return Err(Broken),
        }
    }
    Ok(sent)
}

/// Writes segments until all are gone or the socket takes no more; returns how many bytes it took.
fn write_all<'s, T: Transport, I: Iterator<Item = &'s [u8]>>(
    io: &mut T,
    task: &mut Context<'_>,
    segments: impl Fn() -> I,
) -> Result<usize, Broken> {
    let mut sent = 0;
    loop {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (mut count, mut skip) = (0, sent);
        for segment in segments() {
            let rest = segment.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(segment.len());
            if rest.is_empty() {
                continue;
            }
            let Some(place) = slices.get_mut(count) else { break };
            *place = IoSlice::new(rest);
            count += 1;
        }
        let slices = slices.get(..count).unwrap_or_default();
        let outcome = match slices {
            [] => return Ok(sent),
            several => Pin::new(&mut *io).poll_write_vectored(task, several),
        };
        match outcome {
            Poll::Pending => return Ok(sent),
            Poll::Ready(Ok(taken)) if taken > 0 => sent += taken,
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(_) => return Err(Broken),
        }
    }
}
