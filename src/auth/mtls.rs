//! The provider `mtls`: who a client certificate names that the door has checked.
//!
//! TLS has proven the certificate before the first request, and with it the user; there is nothing
//! left to judge but whether it still holds and whether the client asks to be somebody else.

use std::task::Waker;

use super::provider::{Claim, Outcome, Proof, Provider};
use crate::clock::Clock;
use crate::config::AuthMtls;

/// See the module's text.
pub struct Mtls {
    roles: Vec<String>,
}

impl Mtls {
    /// With the roles of the configuration for everybody.
    pub fn from_config(settings: &AuthMtls) -> Self {
        Mtls { roles: settings.roles.clone() }
    }
}

impl Provider for Mtls {
    fn name(&self) -> &'static str {
        "mtls"
    }

    fn check(&self, claim: &Claim<'_>, _waiter: &Waker) -> Outcome {
        // A token without a name may be another user's, so it is not for this provider.
        let says_nothing = [claim.user, claim.token, claim.jwt].iter().all(|text| text.is_empty());
        let says_the_same = claim.user == claim.certified && claim.jwt.is_empty();
        let has_expired = claim.certified_until.is_some_and(|until| until <= Clock::wall());
        if claim.certified.is_empty() || has_expired || !(says_nothing || says_the_same) {
            return Outcome::Unknown;
        }
        Outcome::Proven(Proof {
            user: claim.certified.to_owned(),
            roles: self.roles.clone(),
            expires: claim.certified_until,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether a certificate of `ann` that is good for so many seconds proves this claim.
    #[track_caller]
    fn check(user: &str, token: &str, jwt: &str, seconds: u64, expected: bool) {
        let settings = AuthMtls { roles: vec!["device".to_owned()], ..AuthMtls::default() };
        let until = Some(Clock::wall() + Duration::from_secs(seconds));
        let (certified, certified_until) = ("ann", until);
        let claim = Claim { user, token, jwt, certified, certified_until, ..Claim::default() };
        let outcome = Mtls::from_config(&settings).check(&claim, Waker::noop());
        let (name, roles) = ("ann".to_owned(), settings.roles.clone());
        let proven = Outcome::Proven(Proof { user: name, roles, expires: until });
        assert_eq!(
            outcome,
            if expected { proven } else { Outcome::Unknown },
            "{user} {token} {jwt}"
        );
    }

    #[test]
    fn a_certificate_proves_its_user_and_nobody_else() {
        check("", "", "", 60, true);
        check("ann", "", "", 60, true);
        check("ann", "any", "", 60, true);
        check("bob", "", "", 60, false);
        check("bob", "any", "", 60, false);
        check("", "any", "", 60, false);
        check("", "", "any", 60, false);
        check("ann", "", "any", 60, false);
        check("", "", "", 0, false);
    }

    #[test]
    fn without_a_certificate_nobody_is_proven() {
        let mtls = Mtls::from_config(&AuthMtls::default());
        for user in ["", "ann"] {
            let claim = Claim { user, ..Claim::default() };
            assert_eq!(mtls.check(&claim, Waker::noop()), Outcome::Unknown);
        }
    }
}
