//! What a key of the configuration is, and the macro by which `keys.rs` and `auth_keys.rs` list
//! them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::keys::Config;
use super::kind::Kind;
use super::{auth_keys, keys};

/// One `[section]` of the configuration file.
pub(super) struct Section {
    pub name: &'static str,
    pub description: &'static [&'static str],
    pub keys: &'static [Key],
}

/// One key, as every reader and printer of configuration sees it.
pub(super) struct Key {
    /// The name a person uses, such as `server.port`.
    pub dotted: &'static str,
    pub section: &'static str,
    pub name: &'static str,
    pub description: &'static [&'static str],
    pub kind: Kind,
    /// The value this key has in a configuration, as TOML.
    pub show: fn(&Config) -> String,
}

impl Key {
    /// The environment variable that sets this key.
    pub fn variable(&self) -> String {
        format!("FANAL_{}_{}", self.section, self.name).to_uppercase()
    }
}

/// All sections in the order of the example file.
pub(super) fn sections() -> impl Iterator<Item = &'static Section> {
    keys::SECTIONS.iter().chain(auth_keys::SECTIONS)
}

/// All keys in the order of the example file.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    sections().flat_map(|section| section.keys)
}

/// The key with this dotted name.
pub(super) fn find(dotted: &str) -> Option<&'static Key> {
    all().find(|key| key.dotted == dotted)
}

/// Writes a struct with its defaults for each section, and the table that describes them.
///
/// A key reads `name: Type = default, kind;` below its description.
macro_rules! key_sections {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)+)])?
                $key:ident: $Type:ty = $default:expr, $kind:expr;
            )+
        }
    )+) => {
        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq, Deserialize)]
            #[serde(deny_unknown_fields, default)]
            pub struct $Section {
                $( $(#[doc = $doc])+ $(#[serde($($serde)+)])? pub $key: $Type, )+
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $key: $default, )+ }
                }
            }
        )+

        pub(super) static SECTIONS: &[Section] = &[$(
            Section {
                name: stringify!($section),
                description: &[$($section_doc),+],
                keys: &[$(
                    Key {
                        dotted: concat!(stringify!($section), ".", stringify!($key)),
                        section: stringify!($section),
                        name: stringify!($key),
                        description: &[$($doc),+],
                        kind: $kind,
                        show: |config| config.$section.$key.show(),
                    },
                )+],
            },
        )+];
    };
}

pub(super) use key_sections;

/// Reads a duration as people write it.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(de::Error::custom)
}
