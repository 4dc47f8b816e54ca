//! What a key accepts: the check of a value and the words that describe it are one thing.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use toml::Value;
use toml::de::DeValue;

use super::show;

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// What a key accepts.
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number; the unit is empty or a plural such as "bytes".
    Number { min: u64, max: u64, unit: &'static str },
    /// A duration with its unit, as in "200ms".
    Time { min: Duration, max: Duration },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// An IP address.
    Address,
    /// A list of IP addresses and networks.
    Networks,
    /// A list of URL paths.
    Routes,
    /// A list of values of the Origin header.
    Origins,
    /// A list of patterns of resource paths.
    Patterns,
    /// A path of the file system.
    Path,
    /// A path of the file system, or nothing.
    OptionalPath,
    /// Any text, or nothing.
    Text,
    /// A file mode in octal digits.
    Mode,
    /// A log level, or several with the parts of the program they are for.
    LogFilter,
    /// A list of some of a few words.
    Words(&'static [&'static str]),
    /// A list of texts that are not empty.
    Texts,
    /// A text that is not shown, or nothing.
    Secret,
    /// The table of users, which is read and checked in `auth_users.rs`.
    Users,
    /// What is there at the start, which is read and checked in `preload.rs`.
    Preload,
    /// The table of rules, which is read and checked in `auth_rules.rs`.
    Rules,
    /// The table of what users may have, which is read and checked in `auth_limits.rs`.
    Quotas,
}

/// How many of something.
pub(super) const fn count(min: u64, max: u64) -> Kind {
    Kind::Number { min, max, unit: "" }
}

/// How many bytes.
pub(super) const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Number { min, max, unit: "bytes" }
}

/// How long.
pub(super) const fn time(min: Duration, max: Duration) -> Kind {
    Kind::Time { min, max }
}

/// A value as it was given, before anything is known about the key.
pub(super) enum Raw {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<Raw>),
    /// Something no key accepts, as it should be shown.
    Other(String),
}

/// A value that the key does not accept.
pub(super) struct Fault {
    /// Which item of a list is meant, if it is not the whole value.
    pub item: Option<usize>,
    pub found: String,
    pub expected: String,
}

impl Kind {
    /// Whether a person writes a list for this key.
    fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Networks
                | Self::Routes
                | Self::Origins
                | Self::Patterns
                | Self::Words(_)
                | Self::Texts
        )
    }

    /// Whether it is written in blocks, which only a file has.
    pub fn is_blocks(&self) -> bool {
        matches!(self, Self::Users | Self::Preload | Self::Rules | Self::Quotas)
    }

    /// What is expected, to be read after the word "expected".
    pub fn expected(&self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Number { min, max, unit: "" } => format!("a number from {min} to {max}"),
            Self::Number { min, max, unit } => {
                format!("a number of {unit} from {min} to {max}")
            }
            Self::Time { min, max } => {
                let (min, max) = (show::duration(*min), show::duration(*max));
                format!("a duration from {min} to {max}, such as \"200ms\" or \"25s\"")
            }
            Self::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| show::quote(word)).collect();
                format!("one of {}", quoted.join(", "))
            }
            Self::Address => "an IP address such as 127.0.0.1, 0.0.0.0 or ::1".to_owned(),
            Self::Networks => {
                "a list of IP addresses or networks such as \"10.0.0.7\" or \"10.0.0.0/8\""
                    .to_owned()
            }
            Self::Routes => {
                "a list of one or more URL paths that start with \"/\", or \"*\" for every path"
                    .to_owned()
            }
            Self::Origins => {
                "a list of origins such as \"https://example.org\", in lower case and without a \
                 path"
                    .to_owned()
            }
            Self::Patterns => {
                "a list of resource paths such as \"user/*/input\" or \"buttons/**\"".to_owned()
            }
            Self::Path => "a path in quotes".to_owned(),
            Self::OptionalPath => "a path in quotes, or \"\" for none".to_owned(),
            Self::Text => "a text in quotes".to_owned(),
            Self::Mode => "a file mode in octal such as \"0660\"".to_owned(),
            Self::LogFilter => "a level (error, warn, info, debug, trace, off) or a list as in \
                 \"info,fanal::doors=debug\""
                .to_owned(),
            Self::Users => "one block that starts with [[auth.users]] for each user".to_owned(),
            Self::Preload => {
                "one block that starts with [[preload.resources]] for each resource".to_owned()
            }
            Self::Words(words) => {
                let quoted: Vec<String> = words.iter().map(|word| show::quote(word)).collect();
                format!("a list of some of {}", quoted.join(", "))
            }
            Self::Texts => "a list of texts that are not empty".to_owned(),
            Self::Secret => "a text in quotes, which is never shown".to_owned(),
            Self::Rules => "one block that starts with [[auth.rules]] for each rule".to_owned(),
            Self::Quotas => "one block that starts with [[auth.limits]] for each group".to_owned(),
        }
    }

    /// Reads what an environment variable or a flag says, in which nothing is quoted.
    pub fn read(&self, text: &str) -> Raw {
        if self.is_list() {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            return Raw::List(items.map(|item| Raw::Text(item.to_owned())).collect());
        }
        match self {
            Self::Flag => text.parse().map_or_else(|_| Raw::Other(bare(text)), Raw::Flag),
            Self::Number { .. } => {
                text.parse().map_or_else(|_| Raw::Other(bare(text)), Raw::Integer)
            }
            _ => Raw::Text(text.to_owned()),
        }
    }

    /// Reads what `--set` says: TOML, or else the same as in an environment variable.
    pub fn read_toml(&self, text: &str) -> Raw {
        match DeValue::parse(text) {
            Ok(value) if self.is_list() && !value.get_ref().is_array() => self.read(text),
            Ok(value) => Raw::from(value.get_ref()),
            Err(_) => self.read(text),
        }
    }

    /// Checks a value and brings it into the form the structs are read from.
    pub fn check(&self, raw: &Raw) -> Result<Value, Vec<Fault>> {
        if self.is_list() {
            return self.check_list(raw);
        }
        let checked = match (self, raw) {
            (Self::Flag, Raw::Flag(flag)) => Some(Value::Boolean(*flag)),
            (Self::Number { min, max, .. }, Raw::Integer(number)) => u64::try_from(*number)
                .ok()
                .filter(|number| (min..=max).contains(&number))
                .map(|_| Value::Integer(*number)),
            (_, Raw::Text(text)) if self.accepts(text) => Some(Value::String(text.clone())),
            _ => None,
        };
        checked.ok_or_else(|| vec![self.fault(None, raw)])
    }

    fn check_list(&self, raw: &Raw) -> Result<Value, Vec<Fault>> {
        let Raw::List(items) = raw else {
            return Err(vec![self.fault(None, raw)]);
        };
        if items.is_empty() && matches!(self, Self::Routes) {
            // A server without a route would start and then refuse everybody.
            return Err(vec![self.fault(None, raw)]);
        }
        let mut values = Vec::with_capacity(items.len());
        let mut faults = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item {
                Raw::Text(text) if self.accepts(text) => {
                    values.push(Value::String(self.normal(text)));
                }
                other => faults.push(self.fault(Some(index), other)),
            }
        }
        if faults.is_empty() { Ok(Value::Array(values)) } else { Err(faults) }
    }

    fn fault(&self, item: Option<usize>, raw: &Raw) -> Fault {
        let found = match self {
            Self::Secret => show::HIDDEN.to_owned(),
            _ => show::shorten(&raw.show()),
        };
        Fault { item, found, expected: self.expected() }
    }

    /// Whether a text, or one item of a list, is what this key wants.
    fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Time { min, max } => humantime::parse_duration(text)
                .is_ok_and(|duration| (min..=max).contains(&&duration)),
            Self::Choice(words) => words.contains(&text),
            Self::Address => IpAddr::from_str(text).is_ok(),
            Self::Networks => network(text).is_some(),
            Self::Routes => is_route(text),
            Self::Origins => is_origin(text),
            Self::Patterns => is_pattern(text),
            Self::Path => !text.is_empty() && !text.contains('\0'),
            Self::Words(words) => words.contains(&text),
            Self::Texts => !text.is_empty() && !text.contains('\0'),
            Self::OptionalPath | Self::Text | Self::Secret => !text.contains('\0'),
            Self::Mode => file_mode(text).is_some(),
            Self::LogFilter => is_log_filter(text),
            Self::Flag | Self::Number { .. } => false,
            Self::Users | Self::Preload | Self::Rules | Self::Quotas => false,
        }
    }

    /// A single address is a network of one, and is kept as such.
    fn normal(&self, text: &str) -> String {
        match self {
            Self::Networks => {
                network(text).map_or_else(|| text.to_owned(), |network| network.to_string())
            }
            _ => text.to_owned(),
        }
    }
}

impl Raw {
    /// The value as TOML, or as something that resembles it.
    pub fn show(&self) -> String {
        match self {
            Self::Text(text) => show::quote(text),
            Self::Integer(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::show).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Other(shown) => shown.clone(),
        }
    }
}

impl From<&DeValue<'_>> for Raw {
    /// Recursion is bounded by the TOML parser, which refuses deep nesting.
    fn from(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| Self::Other(integer.to_string()), Self::Integer),
            DeValue::Float(float) => Self::Other(float.to_string()),
            DeValue::Boolean(flag) => Self::Flag(*flag),
            DeValue::Datetime(datetime) => Self::Other(datetime.to_string()),
            DeValue::Array(items) => {
                Self::List(items.iter().map(|item| Self::from(item.get_ref())).collect())
            }
            DeValue::Table(_) => Self::Other("a table".to_owned()),
        }
    }
}

/// A number or a flag is shown as it was typed if that is one harmless word.
fn bare(text: &str) -> String {
    let harmless =
        |character: char| character.is_ascii_alphanumeric() || "+-._".contains(character);
    if !text.is_empty() && text.chars().all(harmless) { text.to_owned() } else { show::quote(text) }
}

/// The bits of a file mode such as `0660`.
pub(super) fn file_mode(text: &str) -> Option<u32> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if octal { u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777) } else { None }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn is_route(text: &str) -> bool {
    let fits = |character: char| !character.is_whitespace() && !"?#*".contains(character);
    text == "*" || (text.starts_with('/') && text.chars().all(fits))
}

/// Names separated by single slashes; stars are whole names.
pub(super) fn is_pattern(text: &str) -> bool {
    let fits = |name: &str| ["*", "**"].contains(&name) || !name.contains('*');
    text.split('/').all(|name| !name.is_empty() && fits(name))
}

/// An Origin header is compared byte by byte, so what a browser never sends is refused here.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return text == "null";
    };
    let fits = |character: char| {
        !character.is_whitespace() && !character.is_uppercase() && !"/?#*@,".contains(character)
    };
    !scheme.is_empty()
        && !host.is_empty()
        && text.len() == scheme.len() + host.len() + 3
        && scheme.chars().all(fits)
        && host.chars().all(fits)
}

/// A bare word must be a level: taken as a target, a misspelt level would log everything.
/// Whether a text says what is to be logged, as `log.level` does.
pub fn is_log_filter(text: &str) -> bool {
    let directives = text.split_once('/').map_or(text, |(directives, _pattern)| directives);
    let is_level = |word: &str| LEVELS.contains(&word.trim().to_ascii_lowercase().as_str());
    directives.split(',').all(|directive| match directive.split_once('=') {
        Some((target, level)) => !target.trim().is_empty() && is_level(level),
        None => is_level(directive),
    })
}
