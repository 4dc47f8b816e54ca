//! Patterns: a set of paths, as an operator writes it.

use std::fmt;
use std::sync::Arc;

use super::path::Path;

/// One element of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// This name.
    Name(Arc<str>),
    /// `*`: any one name.
    One,
    /// `**`: any number of names, none among them.
    Any,
}

/// Names, `*` for any one name and `**` for any number of them, separated by slashes:
/// `user/*/model`, `sensors/**`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

impl Pattern {
    /// The pattern in this text.
    pub fn new(text: &str) -> Self {
        let part = |text| match text {
            "*" => Part::One,
            "**" => Part::Any,
            name => Part::Name(Arc::from(name)),
        };
        Pattern(text.split('/').map(part).collect())
    }

    /// Whether the path is one of those meant. Takes at most the product of both lengths.
    pub fn matches(&self, path: &Path) -> bool {
        let (parts, names) = (&self.0, path.names());
        let (mut part, mut name) = (0, 0);
        // Where to go on after the last `**` if what follows it does not fit.
        let mut retry: Option<(usize, usize)> = None;
        while name < names.len() || part < parts.len() {
            let fits = match (parts.get(part), names.get(name)) {
                (Some(Part::Any), _) => {
                    retry = Some((part + 1, name));
                    part += 1;
                    continue;
                }
                (Some(Part::One), Some(_)) => true,
                (Some(Part::Name(wanted)), Some(found)) => wanted == found,
                _ => false,
            };
            if fits {
                part += 1;
                name += 1;
            } else if let Some((after, from)) = retry.filter(|(_, from)| *from < names.len()) {
                retry = Some((after, from + 1));
                part = after;
                name = from + 1;
            } else {
                return false;
            }
        }
        true
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            let text = match part {
                Part::Name(name) => name,
                Part::One => "*",
                Part::Any => "**",
            };
            write!(formatter, "{}{text}", if position > 0 { "/" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, fitting: &[&str], others: &[&str]) {
        let pattern = Pattern::new(pattern);
        let path = |text: &&str| Path::new(text.split('/').filter(|name| !name.is_empty()));
        for text in fitting {
            assert!(pattern.matches(&path(text)), "{pattern:?} and {text}");
        }
        for text in others {
            assert!(!pattern.matches(&path(text)), "{pattern:?} and {text}");
        }
    }

    #[test]
    fn names_and_stars_fit_whole_paths() {
        check("live", &["live"], &["", "live/a", "a/live", "Live"]);
        check("user/*/model", &["user/ann/model"], &["user/model", "user/a/b/model", "user/ann"]);
        check("*", &["a"], &["", "a/b"]);
        check("**", &["", "a", "a/b/c"], &[]);
        check("a/**", &["a", "a/b", "a/b/c"], &["", "b", "b/a"]);
        check("**/a", &["a", "b/a", "a/a", "a/b/a"], &["", "a/b"]);
        check("a/**/b/*", &["a/b/c", "a/x/b/c", "a/b/b/b", "a/b/c/b/d"], &["a/b", "a/b/c/d"]);
        check("**/a/**/a", &["a/a", "x/a/y/a", "a/a/a"], &["a", "a/b"]);
        check("**/*", &["a", "a/b"], &[""]);
    }

    #[test]
    fn a_pattern_that_fits_nearly_takes_no_time() {
        let pattern = Pattern::new(&["**", "a"].repeat(20).join("/"));
        let path = Path::new(vec!["a"; 400].into_iter().chain(["b"]));
        assert!(!pattern.matches(&path));
    }
}
