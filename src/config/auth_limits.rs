//! The `[[auth.limits]]` blocks of a configuration file.

use serde::Deserialize;
use toml::de::DeValue;
use toml::{Spanned, Table, Value};

use super::blocks::{self, Field, is_name, texts};
use super::draft::Draft;
use super::file::Source;
use super::kind::Raw;
use super::problem::Origin;
use super::show::Show;
use super::table::Key;

/// How much each user of some roles may have and do; what is absent is not bounded here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitBlock {
    /// Roles whose users these are for; empty for every user.
    pub roles: Vec<String>,
    /// Connections of a user at a time.
    pub connections: Option<u32>,
    /// Streams of one connection.
    pub streams: Option<u32>,
    /// Requests of a user in a second.
    pub requests_per_second: Option<u32>,
    /// Bytes of requests of a user in a second.
    pub bytes_per_second: Option<u32>,
    /// Resources that a user has made, since the server was started, and that are there.
    pub resources: Option<u32>,
    /// Bytes of a value that is written.
    pub value_bytes: Option<u32>,
    /// Bytes of a request.
    pub message_bytes: Option<u32>,
}

const NUMBER: &str = "a number from 0 to 4294967295";
const RATE: &str = "a number from 1 to 4294967295";

const FIELDS: &[Field] = &[
    Field { name: "roles", expected: "a list of one or more roles", check: roles },
    Field { name: "connections", expected: NUMBER, check: number },
    Field { name: "streams", expected: NUMBER, check: number },
    Field { name: "requests_per_second", expected: RATE, check: rate },
    Field { name: "bytes_per_second", expected: RATE, check: rate },
    Field { name: "resources", expected: NUMBER, check: number },
    Field { name: "value_bytes", expected: NUMBER, check: number },
    Field { name: "message_bytes", expected: NUMBER, check: number },
];

fn roles(raw: &Raw) -> Option<Value> {
    texts(raw, is_name)
}

fn number(raw: &Raw) -> Option<Value> {
    match raw {
        Raw::Integer(number) if u32::try_from(*number).is_ok() => Some(Value::Integer(*number)),
        _ => None,
    }
}

fn rate(raw: &Raw) -> Option<Value> {
    number(raw).filter(|value| value.as_integer() != Some(0))
}

fn whole(block: &Table) -> Option<&'static str> {
    let bounds = block.keys().any(|name| name != "roles");
    (!bounds).then_some(": this block bounds nothing, expected at least one number")
}

/// Checks the blocks and takes them if all are good.
pub(super) fn apply(
    source: &Source,
    key: &'static Key,
    value: &Spanned<DeValue<'_>>,
    origin: &Origin,
    draft: &mut Draft,
) {
    blocks::apply(source, key, value, origin, draft, FIELDS, whole);
}

impl LimitBlock {
    /// Its fields as `name = value` in TOML.
    pub(super) fn fields(&self) -> Vec<String> {
        let mut fields = Vec::new();
        if !self.roles.is_empty() {
            fields.push(format!("roles = {}", self.roles.show()));
        }
        for (name, number) in [
            ("connections", self.connections),
            ("streams", self.streams),
            ("requests_per_second", self.requests_per_second),
            ("bytes_per_second", self.bytes_per_second),
            ("resources", self.resources),
            ("value_bytes", self.value_bytes),
            ("message_bytes", self.message_bytes),
        ] {
            fields.extend(number.map(|number| format!("{name} = {number}")));
        }
        fields
    }
}

impl Show for LimitBlock {
    fn show(&self) -> String {
        format!("{{ {} }}", self.fields().join(", "))
    }
}
