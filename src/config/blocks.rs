//! Blocks of a configuration file such as `[[auth.rules]]`: a list of tables, checked field by
//! field.

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

/// Checks the blocks and takes them if all are good. `whole` says what is wrong with a block as a
/// whole, to be read after the name of the key.
pub(super) fn apply(
    source: &Source,
    key: &'static Key,
    value: &Spanned<DeValue<'_>>,
    origin: &Origin,
    draft: &mut Draft,
    fields: &[Field],
    whole: fn(&Table) -> Option<&'static str>,
) {
    let mut reader = Reader { source, key, draft, faulty: false, fields };
    let unexpected = format!(": expected {}", key.kind.expected());
    let (mut blocks, mut origins) = (Vec::new(), Vec::new());
    match value.get_ref() {
        DeValue::Array(items) => {
            for item in items {
                let origin = source.origin(item.span().start);
                match item.get_ref() {
                    DeValue::Table(table) => {
                        let block = reader.block(table);
                        if let Some(rest) = whole(&block).filter(|_| !reader.faulty) {
                            reader.reject(&origin, "", rest);
                        }
                        blocks.push(Value::Table(block));
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

struct Reader<'a> {
    source: &'a Source,
    key: &'static Key,
    draft: &'a mut Draft,
    faulty: bool,
    fields: &'a [Field],
}

impl Reader<'_> {
    fn block(&mut self, table: &DeTable<'_>) -> Table {
        let mut block = Table::new();
        for (name, value) in table {
            let place = self.source.origin(name.span().start);
            let name = name.get_ref().as_ref();
            let Some(field) = self.fields.iter().find(|field| field.name == name) else {
                let known: Vec<&str> = self.fields.iter().map(|field| field.name).collect();
                let sentence = suggest::for_field(name, &known);
                self.reject(&place, &format!(".{}", plain(name)), &format!(": {sentence}"));
                continue;
            };
            let raw = Raw::from(value.get_ref());
            match (field.check)(&raw) {
                Some(value) => {
                    block.insert(name.to_owned(), value);
                }
                None => {
                    let found = show::shorten(&raw.show());
                    let rest = format!(" = {found}: expected {}", field.expected);
                    self.reject(&place, &format!(".{name}"), &rest);
                }
            }
        }
        block
    }

    fn reject(&mut self, place: &Origin, field: &str, rest: &str) {
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
