//! Answers: their codes, their reasons and their bytes.
//!
//! An answer has five entries in a fixed order: REID, RNUM (int 16), RESPONSE, PAYL, WARNINGS
//! (recorded scenario `response-exact-bytes`). PAYL is always there, nil for nothing, and
//! WARNINGS is always an array, because real clients need both.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::value::NIL;

/// Code of an answer, taken from HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rnum {
    /// 200: done.
    Ok,
    /// 201: done, and something was made.
    Created,
    /// 400: the request is malformed, or asks to make what is there already.
    BadRequest,
    /// 401: the credentials are missing or wrong.
    Unauthorized,
    /// 403: this user may not do this here.
    Forbidden,
    /// 404: there is no such resource, directory, stream or link.
    NotFound,
    /// 405: the verb is unknown.
    MethodNotAllowed,
    /// 409: the link would close a cycle.
    Conflict,
    /// 429: this connection has as many streams as it may have.
    TooManyRequests,
    /// 500: a fault of the broker.
    InternalServerError,
    /// 507: the broker's limits leave no room for it.
    InsufficientStorage,
}

impl Rnum {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Rnum::Ok => 200,
            Rnum::Created => 201,
            Rnum::BadRequest => 400,
            Rnum::Unauthorized => 401,
            Rnum::Forbidden => 403,
            Rnum::NotFound => 404,
            Rnum::MethodNotAllowed => 405,
            Rnum::Conflict => 409,
            Rnum::TooManyRequests => 429,
            Rnum::InternalServerError => 500,
            Rnum::InsufficientStorage => 507,
        }
    }

    /// The text in RESPONSE: HTTP's name of the number.
    pub fn text(self) -> &'static str {
        match self {
            Rnum::Ok => "OK",
            Rnum::Created => "Created",
            Rnum::BadRequest => "Bad Request",
            Rnum::Unauthorized => "Unauthorized",
            Rnum::Forbidden => "Forbidden",
            Rnum::NotFound => "Not Found",
            Rnum::MethodNotAllowed => "Method Not Allowed",
            Rnum::Conflict => "Conflict",
            Rnum::TooManyRequests => "Too Many Requests",
            Rnum::InternalServerError => "Internal Server Error",
            Rnum::InsufficientStorage => "Insufficient Storage",
        }
    }
}

/// A sentence for the person behind the client: what was wrong and what would be right.
pub type Warning = Cow<'static, str>;

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub rnum: Rnum,
    /// The reason; refusals of authentication and permission give none.
    pub warning: Option<Warning>,
}

impl Refusal {
    /// A refusal with its reason.
    pub fn new(rnum: Rnum, warning: impl Into<Warning>) -> Self {
        Refusal { rnum, warning: Some(warning.into()) }
    }

    /// A refusal that tells a stranger nothing.
    pub fn silent(rnum: Rnum) -> Self {
        Refusal { rnum, warning: None }
    }
}

/// One message to a client: the answer to a request or an update of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// REID of the request, as it came.
    pub reid: &'a [u8],
    /// The code.
    pub rnum: Rnum,
    /// The encoded value, or `None` for nil.
    pub payload: Option<&'a [u8]>,
    /// The only warning, if any.
    pub warning: Option<&'a str>,
}

/// Appends the bytes of a message.
pub fn encode_response(response: &Response<'_>, out: &mut BytesMut) {
    let payload = response.payload.unwrap_or(&[NIL]);
    let text = response.rnum.text();
    let warning_bytes = response.warning.map_or(0, str::len);
    out.reserve(64 + response.reid.len() + payload.len() + warning_bytes);
    out.put_slice(b"\x85\xa4REID");
    out.put_slice(response.reid);
    out.put_slice(b"\xa4RNUM\xd1");
    out.put_u16(response.rnum.number());
    out.put_slice(b"\xa8RESPONSE");
    write_string(text, out);
    out.put_slice(b"\xa4PAYL");
    out.put_slice(payload);
    out.put_slice(b"\xa8WARNINGS");
    match response.warning {
        None => out.put_u8(0x90),
        Some(warning) => {
            out.put_u8(0x91);
            write_string(warning, out);
        }
    }
}

/// Appends a MessagePack string in its shortest form.
pub fn write_string(text: &str, out: &mut BytesMut) {
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ 0..32), _) => out.put_u8(0xa0 | length),
        (Ok(length), _) => out.put_slice(&[0xd9, length]),
        (_, Ok(length)) => {
            out.put_u8(0xda);
            out.put_u16(length);
        }
        _ => {
            out.put_u8(0xdb);
            out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        }
    }
    out.put_slice(text.as_bytes());
}

/// Appends the head of a MessagePack map in its shortest form. Maps of more than `u32::MAX`
/// entries do not exist here: the number of nodes is bounded far below.
pub fn write_map_header(entries: usize, out: &mut BytesMut) {
    match (u8::try_from(entries), u16::try_from(entries)) {
        (Ok(count @ 0..16), _) => out.put_u8(0x80 | count),
        (_, Ok(count)) => {
            out.put_u8(0xde);
            out.put_u16(count);
        }
        _ => {
            out.put_u8(0xdf);
            out.put_u32(u32::try_from(entries).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_exactly_the_recorded_bytes() {
        let mut out = BytesMut::new();
        let response = Response { reid: &[3], rnum: Rnum::Ok, payload: Some(&[5]), warning: None };
        encode_response(&response, &mut out);
        assert_eq!(
            &out[..],
            b"\x85\xa4REID\x03\xa4RNUM\xd1\x00\xc8\xa8RESPONSE\xa2OK\xa4PAYL\x05\xa8WARNINGS\x90"
        );
    }

    #[test]
    fn strings_and_maps_take_their_shortest_form() {
        for (length, head) in [
            (0, &[0xa0][..]),
            (31, &[0xbf]),
            (32, &[0xd9, 32]),
            (255, &[0xd9, 255]),
            (256, &[0xda, 1, 0]),
            (70_000, &[0xdb, 0, 1, 0x11, 0x70]),
        ] {
            let mut out = BytesMut::new();
            write_string(&"x".repeat(length), &mut out);
            assert_eq!((&out[..head.len()], out.len()), (head, head.len() + length));
        }
        for (entries, head) in
            [(0, &[0x80][..]), (15, &[0x8f]), (16, &[0xde, 0, 16]), (65_536, &[0xdf, 0, 1, 0, 0])]
        {
            let mut out = BytesMut::new();
            write_map_header(entries, &mut out);
            assert_eq!(&out[..], head);
        }
    }
}
