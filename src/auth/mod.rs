//! Authentication: adapters of the credentials port.
//!
//! The mode of the configuration chooses the adapter that says who a client is, and the policy
//! that says what it may do.

use std::collections::HashMap;
use std::sync::Arc;

use fanal_actors::ports::Credentials;
use fanal_actors::{AuthFields, Identity, Policy};

use crate::config::{Auth, AuthMode};

/// The credentials and the policy that the configuration asks for.
pub fn from_config(auth: &Auth) -> (Box<dyn Credentials>, Policy) {
    match auth.mode {
        AuthMode::AllowAll => (Box::new(Anybody), Policy::AllowAll),
        AuthMode::AllowNone => (Box::new(Anybody), Policy::AllowNone),
        AuthMode::Users => (Box::new(Users::from_config(auth)), Policy::OwnModel),
    }
}

/// Everybody is who they say.
struct Anybody;

impl Credentials for Anybody {
    fn identify(&self, credentials: &AuthFields<'_>) -> Option<Arc<Identity>> {
        Some(Arc::new(Identity { user: credentials.user.to_owned(), admin: false }))
    }
}

/// The users of the configuration, each with a token.
struct Users {
    by_name: HashMap<String, (String, Arc<Identity>)>,
}

impl Users {
    fn from_config(auth: &Auth) -> Self {
        let entry = |user: &crate::config::User| {
            let identity = Identity { user: user.name.clone(), admin: user.admin };
            (user.name.clone(), (user.token.clone(), Arc::new(identity)))
        };
        Users { by_name: auth.users.iter().map(entry).collect() }
    }
}

impl Credentials for Users {
    fn identify(&self, credentials: &AuthFields<'_>) -> Option<Arc<Identity>> {
        let (token, identity) = self.by_name.get(credentials.user)?;
        let same = is_same(token.as_bytes(), credentials.token.as_bytes());
        // An empty token proves nothing, whatever the configuration says.
        if same && !token.is_empty() { Some(Arc::clone(identity)) } else { None }
    }
}

/// Compares a secret in a time that tells nothing of where the first difference is.
fn is_same(secret: &[u8], given: &[u8]) -> bool {
    let difference = secret.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
    secret.len() == given.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::User;

    #[track_caller]
    fn check(user: &str, token: &str, expected: Option<bool>) {
        let auth = Auth {
            mode: AuthMode::Users,
            users: vec![
                User { name: "ann".into(), token: "secret".into(), admin: false },
                User { name: "root".into(), token: "other".into(), admin: true },
                User { name: "none".into(), token: String::new(), admin: true },
            ],
            ..Auth::default()
        };
        let (credentials, policy) = from_config(&auth);
        assert_eq!(policy, Policy::OwnModel);
        let seen = credentials.identify(&AuthFields { user, token });
        assert_eq!(seen.map(|identity| identity.admin), expected, "{user}");
    }

    #[test]
    fn a_user_is_known_by_name_and_token() {
        check("ann", "secret", Some(false));
        check("root", "other", Some(true));
        for (user, token) in [
            ("ann", ""),
            ("ann", "secre"),
            ("ann", "secret2"),
            ("ann", "Secret"),
            ("ann", "other"),
            ("Ann", "secret"),
            ("", ""),
            ("none", ""),
            ("nobody", "secret"),
        ] {
            check(user, token, None);
        }
    }
}
