//! The provider `users`: users of the configuration and of a file beside it, each with a secret.

use std::collections::HashMap;
use std::path::Path;
use std::task::Waker;
use std::time::SystemTime;

use anyhow::{Context, bail, ensure};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::places::Places;
use super::provider::{Background, Claim, Outcome, Proof, Provider, Surroundings};
use super::secrets::{self, Judged, NOBODY, Passwords, Secret};
use crate::clock::Clock;
use crate::config::{Auth, Config, User};

/// The largest file of users that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// See the module's text.
pub struct Listed {
    users: Users,
    /// What is to be made for those of the file, and what makes it.
    places: Mutex<Option<Places>>,
    making: Mutex<Option<Background>>,
    surroundings: Surroundings,
}

/// Users and what proves them.
pub struct Users {
    by_name: HashMap<String, Record>,
    /// Names by their token's hash, for connections that come with a token only.
    by_token: HashMap<[u8; 32], String>,
    passwords: Passwords,
    has_passwords: bool,
}

/// A user and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What proves it.
    pub secret: Secret,
    /// Its roles.
    pub roles: Vec<String>,
    /// When it ends.
    pub expires: Option<SystemTime>,
}

/// A file of users.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    users: Vec<User>,
}

impl Listed {
    /// The users of the configuration and of its file.
    ///
    /// # Errors
    /// One sentence that says what is wrong, and where.
    pub fn from_config(config: &Config, surroundings: &Surroundings) -> anyhow::Result<Self> {
        let (users, in_file) = Users::from_config(&config.auth)?;
        let mut places = Places::new(&config.auth.user_paths, config.limits.name_bytes_max);
        let names: Vec<&str> = in_file.iter().map(|user| user.name.as_str()).collect();
        places.plan(&[], &names);
        Ok(Listed {
            users,
            places: Mutex::new(Some(places)),
            making: Mutex::default(),
            surroundings: surroundings.clone(),
        })
    }
}

impl Users {
    /// The users of the configuration and of its file, and those of the file by themselves.
    fn from_config(auth: &Auth) -> anyhow::Result<(Self, Vec<User>)> {
        let mut users = Users::empty();
        for user in &auth.users {
            users.add(user, &auth.admin_role).context("auth.users")?;
        }
        let mut in_file = Vec::new();
        if !auth.users_file.as_os_str().is_empty() {
            let name = auth.users_file.display();
            in_file = read(&auth.users_file)?;
            for user in &in_file {
                users.add(user, &auth.admin_role).with_context(|| format!("{name}"))?;
            }
        }
        Ok((users, in_file))
    }

    /// These users.
    pub fn from_records(records: impl IntoIterator<Item = (String, Record)>) -> Self {
        let mut users = Users::empty();
        for (name, record) in records {
            users.insert(&name, record);
        }
        users
    }

    fn empty() -> Self {
        Users {
            by_name: HashMap::new(),
            by_token: HashMap::new(),
            passwords: Passwords::shared(),
            has_passwords: false,
        }
    }

    fn add(&mut self, user: &User, admin_role: &str) -> anyhow::Result<()> {
        let name = &user.name;
        ensure!(!name.is_empty(), "a user has no name");
        ensure!(
            !self.by_name.contains_key(name),
            "{name:?} is given twice, expected each name only once"
        );
        let record = record(user, admin_role).with_context(|| format!("{name:?}"))?;
        self.insert(name, record);
        Ok(())
    }

    fn insert(&mut self, name: &str, record: Record) {
        match &record.secret {
            Secret::Argon2(_) => self.has_passwords = true,
            Secret::Sha256(hash) => {
                self.by_token.insert(*hash, name.to_owned());
            }
        }
        self.by_name.insert(name.to_owned(), record);
    }
}

/// What proves a user that is described so; `admin_role` is added to the roles of an admin.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn record(user: &User, admin_role: &str) -> anyhow::Result<Record> {
    let proofs = [&user.token, &user.token_sha256, &user.password_argon2];
    let given = proofs.iter().filter(|proof| !proof.is_empty()).count();
    ensure!(given == 1, "expected one of token, token_sha256 and password_argon2");
    let secret = if !user.token.is_empty() {
        Secret::Sha256(secrets::sha256(&user.token))
    } else if let Some(hash) = secrets::from_hex(&user.token_sha256) {
        Secret::Sha256(hash)
    } else if secrets::is_argon2(&user.password_argon2) {
        Secret::Argon2(user.password_argon2.clone())
    } else if user.password_argon2.is_empty() {
        bail!("token_sha256 is not what it should be: expected 64 hexadecimal digits");
    } else {
        bail!("password_argon2 is not what it should be: expected a hash as in $argon2id$v=19$...");
    };
    let expires = (!user.expires.is_empty())
        .then(|| humantime::parse_rfc3339(&user.expires))
        .transpose()
        .map_err(|_| {
            let found = user.expires.escape_debug();
            anyhow::anyhow!(
                "expires = \"{found}\": expected a time such as \"2027-03-31T23:59:59Z\""
            )
        })?;
    let mut roles = user.roles.clone();
    if user.admin && !admin_role.is_empty() && !roles.iter().any(|role| role == admin_role) {
        roles.push(admin_role.to_owned());
    }
    Ok(Record { secret, roles, expires })
}

/// The users in a file.
fn read(path: &Path) -> anyhow::Result<Vec<User>> {
    let name = path.display();
    let cannot = || format!("auth.users_file: cannot read {name}");
    let size = std::fs::metadata(path).with_context(cannot)?.len();
    ensure!(
        size <= FILE_BYTES_MAX,
        "auth.users_file: {name} is larger than {FILE_BYTES_MAX} bytes"
    );
    let text = std::fs::read_to_string(path).with_context(cannot)?;
    let file: File = toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        // The message of the crate does not quote values.
        let message = error.message().replace('\n', ", ");
        anyhow::anyhow!("auth.users_file: {name}, line {line}: {message}")
    })?;
    Ok(file.users)
}

impl Provider for Listed {
    fn name(&self) -> &'static str {
        "users"
    }

    fn check(&self, claim: &Claim<'_>, waiter: &Waker) -> Outcome {
        self.users.check(claim, waiter)
    }

    fn begin(&self) {
        let Some(mut places) = self.places.lock().take().filter(|places| !places.are_done()) else {
            return;
        };
        let (sender, broker) = oneshot::channel();
        self.surroundings.when_connected(move |broker| {
            // Nobody waits if these users are no longer the ones that count.
            let _ = sender.send(broker.clone());
        });
        let making = self.surroundings.spawn(move || async move {
            let Ok(broker) = broker.await else { return };
            while !places.are_done() {
                places.work(&broker).await;
            }
        });
        *self.making.lock() = Some(making);
    }

    fn roles_of(&self, user: &str) -> Option<Vec<String>> {
        self.users.roles_of(user)
    }
}

impl Users {
    /// Judges a claim, as [`Provider::check`] does.
    pub fn check(&self, claim: &Claim<'_>, waiter: &Waker) -> Outcome {
        if claim.token.is_empty() {
            return Outcome::Unknown;
        }
        let hash = secrets::sha256(claim.token);
        let name = if claim.user.is_empty() && claim.by_connection {
            self.by_token.get(&hash).map(String::as_str).unwrap_or_default()
        } else {
            claim.user
        };
        let nobody = Secret::Argon2(NOBODY.to_owned());
        let record = self.by_name.get(name);
        // An unknown user takes as long as a known one.
        let secret = match record {
            Some(record) => &record.secret,
            None if self.has_passwords && !claim.user.is_empty() => &nobody,
            None => return Outcome::Unknown,
        };
        let right = match secret {
            Secret::Sha256(known) => secrets::is_same(known, &hash),
            Secret::Argon2(phc) => match self.passwords.check(phc, claim.token, waiter) {
                Judged::Right => true,
                Judged::Wrong => false,
                Judged::Pending => return Outcome::Pending,
                Judged::Busy => return Outcome::Unavailable,
            },
        };
        match record {
            Some(record) if right && record.expires.is_none_or(|end| end > Clock::wall()) => {
                Outcome::Proven(Proof {
                    user: name.to_owned(),
                    roles: record.roles.clone(),
                    expires: record.expires,
                })
            }
            _ => Outcome::Unknown,
        }
    }

    /// The roles of a user, if it is one of these.
    pub fn roles_of(&self, user: &str) -> Option<Vec<String>> {
        self.by_name.get(user).map(|record| record.roles.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let expiring = |name: &str, expires: &str| User {
            name: name.into(),
            token: "secret".into(),
            expires: expires.into(),
            ..User::default()
        };
        let auth = Auth {
            users: vec![
                User {
                    name: "ann".into(),
                    token: "ann's".into(),
                    roles: vec!["student".into()],
                    ..User::default()
                },
                User {
                    name: "root".into(),
                    token_sha256: secrets::to_hex(&secrets::sha256("root's")),
                    admin: true,
                    ..User::default()
                },
                expiring("old", "2020-01-01T00:00:00Z"),
                expiring("new", "2220-01-01T00:00:00Z"),
            ],
            ..Auth::default()
        };
        Users::from_config(&auth).unwrap().0
    }

    /// The name and roles that are proven.
    #[track_caller]
    fn check(user: &str, token: &str, expected: Option<(&str, &[&str])>) {
        check_from(false, user, token, expected);
        if !user.is_empty() {
            check_from(true, user, token, expected);
        }
    }

    #[track_caller]
    fn check_from(by_connection: bool, user: &str, token: &str, expected: Option<(&str, &[&str])>) {
        let claim = Claim { user, token, by_connection, ..Claim::default() };
        let seen = match users().check(&claim, Waker::noop()) {
            Outcome::Proven(proof) => Some((proof.user, proof.roles)),
            Outcome::Unknown => None,
            other => panic!("{other:?}"),
        };
        let expected = expected.map(|(user, roles)| {
            (user.to_owned(), roles.iter().map(|role| (*role).to_owned()).collect())
        });
        assert_eq!(seen, expected, "{user} {token}");
    }

    #[test]
    fn a_user_is_known_by_name_and_token() {
        check("ann", "ann's", Some(("ann", &["student"])));
        check("root", "root's", Some(("root", &["admin"])));
        check("new", "secret", Some(("new", &[])));
        for (user, token) in [
            ("ann", ""),
            ("ann", "ann'"),
            ("ann", "ann's "),
            ("ann", "Ann's"),
            ("ann", "root's"),
            ("Ann", "ann's"),
            ("old", "secret"),
            ("nobody", "ann's"),
            ("", ""),
        ] {
            check(user, token, None);
        }
    }

    #[test]
    fn a_token_alone_tells_whose_it_is_if_it_came_with_the_connection() {
        check_from(true, "", "ann's", Some(("ann", &["student"])));
        check_from(true, "", "wrong", None);
        check("", "ann's", None);
    }

    #[test]
    fn a_user_has_one_proof_and_a_good_one() {
        #[track_caller]
        fn check(user: User, expected: &str) {
            let error = record(&user, "admin").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let user = User { name: "ann".into(), ..User::default() };
        check(user.clone(), "expected one of");
        let both = User { token: "a".into(), token_sha256: "0".repeat(64), ..user.clone() };
        check(both, "expected one of");
        check(User { token_sha256: "0".repeat(63), ..user.clone() }, "64 hexadecimal");
        check(User { password_argon2: "$argon2id$".into(), ..user.clone() }, "$argon2id$v=19");
        let wrong = User { token: "t".into(), expires: "tomorrow".into(), ..user };
        check(wrong, "expires = \"tomorrow\"");
    }
}
