//! The layers that come from the environment and from the command line.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::file::plain;
use super::flags::ServerArgs;
use super::kind::Raw;
use super::problem::{About, Origin, Problem};
use super::suggest;
use super::table::{self, Key};

const PREFIX: &str = "FANAL_";

/// Variables with our prefix that are no configuration of the server: the token of its clients.
const FOREIGN_VARIABLES: &[&str] =
    &["FANAL_TOKEN", "FANAL_URL", "FANAL_USER", "FANAL_PROFILE", "FANAL_PROFILES"];

/// Lays the environment over the draft.
pub(super) fn apply_environment(env: impl Iterator<Item = (String, String)>, draft: &mut Draft) {
    let Ok(variables) = envy::prefixed(PREFIX).from_iter::<_, BTreeMap<String, String>>(env) else {
        // The error of the crate would quote the value, which may be a secret.
        draft.report_incomplete(Problem::new(About::Text, "environment", "cannot be read as text"));
        return;
    };
    for (rest, value) in variables {
        let name = format!("{PREFIX}{}", rest.to_uppercase());
        if FOREIGN_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        if let Some(key) = table::all().find(|key| key.variable() == name) {
            let raw = key.kind.read(&value);
            offer(key, &raw, &Origin::Environment { name }, draft);
        } else {
            let sentence = suggest::for_variable(&rest);
            draft.report(Problem::new(About::Name, plain(&name), sentence));
        }
    }
}

/// Lays the flags over the draft, those of `--set` last.
pub(super) fn apply_flags(args: &ServerArgs, draft: &mut Draft) {
    let strict = args.strict.then(|| "true".to_owned());
    let flags = [
        ("--bind", "server.bind", &args.bind),
        ("--port", "server.port", &args.port),
        ("--data", "store.directory", &args.data),
        ("--strict", "store.strict", &strict),
        ("--log-level", "log.level", &args.log_level),
    ];
    for (name, dotted, value) in flags {
        if let (Some(key), Some(value)) = (table::find(dotted), value) {
            offer(key, &key.kind.read(value), &Origin::Flag { name }, draft);
        }
    }
    for setting in &args.set {
        apply_setting(setting, draft);
    }
}

fn apply_setting(setting: &str, draft: &mut Draft) {
    let origin = Origin::Flag { name: "--set" };
    let Some((name, value)) = setting.split_once('=') else {
        // What was meant may hold a secret, so only what looks like a key is repeated.
        let start = setting.split(|character: char| !is_key_character(character)).next();
        let start = plain(start.unwrap_or_default());
        let sentence = format!("{start}: expected KEY=VALUE such as server.port=4000");
        draft.report(Problem::at(About::Name, &origin, sentence));
        return;
    };
    let (name, value) = (name.trim(), value.trim());
    if let Some(key) = table::find(name) {
        offer(key, &key.kind.read_toml(value), &origin, draft);
    } else {
        let sentence = format!("{}: {}", plain(name), suggest::for_key(name));
        draft.report(Problem::at(About::Name, &origin, sentence));
    }
}

fn offer(key: &'static Key, raw: &Raw, origin: &Origin, draft: &mut Draft) {
    if key.kind.is_blocks() {
        let expected = key.kind.expected();
        let sentence = format!("{}: can only be set in the file, as {expected}", key.dotted);
        draft.reject(key, origin, sentence);
        return;
    }
    draft.offer(key, raw, origin.clone(), |_| origin.clone());
}

fn is_key_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-".contains(character)
}
