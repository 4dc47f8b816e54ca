//! The `[[auth.rules]]` blocks of a configuration file.

use fanal_actors::Rights;
use serde::Deserialize;
use toml::de::DeValue;
use toml::{Spanned, Table, Value};

use super::blocks::{self, Field, is_name, texts};
use super::draft::Draft;
use super::file::Source;
use super::kind::{Raw, is_pattern};
use super::problem::Origin;
use super::show::{self, Show};
use super::table::Key;

/// One rule: exactly one of `allow` and `deny` has rights in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleBlock {
    /// What messages call it; its place among the rules if empty.
    pub name: String,
    /// Names of rights that it gives.
    pub allow: Vec<String>,
    /// Names of rights that it takes.
    pub deny: Vec<String>,
    /// Roles that it is for.
    pub roles: Vec<String>,
    /// Users that it is for.
    pub users: Vec<String>,
    /// Patterns of paths at which it applies.
    pub paths: Vec<String>,
}

const RIGHTS: &str = "a list of verbs or READ, WRITE, CREATE, DELETE, LIST, LINK, ADMIN";

const FIELDS: &[Field] = &[
    Field { name: "name", expected: "a name in quotes that is not empty", check: name },
    Field { name: "allow", expected: RIGHTS, check: rights },
    Field { name: "deny", expected: RIGHTS, check: rights },
    Field { name: "roles", expected: "a list of one or more roles", check: names },
    Field { name: "users", expected: "a list of one or more users", check: names },
    Field {
        name: "paths",
        expected: "a list of one or more resource paths such as \"user/{user}/*\" or \"live/**\"",
        check: patterns,
    },
];

fn name(raw: &Raw) -> Option<Value> {
    match raw {
        Raw::Text(text) if is_name(text) => Some(Value::String(text.clone())),
        _ => None,
    }
}

fn names(raw: &Raw) -> Option<Value> {
    texts(raw, is_name)
}

fn rights(raw: &Raw) -> Option<Value> {
    texts(raw, |name| Rights::from_name(name).is_some())
}

fn patterns(raw: &Raw) -> Option<Value> {
    // `{user}` is a whole name, and nothing else has braces: they would be taken for themselves.
    texts(raw, |text| {
        is_pattern(text) && text.split('/').all(|name| name == "{user}" || !name.contains("{user}"))
    })
}

fn whole(block: &Table) -> Option<&'static str> {
    match (block.contains_key("allow"), block.contains_key("deny")) {
        (false, false) => Some(": this rule gives and takes nothing, expected allow or deny"),
        (true, true) => Some(": expected allow or deny, not both"),
        _ if !block.contains_key("paths") => Some(": this rule has no paths, which each needs"),
        _ => None,
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
    blocks::apply(source, key, value, origin, draft, FIELDS, whole);
}

impl RuleBlock {
    /// What is wrong with a rule that comes from elsewhere, checked as those of the file are. A
    /// field that was given may not be empty, which is for who makes the block to see to.
    ///
    /// # Errors
    /// One sentence, to be read after the name of the rule.
    pub fn check(&self) -> Result<(), String> {
        let lists = [
            ("allow", &self.allow),
            ("deny", &self.deny),
            ("roles", &self.roles),
            ("users", &self.users),
            ("paths", &self.paths),
        ];
        let mut table = Table::new();
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            let raw = Raw::List(list.iter().cloned().map(Raw::Text).collect());
            let field = FIELDS.iter().find(|field| field.name == name);
            let good = field.and_then(|field| (field.check)(&raw));
            let Some(good) = good else {
                let found = show::shorten(&raw.show());
                let expected = field.map_or("nothing", |field| field.expected);
                return Err(format!(".{name} = {found}: expected {expected}"));
            };
            table.insert(name.to_owned(), good);
        }
        whole(&table).map_or(Ok(()), |text| Err(text.to_owned()))
    }

    /// Its fields as `name = value` in TOML.
    pub(super) fn fields(&self) -> Vec<String> {
        let mut fields = Vec::new();
        if !self.name.is_empty() {
            fields.push(format!("name = {}", show::quote(&self.name)));
        }
        for (name, list) in [
            ("allow", &self.allow),
            ("deny", &self.deny),
            ("roles", &self.roles),
            ("users", &self.users),
            ("paths", &self.paths),
        ] {
            if !list.is_empty() {
                fields.push(format!("{name} = {}", list.show()));
            }
        }
        fields
    }
}

impl Show for RuleBlock {
    fn show(&self) -> String {
        format!("{{ {} }}", self.fields().join(", "))
    }
}
