//! What the fields of a request mean: verb, path, credentials and options.
//!
//! Each field is decoded only when its bytes differ from the last ones of the connection, so this
//! is not the hot path.

use std::borrow::Cow;

use super::bytes::{Cursor, Head};
use super::class::Class;
use super::path::Path;
use super::response::{Refusal, Rnum};
use super::splitter::Limits;
use super::verb::Verb;

/// MessagePack's `true`.
const TRUE: &[u8] = &[0xc3];

/// What AUTH said. Entries other than these are none of the broker's business.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct AuthFields<'m> {
    /// The entry USER, empty if absent.
    pub user: &'m str,
    /// The entry TOKEN, empty if absent. A secret: it must not reach a log.
    pub token: &'m str,
    /// The entry JWT, a JSON Web Token (RFC 7519), empty if absent. A secret.
    pub jwt: &'m str,
}

impl AuthFields<'_> {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.user.is_empty() && self.token.is_empty() && self.jwt.is_empty()
    }
}

/// Decodes VERB. A string that is no verb gives `None`, which is answered 405.
///
/// # Errors
/// If VERB is there and no string. A missing VERB is `None`.
pub fn decode_verb(field: Option<&[u8]>) -> Result<Option<Verb>, Refusal> {
    let Some(field) = field else { return Ok(None) };
    match Cursor::new(field).string() {
        Ok(Some(name)) => Ok(Verb::from_name(name)),
        _ => Err(bad("VERB is a string such as GET")),
    }
}

/// Decodes PATH.
///
/// # Errors
/// If it is missing, not an array of UTF-8 strings without slashes, or over a limit.
pub fn decode_path(field: Option<&[u8]>, limits: &Limits) -> Result<Path, Refusal> {
    let path = decode_names(field, limits)?;
    if path.names().iter().any(|name| name.contains('/')) {
        return Err(bad("a name in a path has no slash: send one array element for each name"));
    }
    Ok(path)
}

/// Decodes the payload of LINK and UNLINK, the path of the source. A name with a slash is no fault
/// of form there, there is just no such source (recorded scenario `name-slash-in-payload`).
///
/// # Errors
/// If it is missing, not an array of UTF-8 strings, or over a limit.
pub fn decode_source(field: Option<&[u8]>, limits: &Limits) -> Result<Path, Refusal> {
    decode_names(field, limits)
}

fn decode_names(field: Option<&[u8]>, limits: &Limits) -> Result<Path, Refusal> {
    let Some(field) = field else { return Err(bad("PATH is missing: send an array of strings")) };
    if field.len() > limits.path_bytes_max {
        return Err(bad(format!(
            "a path has at most {} bytes here (limits.path_bytes_max)",
            limits.path_bytes_max
        )));
    }
    let mut cursor = Cursor::new(field);
    let Ok(Head::Array(count)) = cursor.head() else {
        return Err(bad("a path is an array of strings"));
    };
    if count > limits.path_depth_max as u64 {
        return Err(bad(format!(
            "a path has at most {} names here (limits.path_depth_max)",
            limits.path_depth_max
        )));
    }
    let mut names = Vec::new();
    for _ in 0..count {
        let Ok(Some(name)) = cursor.string() else {
            return Err(bad("a path is an array of strings"));
        };
        names.push(check_name(name, limits)?);
    }
    Ok(Path::new(names))
}

fn check_name<'m>(name: &'m [u8], limits: &Limits) -> Result<&'m str, Refusal> {
    let Ok(name) = std::str::from_utf8(name) else {
        return Err(bad("a name in a path is valid UTF-8"));
    };
    if name.len() > limits.name_bytes_max {
        return Err(bad(format!(
            "a name has at most {} bytes here (limits.name_bytes_max)",
            limits.name_bytes_max
        )));
    }
    Ok(name)
}

/// Decodes AUTH. Absent is the same as empty; the policy decides whether that is enough.
///
/// # Errors
/// If it is no map with string keys, or USER, TOKEN or JWT is no UTF-8 string, or it is too long.
pub fn decode_auth<'m>(
    field: Option<&'m [u8]>,
    limits: &Limits,
) -> Result<AuthFields<'m>, Refusal> {
    let mut fields = AuthFields::default();
    let Some(field) = field else { return Ok(fields) };
    if field.len() > limits.auth_bytes_max {
        return Err(bad(format!(
            "AUTH has at most {} bytes here (limits.auth_bytes_max)",
            limits.auth_bytes_max
        )));
    }
    let wrong = || bad("AUTH is a map from strings to strings, with USER and TOKEN, or JWT");
    let mut cursor = Cursor::new(field);
    let Ok(Head::Map(entries)) = cursor.head() else { return Err(wrong()) };
    for _ in 0..entries {
        let Ok(Some(key)) = cursor.string() else { return Err(wrong()) };
        let target = match key {
            b"USER" => &mut fields.user,
            b"TOKEN" => &mut fields.token,
            b"JWT" => &mut fields.jwt,
            _ => {
                // The splitter has walked these bytes with the configured limit already.
                cursor.skip(usize::MAX).map_err(|_| wrong())?;
                continue;
            }
        };
        let Ok(Some(text)) = cursor.string() else { return Err(wrong()) };
        *target = std::str::from_utf8(text).map_err(|_| wrong())?;
    }
    Ok(fields)
}

/// Whether META asks LIST for the direct children only: `{NONRECURSIVE: true}`. META of any other
/// form asks for nothing.
pub fn is_non_recursive(meta: Option<&[u8]>) -> bool {
    entry(meta, b"NONRECURSIVE") == Some(TRUE)
}

/// The class that META asks CREATE or POST to make a resource with, such as `{CLASS: "live"}`.
/// META of any other form asks for none.
///
/// # Errors
/// If CLASS is none of the classes.
pub fn decode_class(meta: Option<&[u8]>) -> Result<Option<Class>, Refusal> {
    let Some(value) = entry(meta, b"CLASS") else { return Ok(None) };
    let name = Cursor::new(value).string().ok().flatten();
    let class = name.and_then(|name| std::str::from_utf8(name).ok()).and_then(Class::by_name);
    class.map(Some).ok_or_else(|| bad("CLASS in META is \"state\", \"live\" or \"event\""))
}

/// The value of an entry of META.
fn entry<'m>(meta: Option<&'m [u8]>, wanted: &[u8]) -> Option<&'m [u8]> {
    let mut cursor = Cursor::new(meta?);
    let Ok(Head::Map(entries)) = cursor.head() else { return None };
    for _ in 0..entries {
        let key = cursor.string().ok()??;
        let value = cursor.skip(usize::MAX).ok()?;
        if key == wanted {
            return Some(value);
        }
    }
    None
}

fn bad(warning: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Rnum::BadRequest, warning)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        payload_depth_max: 32,
        path_depth_max: 3,
        name_bytes_max: 4,
        path_bytes_max: 14,
        auth_bytes_max: 20,
        reid_bytes_max: 64,
    };

    #[track_caller]
    fn check_path(field: &[u8], expected: Result<&[&str], &str>) {
        match (decode_path(Some(field), &LIMITS), expected) {
            (Ok(path), Ok(names)) => assert_eq!(path, Path::new(names.iter().copied())),
            (Err(refusal), Err(part)) => {
                assert_eq!(refusal.rnum, Rnum::BadRequest);
                assert!(refusal.warning.unwrap().contains(part));
            }
            (seen, expected) => panic!("{seen:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_path_is_an_array_of_names_within_the_limits() {
        check_path(b"\x90", Ok(&[]));
        check_path(b"\x92\xa1a\xa0", Ok(&["a", ""]));
        check_path(b"\xdc\x00\x01\xd9\x02..", Ok(&[".."]));
        check_path(b"\x93\xa1a\xa1a\xa1a", Ok(&["a", "a", "a"]));
        check_path(b"\x94\xa1a\xa1a\xa1a\xa1a", Err("at most 3 names"));
        check_path(b"\x91\xa4abcd", Ok(&["abcd"]));
        check_path(b"\x91\xa5abcde", Err("at most 4 bytes"));
        check_path(b"\x91\xa3a/b", Err("no slash"));
        check_path(b"\x93\xd9\x03abc\xd9\x03abc\xd9\x01a", Ok(&["abc", "abc", "a"]));
        check_path(b"\x93\xd9\x03abc\xd9\x03abc\xd9\x02ab", Err("at most 14 bytes"));
        check_path(b"\x91\xa2\xff\xfe", Err("UTF-8"));
        check_path(b"\x91\xc4\x01a", Err("array of strings"));
        check_path(b"\x91\x01", Err("array of strings"));
        check_path(b"\xa1a", Err("array of strings"));
        check_path(b"\xc0", Err("array of strings"));
        check_path(b"\x81\xa1a\xa1b", Err("array of strings"));
        assert!(decode_path(None, &LIMITS).is_err());
    }

    #[track_caller]
    fn check_auth(field: Option<&[u8]>, expected: Option<(&str, &str)>) {
        let seen = decode_auth(field, &LIMITS).ok();
        assert_eq!(seen.map(|fields| (fields.user, fields.token)), expected);
    }

    #[test]
    fn credentials_are_strings_and_other_entries_are_ignored() {
        check_auth(None, Some(("", "")));
        check_auth(Some(b"\x80"), Some(("", "")));
        check_auth(Some(b"\x82\xa4USER\xa1u\xa5TOKEN\xa1t"), Some(("u", "t")));
        check_auth(Some(b"\x83\xa1x\x91\x01\xa5TOKEN\xa1t\xa4USER\xa1u"), Some(("u", "t")));
        check_auth(Some(b"\x81\xa4USER\x01"), None);
        check_auth(Some(b"\x81\xa5TOKEN\xc0"), None);
        check_auth(Some(b"\x81\x01\xa1u"), None);
        check_auth(Some(b"\x91\xa1u"), None);
        check_auth(Some(b"\xc0"), None);
        check_auth(Some(b"\x81\xa4USER\xa1\xff"), None);
        check_auth(Some(b"\x81\xa4USER\xac123456789012"), Some(("123456789012", "")));
        check_auth(Some(b"\x81\xa4USER\xaf123456789012345"), None);
    }

    #[test]
    fn only_a_true_under_its_name_asks_for_a_listing_of_one_level() {
        assert!(is_non_recursive(Some(b"\x81\xacNONRECURSIVE\xc3")));
        assert!(is_non_recursive(Some(b"\x82\xa1a\x91\x01\xacNONRECURSIVE\xc3")));
        for meta in [&b"\x80"[..], b"\xc0", b"\x81\xacNONRECURSIVE\xc2", b"\x81\x05\xc3", b"\x03"] {
            assert!(!is_non_recursive(Some(meta)));
        }
        assert!(!is_non_recursive(None));
    }

    #[test]
    fn a_class_is_one_of_three_names_or_not_asked_for() {
        for (meta, class) in [
            (&b"\x81\xa5CLASS\xa4live"[..], Some(Class::Live)),
            (b"\x82\xa1a\x91\x01\xa5CLASS\xa5event", Some(Class::Event)),
            (b"\x81\xa5CLASS\xd9\x05state", Some(Class::State)),
            (b"\x81\xa5class\xa4live", None),
            (b"\x80", None),
            (b"\xc0", None),
        ] {
            assert_eq!(decode_class(Some(meta)), Ok(class));
        }
        assert_eq!(decode_class(None), Ok(None));
        for meta in [&b"\x81\xa5CLASS\xa4Live"[..], b"\x81\xa5CLASS\xc0", b"\x81\xa5CLASS\xa1\xff"]
        {
            assert_eq!(decode_class(Some(meta)).unwrap_err().rnum, Rnum::BadRequest);
        }
    }

    #[test]
    fn a_verb_is_a_string() {
        assert_eq!(decode_verb(Some(b"\xa3GET")), Ok(Some(Verb::Get)));
        assert_eq!(decode_verb(Some(b"\xa3get")), Ok(None));
        assert_eq!(decode_verb(None), Ok(None));
        assert!(decode_verb(Some(b"\x05")).is_err());
        assert!(decode_verb(Some(b"\xc0")).is_err());
    }
}
