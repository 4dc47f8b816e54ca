//! Wires: a socket, and what it did not take of what was sent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use fanal_actors::Value;

use crate::doors::transport::{HUGE_BYTES, Transport};

/// Pieces that are handed to the kernel at once.
const SLICES_MAX: usize = 64;

/// Where a round of output sends what one connection has to say.
pub trait Lane {
    /// Sends a part; what the socket does not take is kept and sent as soon as it takes more.
    fn send(&self, part: &Part<'_>);
}

/// What one connection has to say in a round.
pub struct Part<'o> {
    pub bytes: &'o [u8],
    /// Large values, each with where it belongs, counted from `offset` before `bytes`.
    pub large: &'o [(usize, Value)],
    pub offset: usize,
}

/// A socket and what it did not take.
pub struct Wire<T> {
    io: T,
    /// Wakes the connection.
    waker: Waker,
    pieces: VecDeque<Piece>,
    /// The transport has bytes of its own that are yet to go out.
    unflushed: bool,
    /// The transport was told to expect huge values.
    huge: bool,
    broken: bool,
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

impl Part<'_> {
    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let places = || self.large.iter().map(|(at, _)| at.saturating_sub(self.offset));
        let starts = std::iter::once(0).chain(places());
        let ends = places().chain([self.bytes.len()]);
        let values = self.large.iter().map(|(_, value)| value.as_bytes()).chain([&[][..]]);
        starts.zip(ends).zip(values).flat_map(|((start, end), value)| {
            [self.bytes.get(start..end).unwrap_or_default(), value]
        })
    }

    /// Moves what is behind the first `sent` bytes to `pieces`.
    fn keep(&self, mut sent: usize, pieces: &mut VecDeque<Piece>) {
        let mut add = |size: usize, content: &dyn Fn() -> Content| {
            if sent < size {
                pieces.push_back(Piece { content: content(), sent });
                sent = 0;
            } else {
                sent -= size;
            }
        };
        let mut start = 0;
        for (at, value) in self.large {
            let at = at.saturating_sub(self.offset);
            let bytes = self.bytes.get(start..at).unwrap_or_default();
            add(bytes.len(), &|| Content::Copied(Box::from(bytes)));
            add(value.size_bytes(), &|| Content::Value(value.clone()));
            start = at;
        }
        let bytes = self.bytes.get(start..).unwrap_or_default();
        add(bytes.len(), &|| Content::Copied(Box::from(bytes)));
    }
}

impl<T: Transport> Lane for RefCell<Wire<T>> {
    fn send(&self, part: &Part<'_>) {
        let mut wire = self.borrow_mut();
        if wire.broken {
            return;
        }
        if !wire.pieces.is_empty() {
            // Whoever wrote the first of them waits for the socket already.
            return part.keep(0, &mut wire.pieces);
        }
        if wire.write_part(part).is_err() {
            wire.broken = true;
        }
        if wire.broken || !wire.is_empty() {
            // The connection has to know.
            wire.waker.wake_by_ref();
        }
    }
}

impl<T: Transport> Wire<T> {
    /// A wire with nothing on it. Nobody is woken before `connect`.
    pub fn new(io: T) -> Self {
        Wire {
            io,
            waker: Waker::noop().clone(),
            pieces: VecDeque::new(),
            unflushed: false,
            huge: false,
            broken: false,
        }
    }

    /// Says who is to be woken.
    pub fn connect(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
    }

    /// The socket, to read from.
    pub fn io(&mut self) -> &mut T {
        &mut self.io
    }

    /// Whether the socket took everything that was sent.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Adds bytes that are to follow what is there.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pieces.push_back(Piece { content: Content::Copied(Box::from(bytes)), sent: 0 });
    }

    fn write_part(&mut self, part: &Part<'_>) -> Result<(), Broken> {
        let task = &mut Context::from_waker(&self.waker);
        let (sent, total) = if part.large.is_empty() {
            (write_one(&mut self.io, task, part.bytes)?, part.bytes.len())
        } else {
            let sizes = part.large.iter().map(|(_, value)| value.size_bytes());
            if !self.huge && sizes.clone().any(|size| size >= HUGE_BYTES) {
                self.huge = true;
                self.io.expect_huge();
            }
            let large: usize = sizes.sum();
            (write_all(&mut self.io, task, || part.segments())?, part.bytes.len() + large)
        };
        self.unflushed = true;
        if sent < total {
            part.keep(sent, &mut self.pieces);
        }
        self.flush()
    }

    /// Writes what the socket takes. Returns whether it took anything.
    ///
    /// # Errors
    /// If the socket is broken.
    pub fn write(&mut self) -> Result<bool, Broken> {
        if self.broken {
            return Err(Broken);
        }
        let mut progress = false;
        if !self.pieces.is_empty() {
            let task = &mut Context::from_waker(&self.waker);
            let mut sent = write_all(&mut self.io, task, || self.pieces.iter().map(Piece::rest))?;
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
        self.flush()?;
        Ok(progress)
    }

    fn flush(&mut self) -> Result<(), Broken> {
        if self.unflushed {
            let task = &mut Context::from_waker(&self.waker);
            match Pin::new(&mut self.io).poll_flush(task) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(Broken),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Says that nothing more is sent, on a connection that has an end of its own, as TLS does.
    pub fn shut_down(&mut self) {
        let task = &mut Context::from_waker(&self.waker);
        let _ = Pin::new(&mut self.io).poll_shutdown(task);
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
