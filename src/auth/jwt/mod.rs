//! The provider `jwt`: JSON Web Tokens (RFC 7519), which somebody else issues and signs.
//!
//! The issuer says who is a user, and with which roles; nobody is asked when a token is used. So
//! all depends on the signature and on the few claims that say for whom and until when a token is.
//! What the header of a token says chooses among the keys of the configuration and never brings one
//! along: `jku`, `x5u`, `x5c` and `jwk` are not looked at.

mod claims;
mod keyring;
mod keys;
mod remembered;
mod signature;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::Waker;
use std::time::SystemTime;

use anyhow::ensure;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};

use super::provider::{Background, Claim, Outcome, Proof, Provider, Surroundings};
use crate::clock::Clock;
use crate::config::AuthJwt;
use claims::Claims;
use keyring::{Keyring, View};
use keys::{KEY_ID_BYTES_MAX, Key};
use remembered::Remembered;
use source::Source;

/// The longest token, in bytes; AUTH and the headers of a connection have bounds of their own.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// See the module's text.
pub struct Jwt {
    judge: Arc<Judge>,
    /// Reads the keys again and again, if they can change.
    _keeper: Option<Background>,
}

/// Judges tokens.
struct Judge {
    settings: AuthJwt,
    allowed: Vec<Algorithm>,
    keyring: Keyring,
    remembered: Remembered,
}

/// Why a token is not good.
enum Fault {
    /// This is wrong with it, in words that tell nothing of it.
    Wrong(&'static str),
    /// None of the keys has signed it; it names this one.
    NoKey(Option<String>),
}

impl Jwt {
    /// With the keys of the configuration. Those of a server are fetched in the background.
    ///
    /// # Errors
    /// One sentence if a file of keys cannot be used.
    pub fn from_config(settings: &AuthJwt, surroundings: &Surroundings) -> anyhow::Result<Self> {
        let source = match settings.keys.as_str() {
            "" => None,
            text => Some(Source::from_text(text)?),
        };
        let judge = Arc::new(Judge::new(settings, source.as_ref())?);
        let keeper = source.map(|source| {
            let (judge, refresh) = (Arc::clone(&judge), settings.refresh_interval);
            let others = surroundings.clone();
            surroundings.spawn(move || async move {
                let changed = |generation| {
                    judge.remembered.forget(generation);
                    others.changed();
                };
                judge.keyring.keep(source, refresh, changed).await;
            })
        });
        Ok(Jwt { judge, _keeper: keeper })
    }
}

impl Drop for Jwt {
    fn drop(&mut self) {
        // Nobody reads keys for them any more; they ask who is in this provider's place.
        self.judge.keyring.wake();
    }
}

impl Provider for Jwt {
    fn name(&self) -> &'static str {
        "jwt"
    }

    fn check(&self, claim: &Claim<'_>, waiter: &Waker) -> Outcome {
        self.judge.check(claim, waiter, Clock::wall())
    }
}

impl Judge {
    fn new(settings: &AuthJwt, source: Option<&Source>) -> anyhow::Result<Self> {
        signature::install();
        let allowed = keys::algorithms(&settings.algorithms);
        let mut fixed: Vec<Key> = Vec::new();
        if !settings.secret.reveal().is_empty() && allowed.contains(&Algorithm::HS256) {
            fixed.push(keys::from_secret(settings.secret.reveal()));
        }
        if !settings.key_file.as_os_str().is_empty() {
            fixed.extend(keys::from_pem_file(&settings.key_file, &allowed)?);
        }
        let read = match source {
            Some(Source::File(path)) => {
                let name = path.display();
                let read = source::read_file(path).and_then(|text| keys::from_set(&text, &allowed));
                let read = read.map_err(|reason| {
                    anyhow::anyhow!("auth_jwt.keys: {name} cannot be used: {reason}")
                })?;
                let algorithms = settings.algorithms.join(", ");
                ensure!(!read.is_empty(), "auth_jwt.keys: {name} has no key for {algorithms}");
                Some(read)
            }
            Some(Source::Server { .. }) | None => None,
        };
        let keyring = Keyring::new(fixed, allowed.clone(), source.is_some(), read);
        let remembered = Remembered::default();
        Ok(Judge { settings: settings.clone(), allowed, keyring, remembered })
    }

    fn check(&self, claim: &Claim<'_>, waiter: &Waker, now: SystemTime) -> Outcome {
        let token = if claim.jwt.is_empty() { claim.token } else { claim.jwt };
        if !is_token(token) {
            return Outcome::Unknown;
        }
        let found = self
            .remembered
            .find(token, now)
            .map_or_else(|| self.judge(token, waiter, now), Outcome::Proven);
        match found {
            Outcome::Proven(proof) if !claim.user.is_empty() && claim.user != proof.user => {
                refused("it is not of the user that is named beside it")
            }
            other => other,
        }
    }

    /// Judges a token that is not known to be good.
    fn judge(&self, token: &str, waiter: &Waker, now: SystemTime) -> Outcome {
        let view = self.keyring.view();
        match self.verify(token, &view) {
            Ok(proof) if proof.expires.is_some_and(|expires| expires > now) => {
                self.remembered.add(token, proof.clone(), view.generation, now);
                Outcome::Proven(proof)
            }
            Ok(_) => refused("it has expired"),
            Err(Fault::Wrong(reason)) => refused(reason),
            Err(Fault::NoKey(id)) => match self.keyring.seek(id.as_deref(), &view, waiter) {
                Outcome::Unknown => refused("no key has signed it"),
                other => other,
            },
        }
    }

    /// Who a token proves to be by these keys.
    fn verify(&self, token: &str, view: &View) -> Result<Proof, Fault> {
        let header = decode_header(token).map_err(|_| Fault::Wrong("its header is malformed"))?;
        if !self.allowed.contains(&header.alg) {
            return Err(Fault::Wrong("its algorithm is not in auth_jwt.algorithms"));
        }
        if header.crit.is_some() {
            // It wants something understood that is not.
            return Err(Fault::Wrong("it has critical headers"));
        }
        let id = header.kid;
        if id.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
            return Err(Fault::Wrong("the name of its key is too long"));
        }
        let validation = self.validation(header.alg);
        for key in view.fitting(header.alg, id.as_deref()) {
            match decode::<Claims>(token, &key.key, &validation) {
                Ok(good) => {
                    return claims::proof(&good.claims, &self.settings).map_err(Fault::Wrong);
                }
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => {}
                    kind => return Err(Fault::Wrong(reason(kind))),
                },
            }
        }
        Err(Fault::NoKey(id))
    }

    /// What a token has to say.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let settings = &self.settings;
        let mut validation = Validation::new(algorithm);
        validation.leeway = settings.leeway.as_secs();
        validation.validate_nbf = true;
        for (claim, wanted) in [("iss", &settings.issuer), ("aud", &settings.audience)] {
            if !wanted.is_empty() {
                validation.required_spec_claims.insert(claim.to_owned());
            }
        }
        if !settings.issuer.is_empty() {
            validation.set_issuer(&[&settings.issuer]);
        }
        if !settings.audience.is_empty() {
            validation.set_audience(&[&settings.audience]);
        }
        validation
    }
}

/// Three parts in base64url: whether it may be a token at all. What is not is a token of another
/// provider, or nothing.
fn is_token(text: &str) -> bool {
    let is_part = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !part.is_empty() && part.bytes().all(fits)
    };
    text.len() <= TOKEN_BYTES_MAX && text.split('.').count() == 3 && text.split('.').all(is_part)
}

/// What is wrong with a token whose signature is good, without what it says.
fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "it is of another issuer",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "it lacks exp, iss or aud",
        ErrorKind::InvalidClaimFormat(_) => "its exp or nbf is no time",
        _ => "it is malformed",
    }
}

fn refused(reason: &'static str) -> Outcome {
    log::debug!("a JSON Web Token is refused: {reason}");
    Outcome::Unknown
}
