//! The few MessagePack types that the store's files are made of: arrays, unsigned integers,
//! strings and binary.
//!
//! Reading is safe on hostile bytes: it does not recurse, and it allocates nothing that the rest
//! of the input cannot fill, whatever length the bytes claim.

use std::io::{self, Read, Take};
use std::str;

/// The marker of an unsigned integer of exactly four bytes.
pub(super) const UINT_32: u8 = 0xce;

/// Why something could not be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file system refused; the bytes themselves may be good.
    Io(io::Error),
    /// The bytes are not what the store writes; the text says what is wrong with them.
    Damaged(String),
}

impl Fault {
    /// A fault in the bytes.
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Fault::Damaged(what.into())
    }
}

/// An input that ends where something still has to follow is damaged, not unreadable.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Fault::damaged("it ends too early")
        } else {
            Fault::Io(error)
        }
    }
}

/// Appends the head of an array.
pub(super) fn write_array(out: &mut Vec<u8>, length: usize) -> io::Result<()> {
    match u32::try_from(length) {
        Ok(length) if length < 16 => out.push(0x90 | low_byte(length)),
        _ => write_length(out, length, [None, Some(0xdc), Some(0xdd)])?,
    }
    Ok(())
}

/// Appends an unsigned integer in its shortest form.
pub(super) fn write_number(out: &mut Vec<u8>, number: u64) {
    if number < 128 {
        out.extend_from_slice(&number.to_be_bytes()[7..]);
    } else if let Ok(number) = u8::try_from(number) {
        out.extend_from_slice(&[0xcc, number]);
    } else if let Ok(number) = u16::try_from(number) {
        out.push(0xcd);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = u32::try_from(number) {
        write_number_of_four_bytes(out, number);
    } else {
        out.push(0xcf);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Appends an unsigned integer that takes five bytes whatever its size.
pub(super) fn write_number_of_four_bytes(out: &mut Vec<u8>, number: u32) {
    out.push(UINT_32);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a string.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    match u32::try_from(text.len()) {
        Ok(length) if length < 32 => out.push(0xa0 | low_byte(length)),
        _ => write_length(out, text.len(), [Some(0xd9), Some(0xda), Some(0xdb)])?,
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Appends binary.
pub(super) fn write_binary(out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    write_length(out, bytes.len(), [Some(0xc4), Some(0xc5), Some(0xc6)])?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends the marker for the width that the length needs (one, two or four bytes) and the length.
fn write_length(out: &mut Vec<u8>, length: usize, markers: [Option<u8>; 3]) -> io::Result<()> {
    let [of_one, of_two, of_four] = markers;
    if let (Some(marker), Ok(length)) = (of_one, u8::try_from(length)) {
        out.extend_from_slice(&[marker, length]);
    } else if let (Some(marker), Ok(length)) = (of_two, u16::try_from(length)) {
        out.push(marker);
        out.extend_from_slice(&length.to_be_bytes());
    } else if let (Some(marker), Ok(length)) = (of_four, u32::try_from(length)) {
        out.push(marker);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        let text = format!("{length} bytes are more than a MessagePack value can hold");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

/// The lowest byte of a number that is known to fit into it.
fn low_byte(number: u32) -> u8 {
    let [_, _, _, low] = number.to_be_bytes();
    low
}

/// Reads MessagePack from an input of known length.
pub(super) struct Decoder<R> {
    /// The input, limited to its length; what is left of the limit bounds every allocation.
    input: Take<R>,
    /// Where the bytes of a string or binary are gathered; reused.
    scratch: Vec<u8>,
}

impl<R: Read> Decoder<R> {
    /// Reads from this input, and not more than this many bytes of it.
    pub(super) fn new(input: R, length_bytes: u64) -> Self {
        Decoder { input: input.take(length_bytes), scratch: Vec::new() }
    }

    /// How many bytes have not been read yet.
    pub(super) fn left_bytes(&self) -> u64 {
        self.input.limit()
    }

    /// Reads the head of an array; its length is never more than the bytes that are left.
    pub(super) fn array(&mut self) -> Result<u64, Fault> {
        let length = match self.byte()? {
            marker @ 0x90..=0x9f => u64::from(marker & 0x0f),
            0xdc => self.big_endian::<2>()?,
            0xdd => self.big_endian::<4>()?,
            marker => return Err(unexpected("an array", marker)),
        };
        self.check_left(length)
    }

    /// Reads an unsigned integer.
    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        match self.byte()? {
            number @ 0x00..=0x7f => Ok(u64::from(number)),
            0xcc => self.big_endian::<1>(),
            0xcd => self.big_endian::<2>(),
            UINT_32 => self.big_endian::<4>(),
            0xcf => self.big_endian::<8>(),
            marker => Err(unexpected("a number", marker)),
        }
    }

    /// Reads a string; it is lent until the next read.
    pub(super) fn text(&mut self) -> Result<&str, Fault> {
        let length = match self.byte()? {
            marker @ 0xa0..=0xbf => u64::from(marker & 0x1f),
            0xd9 => self.big_endian::<1>()?,
            0xda => self.big_endian::<2>()?,
            0xdb => self.big_endian::<4>()?,
            marker => return Err(unexpected("a string", marker)),
        };
        self.gather(length)?;
        str::from_utf8(&self.scratch).map_err(|_| Fault::damaged("a string is not UTF-8"))
    }

    /// Reads binary; it is lent until the next read.
    pub(super) fn binary(&mut self) -> Result<&[u8], Fault> {
        let length = match self.byte()? {
            0xc4 => self.big_endian::<1>()?,
            0xc5 => self.big_endian::<2>()?,
            0xc6 => self.big_endian::<4>()?,
            marker => return Err(unexpected("binary", marker)),
        };
        self.gather(length)?;
        Ok(&self.scratch)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    fn big_endian<const WIDTH: usize>(&mut self) -> Result<u64, Fault> {
        let mut bytes = [0; WIDTH];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn gather(&mut self, length: u64) -> Result<(), Fault> {
        let length = self.check_left(length)?;
        let length = usize::try_from(length)
            .map_err(|_| Fault::damaged(format!("{length} bytes do not fit into memory")))?;
        self.scratch.resize(length, 0);
        Ok(self.input.read_exact(&mut self.scratch)?)
    }

    fn check_left(&self, claimed: u64) -> Result<u64, Fault> {
        let left = self.left_bytes();
        if claimed <= left {
            Ok(claimed)
        } else {
            Err(Fault::damaged(format!("a length of {claimed} where {left} bytes are left")))
        }
    }
}

fn unexpected(wanted: &str, marker: u8) -> Fault {
    Fault::damaged(format!("{wanted} was expected, the byte there is {marker:#04x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(bytes: &[u8]) -> Decoder<&[u8]> {
        Decoder::new(bytes, bytes.len() as u64)
    }

    #[test]
    fn numbers_of_every_width_come_back() {
        for number in [0, 1, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut input = decoder(&bytes);
            assert_eq!(input.number().unwrap(), number);
            assert_eq!(input.left_bytes(), 0);
        }
    }

    #[test]
    fn strings_binary_and_arrays_of_every_width_come_back() {
        for length in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let text = "x".repeat(length);
            let mut bytes = Vec::new();
            write_text(&mut bytes, &text).unwrap();
            write_binary(&mut bytes, text.as_bytes()).unwrap();
            write_array(&mut bytes, length).unwrap();
            bytes.extend_from_slice(text.as_bytes());
            let mut input = decoder(&bytes);
            assert_eq!(input.text().unwrap(), text);
            assert_eq!(input.binary().unwrap(), text.as_bytes());
            assert_eq!(input.array().unwrap(), length as u64);
            assert_eq!(input.left_bytes(), length as u64);
        }
    }

    #[test]
    fn a_claimed_length_past_the_end_is_refused_before_memory_is_taken() {
        for bytes in [
            [0xdd, 0xff, 0xff, 0xff, 0xff],
            [0xdb, 0xff, 0xff, 0xff, 0xff],
            [0xc6, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(matches!(decoder(&bytes).array(), Err(Fault::Damaged(_))));
            assert!(matches!(decoder(&bytes).text(), Err(Fault::Damaged(_))));
            let mut input = decoder(&bytes);
            assert!(matches!(input.binary(), Err(Fault::Damaged(_))));
            assert_eq!(input.scratch.capacity(), 0);
        }
    }

    #[test]
    fn every_first_byte_is_read_or_refused() {
        for marker in 0..=255u8 {
            let bytes = [marker, 1, 2, 3, 4, 5, 6, 7, 8, 9];
            let _ = decoder(&bytes).array();
            let _ = decoder(&bytes).number();
            let _ = decoder(&bytes).text();
            let _ = decoder(&bytes).binary();
        }
    }
}
