//! Authentication and authorisation: who a client is, by the providers of the configuration, and
//! what it may do, by its rules.
//!
//! The [`Authority`] is the adapter of the broker's credentials port. It asks the providers one
//! after the other, holds off addresses with too many wrong credentials, and gives each user the
//! allowance of its roles. A reload makes all of it anew beside what is there, and takes its place
//! only if nothing is wrong.

mod allowances;
mod attempts;
mod explain;
mod failures;
mod http;
mod jwt;
mod mtls;
mod places;
mod policy;
mod provider;
pub mod secrets;
mod sql;
mod tree;
pub mod trust;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanal_actors::ports::{Credentials, Presented, Verdict};
use fanal_actors::{Broker, Identity, Policy};
use parking_lot::{Mutex, RwLock};

use crate::clock::Clock;
use crate::config::{AuthMode, Config};
use allowances::Allowances;
use attempts::Attempt;
pub use attempts::Attempts;
pub use explain::{Answer, Question, explain};
use failures::Failures;
pub use provider::{Background, Claim, Outcome, Proof, Provider, Surroundings};

/// No time at which anything expires.
const NEVER: u64 = u64::MAX;

/// Says who a client is, as the configuration wants it. Clones are the same authority.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    surroundings: Surroundings,
    current: RwLock<Arc<Current>>,
    /// Seconds since 1970 at which the next identity expires that was given out.
    next_expiry: AtomicU64,
    /// Held from the look at what the policy is made of until it is in force, so that no older one
    /// takes the place of a newer one.
    policy_turn: Mutex<()>,
    attempts: Arc<Attempts>,
}

impl Inner {
    /// Makes the policy again, of the rules as they are now.
    fn renew_policy(&self) {
        let Some(broker) = self.surroundings.broker() else { return };
        let _turn = self.policy_turn.lock();
        let policy = self.current.read().policy();
        broker.set_policy(policy);
    }
}

/// What was made of one configuration.
struct Current {
    config: Config,
    access: Access,
}

enum Access {
    /// Everybody is who they say.
    Anybody,
    /// Users prove who they are.
    Users(Users),
}

struct Users {
    providers: Vec<Arc<dyn Provider>>,
    anonymous: Option<Arc<Identity>>,
    failures: Failures,
    allowances: Allowances,
}

/// What came of a look at credentials.
struct Judged {
    verdict: Verdict,
    /// Until when it is so.
    expires: Option<SystemTime>,
    /// The provider that could not say, if one could not.
    asked: &'static str,
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Self {
        Judged { verdict, expires: None, asked: "none" }
    }
}

impl Authority {
    /// An authority over users as the configuration says, and the policy that goes with it.
    ///
    /// # Errors
    /// If something that the configuration names cannot be used.
    pub fn new(config: &Config, surroundings: Surroundings) -> anyhow::Result<(Self, Policy)> {
        let current = Current::make(config, None, &surroundings)?;
        let policy = current.policy();
        current.begin();
        let inner = Arc::new(Inner {
            surroundings: surroundings.clone(),
            current: RwLock::new(Arc::new(current)),
            next_expiry: AtomicU64::new(NEVER),
            policy_turn: Mutex::new(()),
            attempts: Arc::default(),
        });
        let authority = Arc::downgrade(&inner);
        surroundings.watch_rules(move || {
            if let Some(inner) = authority.upgrade() {
                inner.renew_policy();
            }
        });
        Ok((Authority(inner), policy))
    }

    /// Takes another configuration in the place of the present one: all of it or, on an error,
    /// nothing. Credentials in use are then judged again and streams that are no longer allowed
    /// end.
    ///
    /// # Errors
    /// If something that the configuration names cannot be used.
    pub fn reload(&self, config: &Config, broker: &Broker) -> anyhow::Result<()> {
        let before = Arc::clone(&self.0.current.read());
        let current = Current::make(config, Some(&before), &self.0.surroundings)?;
        let _turn = self.0.policy_turn.lock();
        let policy = current.policy();
        let current = Arc::new(current);
        if matches!(current.access, Access::Anybody) {
            // Before anybody is believed to be who they say, nothing may depend on that.
            broker.set_policy(policy);
            *self.0.current.write() = Arc::clone(&current);
            broker.recheck();
        } else {
            *self.0.current.write() = Arc::clone(&current);
            broker.set_policy(policy);
        }
        current.begin();
        Ok(())
    }

    /// Whether an identity that was given out has expired since this was last asked.
    pub fn has_expired(&self) -> bool {
        let next = self.0.next_expiry.load(Ordering::Relaxed);
        if next > seconds(Clock::wall()) {
            return false;
        }
        // Those that expire later say so again when they are judged again.
        self.0.next_expiry.store(NEVER, Ordering::Relaxed);
        true
    }

    /// What came of credentials so far.
    pub fn attempts(&self) -> Arc<Attempts> {
        Arc::clone(&self.0.attempts)
    }

    /// Counts what came of credentials; `asked` could not say.
    fn note_attempt(&self, verdict: &Verdict, again: bool, asked: &str) {
        let (provider, attempt) = match verdict {
            Verdict::Known(who) if again => (who.provider, Attempt::Confirmed),
            Verdict::Known(who) => (who.provider, Attempt::Accepted),
            Verdict::Unknown if again => ("none", Attempt::Withdrawn),
            Verdict::Unknown => ("none", Attempt::Refused),
            Verdict::Unavailable => (asked, Attempt::Unavailable),
            Verdict::TooManyFailures => ("none", Attempt::HeldOff),
            Verdict::Pending => return,
        };
        self.0.attempts.note(provider, attempt);
    }

    /// The present configuration.
    pub fn config(&self) -> Config {
        self.0.current.read().config.clone()
    }

    /// The roles of a user by name alone, and who says so.
    fn roles_of(&self, user: &str) -> Option<(&'static str, Vec<String>)> {
        let current = Arc::clone(&self.0.current.read());
        let Access::Users(users) = &current.access else { return None };
        users
            .providers
            .iter()
            .find_map(|provider| Some((provider.name(), provider.roles_of(user)?)))
    }

    fn note_expiry(&self, expires: Option<SystemTime>) {
        if let Some(expires) = expires {
            self.0.next_expiry.fetch_min(seconds(expires), Ordering::Relaxed);
        }
    }
}

/// The time so many seconds after 1970 began.
fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

fn seconds(time: SystemTime) -> u64 {
    // Rounded up: who expires within a second has expired at its end.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_secs().saturating_add(u64::from(since.subsec_nanos() > 0))
}

impl Current {
    /// Makes what a configuration asks for; providers whose settings are as before go on as they
    /// are, with what they know.
    fn make(
        config: &Config,
        before: Option<&Current>,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        let access = match config.auth.mode {
            AuthMode::AllowAll | AuthMode::AllowNone => Access::Anybody,
            AuthMode::Users => Access::Users(Users::make(config, before, surroundings)?),
        };
        Ok(Current { config: config.clone(), access })
    }

    /// The rules of the configuration and of the providers.
    fn policy(&self) -> Policy {
        let mut policy = policy::from_config(&self.config.auth);
        if let (Policy::Rules { rules, .. }, Access::Users(users)) = (&mut policy, &self.access) {
            rules.extend(users.providers.iter().flat_map(|provider| provider.rules()));
        }
        policy
    }

    /// Says that this is in force from now on.
    fn begin(&self) {
        if let Access::Users(users) = &self.access {
            users.providers.iter().for_each(|provider| provider.begin());
        }
    }

    /// A provider of before, if there is one with the same name.
    fn provider(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        let Access::Users(users) = &self.access else { return None };
        users.providers.iter().find(|provider| provider.name() == name)
    }
}

impl Users {
    fn make(
        config: &Config,
        before: Option<&Current>,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        let auth = &config.auth;
        let mut providers = Vec::new();
        for name in &auth.providers {
            let unchanged = before
                .filter(|before| is_same(name, &before.config, config))
                .and_then(|before| before.provider(name));
            providers.push(match unchanged {
                Some(provider) => Arc::clone(provider),
                None => provide(name, config, surroundings)?,
            });
        }
        let anonymous = Identity {
            roles: auth.anonymous_roles.clone(),
            provider: "anonymous",
            ..Identity::default()
        };
        let kept = before.and_then(|before| match &before.access {
            Access::Users(users) if before.config.auth.limits == auth.limits => {
                Some(users.allowances.clone())
            }
            _ => None,
        });
        Ok(Users {
            providers,
            anonymous: (!auth.anonymous_roles.is_empty()).then(|| Arc::new(anonymous)),
            failures: Failures::new(auth.failures_max, auth.failures_wait_max),
            allowances: kept.unwrap_or_else(|| Allowances::new(&auth.limits)),
        })
    }

    fn judge(&self, presented: &Presented<'_>, waiter: &Waker) -> Judged {
        let fields = &presented.fields;
        let came = presented.connection.credentials.as_deref();
        let mut claim = Claim {
            user: fields.user,
            token: fields.token,
            jwt: fields.jwt,
            // It was proven on the way here, whatever AUTH says.
            certified: came.map_or("", |came| &came.certified),
            certified_until: came.and_then(|came| came.certified_until).map(time),
            by_connection: fields.is_empty(),
        };
        if let Some(came) = came.filter(|_| fields.is_empty()) {
            claim.user = &came.user;
            claim.token = &came.token;
        }
        let counts = self.providers.iter().any(|provider| provider.name() == "mtls");
        let certified = if counts { claim.certified } else { "" };
        let is_empty =
            [claim.user, claim.token, claim.jwt, certified].iter().all(|text| text.is_empty());
        if is_empty {
            let verdict = self.anonymous.as_ref().map(|who| Verdict::Known(Arc::clone(who)));
            return verdict.unwrap_or(Verdict::Unknown).into();
        }
        let address = presented.connection.address;
        if !presented.again && !self.failures.admits(address) {
            return Verdict::TooManyFailures.into();
        }
        let mut judged = Judged::from(Verdict::Unknown);
        for provider in &self.providers {
            match provider.check(&claim, waiter) {
                Outcome::Proven(proof) => {
                    let expires = proof.expires;
                    let identity = self.identity(proof, provider.name());
                    return Judged { expires, ..Verdict::Known(Arc::new(identity)).into() };
                }
                Outcome::Pending => return Verdict::Pending.into(),
                Outcome::Unavailable => {
                    judged = Judged { asked: provider.name(), ..Verdict::Unavailable.into() };
                }
                Outcome::Unknown => {}
            }
        }
        if judged.verdict == Verdict::Unknown && !presented.again {
            self.failures.note(address, (claim.user, claim.token, claim.jwt));
        }
        judged
    }

    fn identity(&self, proof: Proof, provider: &'static str) -> Identity {
        let allowance = self.allowances.of(&proof.user, &proof.roles);
        Identity { user: proof.user, roles: proof.roles, provider, allowance }
    }
}

/// Makes the provider with this name.
fn provide(
    name: &str,
    config: &Config,
    surroundings: &Surroundings,
) -> anyhow::Result<Arc<dyn Provider>> {
    match name {
        "users" => Ok(Arc::new(users::Listed::from_config(config, surroundings)?)),
        "jwt" => Ok(Arc::new(jwt::Jwt::from_config(&config.auth_jwt, surroundings)?)),
        "mtls" => Ok(Arc::new(mtls::Mtls::from_config(&config.auth_mtls))),
        "http" => Ok(Arc::new(http::Http::from_config(config, surroundings)?)),
        "sql" => Ok(Arc::new(sql::Sql::from_config(config, surroundings)?)),
        "tree" => Ok(Arc::new(tree::Tree::new(&config.auth, surroundings))),
        // The configuration has no other names.
        _ => anyhow::bail!("auth.providers: there is no provider {name}"),
    }
}

/// Whether a provider would be the same under both configurations.
fn is_same(name: &str, before: &Config, after: &Config) -> bool {
    match name {
        // The file may have other keys under the same name.
        "jwt" => {
            before.auth_jwt == after.auth_jwt && after.auth_jwt.key_file.as_os_str().is_empty()
        }
        "http" => {
            before.auth_http == after.auth_http && before.auth.user_paths == after.auth.user_paths
        }
        "sql" => {
            before.auth_sql == after.auth_sql && before.auth.user_paths == after.auth.user_paths
        }
        "mtls" => before.auth_mtls == after.auth_mtls,
        "tree" => {
            before.auth.admin_role == after.auth.admin_role
                && before.auth.recheck_interval == after.auth.recheck_interval
        }
        // A file of users may have changed under the same name.
        _ => false,
    }
}

impl Credentials for Authority {
    fn identify(&self, presented: &Presented<'_>, waiter: &Waker) -> Verdict {
        let current = Arc::clone(&self.0.current.read());
        let Judged { verdict, expires, asked } = match &current.access {
            Access::Anybody => Verdict::Known(Arc::new(Identity {
                user: presented.fields.user.to_owned(),
                provider: "anybody",
                ..Identity::default()
            }))
            .into(),
            Access::Users(users) => users.judge(presented, waiter),
        };
        self.note_expiry(expires);
        self.note_attempt(&verdict, presented.again, asked);
        verdict
    }
}
