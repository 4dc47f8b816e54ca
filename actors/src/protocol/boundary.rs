//! Where a message ends, for doors on which messages follow each other without a length.
//!
//! MessagePack delimits itself: the end is found by counting the values that are still owed, so
//! nothing is kept of a message but two numbers, however deep or large it claims to be.

use super::splitter::Fault;

/// The longest format byte with its length field.
const HEAD_BYTES_MAX: usize = 5;

/// Finds the end of each message in bytes that come in any pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boundary {
    /// Values that the current message still owes; 0 between messages.
    owed: u64,
    /// Bytes of the current value that are yet to come.
    skip: u64,
    /// A format byte and what is there of its length field.
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: u8,
}

/// What a format byte and its length field say.
struct Claim {
    /// Bytes that follow.
    bytes: u64,
    /// Values that follow.
    values: u64,
}

impl Boundary {
    /// Steps over bytes up to the end of the current message. Returns how many it stepped over, and
    /// whether the message ends there.
    ///
    /// # Errors
    /// If a message is no map, or has the unused byte c1: then no later boundary can be found.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), Fault> {
        let mut position = 0;
        loop {
            let left = bytes.len() - position.min(bytes.len());
            let step = usize::try_from(self.skip).unwrap_or(usize::MAX).min(left);
            position += step;
            self.skip -= step as u64;
            if self.skip > 0 {
                return Ok((position, false));
            }
            if self.owed == 0 && self.head_bytes == 0 && position > 0 {
                return Ok((position, true));
            }
            let Some(byte) = bytes.get(position) else { return Ok((position, false)) };
            position += 1;
            self.take_head_byte(*byte)?;
        }
    }

    fn take_head_byte(&mut self, byte: u8) -> Result<(), Fault> {
        if let Some(place) = self.head.get_mut(usize::from(self.head_bytes)) {
            *place = byte;
        }
        self.head_bytes += 1;
        let [format, length @ ..] = self.head;
        if self.head_bytes == 1 {
            if format == 0xc1 {
                return Err(Fault::UnusedByte);
            }
            if self.owed == 0 && !matches!(format, 0x80..=0x8f | 0xde | 0xdf) {
                return Err(Fault::NotAMap);
            }
        }
        let width = length_width(format);
        if usize::from(self.head_bytes) <= width {
            return Ok(());
        }
        let number = length.iter().take(width).fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        let claim = claim(format, number);
        self.owed = (self.owed.max(1) - 1).saturating_add(claim.values);
        self.skip = claim.bytes;
        self.head_bytes = 0;
        Ok(())
    }
}

/// Bytes of the length field behind a format byte.
fn length_width(format: u8) -> usize {
    match format {
        0xc4 | 0xc7 | 0xd9 => 1,
        0xc5 | 0xc8 | 0xda | 0xdc | 0xde => 2,
        0xc6 | 0xc9 | 0xdb | 0xdd | 0xdf => 4,
        _ => 0,
    }
}

fn claim(format: u8, number: u64) -> Claim {
    let bytes = |bytes| Claim { bytes, values: 0 };
    let values = |values| Claim { bytes: 0, values };
    match format {
        0x80..=0x8f => values(2 * u64::from(format & 0x0f)),
        0x90..=0x9f => values(u64::from(format & 0x0f)),
        0xa0..=0xbf => bytes(u64::from(format & 0x1f)),
        0xc4..=0xc6 | 0xd9..=0xdb => bytes(number),
        0xc7..=0xc9 => bytes(number + 1),
        0xcc | 0xd0 => bytes(1),
        0xcd | 0xd1 | 0xd4 => bytes(2),
        0xd5 => bytes(3),
        0xca | 0xce | 0xd2 => bytes(4),
        0xd6 => bytes(5),
        0xcb | 0xcf | 0xd3 => bytes(8),
        0xd7 => bytes(9),
        0xd8 => bytes(17),
        0xdc | 0xdd => values(number),
        0xde | 0xdf => values(2 * number),
        _ => bytes(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds messages in pieces of every size and looks at where each is said to end.
    #[track_caller]
    fn check(messages: &[&[u8]]) {
        let all = messages.concat();
        let ends: Vec<usize> = messages
            .iter()
            .scan(0, |end, message| {
                *end += message.len();
                Some(*end)
            })
            .collect();
        for size in 1..=all.len() {
            let mut boundary = Boundary::default();
            let (mut seen, mut position) = (Vec::new(), 0);
            for mut piece in all.chunks(size) {
                while !piece.is_empty() {
                    let (step, ends) = boundary.advance(piece).unwrap();
                    position += step;
                    piece = &piece[step..];
                    if ends {
                        seen.push(position);
                    }
                }
            }
            assert_eq!(seen, ends, "in pieces of {size}");
        }
    }

    #[test]
    fn messages_end_where_their_values_do_in_any_cut() {
        check(&[&[0x80], &[0x80]]);
        check(&[b"\x81\xa4REID\x05", b"\x82\xa1a\x92\x01\xc0\xa1b\x81\x01\xa0", &[0xde, 0, 0]]);
        check(&[&[0xdf, 0, 0, 0, 1, 0xc0, 0xc4, 3, 1, 2, 3], &[0x81, 0xca, 1, 2, 3, 4, 0xc0]]);
        check(&[&[&[0x81, 0xc0, 0xc5, 1, 0][..], &[7; 256]].concat(), &[0x80]]);
        check(&[&[0x81, 0xd4, 1, 2, 0xc7, 2, 9, 1, 2], &[0x81, 0xdc, 0, 1, 1, 0xdd, 0, 0, 0, 0]]);
        check(&[&[
            0x81, 0xcb, 1, 2, 3, 4, 5, 6, 7, 8, 0xd8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
            1, 1,
        ]]);
    }

    #[test]
    fn what_is_no_map_is_refused_at_its_first_byte() {
        for byte in (0..=0x7f).chain(0x90..=0xc0).chain(0xc2..=0xdd).chain(0xe0..=0xff) {
            assert_eq!(Boundary::default().advance(&[byte]), Err(Fault::NotAMap), "{byte:x}");
        }
        assert_eq!(Boundary::default().advance(&[0xc1]), Err(Fault::UnusedByte));
        assert_eq!(Boundary::default().advance(&[0x81, 0xc1]), Err(Fault::UnusedByte));
        assert_eq!(Boundary::default().advance(b"GET / HTTP/1.1"), Err(Fault::NotAMap));
    }

    #[test]
    fn claims_of_any_size_are_only_counted() {
        let mut boundary = Boundary::default();
        for _ in 0..100_000 {
            let deep = [0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0];
            assert_eq!(boundary.advance(&deep), Ok((6, false)));
        }
        assert_eq!(boundary.advance(&[0xdb, 0xff, 0xff, 0xff, 0xff, 0, 0]), Ok((7, false)));
    }
}
