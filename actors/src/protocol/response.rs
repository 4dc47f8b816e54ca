//! Answers: their codes, their reasons and their bytes.
//!
//! An answer has five entries in a fixed order: REID, RNUM (int 16), RESPONSE, PAYL, WARNINGS
//! (recorded scenario `response-exact-bytes`). PAYL is always there, nil for nothing, and
//! WARNINGS is always an array, because real clients need both.

use std::borrow::Cow;

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
    /// 408: nothing came for too long; only as the last message of a connection.
    RequestTimeout,
    /// 409: the link would close a cycle.
    Conflict,
    /// 413: a message over the limit; only as the last message of a connection.
    PayloadTooLarge,
    /// 429: this connection has as many streams as it may have, or asks too often.
    TooManyRequests,
    /// 500: a fault of the broker.
    InternalServerError,
    /// 503: the broker stops; only as the last message of a connection.
    ServiceUnavailable,
    /// 507: the broker's limits leave no room for it.
    InsufficientStorage,
}

impl Rnum {
    /// Every code.
    pub const ALL: [Rnum; 14] = [
        Rnum::Ok,
        Rnum::Created,
        Rnum::BadRequest,
        Rnum::Unauthorized,
        Rnum::Forbidden,
        Rnum::NotFound,
        Rnum::MethodNotAllowed,
        Rnum::RequestTimeout,
        Rnum::Conflict,
        Rnum::PayloadTooLarge,
        Rnum::TooManyRequests,
        Rnum::InternalServerError,
        Rnum::ServiceUnavailable,
        Rnum::InsufficientStorage,
    ];

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
            Rnum::RequestTimeout => 408,
            Rnum::Conflict => 409,
            Rnum::PayloadTooLarge => 413,
            Rnum::TooManyRequests => 429,
            Rnum::InternalServerError => 500,
            Rnum::ServiceUnavailable => 503,
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
            Rnum::RequestTimeout => "Request Timeout",
            Rnum::Conflict => "Conflict",
            Rnum::PayloadTooLarge => "Payload Too Large",
            Rnum::TooManyRequests => "Too Many Requests",
            Rnum::InternalServerError => "Internal Server Error",
            Rnum::ServiceUnavailable => "Service Unavailable",
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

impl Response<'_> {
    /// Size of the message in bytes.
    pub fn encoded_bytes(&self) -> usize {
        let warning = self.warning.map_or(0, |text| string_bytes(text.len()));
        let payload = self.payload.map_or(1, <[u8]>::len);
        FIXED_BYTES + self.reid.len() + string_bytes(self.rnum.text().len()) + payload + warning
    }
}

/// What each message has whatever it says: the map, its keys, the format and the two bytes of RNUM,
/// and the array of warnings.
const FIXED_BYTES: usize = 1 + 5 + 5 + 3 + 9 + 5 + 9 + 1;

/// Size of an encoded string of so many bytes.
fn string_bytes(length: usize) -> usize {
    length
        + match length {
            0..32 => 1,
            32..0x100 => 2,
            0x100..0x1_0000 => 3,
            _ => 5,
        }
}

/// Appends the bytes of a message.
pub fn encode_response(response: &Response<'_>, out: &mut Vec<u8>) {
    out.reserve(response.encoded_bytes());
    encode_before_payload(response, out);
    out.extend_from_slice(response.payload.unwrap_or(&[NIL]));
    encode_after_payload(response, out);
}

/// Appends what stands before the payload.
pub fn encode_before_payload(response: &Response<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x85\xa4REID");
    out.extend_from_slice(response.reid);
    if response.rnum == Rnum::Ok {
        // Nearly every message: one copy instead of six.
        out.extend_from_slice(b"\xa4RNUM\xd1\x00\xc8\xa8RESPONSE\xa2OK\xa4PAYL");
        return;
    }
    out.extend_from_slice(b"\xa4RNUM\xd1");
    out.extend_from_slice(&response.rnum.number().to_be_bytes());
    out.extend_from_slice(b"\xa8RESPONSE");
    write_string(response.rnum.text(), out);
    out.extend_from_slice(b"\xa4PAYL");
}

/// Appends what stands behind the payload.
pub fn encode_after_payload(response: &Response<'_>, out: &mut Vec<u8>) {
    match response.warning {
        None => out.extend_from_slice(b"\xa8WARNINGS\x90"),
        Some(warning) => {
            out.extend_from_slice(b"\xa8WARNINGS\x91");
            write_string(warning, out);
        }
    }
}

/// Appends a MessagePack string in its shortest form.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ 0..32), _) => out.push(0xa0 | length),
        (Ok(length), _) => out.extend_from_slice(&[0xd9, length]),
        (_, Ok(length)) => {
            out.push(0xda);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Appends the head of a MessagePack map in its shortest form. Maps of more than `u32::MAX`
/// entries do not exist here: the number of nodes is bounded far below.
pub fn write_map_header(entries: usize, out: &mut Vec<u8>) {
    match (u8::try_from(entries), u16::try_from(entries)) {
        (Ok(count @ 0..16), _) => out.push(0x80 | count),
        (_, Ok(count)) => {
            out.push(0xde);
            out.extend_from_slice(&count.to_be_bytes());
        }
        _ => {
            out.push(0xdf);
            out.extend_from_slice(&u32::try_from(entries).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_exactly_the_recorded_bytes() {
        let mut out = Vec::new();
        let response = Response { reid: &[3], rnum: Rnum::Ok, payload: Some(&[5]), warning: None };
        encode_response(&response, &mut out);
        assert_eq!(response.encoded_bytes(), out.len());
        assert_eq!(
            &out[..],
            b"\x85\xa4REID\x03\xa4RNUM\xd1\x00\xc8\xa8RESPONSE\xa2OK\xa4PAYL\x05\xa8WARNINGS\x90"
        );
    }

    #[test]
    fn the_size_of_an_answer_is_known_before_it_is_written() {
        let warnings: Vec<String> = [0, 31, 32, 255, 256, 70_000].map(|n| "x".repeat(n)).into();
        let warnings = warnings.iter().map(|text| Some(text.as_str())).chain([None]);
        for warning in warnings {
            for rnum in [Rnum::Ok, Rnum::Created, Rnum::InternalServerError] {
                for payload in [None, Some(&[0; 300][..])] {
                    let response = Response { reid: &[1, 2], rnum, payload, warning };
                    let mut out = Vec::new();
                    encode_response(&response, &mut out);
                    assert_eq!(response.encoded_bytes(), out.len());
                }
            }
        }
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
            let mut out = Vec::new();
            write_string(&"x".repeat(length), &mut out);
            assert_eq!((&out[..head.len()], out.len()), (head, head.len() + length));
        }
        for (entries, head) in
            [(0, &[0x80][..]), (15, &[0x8f]), (16, &[0xde, 0, 16]), (65_536, &[0xdf, 0, 1, 0, 0])]
        {
            let mut out = Vec::new();
            write_map_header(entries, &mut out);
            assert_eq!(&out[..], head);
        }
    }
}
