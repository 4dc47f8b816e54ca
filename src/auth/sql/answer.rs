//! Answers: what the database tells of users at one time, and how two of them differ.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{bail, ensure};

use super::super::secrets;

/// The longest name, and the longest role.
const NAME_BYTES_MAX: usize = 1024;

/// Roles of one user.
const ROLES_MAX: usize = 256;

/// What stands before a hash that takes the place of a token.
const HASH: &str = "sha256:";

/// A row as it was read.
#[derive(Default)]
pub struct Row<'r> {
    pub name: Option<&'r str>,
    pub token: Option<&'r str>,
    pub roles: Vec<String>,
    pub expires: Option<SystemTime>,
}

/// What is known of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The SHA-256 of the token; `None` if nothing proves this user.
    pub token: Option<[u8; 32]>,
    pub roles: Vec<String>,
    pub expires: Option<SystemTime>,
}

/// All users that there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    users: HashMap<Arc<str>, Record>,
    /// Names by their token's hash, for connections that come with a token only;
    /// `None` if several have it.
    names: HashMap<[u8; 32], Option<Arc<str>>>,
    /// Rows whose token is said to be a hash and is none.
    pub wrong_hashes: usize,
}

/// How an answer differs from the one before.
#[derive(Debug, PartialEq, Eq)]
pub enum Difference<'a> {
    /// It does not.
    None,
    /// It has nobody, and the one before had somebody.
    Emptied,
    /// It does.
    Some {
        /// Users that were not there.
        appeared: Vec<&'a str>,
        /// Users that are no longer there.
        gone: Vec<&'a str>,
    },
}

impl Answer {
    /// Takes a row in. Of a token only its hash is kept.
    ///
    /// # Errors
    /// If there are more users than there may be, or the row makes no sense.
    pub fn add(&mut self, row: Row<'_>, users_max: usize) -> anyhow::Result<()> {
        let name = row.name.unwrap_or_default();
        ensure!(!name.is_empty(), "a row has no name, expected one in each");
        ensure!(
            name.len() <= NAME_BYTES_MAX && !name.contains('\0'),
            "a name has {} bytes, expected at most {NAME_BYTES_MAX}",
            name.len()
        );
        ensure!(
            self.users.len() < users_max,
            "the answer has more users than there may be: expected at most {users_max} \
             (auth_sql.users_max)"
        );
        ensure!(
            row.roles.len() <= ROLES_MAX
                && row.roles.iter().all(|role| role.len() <= NAME_BYTES_MAX),
            "{name:?} has too many roles, or one that is too long: expected at most {ROLES_MAX} \
             of {NAME_BYTES_MAX} bytes"
        );
        let name: Arc<str> = Arc::from(name);
        let token = self.hash(row.token);
        if let Some(hash) = token {
            let owner = self.names.entry(hash).or_insert_with(|| Some(Arc::clone(&name)));
            if owner.as_ref() != Some(&name) {
                *owner = None;
            }
        }
        let record = Record { token, roles: row.roles, expires: row.expires };
        if self.users.insert(Arc::clone(&name), record).is_some() {
            bail!("the answer has {name:?} twice, expected one row for each user");
        }
        Ok(())
    }

    fn hash(&mut self, token: Option<&str>) -> Option<[u8; 32]> {
        let token = token.filter(|token| !token.is_empty())?;
        let Some(digits) = token.strip_prefix(HASH) else { return Some(secrets::sha256(token)) };
        let hash = secrets::from_hex(digits);
        self.wrong_hashes += usize::from(hash.is_none());
        hash
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// What is known of a user.
    pub fn user(&self, name: &str) -> Option<&Record> {
        self.users.get(name)
    }

    /// The one user with this token.
    pub fn name(&self, token: &[u8; 32]) -> Option<&str> {
        self.names.get(token)?.as_deref()
    }

    /// How this answer differs from the one before, if there was one.
    pub fn difference<'a>(&'a self, before: Option<&'a Answer>) -> Difference<'a> {
        let Some(before) = before else {
            let appeared = self.users.keys().map(|name| &**name).collect();
            return Difference::Some { appeared, gone: Vec::new() };
        };
        if self.is_empty() && !before.is_empty() {
            return Difference::Emptied;
        }
        if self.users == before.users {
            return Difference::None;
        }
        let missing = |of: &'a Answer, other: &Answer| {
            let names = of.users.keys().filter(|name| !other.users.contains_key(*name));
            names.map(|name| &**name).collect()
        };
        Difference::Some { appeared: missing(self, before), gone: missing(before, self) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Users as `name token role role ... @expires`, separated by commas.
    fn answer(text: &str) -> Answer {
        let mut answer = Answer::default();
        for user in text.split(',').filter(|user| !user.is_empty()) {
            let mut words = user.split(' ');
            let mut row = Row { name: words.next(), token: words.next(), ..Row::default() };
            for word in words {
                match word.strip_prefix('@') {
                    Some(time) => {
                        let seconds = Duration::from_secs(time.parse().unwrap());
                        row.expires = Some(UNIX_EPOCH + seconds);
                    }
                    None => row.roles.push(word.to_owned()),
                }
            }
            answer.add(row, 5).unwrap();
        }
        answer
    }

    /// The names that appeared and are gone, as `+name` and `-name`; `=` for no difference.
    #[track_caller]
    fn check(before: Option<&str>, after: &str, expected: &str) {
        let before = before.map(answer);
        let after = answer(after);
        let seen = match after.difference(before.as_ref()) {
            Difference::None => "=".to_owned(),
            Difference::Emptied => "emptied".to_owned(),
            Difference::Some { mut appeared, mut gone } => {
                appeared.sort_unstable();
                gone.sort_unstable();
                let appeared = appeared.iter().map(|name| format!("+{name}"));
                let gone = gone.iter().map(|name| format!("-{name}"));
                appeared.chain(gone).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn answers_differ_by_users_and_by_what_is_known_of_them() {
        for (before, after, expected) in [
            (None, "", ""),
            (None, "ann a,bob b", "+ann +bob"),
            (Some(""), "", "="),
            (Some(""), "ann a", "+ann"),
            (Some("ann a,bob b"), "bob b,ann a", "="),
            (Some("ann a,bob b"), "ann a", "-bob"),
            (Some("ann a,bob b"), "ann a,eve e", "+eve -bob"),
            (Some("ann a"), "ann b", ""),
            (Some("ann a"), "ann a tutor", ""),
            (Some("ann a tutor"), "ann a", ""),
            (Some("ann a x y"), "ann a y x", ""),
            (Some("ann a"), "ann a @5", ""),
            (Some("ann a @5"), "ann a @6", ""),
            (Some("ann a"), "ann", ""),
            (Some("ann a"), "", "emptied"),
        ] {
            check(before, after, expected);
        }
    }

    #[test]
    fn tokens_are_kept_as_hashes() {
        let hash = secrets::sha256("a");
        let hashed = format!("sha256:{}", secrets::to_hex(&hash));
        for (token, expected) in [
            ("a", Some(hash)),
            (&*hashed, Some(hash)),
            (&*hashed.to_uppercase(), Some(secrets::sha256(&hashed.to_uppercase()))),
            ("sha256:", None),
            (&hashed[..hashed.len() - 1], None),
            ("", None),
        ] {
            let known = answer(&format!("ann {token}"));
            assert_eq!(known.user("ann").unwrap().token, expected, "{token}");
            assert_eq!(
                known.wrong_hashes,
                usize::from(token.starts_with("sha256:") && expected.is_none())
            );
        }
        assert!(!format!("{:?}", answer("ann geheim")).contains("geheim"));
    }

    #[test]
    fn a_token_names_its_user_unless_several_have_it() {
        let known = answer("ann a,bob same,eve same");
        assert_eq!(known.name(&secrets::sha256("a")), Some("ann"));
        assert_eq!(known.name(&secrets::sha256("same")), None);
        assert_eq!(known.name(&secrets::sha256("b")), None);
    }

    #[test]
    fn rows_that_make_no_sense_are_refused() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let roles = |role: &str, count| vec![role.to_owned(); count];
        for (row, expected) in [
            (Row::default(), "no name"),
            (Row { name: Some(""), ..Row::default() }, "no name"),
            (Row { name: Some(&long), ..Row::default() }, "has 1025 bytes"),
            (Row { name: Some("ann"), ..Row::default() }, "\"ann\" twice"),
            (
                Row { name: Some("bob"), roles: roles("r", ROLES_MAX + 1), ..Row::default() },
                "too many roles",
            ),
            (Row { name: Some("bob"), roles: roles(&long, 1), ..Row::default() }, "too long"),
        ] {
            let error = answer("ann a").add(row, 5).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let mut full = answer("a a,b b,c c,d d,e e");
        let error = full.add(Row { name: Some("f"), ..Row::default() }, 5).unwrap_err().to_string();
        assert!(error.contains("at most 5 (auth_sql.users_max)"), "{error}");
    }
}
