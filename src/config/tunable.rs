//! Tunables: the keys that may be changed while the server runs, and the file beside the data in
//! which their values are kept.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::choices::StoreEngine;
use super::draft::Draft;
use super::file::Source;
use super::keys::Config;
use super::kind::Raw;
use super::problem::{About, Origin, Problem};
use super::show;
use super::table::{self, Key};

/// The file in `store.directory`.
const FILE: &str = "tunables.toml";

/// Its first lines.
const HEAD: &str = "\
# Settings that were changed while the server ran, by $fanal/config or `fanal tune`. The server
# writes this file; it wins over the configuration file, not over the environment and the flags.
";

/// Sections all of whose keys are tunable.
const SECTIONS: &[&str] = &[
    "socket",
    "websocket",
    "session",
    "stream",
    "outbox",
    "mailbox",
    "resource",
    "link",
    "limits",
    "snapshot",
    "shutdown",
    "statistics",
    "log",
];

/// Other keys that are. Where the server listens, who may do what, what is secret and where the
/// data lies are not to be changed by who may write a resource.
const KEYS: &[&str] = &[
    "server.workers",
    "server.connections_max",
    "server.connections_per_address_max",
    "server.connections_per_second_max",
    "server.backlog",
    "store.cache_bytes_max",
    "store.backup_interval",
];

/// A key that may be changed while the server runs.
#[derive(Clone, Copy)]
pub struct TunableKey(&'static Key);

impl TunableKey {
    /// The tunable of this name, such as `stream.buffer`.
    pub fn find(dotted: &str) -> Option<Self> {
        all().find(|key| key.dotted() == dotted)
    }

    /// Its whole name.
    pub fn dotted(self) -> &'static str {
        self.0.dotted
    }

    /// Its section and its name there.
    pub fn names(self) -> [&'static str; 2] {
        [self.0.section, self.0.name]
    }

    /// What it is, as one sentence or two.
    pub fn description(self) -> String {
        let lines: Vec<&str> = self.0.description.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    /// Its value in a configuration, as TOML.
    pub fn value(self, config: &Config) -> String {
        (self.0.show)(config)
    }

    /// Brings a value as `--set` takes it into the form of TOML.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn read(self, text: &str) -> Result<String, String> {
        self.check(&self.0.kind.read_toml(text))
    }

    /// The same for one that is text, and not to be taken for a number.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn read_text(self, text: &str) -> Result<String, String> {
        self.check(&Raw::Text(text.to_owned()))
    }

    fn check(self, raw: &Raw) -> Result<String, String> {
        self.0.kind.check(raw).map(|value| value.to_string()).map_err(|faults| {
            let name = self.0.dotted;
            let fault = faults.into_iter().next();
            let said = fault.map(|fault| format!("{}: expected {}", fault.found, fault.expected));
            format!("{name} = {}", said.unwrap_or_default())
        })
    }
}

/// All tunables, in the order of the example file.
pub fn all() -> impl Iterator<Item = TunableKey> {
    let is_tunable = |key: &&Key| SECTIONS.contains(&key.section) || KEYS.contains(&key.dotted);
    table::all().filter(is_tunable).map(TunableKey)
}

/// Values that were changed while the server ran, by key, as TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuned(BTreeMap<&'static str, String>);

impl Tuned {
    /// Those of a file in which nothing is wrong.
    pub(super) fn read(source: &Source) -> Self {
        let table: toml::Table = source.text.parse().unwrap_or_default();
        let value = |key: TunableKey| {
            let [section, name] = key.names();
            Some((key.dotted(), table.get(section)?.get(name)?.to_string()))
        };
        Tuned(all().filter_map(value).collect())
    }

    /// The same with another value for a key, or none.
    pub fn with(&self, key: TunableKey, value: Option<String>) -> Self {
        let mut all = self.0.clone();
        match value {
            Some(value) => all.insert(key.dotted(), value),
            None => all.remove(key.dotted()),
        };
        Tuned(all)
    }

    /// Whether a key was changed.
    pub fn has(&self, key: TunableKey) -> bool {
        self.0.contains_key(key.dotted())
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let lines = self.0.iter().map(|(key, value)| format!("{key} = {value}\n"));
        HEAD.to_owned() + &lines.collect::<String>()
    }

    /// As a layer of the configuration.
    pub(super) fn as_source(&self, config: &Config) -> Source {
        let path = path(config).unwrap_or_else(|| PathBuf::from(FILE));
        Source { path, text: self.to_text() }
    }
}

/// Whether a value comes from this file.
fn is_in(file: &Path, origin: &Origin) -> bool {
    matches!(origin, Origin::File { path, .. } if path == file)
}

/// The file of tunables, if there is one with such a store.
pub fn path(config: &Config) -> Option<PathBuf> {
    let keeps = config.store.engine != StoreEngine::Memory;
    keeps.then(|| config.store.directory.join(FILE))
}

/// Reads the file, if it is there. Who may not look into the data cannot, and does without.
pub(super) fn read(config: &Config) -> Result<Option<Source>, Problem> {
    let Some(path) = path(config) else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Source { path, text })),
        Err(error) if is_no_matter(error.kind()) => Ok(None),
        Err(error) => Err(cannot_read(&path, &error.to_string())),
    }
}

/// Whether a file that cannot be read so is as one that is not there.
fn is_no_matter(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied)
}

/// Makes sure that the file can be read by who is to change it, if it is there.
///
/// # Errors
/// If it cannot: the server would start without what is in it, and write over it.
pub fn ensure_readable(config: &Config) -> anyhow::Result<()> {
    let Some(path) = path(config) else { return Ok(()) };
    match fs::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => anyhow::bail!(
            "{}: cannot be read: {error}; expected a file of the user that the server runs as",
            path.display()
        ),
        _ => Ok(()),
    }
}

/// Refuses what else its writer would lose again.
pub(super) fn refuse_others(file: &Path, draft: &mut Draft) {
    let is_other = |(key, origin): &(&'static str, &Origin)| {
        is_in(file, origin) && TunableKey::find(key).is_none()
    };
    let others: Vec<_> =
        draft.origins.given().filter(is_other).map(|(key, origin)| (key, origin.clone())).collect();
    for (key, origin) in others {
        let text = format!("{key} does not belong here: expected it in the configuration file");
        draft.report(Problem::at(About::Name, &origin, text));
    }
}

fn cannot_read(path: &Path, error: &str) -> Problem {
    let shown = show::shorten(error);
    Problem::new(About::Text, path.display(), format!("cannot be read: {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, text: &str, expected: Result<&str, &str>) {
        let seen = TunableKey::find(key).unwrap().read(text);
        assert_eq!(seen.as_deref().map_err(String::as_str), expected, "{key} {text}");
    }

    #[test]
    fn a_value_is_read_as_the_flags_read_it() {
        check("stream.buffer", "32", Ok("32"));
        check("stream.buffer", "0", Err("stream.buffer = 0: expected a number from 1 to 65536"));
        check("socket.nodelay", "false", Ok("false"));
        check("websocket.ping_interval", "5s", Ok("\"5s\""));
        check("websocket.ping_interval", "\"5s\"", Ok("\"5s\""));
        check("log.level", "info,fanal::doors=debug", Ok("\"info,fanal::doors=debug\""));
        check("resource.live_paths", "a/*,b", Ok("[\"a/*\", \"b\"]"));
        let text = TunableKey::find("stream.buffer").unwrap().read_text("32");
        assert!(text.unwrap_err().contains("expected a number"));
    }

    #[test]
    fn where_the_server_listens_and_who_may_do_what_are_no_tunables() {
        for key in ["server.port", "auth.mode", "tls.key", "admin.token", "store.directory"] {
            assert!(table::find(key).is_some() && TunableKey::find(key).is_none(), "{key}");
        }
        for name in SECTIONS {
            assert!(all().any(|key| key.names()[0] == *name), "{name}");
        }
        for name in KEYS {
            assert!(TunableKey::find(name).is_some(), "{name}");
        }
    }
}
