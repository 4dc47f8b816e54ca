//! What somebody meant who wrote a name that does not exist.

use super::table::{self, Key, sections};

const SIMILARITY_MIN: f64 = 0.6;

/// A key of another section is less likely what was meant.
const OTHER_SECTION_WEIGHT: f64 = 0.95;

/// What to say about an unknown `section.key`.
pub(super) fn for_key(unknown: &str) -> String {
    match nearest_key(unknown) {
        Some(key) => format!("unknown key, did you mean {}?", key.dotted),
        None => format!("unknown key, {}", known_near(unknown)),
    }
}

/// What to say about an unknown `[section]`.
pub(super) fn for_section(unknown: &str) -> String {
    if similarity(unknown, "users") >= SIMILARITY_MIN {
        return "unknown section, did you mean [[auth.users]]?".to_owned();
    }
    match nearest(unknown, sections().map(|section| section.name)) {
        Some(section) => format!("unknown section, did you mean [{section}]?"),
        None => format!("unknown section, known are {}", section_names()),
    }
}

/// What to say about an unknown field of a user.
pub(super) fn for_field(unknown: &str, known: &[&str]) -> String {
    match nearest(unknown, known.iter().copied()) {
        Some(field) => format!("unknown key, did you mean {field}?"),
        None => format!("unknown key, known are {}", known.join(", ")),
    }
}

/// What to say about an unknown environment variable, given without the prefix and in lower case.
pub(super) fn for_variable(unknown: &str) -> String {
    let nearest = sections()
        .find_map(|section| {
            unknown.strip_prefix(section.name)?.strip_prefix('_').map(|key| (section, key))
        })
        .map_or_else(
            || nearest_key(unknown),
            |(section, key)| nearest_key(&format!("{}.{key}", section.name)),
        );
    match nearest {
        Some(key) => format!("unknown environment variable, did you mean {}?", key.variable()),
        None => "unknown environment variable, expected FANAL_SECTION_KEY such as \
                 FANAL_SERVER_PORT"
            .to_owned(),
    }
}

fn known_near(unknown: &str) -> String {
    let section = unknown.split_once('.').map_or("", |(section, _)| section);
    match sections().find(|known| known.name == section) {
        Some(section) => {
            let names: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
            format!("known in [{}] are {}", section.name, names.join(", "))
        }
        None => format!("expected a key of one of {}", section_names()),
    }
}

fn section_names() -> String {
    let names: Vec<String> = sections().map(|section| format!("[{}]", section.name)).collect();
    names.join(", ")
}

fn nearest_key(unknown: &str) -> Option<&'static Key> {
    let scored = table::all().map(|key| (key_similarity(unknown, key), key));
    best(scored)
}

fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    best(known.map(|name| (similarity(unknown, name), name)))
}

fn best<T>(scored: impl Iterator<Item = (f64, T)>) -> Option<T> {
    scored
        .filter(|(score, _)| *score >= SIMILARITY_MIN)
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, name)| name)
}

/// Sections share many letters with themselves, so within the right one only the key counts.
fn key_similarity(unknown: &str, known: &Key) -> f64 {
    let (section, key) = unknown.split_once('.').unwrap_or(("", unknown));
    let by_key = similarity(key, known.name);
    if section == known.section {
        return by_key;
    }
    (by_key * OTHER_SECTION_WEIGHT).max(similarity(unknown, known.dotted) * OTHER_SECTION_WEIGHT)
}

/// From 0 to 1. The order of words does not count, so `max_connections` finds `connections_max`.
fn similarity(unknown: &str, known: &str) -> f64 {
    let as_written = strsim::normalized_damerau_levenshtein(unknown, known);
    let as_words = strsim::normalized_damerau_levenshtein(&sorted(unknown), &sorted(known));
    as_written.max(as_words)
}

fn sorted(name: &str) -> String {
    let lower = name.to_lowercase();
    let mut words: Vec<&str> = lower.split(['.', '_', '-']).collect();
    words.sort_unstable();
    words.join("_")
}
