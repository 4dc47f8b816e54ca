//! The `[[auth.users]]` blocks of a configuration file. Nothing here ever shows a token.

use std::collections::HashMap;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::blocks::{self, Reader, is_name, texts};
use super::choices::User;
use super::draft::Draft;
use super::file::Source;
use super::kind::Raw;
use super::problem::Origin;
use super::show::{self, Show};
use super::table::Key;

const FIELDS: &[&str] =
    &["name", "token", "token_sha256", "password_argon2", "roles", "expires", "admin"];

/// The fields of which a user needs exactly one.
const PROOFS: &[&str] = &["token", "token_sha256", "password_argon2"];

/// Checks the users and takes them if all are good.
pub(super) fn apply(
    source: &Source,
    key: &'static Key,
    value: &Spanned<DeValue<'_>>,
    origin: &Origin,
    draft: &mut Draft,
) {
    let mut lines_by_name = HashMap::new();
    blocks::read(source, key, value, origin, draft, |reader, fields, origin| {
        user(reader, fields, origin, &mut lines_by_name)
    });
}

fn user(
    reader: &mut Reader<'_>,
    fields: &DeTable<'_>,
    origin: &Origin,
    lines_by_name: &mut HashMap<String, usize>,
) -> Table {
    let mut user = Table::new();
    for (name, value) in fields {
        let place = reader.place(name);
        let (name, value) = (name.get_ref().as_ref(), value.get_ref());
        let Some(field) = FIELDS.iter().find(|field| **field == name) else {
            reader.reject_unknown(&place, name, FIELDS);
            continue;
        };
        match check(field, value) {
            Ok(value) => {
                user.insert(name.to_owned(), value);
            }
            // An empty token is no secret, and says more than stars.
            Err(expected) if PROOFS.contains(field) && value.as_str() != Some("") => {
                let rest = format!(" = {}: expected {expected}", show::HIDDEN);
                reader.reject(&place, &format!(".{name}"), &rest);
            }
            Err(expected) => reader.reject_value(&place, name, &Raw::from(value), expected),
        }
        if name == "name" {
            only_once(reader, value, &place, lines_by_name);
        }
    }
    let has = |name: &str| fields.keys().any(|field| field.get_ref() == name);
    if !has("name") {
        reader.reject(origin, "", ": this user has no name, which each needs");
    }
    match PROOFS.iter().filter(|name| has(name)).count() {
        0 => reader.reject(origin, "", ": this user has no token, which each needs"),
        1 => {}
        _ => {
            let rest = ": expected one of token, token_sha256 and password_argon2";
            reader.reject(origin, "", rest);
        }
    }
    user
}

/// The value of a field, or what is expected of it.
fn check(name: &str, value: &DeValue<'_>) -> Result<Value, &'static str> {
    let text = |passes: fn(&str) -> bool| {
        value.as_str().filter(|text| passes(text)).map(|text| Value::String(text.to_owned()))
    };
    match name {
        "name" => text(is_given).ok_or("a name in quotes that is not empty"),
        "token" => text(is_given).ok_or("a text in quotes that is not empty"),
        "token_sha256" => text(is_sha256).ok_or("64 hexadecimal digits"),
        "password_argon2" => {
            text(|text| text.starts_with("$argon2")).ok_or("a hash as in $argon2id$v=19$...")
        }
        "roles" => texts(&Raw::from(value), is_name).ok_or("a list of one or more roles"),
        "expires" => {
            let text = match value {
                // TOML has times of its own, written the same way.
                DeValue::Datetime(time) => time.to_string(),
                value => value.as_str().unwrap_or_default().to_owned(),
            };
            let good = humantime::parse_rfc3339(&text).is_ok();
            good.then_some(Value::String(text)).ok_or("a time such as \"2027-03-31T23:59:59Z\"")
        }
        _ => value.as_bool().map(Value::Boolean).ok_or("true or false"),
    }
}

fn only_once(
    reader: &mut Reader<'_>,
    value: &DeValue<'_>,
    place: &Origin,
    lines_by_name: &mut HashMap<String, usize>,
) {
    let Some(name) = value.as_str().filter(|name| is_given(name)) else { return };
    let line = if let Origin::File { line, .. } = place { *line } else { 0 };
    if let Some(first) = lines_by_name.get(name) {
        let rest = format!(
            " = {}: already given on line {first}, expected each name only once",
            show::shorten(&show::quote(name)),
        );
        reader.reject(place, ".name", &rest);
    } else {
        lines_by_name.insert(name.to_owned(), line);
    }
}

fn is_given(text: &str) -> bool {
    !text.is_empty()
}

/// Whether a text is a SHA-256 in hexadecimal.
fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl User {
    /// Its fields as `name = value` in TOML, without what is secret.
    pub(super) fn fields(&self) -> Vec<String> {
        let hidden = show::quote(show::HIDDEN);
        let mut fields = vec![format!("name = {}", self.name.show())];
        for (name, proof) in [
            ("token", &self.token),
            ("token_sha256", &self.token_sha256),
            ("password_argon2", &self.password_argon2),
        ] {
            if !proof.is_empty() {
                fields.push(format!("{name} = {hidden}"));
            }
        }
        if !self.roles.is_empty() {
            fields.push(format!("roles = {}", self.roles.show()));
        }
        if !self.expires.is_empty() {
            fields.push(format!("expires = {}", self.expires.show()));
        }
        fields.push(format!("admin = {}", self.admin));
        fields
    }
}
