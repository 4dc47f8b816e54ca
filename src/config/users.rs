//! The `[[auth.users]]` blocks of a configuration file. Nothing here ever shows a token.

use std::collections::HashMap;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::blocks::{is_name, texts};
use super::choices::User;
use super::draft::Draft;
use super::file::{Source, plain};
use super::kind::Raw;
use super::problem::Origin;
use super::show::{self, Show};
use super::suggest;
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
    let DeValue::Array(items) = value.get_ref() else {
        let sentence = format!("{}: expected {}", key.dotted, key.kind.expected());
        draft.reject(key, origin, sentence);
        return;
    };
    let mut reader = Reader { source, key, draft, faulty: false, lines_by_name: HashMap::new() };
    let mut users = Vec::with_capacity(items.len());
    let mut origins = Vec::with_capacity(items.len());
    for item in items {
        let origin = source.origin(item.span().start);
        match item.get_ref() {
            DeValue::Table(fields) => users.push(reader.user(fields, &origin)),
            _ => reader.reject(&origin, "", &format!(": expected {}", key.kind.expected())),
        }
        origins.push(origin);
    }
    if !reader.faulty {
        draft.accept(key, Value::Array(users), origin.clone());
        draft.origins.blocks.insert(key.dotted, origins);
    }
}

struct Reader<'a> {
    source: &'a Source,
    key: &'static Key,
    draft: &'a mut Draft,
    faulty: bool,
    lines_by_name: HashMap<String, usize>,
}

impl Reader<'_> {
    fn user(&mut self, fields: &DeTable<'_>, origin: &Origin) -> Value {
        let mut user = Table::new();
        for (name, value) in fields {
            let place = self.source.origin(name.span().start);
            let (name, value) = (name.get_ref().as_ref(), value.get_ref());
            let checked = match name {
                "name" => self.name(value, &place),
                "token" => self.token(value, &place),
                "token_sha256" => self.hash(value, &place),
                "password_argon2" => self.password(value, &place),
                "roles" => self.roles(value, &place),
                "expires" => self.expires(value, &place),
                "admin" => self.admin(value, &place),
                unknown => {
                    let sentence = suggest::for_field(unknown, FIELDS);
                    self.reject(&place, &format!(".{}", plain(unknown)), &format!(": {sentence}"));
                    None
                }
            };
            if let Some(value) = checked {
                user.insert(name.to_owned(), value);
            }
        }
        let has = |name: &str| fields.keys().any(|field| field.get_ref() == name);
        if !has("name") {
            self.reject(origin, "", ": this user has no name, which each needs");
        }
        match PROOFS.iter().filter(|name| has(name)).count() {
            0 => self.reject(origin, "", ": this user has no token, which each needs"),
            1 => {}
            _ => {
                let rest = ": expected one of token, token_sha256 and password_argon2";
                self.reject(origin, "", rest);
            }
        }
        Value::Table(user)
    }

    fn name(&mut self, value: &DeValue<'_>, place: &Origin) -> Option<Value> {
        let Some(name) = value.as_str().filter(|name| !name.is_empty()) else {
            let found = show::shorten(&Raw::from(value).show());
            let rest = format!(" = {found}: expected a name in quotes that is not empty");
            self.reject(place, ".name", &rest);
            return None;
        };
        let line = if let Origin::File { line, .. } = place { *line } else { 0 };
        if let Some(first) = self.lines_by_name.get(name) {
            let rest = format!(
                " = {}: already given on line {first}, expected each name only once",
                show::shorten(&show::quote(name)),
            );
            self.reject(place, ".name", &rest);
            return None;
        }
        self.lines_by_name.insert(name.to_owned(), line);
        Some(Value::String(name.to_owned()))
    }

    fn token(&mut self, value: &DeValue<'_>, place: &Origin) -> Option<Value> {
        let expected = ": expected a text in quotes that is not empty";
        match value.as_str() {
            Some("") => self.reject(place, ".token", &format!(" = \"\"{expected}")),
            Some(token) => return Some(Value::String(token.to_owned())),
            None => self.reject(place, ".token", &format!(" = {}{expected}", show::HIDDEN)),
        }
        None
    }

    fn hash(&mut self, value: &DeValue<'_>, place: &Origin) -> Option<Value> {
        let hash = value.as_str().filter(|text| is_sha256(text));
        if hash.is_none() {
            let rest = format!(" = {}: expected 64 hexadecimal digits", show::HIDDEN);
            self.reject(place, ".token_sha256", &rest);
        }
        hash.map(|text| Value::String(text.to_ascii_lowercase()))
    }

    fn password(&mut self, value: &DeValue<'_>, place: &Origin) -> Option<Value> {
        let hash = value.as_str().filter(|text| text.starts_with("$argon2"));
        if hash.is_none() {
            let rest = format!(" = {}: expected a hash as in $argon2id$v=19$...", show::HIDDEN);
            self.reject(place, ".password_argon2", &rest);
        }
        hash.map(|text| Value::String(text.to_owned()))
    }

    fn roles(&mut self, value: &DeValue<'_>, place: &Origin) -> Option<Value> {
        let raw = Raw::from(value);
        let roles = texts(&raw, is_name);
        if roles.is_none() {
            let found = show::shorten(&raw.show());
            let rest = format!(" = {found}: expected a list of one or more roles");
            self.reject(place, ".roles", &rest);
        }
        roles
    }

    fn expires(&mut self, value: &DeValue<'_>, place: &Origin) -> Option<Value> {
        let text = match value {
            // TOML has times of its own, written the same way.
            DeValue::Datetime(time) => time.to_string(),
            value => value.as_str().unwrap_or_default().to_owned(),
        };
        if humantime::parse_rfc3339(&text).is_ok() {
            return Some(Value::String(text));
        }
        let found = show::shorten(&Raw::from(value).show());
        let rest = format!(" = {found}: expected a time such as \"2027-03-31T23:59:59Z\"");
        self.reject(place, ".expires", &rest);
        None
    }

    fn admin(&mut self, value: &DeValue<'_>, place: &Origin) -> Option<Value> {
        if let Some(admin) = value.as_bool() {
            return Some(Value::Boolean(admin));
        }
        let found = show::shorten(&Raw::from(value).show());
        self.reject(place, ".admin", &format!(" = {found}: expected true or false"));
        None
    }

    fn reject(&mut self, place: &Origin, field: &str, rest: &str) {
        self.faulty = true;
        self.draft.reject(self.key, place, format!("{}{field}{rest}", self.key.dotted));
    }
}

/// Whether a text is a SHA-256 in hexadecimal.
pub(super) fn is_sha256(text: &str) -> bool {
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
