//! Where a message ends among bytes that come back to back.

use anyhow::{Result, bail};
use rmp::Marker;

/// The longest answer that is read.
pub const BYTES_MAX: usize = 128 * 1024 * 1024;

/// The length of the MessagePack value at the beginning of these bytes; none while its end is not
/// there yet.
///
/// # Errors
/// If it is no MessagePack, or longer than any answer.
pub fn length(bytes: &[u8]) -> Result<Option<usize>> {
    Scan::default().length(bytes)
}

/// How far bytes that become more have been looked at, so that each is looked at once. Nothing is
/// kept for what a header announces.
pub struct Scan {
    /// Where the next value begins.
    at: usize,
    /// How many values are to come yet.
    open: u64,
}

impl Default for Scan {
    fn default() -> Self {
        Scan { at: 0, open: 1 }
    }
}

impl Scan {
    /// The length of the value at the beginning of these bytes, of which those from the last call
    /// are the beginning; none while its end is not there yet.
    ///
    /// # Errors
    /// If it is no MessagePack, or longer than any answer.
    pub fn length(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        while self.open > 0 {
            if self.at > BYTES_MAX {
                bail!("an answer longer than {BYTES_MAX} bytes");
            }
            let Some(&first) = bytes.get(self.at) else { return Ok(None) };
            let Shape { fixed, width, each, values } = shape(first)?;
            let start = self.at + 1;
            let Some(digits) = bytes.get(start..start + width) else { return Ok(None) };
            let number = digits.iter().fold(0_u64, |number, digit| number << 8 | u64::from(*digit));
            let length = if each == 0 { fixed.saturating_add(number) } else { fixed };
            self.at = start.saturating_add(width).saturating_add(usize::try_from(length)?);
            self.open = self.open - 1 + values + each * number;
        }
        if self.at > BYTES_MAX {
            bail!("an answer longer than {BYTES_MAX} bytes");
        }
        Ok((self.at <= bytes.len()).then_some(self.at))
    }
}

/// What a first byte says of a value.
struct Shape {
    /// Bytes that belong to it in any case.
    fixed: u64,
    /// How many bytes the number behind it has.
    width: usize,
    /// How many values each unit of that number stands for; with 0 it counts bytes.
    each: u64,
    /// Values that follow in any case.
    values: u64,
}

fn shape(first: u8) -> Result<Shape> {
    let (fixed, width, each, values) = match Marker::from_u8(first) {
        Marker::Reserved => bail!("bytes that are no MessagePack"),
        Marker::Null | Marker::True | Marker::False => (0, 0, 0, 0),
        Marker::FixPos(_) | Marker::FixNeg(_) => (0, 0, 0, 0),
        Marker::U8 | Marker::I8 => (1, 0, 0, 0),
        Marker::U16 | Marker::I16 | Marker::FixExt1 => (2, 0, 0, 0),
        Marker::FixExt2 => (3, 0, 0, 0),
        Marker::U32 | Marker::I32 | Marker::F32 => (4, 0, 0, 0),
        Marker::FixExt4 => (5, 0, 0, 0),
        Marker::U64 | Marker::I64 | Marker::F64 => (8, 0, 0, 0),
        Marker::FixExt8 => (9, 0, 0, 0),
        Marker::FixExt16 => (17, 0, 0, 0),
        Marker::FixStr(length) => (length.into(), 0, 0, 0),
        Marker::FixArray(count) => (0, 0, 0, count.into()),
        Marker::FixMap(count) => (0, 0, 0, 2 * u64::from(count)),
        Marker::Str8 | Marker::Bin8 => (0, 1, 0, 0),
        Marker::Str16 | Marker::Bin16 => (0, 2, 0, 0),
        Marker::Str32 | Marker::Bin32 => (0, 4, 0, 0),
        Marker::Ext8 => (1, 1, 0, 0),
        Marker::Ext16 => (1, 2, 0, 0),
        Marker::Ext32 => (1, 4, 0, 0),
        Marker::Array16 => (0, 2, 1, 0),
        Marker::Array32 => (0, 4, 1, 0),
        Marker::Map16 => (0, 2, 2, 0),
        Marker::Map32 => (0, 4, 2, 0),
    };
    Ok(Shape { fixed, width, each, values })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmpv::Value;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<f32>().prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::from),
            (any::<i8>(), prop::collection::vec(any::<u8>(), 0..20))
                .prop_map(|(kind, bytes)| Value::Ext(kind, bytes)),
        ];
        leaf.prop_recursive(4, 64, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
                prop::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_end_of_a_value_is_found(value in values(), more in any::<u8>()) {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &value).unwrap();
            let whole = bytes.len();
            let mut scan = Scan::default();
            for end in 0..whole {
                prop_assert_eq!(length(&bytes[..end]).unwrap(), None);
                prop_assert_eq!(scan.length(&bytes[..end]).unwrap(), None);
            }
            prop_assert_eq!(scan.length(&bytes).unwrap(), Some(whole));
            bytes.push(more);
            prop_assert_eq!(length(&bytes).unwrap(), Some(whole));
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(end)) = length(&bytes) {
                prop_assert!(end <= bytes.len());
            }
        }
    }

    #[test]
    fn announced_sizes_cost_nothing() {
        assert_eq!(length(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0]).unwrap(), None);
        assert_eq!(length(&[0xc6, 0x00, 0xff, 0xff, 0xff]).unwrap(), None);
        let long = [&[0x92, 0xc6, 0xff, 0xff, 0xff, 0xff][..], &[0; 100]].concat();
        assert!(length(&long).is_err());
        assert!(length(&[0xc1]).is_err());
        assert_eq!(length(&[0x91; 100_000]).unwrap(), None);
    }
}
