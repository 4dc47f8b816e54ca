//! Patterns: a set of paths, as an operator writes it.

use std::fmt;
use std::sync::Arc;

use super::path::{Name, Path};

/// One element of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// This name.
    Name(Arc<str>),
    /// `*`: any one name.
    One,
    /// `**`: any number of names, none among them.
    Any,
    /// `{user}`: the name of the user in question.
    User,
}

/// What stands for the name of the user.
const USER: &str = "{user}";

/// Names that begin so belong to the broker; a wildcard at the beginning does not stand for them.
const SPECIAL: char = '$';

/// Names, `*` for any one name and `**` for any number of them, separated by slashes:
/// `user/*/model`, `sensors/**`. Where users are in question, `{user}` is the name of the user.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

impl Pattern {
    /// The pattern in this text.
    pub fn new(text: &str) -> Self {
        let part = |text| match text {
            "*" => Part::One,
            "**" => Part::Any,
            USER => Part::User,
            name => Part::Name(Arc::from(name)),
        };
        Pattern(text.split('/').map(part).collect())
    }

    /// Whether the path is one of those meant. Takes at most the product of both lengths.
    pub fn matches(&self, path: &Path) -> bool {
        self.fits(None, path.names())
    }

    /// Whether the path is one of those meant for a user with this name. A wildcard at the
    /// beginning does not stand for a name that begins with `$`.
    pub fn matches_for(&self, user: &str, path: &Path) -> bool {
        !self.is_hidden(path) && self.fits(Some(user), path.names())
    }

    /// Whether a path somewhere below this one can be meant for a user with this name.
    pub fn may_match_below(&self, user: &str, path: &Path) -> bool {
        !self.is_hidden(path) && self.reached(user, path).any(|_| true)
    }

    /// Whether every path below this one is meant for a user with this name.
    pub fn matches_all_below(&self, user: &str, path: &Path) -> bool {
        let any = |parts: &[Part]| parts.iter().all(|part| *part == Part::Any);
        !self.is_hidden(path) && self.reached(user, path).any(any)
    }

    /// What is left of the pattern where it can stand behind this path, but for nothing at all.
    fn reached(&self, user: &str, path: &Path) -> impl Iterator<Item = &[Part]> {
        let parts = &self.0;
        let mut here = vec![false; parts.len() + 1];
        let reach = |here: &mut Vec<bool>, mut place: usize| {
            // `**` may stand for nothing.
            while let Some(slot) = here.get_mut(place) {
                *slot = true;
                if parts.get(place) != Some(&Part::Any) {
                    break;
                }
                place += 1;
            }
        };
        reach(&mut here, 0);
        for name in path.names() {
            let mut next = vec![false; parts.len() + 1];
            for (place, part) in parts.iter().enumerate() {
                if !here.get(place).is_some_and(|here| *here) {
                    continue;
                }
                match part {
                    Part::Any => reach(&mut next, place),
                    part if part.is(Some(user), name) => reach(&mut next, place + 1),
                    _ => {}
                }
            }
            here = next;
        }
        (0..parts.len())
            .filter(move |place| here.get(*place).is_some_and(|here| *here))
            .filter_map(|place| parts.get(place..))
    }

    fn is_hidden(&self, path: &Path) -> bool {
        let special = path.names().first().is_some_and(|name| name.starts_with(SPECIAL));
        special && matches!(self.0.first(), Some(Part::One | Part::Any))
    }

    fn fits(&self, user: Option<&str>, names: &[Name]) -> bool {
        let parts = &self.0;
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
                (Some(wanted), Some(found)) => wanted.is(user, found),
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

impl Part {
    /// Whether it stands for this one name.
    fn is(&self, user: Option<&str>, name: &str) -> bool {
        match self {
            Part::Name(wanted) => **wanted == *name,
            Part::One | Part::Any => true,
            // Who has no name has no place of its own.
            Part::User => user.is_some_and(|user| !user.is_empty() && user == name),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            let text = match part {
                Part::Name(name) => name,
                Part::One => "*",
                Part::Any => "**",
                Part::User => USER,
            };
            write!(formatter, "{}{text}", if position > 0 { "/" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    fn path(text: &str) -> Path {
        Path::new(text.split('/').filter(|name| !name.is_empty()))
    }

    #[test]
    fn a_pattern_for_a_user_knows_the_name_and_not_what_the_name_says() {
        let own = Pattern::new("user/{user}/model");
        assert!(own.matches_for("ann", &path("user/ann/model")));
        assert!(!own.matches_for("ann", &path("user/bob/model")));
        for user in ["*", "**", "{user}", "a/b", ""] {
            assert!(!own.matches_for(user, &path("user/ann/model")), "{user}");
        }
        assert!(own.matches_for("*", &path("user/*/model")));
        assert!(!own.matches(&path("user/{user}/model")));
        assert!(!own.matches_for("", &Path::new(["user", "", "model"])));
    }

    #[test]
    fn a_wildcard_at_the_beginning_leaves_out_what_belongs_to_the_broker() {
        for (pattern, fits) in [
            ("**", false),
            ("*/auth", false),
            ("**/auth", false),
            ("$fanal/**", true),
            ("$fanal/*", true),
        ] {
            let pattern = Pattern::new(pattern);
            let special = path("$fanal/auth");
            assert_eq!(pattern.matches_for("ann", &special), fits, "{pattern:?}");
            assert!(!pattern.matches_for("ann", &path("$other/x")), "{pattern:?}");
        }
        assert!(Pattern::new("a/*").matches_for("ann", &path("a/$b")));
    }

    #[test]
    fn what_may_match_below_is_seen() {
        #[track_caller]
        fn check(pattern: &str, at: &str, may: bool, all: bool) {
            let pattern = Pattern::new(pattern);
            assert_eq!(pattern.may_match_below("ann", &path(at)), may, "{pattern:?} below {at}");
            assert_eq!(pattern.matches_all_below("ann", &path(at)), all, "{pattern:?} below {at}");
        }
        check("**", "", true, true);
        check("**", "a/b", true, true);
        check("a/**", "", true, false);
        check("a/**", "a", true, true);
        check("a/**", "a/b", true, true);
        check("a/**", "b", false, false);
        check("a/b", "a", true, false);
        check("a/b", "a/b", false, false);
        check("a/*", "a", true, false);
        check("*/x", "a", true, false);
        check("*/x", "a/x", false, false);
        check("**/x", "a/x", true, false);
        check("user/{user}/**", "user/ann", true, true);
        check("user/{user}/**", "user/bob", false, false);
        check("user/{user}/**", "user", true, false);
        check("**", "$fanal", false, false);
        check("$fanal/**", "$fanal", true, true);
        check("$fanal/**", "", true, false);
    }

    fn any_text(names: &[&'static str], most: usize) -> impl Strategy<Value = String> + use<> {
        let names = prop::collection::vec(prop::sample::select(names.to_vec()), 1..=most);
        names.prop_map(|names| names.join("/"))
    }

    /// Whether the parts stand for the names: slowly, and as it is defined.
    fn stands_for(parts: &[&str], names: &[&str]) -> bool {
        match (parts, names) {
            ([], []) => true,
            ([any @ "**", rest @ ..], _) => {
                let _ = any;
                stands_for(rest, names) || (!names.is_empty() && stands_for(parts, &names[1..]))
            }
            ([part, rest @ ..], [name, more @ ..]) => {
                let fits = *part == "*" || part == name || (*part == "{user}" && *name == "u");
                fits && stands_for(rest, more)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_means_what_it_is_defined_to(
            pattern in any_text(&["a", "b", "*", "**", "{user}"], 5),
            at in any_text(&["a", "b", "u"], 5),
        ) {
            let parts: Vec<&str> = pattern.split('/').collect();
            let names: Vec<&str> = at.split('/').collect();
            let pattern = Pattern::new(&pattern);
            prop_assert_eq!(pattern.matches_for("u", &path(&at)), stands_for(&parts, &names));
        }

        #[test]
        fn what_is_below_is_known_without_a_look(
            pattern in any_text(&["a", "b", "*", "**", "{user}"], 4),
            at in any_text(&["a", "b", "u"], 3),
        ) {
            let pattern = Pattern::new(&pattern);
            let (mut some, mut all) = (false, true);
            let mut below = vec![at.clone()];
            for _ in 0..4 {
                let names = ["a", "b", "u", "x"];
                let deeper = |at: &String| names.map(|name| format!("{at}/{name}"));
                below = below.iter().flat_map(deeper).collect();
                for place in &below {
                    let matches = pattern.matches_for("u", &path(place));
                    some |= matches;
                    all &= matches;
                }
            }
            prop_assert_eq!(pattern.may_match_below("u", &path(&at)), some);
            // It may be more careful than what four levels show.
            prop_assert!(all || !pattern.matches_all_below("u", &path(&at)));
        }
    }
}
