//! Where a value comes from, and what is wrong with one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    #[default]
    Default,
    /// A line of the configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: String,
    },
    /// A flag of the command line.
    Flag {
        /// Its name with the dashes.
        name: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Environment { name } => formatter.write_str(name),
            Self::Flag { name } => formatter.write_str(name),
        }
    }
}

/// Where each value of a configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    pub(super) keys: BTreeMap<&'static str, Origin>,
    /// For a key that is written in blocks, the place of each, in their order.
    pub(super) blocks: BTreeMap<&'static str, Vec<Origin>>,
}

impl Origins {
    /// Where the value of a key such as `server.port` comes from.
    pub fn get(&self, key: &str) -> &Origin {
        self.keys.get(key).unwrap_or(&Origin::Default)
    }

    /// Where a block of a key such as `auth.users` comes from.
    pub(super) fn block(&self, key: &str, index: usize) -> &Origin {
        let block = self.blocks.get(key).and_then(|origins| origins.get(index));
        block.unwrap_or_else(|| self.get(key))
    }

    /// The keys that were set by somebody and where, in alphabetical order.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &Origin)> {
        self.keys.iter().map(|(key, origin)| (*key, origin))
    }
}

/// What a problem is about, which decides how far it can be believed in a file that is no TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The text as a whole, which is no TOML or cannot be read.
    Text,
    /// A name that nobody knows.
    Name,
    /// A value that does not fit.
    Value,
}

/// One thing that is wrong, as a sentence that starts with its place. It never shows a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: String,
    sentence: String,
    pub(super) line: usize,
    pub(super) about: About,
}

impl Problem {
    /// A problem with something that has no place within the configuration, such as a whole file.
    pub(super) fn new(about: About, place: impl fmt::Display, sentence: impl Into<String>) -> Self {
        Self { place: place.to_string(), sentence: sentence.into(), line: 0, about }
    }

    /// A problem at a place in the configuration.
    pub(super) fn at(about: About, origin: &Origin, sentence: impl Into<String>) -> Self {
        let line = if let Origin::File { line, .. } = origin { *line } else { 0 };
        Self { line, ..Self::new(about, origin, sentence) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.sentence)
    }
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            problem.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
