//! A configuration while its layers are laid over each other and all problems are collected.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::{Table, Value};

use super::keys::Config;
use super::kind::Raw;
use super::problem::{About, Origin, Origins, Problem, Problems};
use super::relations;
use super::table::Key;

/// What the layers said so far. A later layer wins; a faulty value is reported and left out.
#[derive(Default)]
pub(super) struct Draft {
    values: Table,
    pub origins: Origins,
    problems: Vec<Problem>,
    /// Keys with a faulty value: how they relate to others is not judged.
    doubtful: BTreeSet<&'static str>,
    /// Set when a whole file could not be understood, so that nothing is known for certain.
    incomplete: bool,
}

impl Draft {
    /// Checks a value and takes it. `item_origin` tells the place of an item of a list.
    pub fn offer(
        &mut self,
        key: &'static Key,
        raw: &Raw,
        origin: Origin,
        item_origin: impl Fn(usize) -> Origin,
    ) {
        match key.kind.check(raw) {
            Ok(value) => self.accept(key, value, origin),
            Err(faults) => {
                for fault in faults {
                    let place = fault.item.map_or_else(|| origin.clone(), &item_origin);
                    let verb = if fault.item.is_some() { "has" } else { "=" };
                    let (found, expected) = (fault.found, fault.expected);
                    let sentence = format!("{} {verb} {found}: expected {expected}", key.dotted);
                    self.reject(key, &place, sentence);
                }
            }
        }
    }

    /// Takes a value that was checked.
    pub fn accept(&mut self, key: &'static Key, value: Value, origin: Origin) {
        let section = self.values.entry(key.section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = section {
            section.insert(key.name.to_owned(), value);
            self.origins.keys.insert(key.dotted, origin);
        }
    }

    /// Reports a faulty value of a key.
    pub fn reject(&mut self, key: &'static Key, origin: &Origin, sentence: String) {
        self.doubtful.insert(key.dotted);
        self.problems.push(Problem::at(About::Value, origin, sentence));
    }

    /// Reports what has nothing to do with a known key.
    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports that a file could not be read or understood as a whole.
    pub fn report_incomplete(&mut self, problem: Problem) {
        self.incomplete = true;
        self.problems.push(problem);
    }

    /// Puts the problems of a file in the order of their lines, and leaves out what is only an echo
    /// of lines that are no TOML: what else is said of these lines, and names that seem unknown
    /// below them, where a section may have lost its head.
    pub fn order_by_line(&mut self, broken_lines: &BTreeSet<usize>) {
        let first = broken_lines.first().copied().unwrap_or(usize::MAX);
        self.problems.retain(|problem| match problem.about {
            About::Text => true,
            About::Name => problem.line < first,
            About::Value => !broken_lines.contains(&problem.line),
        });
        self.problems.sort_by_key(|problem| problem.line);
    }

    /// The configuration and where it comes from, or everything that is wrong.
    pub fn finish(mut self) -> Result<(Config, Origins), Problems> {
        match Config::deserialize(self.values) {
            Ok(config) if !self.incomplete => {
                let problems = relations::check(&config, &self.origins, &self.doubtful);
                self.problems.extend(problems);
                if self.problems.is_empty() {
                    return Ok((config, self.origins));
                }
            }
            Ok(_) => {}
            // Every value was checked, so this is a fault of the table of keys, not of the user.
            Err(error) => {
                self.problems.push(Problem::new(About::Text, "configuration", error.message()));
            }
        }
        Err(Problems(self.problems))
    }
}
