//! Paths: where a resource or directory is in the tree.
//!
//! A path is a list of names. Any string without a slash is a name: the empty string, `.` and `..`
//! are ordinary names, and names are compared byte for byte (recorded scenarios `name-*`).

use std::fmt;
use std::sync::Arc;

/// One element of a path. Shared between the tree and the paths that lead through it.
pub type Name = Arc<str>;

/// A list of names from the root; the empty path is the root itself.
///
/// Clones share the names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Arc<[Name]>);

impl Path {
    /// The path of the tree's root: no names at all.
    pub fn root() -> Self {
        Path(Arc::from([]))
    }

    /// A path of these names, from the root down.
    pub fn new<S: Into<Name>>(names: impl IntoIterator<Item = S>) -> Self {
        Path(names.into_iter().map(Into::into).collect())
    }

    /// The names from the root down.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

/// Names joined by slashes, control characters escaped: for logs and messages to people.
impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str("/")?;
            }
            for character in name.chars() {
                if character.is_control() {
                    write!(formatter, "{}", character.escape_default())?;
                } else {
                    fmt::Write::write_char(formatter, character)?;
                }
            }
        }
        if self.0.is_empty() { formatter.write_str("/") } else { Ok(()) }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Path({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_its_names_joined_and_without_control_characters() {
        assert_eq!(Path::new(["user", "ann", "model"]).to_string(), "user/ann/model");
        assert_eq!(Path::new(["a\nb", ""]).to_string(), "a\\nb/");
        assert_eq!(Path::root().to_string(), "/");
    }
}
