//! The layer that comes from a TOML file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::Draft;
use super::kind::{Kind, Raw};
use super::problem::{About, Origin, Problem};
use super::table::{self, Section};
use super::{auth_limits, auth_rules, auth_users, preload, show, suggest};

/// The file that is read when no other is named and this one exists.
pub const DEFAULT_FILE: &str = "fanal.toml";

/// The text of a configuration file.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// The file as messages shall name it.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// Without the text, in which secrets may stand.
impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Source {
    /// The place of a byte of the text.
    pub(super) fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|&&byte| byte == b'\n').count();
        Origin::File { path: self.path.clone(), line }
    }
}

/// Reads the named file, or the default one if there is one.
pub(super) fn find(named: Option<&Path>) -> Result<Option<Source>, Problem> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => {
            return Err(Problem::new(
                About::Text,
                path.display(),
                format!("cannot be read: {error}"),
            ));
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Source { path: path.to_owned(), text })),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let origin = Source { path: path.to_owned(), text }.origin(good);
            Err(Problem::at(About::Text, &origin, "not UTF-8 text, as TOML must be"))
        }
    }
}

/// Lays the file over the draft.
pub(super) fn apply(source: &Source, draft: &mut Draft) {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut broken_lines = BTreeSet::new();
    for error in errors {
        let origin = source.origin(error.span().map_or(0, |span| span.start));
        if let Origin::File { line, .. } = &origin {
            // One mistake makes the parser stumble several times; the first stumble tells it best.
            if !broken_lines.insert(*line) {
                continue;
            }
        }
        let message = error.message().replace('\n', ", ");
        draft.report_incomplete(Problem::at(
            About::Text,
            &origin,
            format!("not valid TOML: {message}"),
        ));
    }
    for (name, value) in table.get_ref() {
        let origin = source.origin(name.span().start);
        let name = name.get_ref();
        match table::sections().find(|section| section.name == name) {
            Some(section) => apply_section(source, section, value, &origin, draft),
            None if is_section(value.get_ref()) => {
                let sentence = suggest::for_section(name);
                draft.report(Problem::at(
                    About::Name,
                    &origin,
                    format!("[{}]: {sentence}", plain(name)),
                ));
            }
            None => {
                let sentence = suggest::for_key(name);
                draft.report(Problem::at(
                    About::Name,
                    &origin,
                    format!("{}: {sentence}", plain(name)),
                ));
            }
        }
    }
    draft.order_by_line(&broken_lines);
}

fn apply_section(
    source: &Source,
    section: &Section,
    value: &Spanned<DeValue<'_>>,
    origin: &Origin,
    draft: &mut Draft,
) {
    let DeValue::Table(table) = value.get_ref() else {
        let sentence = format!("{0}: expected a section, written [{0}]", section.name);
        draft.report(Problem::at(About::Value, origin, sentence));
        return;
    };
    for (name, value) in table {
        let origin = source.origin(name.span().start);
        let dotted = format!("{}.{}", section.name, name.get_ref());
        let Some(key) = table::find(&dotted) else {
            let sentence = suggest::for_key(&dotted);
            draft.report(Problem::at(
                About::Name,
                &origin,
                format!("{}: {sentence}", plain(&dotted)),
            ));
            continue;
        };
        match key.kind {
            Kind::Users => {
                auth_users::apply(source, key, value, &origin, draft);
                continue;
            }
            Kind::Preload => {
                preload::apply(source, key, value, &origin, draft);
                continue;
            }
            Kind::Rules => {
                auth_rules::apply(source, key, value, &origin, draft);
                continue;
            }
            Kind::Quotas => {
                auth_limits::apply(source, key, value, &origin, draft);
                continue;
            }
            _ => {}
        }
        let item_origin = |index: usize| match value.get_ref().as_array() {
            Some(items) => items
                .get(index)
                .map_or_else(|| origin.clone(), |item| source.origin(item.span().start)),
            None => origin.clone(),
        };
        draft.offer(key, &Raw::from(value.get_ref()), origin.clone(), item_origin);
    }
}

/// Whether somebody wrote `[name]` or `[[name]]` rather than `name = ...`.
fn is_section(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
        _ => false,
    }
}

/// A name as it was written, quoted only where it would garble the message.
pub(super) fn plain(name: &str) -> String {
    let harmless = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
    if !name.is_empty() && name.chars().all(harmless) {
        return show::shorten(name);
    }
    show::shorten(&show::quote(name))
}
