//! The `[[auth.users]]` blocks of a configuration file. Nothing here ever shows a token.

use std::collections::HashMap;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::draft::Draft;
use super::file::{Source, plain};
use super::keys::Key;
use super::kind::Raw;
use super::problem::Origin;
use super::{show, suggest};

const FIELDS: &[&str] = &["name", "token", "admin"];

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
        for needed in ["name", "token"] {
            if !fields.keys().any(|field| field.get_ref() == needed) {
                self.reject(origin, "", &format!(": this user has no {needed}, which each needs"));
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
