//! Familiar requests: a client that writes one resource sends the same bytes again and again, but
//! for REID and PAYL.
//!
//! The session keeps the bytes around these two of its last request for a value. A message with the
//! same bytes around its own asks for the same, and nothing of it is decoded; any other message
//! takes the usual way. Both ways answer alike, because equal bytes have equal meaning.

use std::sync::Arc;

use crate::protocol::{SplitRequest, Verb, split_value};
use crate::resource::Entry;

/// Bytes around REID and PAYL beyond which a request is not kept.
const BYTES_MAX: usize = 512;

/// A request that was allowed, without its REID and PAYL.
pub(super) struct Familiar {
    before_reid: Box<[u8]>,
    behind_reid: Box<[u8]>,
    /// PAYL follows `behind_reid` and ends the message.
    has_payload: bool,
    verb: Verb,
    entry: Arc<Entry>,
}

impl Familiar {
    /// Keeps a request about the value of a resource, if its fields stand in the usual order: REID
    /// somewhere before PAYL, and PAYL last or absent.
    pub(super) fn of(
        message: &[u8],
        request: &SplitRequest<'_>,
        verb: Verb,
        entry: &Arc<Entry>,
    ) -> Option<Self> {
        if !matches!(verb, Verb::Get | Verb::Put | Verb::Post) {
            return None;
        }
        let reid = place(message, request.reid?)?;
        let payload = request.payload.map(|payload| place(message, payload));
        let end = match payload {
            None => message.len(),
            Some(payload) => payload.filter(|(_, end)| *end == message.len())?.0,
        };
        let before_reid = message.get(..reid.0)?;
        let behind_reid = message.get(reid.1..end)?;
        if before_reid.len() + behind_reid.len() > BYTES_MAX {
            return None;
        }
        Some(Familiar {
            before_reid: before_reid.into(),
            behind_reid: behind_reid.into(),
            has_payload: payload.is_some(),
            verb,
            entry: Arc::clone(entry),
        })
    }

    /// The verb, the resource, REID and PAYL of a message that asks for the same, if it does and
    /// the resource is still there.
    pub(super) fn recognise<'m>(
        &self,
        message: &'m [u8],
        depth_max: usize,
    ) -> Option<(Verb, &Arc<Entry>, SplitRequest<'m>)> {
        let rest = message.strip_prefix(&*self.before_reid)?;
        let (reid, rest) = split_value(rest, depth_max)?;
        let rest = rest.strip_prefix(&*self.behind_reid)?;
        let (payload, rest) = if self.has_payload {
            let (payload, rest) = split_value(rest, depth_max)?;
            (Some(payload), rest)
        } else {
            (None, rest)
        };
        if !rest.is_empty() || self.entry.is_gone() {
            return None;
        }
        let request = SplitRequest { reid: Some(reid), payload, ..SplitRequest::default() };
        Some((self.verb, &self.entry, request))
    }
}

/// Where a field begins and ends in the message that it is a part of.
fn place(message: &[u8], field: &[u8]) -> Option<(usize, usize)> {
    let start = (field.as_ptr() as usize).checked_sub(message.as_ptr() as usize)?;
    Some((start, start.checked_add(field.len()).filter(|end| *end <= message.len())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Class, Limits, Value, split};

    const LIMITS: Limits = Limits {
        payload_depth_max: 4,
        path_depth_max: 8,
        name_bytes_max: 64,
        path_bytes_max: 512,
        auth_bytes_max: 512,
        reid_bytes_max: 64,
    };

    /// A request that `of` is shown, a message, and REID and PAYL that it is recognised with.
    #[track_caller]
    fn check(known: &[u8], message: &[u8], expected: Option<(&[u8], Option<&[u8]>)>) {
        let entry = Entry::new(1, Value::nil(), Class::State);
        let request = split(known, &LIMITS).unwrap();
        let familiar = Familiar::of(known, &request, Verb::Put, &entry).unwrap();
        let seen = familiar.recognise(message, LIMITS.payload_depth_max);
        let seen = seen.map(|(_, _, request)| (request.reid.unwrap(), request.payload));
        assert_eq!(seen, expected);
        if let Some((reid, payload)) = seen {
            // The usual way sees the same.
            let usual = split(message, &LIMITS).unwrap();
            assert_eq!((usual.reid, usual.payload), (Some(reid), payload));
        }
    }

    const PUT: &[u8] = b"\x83\xa4REID\x01\xa4VERB\xa3PUT\xa4PAYL\xc4\x01\x07";

    #[test]
    fn what_differs_in_reid_and_payload_only_is_familiar() {
        check(PUT, PUT, Some((&[1], Some(&[0xc4, 1, 7]))));
        let other = b"\x83\xa4REID\xcd\x01\x00\xa4VERB\xa3PUT\xa4PAYL\x92\x01\x02";
        check(PUT, other, Some((&[0xcd, 1, 0], Some(&[0x92, 1, 2]))));
        let without = b"\x82\xa4REID\x01\xa4VERB\xa3GET";
        check(without, b"\x82\xa4REID\xa1x\xa4VERB\xa3GET", Some((&[0xa1, b'x'], None)));
    }

    #[test]
    fn what_differs_in_anything_else_is_not() {
        for message in [
            &b"\x83\xa4REID\x01\xa4VERB\xa3GET\xa4PAYL\xc4\x01\x07"[..],
            b"\x82\xa4REID\x01\xa4VERB\xa3PUT\xa4PAYL\xc4\x01\x07",
            b"\x83\xa4REID\x01\xa4VERB\xa3PUT\xa4PAYL\xc4\x02\x07",
            b"\x83\xa4REID\x01\xa4VERB\xa3PUT\xa4PAYL\xc4\x01\x07\x00",
            b"\x83\xa4REID\x01\xa4VERB\xa3PUT\xa4PAYL",
            b"\x83\xa4REID\xc1\xa4VERB\xa3PUT\xa4PAYL\xc4\x01\x07",
            b"\x83\xa4REID\x01\xa4VERB\xa3PUT\xa4PAYL\x91\x91\x91\x91\x91\x00",
            b"\x83\xa4REID",
            b"",
        ] {
            check(PUT, message, None);
        }
    }

    #[test]
    fn unusual_requests_are_not_kept() {
        let entry = Entry::new(1, Value::nil(), Class::State);
        for (verb, message) in [
            (Verb::Stream, PUT),
            (Verb::Put, b"\x82\xa4VERB\xa3PUT\xa4PAYL\xc4\x01\x07"),
            (Verb::Put, b"\x82\xa4PAYL\x01\xa4REID\x01"),
            (Verb::Put, b"\x83\xa4REID\x01\xa4PAYL\x01\xa4VERB\xa3PUT"),
        ] {
            let request = split(message, &LIMITS).unwrap();
            assert!(Familiar::of(message, &request, verb, &entry).is_none(), "{message:?}");
        }
    }
}
