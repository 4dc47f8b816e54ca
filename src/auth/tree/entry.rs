//! Entries: what one value below `$fanal/auth` says, and what is wrong with it.

use rmpv::Value;

use super::super::users::{Record, record};
use crate::config::{RuleBlock, User};

/// The largest value that is read.
const BYTES_MAX: usize = 64 * 1024;

/// How deep it may be nested. A list in a map would be enough.
const DEPTH_MAX: usize = 8;

/// What a rule says that is broken and may be meant to deny something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    /// Whom it is for, if that can be read; both empty for everybody.
    pub roles: Vec<String>,
    /// See `roles`.
    pub users: Vec<String>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A good one.
    Good(RuleBlock),
    /// One that gives something, and is broken.
    BrokenAllow(String),
    /// One that takes something, or may do so, and is broken.
    BrokenDeny(String, Broken),
    /// Nothing has been written there yet.
    Nothing,
}

/// The user in a value; `None` if nothing has been written yet.
///
/// # Errors
/// What is wrong with it. It shows no secret.
pub fn user(bytes: &[u8], admin_role: &str) -> Result<Option<Record>, String> {
    let Some(pairs) = pairs(bytes)? else { return Ok(None) };
    let mut user = User::default();
    for (name, value) in &pairs {
        match name.as_str() {
            "token_sha256" => user.token_sha256 = text(name, value)?,
            "password_argon2" => user.password_argon2 = text(name, value)?,
            "expires" => user.expires = text(name, value)?,
            "roles" => user.roles = texts(name, value)?,
            "admin" => user.admin = value.as_bool().ok_or("admin: expected true or false")?,
            _ => {
                return Err(format!(
                    "{}: expected token_sha256 or password_argon2, and roles, expires and admin if \
                     wanted",
                    name.escape_debug()
                ));
            }
        }
    }
    record(&user, admin_role).map(Some).map_err(|error| format!("{error:#}"))
}

/// The rule in a value.
pub fn rule(bytes: &[u8]) -> Entry {
    let pairs = match pairs(bytes) {
        Ok(Some(pairs)) => pairs,
        Ok(None) => return Entry::Nothing,
        Err(reason) => return Entry::BrokenDeny(reason, Broken::default()),
    };
    let has = |wanted: &str| pairs.iter().any(|(name, _)| name == wanted);
    match block(&pairs) {
        Ok(block) => Entry::Good(block),
        Err(reason) if has("allow") && !has("deny") => Entry::BrokenAllow(reason),
        Err(reason) => Entry::BrokenDeny(reason, named(&pairs)),
    }
}

fn block(pairs: &[(String, Value)]) -> Result<RuleBlock, String> {
    let mut block = RuleBlock::default();
    for (name, value) in pairs {
        let field = match name.as_str() {
            "allow" => &mut block.allow,
            "deny" => &mut block.deny,
            "roles" => &mut block.roles,
            "users" => &mut block.users,
            "paths" => &mut block.paths,
            _ => {
                return Err(format!(
                    "{}: expected allow or deny, paths, and roles and users if wanted",
                    name.escape_debug()
                ));
            }
        };
        *field = texts(name, value)?;
    }
    block.check().map_err(|text| text.trim_start_matches(['.', ':', ' ']).to_owned())?;
    Ok(block)
}

/// Whom a broken rule is for. What cannot be read as a whole is for everybody.
fn named(pairs: &[(String, Value)]) -> Broken {
    let mut broken = Broken::default();
    for (name, value) in pairs {
        let field = match name.as_str() {
            "roles" => &mut broken.roles,
            "users" => &mut broken.users,
            _ => continue,
        };
        match texts(name, value) {
            Ok(texts) => *field = texts,
            Err(_) => return Broken::default(),
        }
    }
    broken
}

/// The fields of a map; `None` for nil, which is what a resource has that nobody has written.
fn pairs(bytes: &[u8]) -> Result<Option<Vec<(String, Value)>>, String> {
    if bytes.len() > BYTES_MAX {
        return Err(format!("it has {} bytes: expected at most {BYTES_MAX}", bytes.len()));
    }
    let mut rest = bytes;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, DEPTH_MAX);
    let pairs = match value {
        Ok(Value::Nil) => return Ok(None),
        Ok(Value::Map(pairs)) => pairs,
        Ok(_) => return Err("expected a map".to_owned()),
        Err(_) => return Err("expected a map of texts and lists of texts".to_owned()),
    };
    let mut named: Vec<(String, Value)> = Vec::new();
    for (name, value) in pairs {
        let Some(name) = name.as_str() else {
            return Err("a field has no name: expected a text".to_owned());
        };
        if named.iter().any(|(other, _)| other == name) {
            return Err(format!("{}: expected it only once", name.escape_debug()));
        }
        named.push((name.to_owned(), value));
        if named.len() > FIELDS_MAX {
            return Err(format!("it has many fields: expected at most {FIELDS_MAX}"));
        }
    }
    Ok(Some(named))
}

/// More fields than there are names for.
const FIELDS_MAX: usize = 16;

fn text(name: &str, value: &Value) -> Result<String, String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| format!("{name}: expected a text"))
}

fn texts(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let texts = value.as_array().filter(|items| !items.is_empty()).and_then(|items| {
        items
            .iter()
            .map(|item| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
            .collect::<Option<Vec<_>>>()
    });
    texts.ok_or_else(|| format!("{name}: expected a list of one or more texts"))
}

#[cfg(test)]
mod tests {
    use super::super::super::secrets;
    use super::*;

    /// The MessagePack of a JSON text.
    fn encoded(json: &str) -> Vec<u8> {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        rmp_serde::to_vec(&value).unwrap()
    }

    #[track_caller]
    fn check_user(json: &str, expected: &str) {
        let hash = secrets::to_hex(&secrets::sha256("t"));
        let json = json.replace("HASH", &hash).replace('\'', "\"");
        let seen = match user(&encoded(&json), "admin") {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(record)) => format!("roles {}", record.roles.join(" ")),
            Err(reason) => reason,
        };
        assert!(seen.contains(expected), "{json}: {seen}");
        assert!(!seen.contains("geheim"), "{seen}");
    }

    #[test]
    fn a_user_is_a_map_with_one_proof() {
        check_user("null", "nothing");
        check_user("{'token_sha256': 'HASH'}", "roles ");
        check_user("{'token_sha256': 'HASH', 'roles': ['a', 'b']}", "roles a b");
        check_user("{'token_sha256': 'HASH', 'roles': ['a'], 'admin': true}", "roles a admin");
        check_user("{'token_sha256': 'HASH', 'expires': '2030-01-01T00:00:00Z'}", "roles ");
        for (json, expected) in [
            ("7", "expected a map"),
            ("['HASH']", "expected a map"),
            ("{}", "expected one of"),
            ("{'token': 'geheim'}", "token: expected token_sha256"),
            ("{'token_sha256': 'geheim'}", "64 hexadecimal digits"),
            ("{'token_sha256': 7}", "token_sha256: expected a text"),
            ("{'password_argon2': 'geheim'}", "password_argon2"),
            ("{'token_sha256': 'HASH', 'roles': 'a'}", "roles: expected a list"),
            ("{'token_sha256': 'HASH', 'roles': [7]}", "roles: expected a list"),
            ("{'token_sha256': 'HASH', 'roles': [[[[[[[[[[7]]]]]]]]]]}", "expected a map of texts"),
            ("{'token_sha256': 'HASH', 'admin': 'geheim'}", "admin: expected true or false"),
            ("{'token_sha256': 'HASH', 'expires': 'soon'}", "expires"),
        ] {
            check_user(json, expected);
        }
    }

    #[track_caller]
    fn check_rule(json: &str, expected: &str) {
        let seen = match rule(&encoded(&json.replace('\'', "\""))) {
            Entry::Good(_) => "good".to_owned(),
            Entry::Nothing => "nothing".to_owned(),
            Entry::BrokenAllow(reason) => format!("allow: {reason}"),
            Entry::BrokenDeny(reason, Broken { roles, users }) => {
                format!("deny: {reason} / {} / {}", roles.join(" "), users.join(" "))
            }
        };
        assert!(seen.contains(expected), "{json}: {seen}");
    }

    #[test]
    fn a_rule_is_checked_as_in_the_configuration() {
        check_rule("null", "nothing");
        check_rule("{'allow': ['READ'], 'paths': ['live/**']}", "good");
        check_rule("{'deny': ['ADMIN'], 'users': ['ann'], 'paths': ['{user}/*']}", "good");
        check_rule("{'allow': ['FLY'], 'paths': ['a']}", "allow: allow = [\"FLY\"]: expected");
        check_rule("{'allow': ['READ'], 'paths': ['a//b']}", "allow: paths");
        check_rule("{'allow': ['READ']}", "allow: this rule has no paths");
        check_rule("{'allow': ['READ'], 'paths': ['a'], 'roles': []}", "allow: roles: expected");
        check_rule("{'allow': ['READ'], 'paths': ['a'], 'role': ['x']}", "allow: role: expected");
    }

    #[test]
    fn what_is_not_clearly_an_allowing_rule_counts_as_a_denying_one() {
        check_rule("{'deny': ['FLY'], 'paths': ['a'], 'roles': ['x']}", "expected a list of verbs");
        check_rule("{'deny': ['FLY'], 'paths': ['a'], 'roles': ['x']}", " / x / ");
        check_rule("{'deny': 'READ', 'users': ['ann', 'bob']}", " /  / ann bob");
        check_rule("{'deny': ['READ'], 'users': [7], 'roles': ['x']}", " /  / ");
        check_rule("{'allow': ['READ'], 'deny': ['READ'], 'paths': ['a']}", "deny: ");
        check_rule("{}", "deny: this rule gives and takes nothing");
        check_rule("7", "deny: expected a map");
        check_rule("'x'", "deny: expected a map");
    }

    #[test]
    fn large_and_strange_values_are_refused() {
        let large = rmp_serde::to_vec(&"x".repeat(BYTES_MAX)).unwrap();
        assert!(user(&large, "").unwrap_err().contains("expected at most"));
        // A map that claims four thousand million fields.
        assert!(user(&[0xdf, 0xff, 0xff, 0xff, 0xff], "").is_err());
        let twice = b"\x82\xa5roles\x91\xa1a\xa5roles\x91\xa1b";
        assert!(user(twice, "").unwrap_err().contains("only once"));
        assert!(user(b"\x81\x01\x02", "").unwrap_err().contains("no name"));
    }
}
