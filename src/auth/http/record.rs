//! Records: what the lines of the service mean. A line is an object or a sign of life, and what is
//! neither, or is larger than anything sensible, is not used in part.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::auth::secrets::sha256;

/// The longest name of a user.
pub const USER_BYTES_MAX: usize = 256;

/// The longest token.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// The most roles of a user, and the longest name of one.
const ROLES_MAX: usize = 256;
const ROLE_BYTES_MAX: usize = 256;

/// A token as it is sent. It has no `Debug`, and is kept only where it is sent again.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes a text that came as a token.
    pub fn new(text: &str) -> Self {
        Token(text.to_owned())
    }

    /// The text. It must not reach a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What a user has to present, and what it is then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// SHA-256 of the token.
    pub token: [u8; 32],
    /// The roles.
    pub roles: Vec<String>,
    /// Until when; `None` for always.
    pub expires: Option<SystemTime>,
}

/// What the service says of a user.
pub struct Told {
    /// The name.
    pub username: String,
    /// The token that proves it; empty if none does.
    pub token: Token,
    /// The same without the token itself.
    pub credential: Credential,
}

/// A user that is there, or no longer.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct UserLine {
    /// The name.
    pub username: String,
    /// Whether it has gone.
    #[serde(default)]
    pub removed: bool,
}

/// Why a line means nothing. It says nothing of what is in it, which may be a token.
pub type Wrong = &'static str;

#[derive(Deserialize)]
struct CredentialLine {
    username: String,
    api_token: String,
    #[serde(default)]
    expires_at: Option<String>,
    #[serde(default)]
    permanent: bool,
    // A list without roles is null in the JSON of Go.
    #[serde(default)]
    roles: Option<Vec<String>>,
}

/// Whether the name of a user can be asked for, and be a name in a path.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= USER_BYTES_MAX
        && name != "."
        && name != ".."
        && !name.contains('/')
}

/// Reads a line about a user; `None` for a sign of life.
pub fn read_credential(line: &[u8]) -> Result<Option<Told>, Wrong> {
    let Some(line) = read::<CredentialLine>(line)? else { return Ok(None) };
    let roles = line.roles.unwrap_or_default();
    if line.api_token.len() > TOKEN_BYTES_MAX {
        return Err("a token that is too long");
    }
    if roles.len() > ROLES_MAX || roles.iter().any(|role| role.len() > ROLE_BYTES_MAX) {
        return Err("more roles, or longer ones, than a user can have");
    }
    let expires = match line.expires_at.filter(|_| !line.permanent) {
        Some(text) => Some(read_time(&text).ok_or("an expires_at that is no time of RFC 3339")?),
        None => None,
    };
    let credential = Credential { token: sha256(&line.api_token), roles, expires };
    Ok(Some(Told { username: line.username, token: Token(line.api_token), credential }))
}

/// Reads a line that says of a user that it is there or not; `None` for a sign of life.
pub fn read_user(line: &[u8]) -> Result<Option<UserLine>, Wrong> {
    read(line)
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Result<Option<T>, Wrong> {
    let line = line.trim_ascii();
    if line.is_empty() || line == b"null" {
        return Ok(None);
    }
    // A list would be read as the fields of an object in their order.
    if line.first() != Some(&b'{') {
        return Err("a line that is no JSON object");
    }
    // The text of the error may quote a token.
    serde_json::from_slice(line).map(Some).map_err(|_| "a line that is not the JSON it should be")
}

fn read_time(text: &str) -> Option<SystemTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    // The zero of Go's times is the year 1: before anything, and so over.
    let seconds = u64::try_from(time.unix_timestamp()).unwrap_or_default();
    UNIX_EPOCH.checked_add(Duration::new(seconds, time.nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `user roles expires`, `alive`, or what is wrong.
    fn describe(line: &str) -> String {
        match read_credential(line.as_bytes()) {
            Ok(None) => "alive".to_owned(),
            Err(wrong) => format!("wrong: {wrong}"),
            Ok(Some(told)) => {
                assert_eq!(told.credential.token, sha256(told.token.reveal()));
                let expires = told.credential.expires.map_or("never".to_owned(), |time| {
                    time.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string()
                });
                let (name, token) = (told.username, told.token.reveal());
                format!("{name} {token} {} {expires}", told.credential.roles.join("+"))
            }
        }
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(describe(line), expected, "{line}");
    }

    const NOT_JSON: &str = "wrong: a line that is not the JSON it should be";
    const NO_OBJECT: &str = "wrong: a line that is no JSON object";
    const NO_TIME: &str = "wrong: an expires_at that is no time of RFC 3339";
    const ROLES: &str = "wrong: more roles, or longer ones, than a user can have";

    #[test]
    fn a_line_is_a_credential_or_a_sign_of_life() {
        for line in ["", " ", "\r", "null", " null\t"] {
            check(line, "alive");
        }
        check(r#"{"username":"ann","api_token":"t"}"#, "ann t  never");
        check(
            concat!(
                r#"{"username":"ann","api_token":"API-TOK_x","#,
                r#""expires_at":"2026-01-02T03:04:05Z","permanent":false,"roles":["a","b c"]}"#
            ),
            "ann API-TOK_x a+b c 1767323045",
        );
        check(r#"{"username":"a","api_token":"t","roles":null,"expires_at":null}"#, "a t  never");
        check(r#"{"username":"a","api_token":"","roles":[]}"#, "a   never");
        check(r#"{"username":"","api_token":"t"}"#, " t  never");
        check(r#"{"more":[{}],"username":"a","api_token":"t"}"#, "a t  never");
        check(r#"  {"username":"\u00fc","api_token":"t"}  "#, "\u{fc} t  never");
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        for (time, expected) in [
            ("1970-01-01T00:00:00Z", "a t  0"),
            ("1970-01-01T01:00:10+01:00", "a t  10"),
            ("2026-01-02T03:04:05.123456789+02:00", "a t  1767315845"),
            ("0001-01-01T00:00:00Z", "a t  0"),
            ("9999-12-31T23:59:59Z", "a t  253402300799"),
            ("", NO_TIME),
            ("tomorrow", NO_TIME),
            ("2026-01-02", NO_TIME),
            ("2026-13-02T03:04:05Z", NO_TIME),
            ("2026-01-02T03:04:05", NO_TIME),
        ] {
            let rest = |permanent| {
                let user = r#""username":"a","api_token":"t""#;
                format!(r#"{{{user},"expires_at":"{time}","permanent":{permanent}}}"#)
            };
            check(&rest(false), expected);
            check(&rest(true), "a t  never");
        }
    }

    #[test]
    fn a_time_is_exact() {
        let expected = UNIX_EPOCH + Duration::new(1_767_323_045, 250_000_000);
        assert_eq!(read_time("2026-01-02T04:04:05.25+01:00"), Some(expected));
    }

    #[test]
    fn anything_else_is_refused_as_a_whole() {
        for line in [
            r#"{"username":"a"}"#,
            r#"{"api_token":"t"}"#,
            r#"{"username":"a","api_token":"t""#,
            r#"{"username":"a","api_token":"t"} {"#,
            r#"{"username":"a","username":"b","api_token":"t"}"#,
            r#"{"username":1,"api_token":"t"}"#,
            r#"{"username":"a","api_token":null}"#,
            r#"{"username":"a","api_token":"t","permanent":"yes"}"#,
            r#"{"username":"a","api_token":"t","roles":"admin"}"#,
            r#"{"username":"a","api_token":"t","roles":[1]}"#,
            r#"{"username":"a","api_token":"t","expires_at":17}"#,
            "{\"username\":\"\u{0}\",\"api_token\":\"t\"}",
            "{",
        ] {
            check(line, NOT_JSON);
        }
        for line in ["[\"a\",\"t\"]", "true", "17", "nul", "data: {}", "<html>"] {
            check(line, NO_OBJECT);
        }
        assert!(read_credential(b"{\"username\":\"\xff\",\"api_token\":\"t\"}").is_err());
        let deep = format!("{{\"x\":{}", "[".repeat(60_000));
        check(&deep, NOT_JSON);
    }

    #[test]
    fn fields_are_bounded() {
        let line = |token: usize, roles: usize, role: usize| {
            let (token, role) = ("t".repeat(token), "r".repeat(role));
            format!(r#"{{"username":"a","api_token":"{token}","roles":{:?}}}"#, vec![role; roles])
        };
        assert!(read_credential(line(TOKEN_BYTES_MAX, 1, 1).as_bytes()).is_ok());
        check(&line(TOKEN_BYTES_MAX + 1, 1, 1), "wrong: a token that is too long");
        assert!(read_credential(line(1, ROLES_MAX, 1).as_bytes()).is_ok());
        check(&line(1, ROLES_MAX + 1, 1), ROLES);
        assert!(read_credential(line(1, 1, ROLE_BYTES_MAX).as_bytes()).is_ok());
        check(&line(1, 1, ROLE_BYTES_MAX + 1), ROLES);
    }

    #[test]
    fn names_are_one_segment_of_a_path() {
        for name in ["a", "ann marie", "\u{fc}", "a.b", "...", "%2f", "*", &"x".repeat(256)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "/", &"x".repeat(257)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn the_feed_says_who_is_there() {
        let user = |text: &str| read_user(text.as_bytes());
        let line = |name: &str, removed| UserLine { username: name.to_owned(), removed };
        assert_eq!(user(r#"{"username":"ann","removed":false}"#), Ok(Some(line("ann", false))));
        assert_eq!(user(r#"{"username":"ann","removed":true}"#), Ok(Some(line("ann", true))));
        assert_eq!(user(r#"{"username":"ann"}"#), Ok(Some(line("ann", false))));
        assert_eq!(user("\r"), Ok(None));
        assert!(user(r#"{"removed":true}"#).is_err());
        assert!(user(r#"{"username":"ann","removed":1}"#).is_err());
    }
}
