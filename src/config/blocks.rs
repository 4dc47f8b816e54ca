//! Blocks of a configuration file such as `[[auth.rules]]`: a list of tables, checked field by
//! field.

use std::borrow::Cow;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::draft::Draft;
use super::file::{Source, plain};
use super::kind::Raw;
use super::problem::Origin;
use super::table::Key;
use super::{show, suggest};

/// A field that a block may have.
pub(super) struct Field {
    pub name: &'static str,
    /// What it wants, to be read after the word "expected".
    pub expected: &'static str,
    pub check: fn(&Raw) -> Option<Value>,
}

/// Has `each` read every block, and takes them if all are good.
pub(super) fn read(
    source: &Source,
    key: &'static Key,
    value: &Spanned<DeValue<'_>>,
    origin: &Origin,
    draft: &mut Draft,
    mut each: impl FnMut(&mut Reader<'_>, &DeTable<'_>, &Origin) -> Table,
) {
    let mut reader = Reader { source, key, draft, faulty: false };
    let unexpected = format!(": expected {}", key.kind.expected());
    let (mut blocks, mut origins) = (Vec::new(), Vec::new());
    match value.get_ref() {
        DeValue::Array(items) => {
            for item in items {
                let origin = source.origin(item.span().start);
                match item.get_ref() {
                    DeValue::Table(table) => {
                        blocks.push(Value::Table(each(&mut reader, table, &origin)));
                    }
                    _ => reader.reject(&origin, "", &unexpected),
                }
                origins.push(origin);
            }
        }
        _ => reader.reject(origin, "", &unexpected),
    }
    if !reader.faulty {
        draft.accept(key, Value::Array(blocks), origin.clone());
        draft.origins.blocks.insert(key.dotted, origins);
    }
}

/// Reads blocks that have nothing but such fields. `whole` says what is wrong with a block whose
/// fields are good, to be read after the name of the key.
pub(super) fn apply(
    source: &Source,
    key: &'static Key,
    value: &Spanned<DeValue<'_>>,
    origin: &Origin,
    draft: &mut Draft,
    fields: &[Field],
    whole: fn(&Table) -> Option<&'static str>,
) {
    read(source, key, value, origin, draft, |reader, table, origin| {
        let block = reader.block(table, fields);
        if let Some(rest) = whole(&block).filter(|_| !reader.faulty) {
            reader.reject(origin, "", rest);
        }
        block
    });
}

/// Where blocks are read from, and where what is wrong with them is said.
pub(super) struct Reader<'a> {
    source: &'a Source,
    key: &'static Key,
    draft: &'a mut Draft,
    faulty: bool,
}

impl Reader<'_> {
    fn block(&mut self, table: &DeTable<'_>, fields: &[Field]) -> Table {
        let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
        let mut block = Table::new();
        for (name, value) in table {
            let place = self.place(name);
            let name = name.get_ref().as_ref();
            let Some(field) = fields.iter().find(|field| field.name == name) else {
                self.reject_unknown(&place, name, &known);
                continue;
            };
            let raw = Raw::from(value.get_ref());
            match (field.check)(&raw) {
                Some(value) => {
                    block.insert(name.to_owned(), value);
                }
                None => self.reject_value(&place, name, &raw, field.expected),
            }
        }
        block
    }

    /// The place of the name of a field.
    pub fn place(&self, name: &Spanned<Cow<'_, str>>) -> Origin {
        self.source.origin(name.span().start)
    }

    /// Says that there is no field with this name.
    pub fn reject_unknown(&mut self, place: &Origin, name: &str, known: &[&str]) {
        let sentence = suggest::for_field(name, known);
        self.reject(place, &format!(".{}", plain(name)), &format!(": {sentence}"));
    }

    /// Says that the value of a field is not what it should be.
    pub fn reject_value(&mut self, place: &Origin, name: &str, found: &Raw, expected: &str) {
        let found = show::shorten(&found.show());
        self.reject(place, &format!(".{name}"), &format!(" = {found}: expected {expected}"));
    }

    /// Says what is wrong, behind the names of the key and of a field.
    pub fn reject(&mut self, place: &Origin, field: &str, rest: &str) {
        self.faulty = true;
        self.draft.reject(self.key, place, format!("{}{field}{rest}", self.key.dotted));
    }
}

/// A list of one or more texts, each of which passes.
pub(super) fn texts(raw: &Raw, passes: fn(&str) -> bool) -> Option<Value> {
    let Raw::List(items) = raw else { return None };
    let item = |item: &Raw| match item {
        Raw::Text(text) if passes(text) => Some(Value::String(text.clone())),
        _ => None,
    };
    let items = items.iter().map(item).collect::<Option<Vec<_>>>()?;
    (!items.is_empty()).then_some(Value::Array(items))
}

/// A name: a text that is not empty.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}
