//! A cursor over MessagePack bytes that never trusts a claimed length.
//!
//! Format bytes are those of the MessagePack specification
//! (<https://github.com/msgpack/msgpack/blob/master/spec.md>).

use super::splitter::Fault;

/// Containers that `skip` follows without touching the heap.
const INLINE_DEPTH: usize = 16;

/// What the format byte of a value says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A string of so many bytes follows.
    String(usize),
    /// An array of so many values follows.
    Array(u64),
    /// A map of so many entries follows.
    Map(u64),
    /// So many bytes of something else follow.
    Opaque(usize),
}

/// Reads values from the front of a message.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'m> {
    message: &'m [u8],
    position: usize,
}

impl<'m> Cursor<'m> {
    pub(super) fn new(message: &'m [u8]) -> Self {
        Cursor { message, position: 0 }
    }

    /// Whether everything has been read.
    pub(super) fn is_at_end(&self) -> bool {
        self.position >= self.message.len()
    }

    fn left(&self) -> usize {
        self.message.len().saturating_sub(self.position)
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'m [u8], Fault> {
        let end = self.position.checked_add(count).ok_or(Fault::Truncated)?;
        let taken = self.message.get(self.position..end).ok_or(Fault::Truncated)?;
        self.position = end;
        Ok(taken)
    }

    #[inline]
    fn take_number(&mut self, width: usize) -> Result<u64, Fault> {
        Ok(match *self.take(width)? {
            [byte] => u64::from(byte),
            [high, low] => u64::from(u16::from_be_bytes([high, low])),
            [a, b, c, d] => u64::from(u32::from_be_bytes([a, b, c, d])),
            _ => return Err(Fault::Truncated),
        })
    }

    fn take_length(&mut self, width: usize, extra: usize) -> Result<usize, Fault> {
        let length = usize::try_from(self.take_number(width)?).map_err(|_| Fault::Truncated)?;
        length.checked_add(extra).ok_or(Fault::Truncated)
    }

    /// Reads a format byte and its length field.
    ///
    /// # Errors
    /// If the message ends there, claims more than is left in it, or has the unused byte c1.
    #[inline]
    pub(super) fn head(&mut self) -> Result<Head, Fault> {
        let head = self.claimed_head()?;
        self.check_claim(head)?;
        Ok(head)
    }

    /// The entries that a map claims to have, or `None` if the value is no map. The claim is not
    /// checked.
    pub(super) fn map_entries(&mut self) -> Result<Option<u64>, Fault> {
        match self.claimed_head()? {
            Head::Map(entries) => Ok(Some(entries)),
            _ => Ok(None),
        }
    }

    /// Reads a format byte and its length field, however much the length claims.
    fn claimed_head(&mut self) -> Result<Head, Fault> {
        let format = self.take(1)?.first().copied().ok_or(Fault::Truncated)?;
        Ok(match format {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => Head::Opaque(0),
            0x80..=0x8f => Head::Map(u64::from(format & 0x0f)),
            0x90..=0x9f => Head::Array(u64::from(format & 0x0f)),
            0xa0..=0xbf => Head::String(usize::from(format & 0x1f)),
            0xc1 => return Err(Fault::UnusedByte),
            0xc4 => Head::Opaque(self.take_length(1, 0)?),
            0xc5 => Head::Opaque(self.take_length(2, 0)?),
            0xc6 => Head::Opaque(self.take_length(4, 0)?),
            0xc7 => Head::Opaque(self.take_length(1, 1)?),
            0xc8 => Head::Opaque(self.take_length(2, 1)?),
            0xc9 => Head::Opaque(self.take_length(4, 1)?),
            0xca => Head::Opaque(4),
            0xcb => Head::Opaque(8),
            0xcc | 0xd0 => Head::Opaque(1),
            0xcd | 0xd1 => Head::Opaque(2),
            0xce | 0xd2 => Head::Opaque(4),
            0xcf | 0xd3 => Head::Opaque(8),
            0xd4 => Head::Opaque(2),
            0xd5 => Head::Opaque(3),
            0xd6 => Head::Opaque(5),
            0xd7 => Head::Opaque(9),
            0xd8 => Head::Opaque(17),
            0xd9 => Head::String(self.take_length(1, 0)?),
            0xda => Head::String(self.take_length(2, 0)?),
            0xdb => Head::String(self.take_length(4, 0)?),
            0xdc => Head::Array(self.take_number(2)?),
            0xdd => Head::Array(self.take_number(4)?),
            0xde => Head::Map(self.take_number(2)?),
            0xdf => Head::Map(self.take_number(4)?),
        })
    }

    /// Refuses a claim that the rest of the message cannot hold: every value takes a byte.
    #[inline]
    fn check_claim(&self, head: Head) -> Result<(), Fault> {
        let left = self.left();
        let fits = match head {
            Head::String(bytes) | Head::Opaque(bytes) => bytes <= left,
            Head::Array(values) => values <= left as u64,
            Head::Map(entries) => entries.saturating_mul(2) <= left as u64,
        };
        if fits { Ok(()) } else { Err(Fault::Truncated) }
    }

    /// Reads a string's bytes, or `None` (having read only its head) if the value is none.
    pub(super) fn string(&mut self) -> Result<Option<&'m [u8]>, Fault> {
        match self.head()? {
            Head::String(bytes) => self.take(bytes).map(Some),
            _ => Ok(None),
        }
    }

    /// Steps over one value and returns its bytes.
    ///
    /// # Errors
    /// If it is not one whole value or nests deeper than `depth_max`.
    pub(super) fn skip(&mut self, depth_max: usize) -> Result<&'m [u8], Fault> {
        let start = self.position;
        let mut head = self.head()?;
        if let Head::String(bytes) | Head::Opaque(bytes) = head {
            // Nearly every value: nothing to keep count of.
            self.take(bytes)?;
            return self.message.get(start..self.position).ok_or(Fault::Truncated);
        }
        let mut open = OpenContainers::new(depth_max);
        loop {
            match head {
                Head::String(bytes) | Head::Opaque(bytes) => {
                    self.take(bytes)?;
                }
                Head::Array(values) => open.push(values)?,
                Head::Map(entries) => open.push(entries.saturating_mul(2))?,
            }
            if !open.next_value() {
                return self.message.get(start..self.position).ok_or(Fault::Truncated);
            }
            head = self.head()?;
        }
    }
}

/// The containers around the current value, each as the number of values that it still wants.
struct OpenContainers {
    depth: usize,
    depth_max: usize,
    inline: [u64; INLINE_DEPTH],
    deeper: Vec<u64>,
}

impl OpenContainers {
    fn new(depth_max: usize) -> Self {
        OpenContainers { depth: 0, depth_max, inline: [0; INLINE_DEPTH], deeper: Vec::new() }
    }

    fn push(&mut self, values: u64) -> Result<(), Fault> {
        if values == 0 {
            return Ok(());
        }
        if self.depth >= self.depth_max {
            return Err(Fault::TooDeep);
        }
        match self.inline.get_mut(self.depth) {
            Some(level) => *level = values.saturating_add(1),
            None => self.deeper.push(values.saturating_add(1)),
        }
        self.depth += 1;
        Ok(())
    }

    /// Counts the value just read and tells whether another one is wanted.
    fn next_value(&mut self) -> bool {
        while self.depth > 0 {
            let position = self.depth - 1;
            let wanted = match self.inline.get_mut(position) {
                Some(level) => level,
                None => match self.deeper.last_mut() {
                    Some(level) => level,
                    None => return false,
                },
            };
            *wanted = wanted.saturating_sub(1);
            if *wanted > 0 {
                return true;
            }
            if position >= INLINE_DEPTH {
                self.deeper.pop();
            }
            self.depth -= 1;
        }
        false
    }
}
