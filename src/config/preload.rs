//! The `[[preload.resources]]` blocks of a configuration file.

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::blocks::{self, Reader};
use super::draft::Draft;
use super::file::Source;
use super::kind::Raw;
use super::problem::Origin;
use super::show;
use super::table::Key;

/// What stands for the name of each user in turn.
pub const USER_PLACEHOLDER: &str = "{user}";

const FIELDS: &[&str] = &["path", "directory", "class", "value", "zero_bytes", "source"];

/// The largest value that can be asked for as so many zeros.
const ZERO_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// One thing that is to be there when the broker starts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Where, as names separated by slashes; may contain [`USER_PLACEHOLDER`].
    pub path: String,
    /// Whether it is a directory and no resource.
    #[serde(default)]
    pub directory: bool,
    /// What is kept of the resource; without, the patterns of `[resource]` decide.
    #[serde(default)]
    pub class: Option<DeclaredClass>,
    /// The first value of the resource; nil without.
    #[serde(default)]
    pub value: Option<Value>,
    /// So many zeros as the first value.
    #[serde(default)]
    pub zero_bytes: Option<u32>,
    /// The path of a resource that it follows, as by LINK.
    #[serde(default)]
    pub source: Option<String>,
}

/// What is kept of a resource that is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeclaredClass {
    /// Its value, in memory and on disk.
    State,
    /// Its value, in memory only.
    Live,
    /// Nothing.
    Event,
}

impl DeclaredClass {
    fn name(self) -> &'static str {
        match self {
            DeclaredClass::State => "state",
            DeclaredClass::Live => "live",
            DeclaredClass::Event => "event",
        }
    }
}

impl Declared {
    /// Its fields as `name = value` in TOML.
    pub(super) fn fields(&self) -> Vec<String> {
        let mut fields = vec![format!("path = {}", show::quote(&self.path))];
        if self.directory {
            fields.push("directory = true".to_owned());
        }
        fields.extend(self.class.map(|class| format!("class = {}", show::quote(class.name()))));
        fields.extend(self.value.as_ref().map(|value| format!("value = {value}")));
        fields.extend(self.zero_bytes.map(|count| format!("zero_bytes = {count}")));
        fields.extend(self.source.as_ref().map(|path| format!("source = {}", show::quote(path))));
        fields
    }

    /// Whether it is there once for each user.
    pub fn is_per_user(&self) -> bool {
        let source = self.source.as_deref().unwrap_or_default();
        [&self.path, source].iter().any(|path| path.contains(USER_PLACEHOLDER))
    }
}

impl show::Show for Declared {
    fn show(&self) -> String {
        format!("{{ {} }}", self.fields().join(", "))
    }
}

/// Checks the blocks and takes them if all are good.
pub(super) fn apply(
    source: &Source,
    key: &'static Key,
    value: &Spanned<DeValue<'_>>,
    origin: &Origin,
    draft: &mut Draft,
) {
    blocks::read(source, key, value, origin, draft, block);
}

fn block(reader: &mut Reader<'_>, fields: &DeTable<'_>, origin: &Origin) -> Table {
    let mut block = Table::new();
    for (name, value) in fields {
        let place = reader.place(name);
        let name = name.get_ref().as_ref();
        if !FIELDS.contains(&name) {
            reader.reject_unknown(&place, name, FIELDS);
            continue;
        }
        match check(name, value.get_ref()) {
            Ok(value) => {
                block.insert(name.to_owned(), value);
            }
            Err(expected) => {
                reader.reject_value(&place, name, &Raw::from(value.get_ref()), &expected);
            }
        }
    }
    let has = |name: &str| fields.keys().any(|field| field.get_ref() == name);
    if !has("path") {
        reader.reject(origin, "", ": this block has no path, which each needs");
    }
    let is_directory = block.get("directory").and_then(Value::as_bool).unwrap_or(false);
    if is_directory && ["class", "value", "zero_bytes", "source"].iter().any(|name| has(name)) {
        let rest = ": a directory has no class or value and follows nothing, expected \
                    directory = true with nothing but path";
        reader.reject(origin, "", rest);
    }
    if has("value") && has("zero_bytes") {
        reader.reject(origin, "", ": expected value or zero_bytes, not both");
    }
    block
}

/// The value of a field, or what is expected of it.
fn check(name: &str, value: &DeValue<'_>) -> Result<Value, String> {
    let checked = to_value(value);
    match name {
        "directory" => checked.filter(Value::is_bool).ok_or_else(|| "true or false".to_owned()),
        "class" => checked
            .filter(|class| {
                class.as_str().is_some_and(|name| ["state", "live", "event"].contains(&name))
            })
            .ok_or_else(|| "one of \"state\", \"live\", \"event\"".to_owned()),
        "zero_bytes" => checked
            .filter(|count| count.as_integer().is_some_and(|n| (1..=ZERO_BYTES_MAX).contains(&n)))
            .ok_or_else(|| format!("a number of bytes from 1 to {ZERO_BYTES_MAX}")),
        "value" => checked.ok_or_else(|| "a text, number, list or table, but no date".to_owned()),
        _ => checked.filter(|path| path.as_str().is_some_and(is_path)).ok_or_else(|| {
            format!(
                "names separated by single slashes, such as \"live\" or \
                 \"user/{USER_PLACEHOLDER}/model\""
            )
        }),
    }
}

fn is_path(text: &str) -> bool {
    let without = text.replace(USER_PLACEHOLDER, "u");
    !without.contains(['{', '}']) && without.split('/').all(|name| !name.is_empty())
}

/// The parser bounds how deep a value is.
fn to_value(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.as_ref().to_owned()),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()?)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().ok()?),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| to_value(item.get_ref()));
            Value::Array(items.collect::<Option<_>>()?)
        }
        DeValue::Table(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                Some((name.get_ref().as_ref().to_owned(), to_value(value.get_ref())?))
            });
            Value::Table(fields.collect::<Option<_>>()?)
        }
        DeValue::Datetime(_) => return None,
    })
}
