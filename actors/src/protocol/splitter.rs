//! The splitter: cuts one request message into its fields without decoding them.
//!
//! It walks the bytes once, iteratively, and borrows from them: no recursion, no allocation that a
//! client could size (nested containers beyond a few levels take eight bytes each, up to the depth
//! limit). REID and PAYL are opaque and stay the bytes that came. What the fields mean is decided
//! in `request`.

use super::bytes::Cursor;
use super::value::NIL;

/// REID of an answer to a request that had none, as MessagePack bytes.
const NO_REID: &[u8] = &[NIL];

/// Bounds on the form of a request. All come from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arrays and maps inside one another in one field.
    pub payload_depth_max: usize,
    /// Names in a path.
    pub path_depth_max: usize,
    /// Bytes of UTF-8 in a name.
    pub name_bytes_max: usize,
    /// Encoded bytes of a path, all names together.
    pub path_bytes_max: usize,
    /// Encoded bytes of AUTH.
    pub auth_bytes_max: usize,
    /// Encoded bytes of the REID of a stream, which is kept as long as the stream.
    pub reid_bytes_max: usize,
}

/// What is wrong with a message. Each is answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The message ends inside a value, or claims more than it holds.
    #[error("the message ends inside a value")]
    Truncated,
    /// The byte c1, which MessagePack never uses.
    #[error("the message contains the byte c1, which MessagePack does not use")]
    UnusedByte,
    /// The message is a value, but no map.
    #[error("a request is a MessagePack map with the keys REID AUTH VERB PATH META PAYL")]
    NotAMap,
    /// A key of the request is not a string.
    #[error("the keys of a request are strings")]
    KeyNotAString,
    /// A key that means something came twice.
    #[error("a key of the request comes twice")]
    KeyTwice,
    /// Something follows the map.
    #[error("a message holds one request and nothing behind it")]
    TrailingBytes,
    /// A field nests deeper than the limit.
    #[error("a field has more arrays and maps inside one another than limits.payload_depth_max")]
    TooDeep,
}

/// A request cut into its fields; each is the bytes of one MessagePack value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SplitRequest<'m> {
    /// Chosen by the client, echoed byte for byte.
    pub reid: Option<&'m [u8]>,
    /// Credentials.
    pub auth: Option<&'m [u8]>,
    /// What to do.
    pub verb: Option<&'m [u8]>,
    /// Where.
    pub path: Option<&'m [u8]>,
    /// Options; of any type.
    pub meta: Option<&'m [u8]>,
    /// The value to write, or the source of a link.
    pub payload: Option<&'m [u8]>,
}

impl<'m> SplitRequest<'m> {
    /// The REID to answer with: the one that came, else nil.
    pub fn reid_or_nil(&self) -> &'m [u8] {
        self.reid.unwrap_or(NO_REID)
    }

    /// Bytes of PAYL as it is encoded; 0 if it is absent.
    pub fn payload_bytes(&self) -> usize {
        self.payload.map_or(0, <[u8]>::len)
    }

    fn field(&mut self, key: &[u8]) -> Option<&mut Option<&'m [u8]>> {
        Some(match key {
            b"REID" => &mut self.reid,
            b"AUTH" => &mut self.auth,
            b"VERB" => &mut self.verb,
            b"PATH" => &mut self.path,
            b"META" => &mut self.meta,
            b"PAYL" => &mut self.payload,
            _ => return None,
        })
    }
}

/// A message that is no request, with the REID if it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitError<'m> {
    /// The REID to answer with: the one that was read, else nil.
    pub reid: &'m [u8],
    /// What is wrong.
    pub fault: Fault,
}

/// Cuts a message into the fields of a request. Keys may come in any order; unknown keys are
/// stepped over.
///
/// # Errors
/// If the message is not exactly one map with string keys. Where the fault leaves the rest
/// readable, the REID is still looked for, so that the client can tell which request was wrong.
pub fn split<'m>(message: &'m [u8], limits: &Limits) -> Result<SplitRequest<'m>, SplitError<'m>> {
    let mut request = SplitRequest::default();
    match read_fields(message, limits, &mut request) {
        Ok(()) => Ok(request),
        Err(fault) => Err(SplitError { reid: request.reid_or_nil(), fault }),
    }
}

/// The value at the front of these bytes, and what follows it; `None` if it is not whole or nests
/// too deep.
pub fn split_value(bytes: &[u8], depth_max: usize) -> Option<(&[u8], &[u8])> {
    let value = Cursor::new(bytes).skip(depth_max).ok()?;
    Some((value, bytes.get(value.len()..)?))
}

fn read_fields<'m>(
    message: &'m [u8],
    limits: &Limits,
    request: &mut SplitRequest<'m>,
) -> Result<(), Fault> {
    let mut cursor = Cursor::new(message);
    // The claim of this map is not held against the length of the message, so that the REID of a
    // truncated request is found; the loop ends at the first byte that is missing.
    let Some(entries) = cursor.map_entries()? else { return Err(Fault::NotAMap) };
    let mut fault = None;
    for _ in 0..entries {
        let key_start = cursor;
        let key = cursor.string()?;
        if key.is_none() {
            cursor = key_start;
            cursor.skip(limits.payload_depth_max)?;
            fault = fault.or(Some(Fault::KeyNotAString));
        }
        let value = cursor.skip(limits.payload_depth_max)?;
        if let Some(field) = key.and_then(|key| request.field(key)) {
            if field.is_some() {
                fault = fault.or(Some(Fault::KeyTwice));
            }
            *field = Some(value);
        }
    }
    match fault {
        Some(fault) => Err(fault),
        None if !cursor.is_at_end() => Err(Fault::TrailingBytes),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        payload_depth_max: 32,
        path_depth_max: 8,
        name_bytes_max: 64,
        path_bytes_max: 512,
        auth_bytes_max: 512,
        reid_bytes_max: 64,
    };

    fn check(hex: &str, expected: Result<&str, (&str, Fault)>) {
        let message = unhex(hex);
        let seen = split(&message, &LIMITS);
        match expected {
            Ok(reid) => {
                assert_eq!(seen.map(|r| r.reid_or_nil().to_vec()), Ok(unhex(reid)), "{hex}")
            }
            Err((reid, fault)) => {
                let error = seen.expect_err(hex);
                assert_eq!((error.reid.to_vec(), error.fault), (unhex(reid), fault), "{hex}");
            }
        }
    }

    fn unhex(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_request_is_cut_in_any_order_of_its_keys() {
        check("81 a452454944 07", Ok("07"));
        check("82 a45041594c 930102c0 a452454944 cd0102", Ok("cd0102"));
        check("82 d90452454944 01 a3464f4f 81a16101", Ok("01"));
        check("de0001 a452454944 a0", Ok("a0"));
        check("80", Ok("c0"));
    }

    #[test]
    fn a_message_that_is_no_map_is_refused() {
        for hex in ["05", "c0", "a568656c6c6f", "9401020304", "ca00000000"] {
            check(hex, Err(("c0", Fault::NotAMap)));
        }
        check("", Err(("c0", Fault::Truncated)));
        check("c1", Err(("c0", Fault::UnusedByte)));
    }

    #[test]
    fn a_truncated_message_is_refused_with_its_reid_if_that_came_before() {
        check("86 a452454944 01 a44155", Err(("01", Fault::Truncated)));
        check("86 a45245", Err(("c0", Fault::Truncated)));
        check("86", Err(("c0", Fault::Truncated)));
        check("82 a452454944 01 a45041594c a5616263", Err(("01", Fault::Truncated)));
    }

    #[test]
    fn a_claimed_count_of_four_billion_is_refused_at_once() {
        check("82 a452454944 01 a441555448 dfffffffff a161", Err(("01", Fault::Truncated)));
        check("82 a452454944 01 a450415448 ddffffffff a161", Err(("01", Fault::Truncated)));
        check("82 a452454944 01 a45041594c c6ffffffff 00", Err(("01", Fault::Truncated)));
        check("dfffffffff a452454944 01", Err(("01", Fault::Truncated)));
    }

    #[test]
    fn a_bad_key_does_not_hide_the_reid_behind_it() {
        check("82 05 05 a452454944 01", Err(("01", Fault::KeyNotAString)));
        check("82 9105 05 a452454944 01", Err(("01", Fault::KeyNotAString)));
        check("82 c40452454944 01 a452454944 02", Err(("02", Fault::KeyNotAString)));
        check(
            "83 a452454944 01 a456455242 a3474554 a456455242 a3505554",
            Err(("01", Fault::KeyTwice)),
        );
    }

    #[test]
    fn bytes_behind_the_request_are_refused() {
        check("81 a452454944 01 00", Err(("01", Fault::TrailingBytes)));
    }

    #[test]
    fn nesting_is_allowed_up_to_the_limit_and_not_beyond() {
        let nested = |levels: usize| format!("81 a45041594c {} c0", "91".repeat(levels));
        check(&nested(32), Ok("c0"));
        check(&nested(33), Err(("c0", Fault::TooDeep)));
        check(&nested(1000), Err(("c0", Fault::TooDeep)));
        check(&format!("81 a45041594c 92{}c0{}c0", "91".repeat(20), "91".repeat(31)), Ok("c0"));
    }
}
