//! The policy: what an identity may do where.
//!
//! What no rule allows is denied, and what any rule denies is denied whatever others allow. So the
//! order of rules has no meaning, and taking an allowing rule away never allows anything. The
//! admin role may do everything; rules do not apply to it.

use std::fmt;
use std::sync::Arc;

use super::identity::Identity;
use super::rights::Rights;
use super::rule::{Effect, Rule};
use crate::protocol::{Path, Verb};

/// The directory of what belongs to the broker itself.
const SPECIAL: &str = "$fanal";

/// Rights of which one lets a name be seen in a listing.
const SEEN: Rights = Rights::LIST.and(Rights::GET);

/// Rules for every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everybody may do everything, but for what belongs to the broker itself.
    AllowAll,
    /// Nobody may do anything.
    AllowNone,
    /// What rules say.
    Rules {
        /// The role that may do everything; empty for none.
        admin_role: String,
        /// The rules.
        rules: Vec<Rule>,
        /// Whether a listing shows every name to who may list at all, as the original does.
        list_all: bool,
    },
}

/// Why something is allowed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// The policy allows everything.
    AllowedToAll,
    /// The user has the role that may do everything.
    AllowedToAdmin(String),
    /// These rules together allow it.
    AllowedBy(Vec<String>),
    /// The policy allows nothing.
    DeniedToAll,
    /// The path belongs to the broker itself and the policy has no admins.
    DeniedSpecial,
    /// This rule denies it.
    DeniedBy(String),
    /// This rule denies something below the path, which would go with it.
    DeniedBelow(String),
    /// No rule allows these.
    NotAllowed(Rights),
}

impl Policy {
    /// Whether this identity is told that a verb is unknown (405), instead of 403 as for all that
    /// it may not do.
    pub fn may_hear_of_verbs(&self, identity: &Identity) -> bool {
        match self {
            Policy::AllowAll => true,
            Policy::AllowNone => false,
            Policy::Rules { admin_role, .. } => is_admin(identity, admin_role),
        }
    }

    /// What this identity may do at this path. DELETE also takes everything below along, see
    /// [`Policy::may_delete`].
    pub fn rights(&self, identity: &Identity, path: &Path) -> Rights {
        match self {
            Policy::AllowAll if is_special(path) => Rights::NONE,
            Policy::AllowAll => Rights::ALL,
            Policy::AllowNone => Rights::NONE,
            Policy::Rules { admin_role, .. } if is_admin(identity, admin_role) => Rights::ALL,
            Policy::Rules { rules, .. } => {
                let (mut allowed, mut denied) = (Rights::NONE, Rights::NONE);
                for rule in rules {
                    if rule.is_for(identity) && rule.applies_at(identity, path) {
                        match rule.effect {
                            Effect::Allow => allowed = allowed.and(rule.rights),
                            Effect::Deny => denied = denied.and(rule.rights),
                        }
                    }
                }
                allowed.without(denied)
            }
        }
    }

    /// Whether this identity may do this here. LINK has a source, which is another question.
    pub fn allows(&self, identity: &Identity, verb: Verb, path: &Path) -> bool {
        self.rights(identity, path).include(Rights::needed(verb))
            && (verb != Verb::Delete || self.may_delete_below(identity, path))
    }

    /// Whether nothing below this path is denied to be deleted by this identity.
    pub fn may_delete_below(&self, identity: &Identity, path: &Path) -> bool {
        match self {
            Policy::AllowAll => true,
            Policy::AllowNone => false,
            Policy::Rules { .. } => self.denied_below(identity, path, Rights::DELETE).is_none(),
        }
    }

    /// Whether this identity may see everything below this path. Of the root that is never known
    /// without a look, for what belongs to the broker is there too.
    pub fn shows_all_below(&self, identity: &Identity, path: &Path) -> bool {
        match self {
            Policy::Rules { admin_role, .. } if is_admin(identity, admin_role) => true,
            _ if path.is_root() => false,
            Policy::AllowAll => !is_special(path),
            Policy::AllowNone => false,
            Policy::Rules { list_all: true, .. } if !is_special(path) => true,
            Policy::Rules { rules, .. } => {
                rules.iter().any(|rule| {
                    rule.effect == Effect::Allow
                        && rule.rights.touch(SEEN)
                        && rule.is_for(identity)
                        && rule.applies_all_below(identity, path)
                }) && self.denied_below(identity, path, SEEN).is_none()
            }
        }
    }

    /// Whether this identity sees this name in a listing: where it may LIST or GET, or everywhere
    /// but in what belongs to the broker if the policy says so.
    pub fn shows(&self, identity: &Identity, path: &Path) -> bool {
        match self {
            Policy::Rules { list_all: true, .. } if !is_special(path) => true,
            _ => self.rights(identity, path).touch(SEEN),
        }
    }

    /// A rule that denies one of these to the identity somewhere below the path.
    fn denied_below(&self, identity: &Identity, path: &Path, rights: Rights) -> Option<&Rule> {
        match self {
            Policy::Rules { admin_role, rules, .. } if !is_admin(identity, admin_role) => {
                rules.iter().find(|rule| {
                    rule.effect == Effect::Deny
                        && rule.rights.touch(rights)
                        && rule.is_for(identity)
                        && rule.applies_below(identity, path)
                })
            }
            _ => None,
        }
    }

    /// Why this identity may or may not do this here.
    pub fn explain(&self, identity: &Identity, verb: Verb, path: &Path) -> Explanation {
        self.explain_rights(identity, Rights::needed(verb), path, verb == Verb::Delete)
    }

    /// Why this identity has or has not these rights here, and for what is `below` too.
    fn explain_rights(
        &self,
        identity: &Identity,
        needed: Rights,
        path: &Path,
        below: bool,
    ) -> Explanation {
        let (admin_role, rules) = match self {
            Policy::AllowAll if is_special(path) => return Explanation::DeniedSpecial,
            Policy::AllowAll => return Explanation::AllowedToAll,
            Policy::AllowNone => return Explanation::DeniedToAll,
            Policy::Rules { admin_role, rules, .. } => (admin_role, rules),
        };
        if is_admin(identity, admin_role) {
            return Explanation::AllowedToAdmin(admin_role.clone());
        }
        let here = |rule: &&Rule| rule.is_for(identity) && rule.applies_at(identity, path);
        let mut missing = needed;
        let mut allowing = Vec::new();
        for rule in rules.iter().filter(here) {
            match rule.effect {
                Effect::Deny if rule.rights.touch(needed) => {
                    return Explanation::DeniedBy(rule.name.clone());
                }
                Effect::Allow if rule.rights.touch(missing) => {
                    missing = missing.without(rule.rights);
                    allowing.push(rule.name.clone());
                }
                _ => {}
            }
        }
        if missing != Rights::NONE {
            return Explanation::NotAllowed(missing);
        }
        if below && let Some(rule) = self.denied_below(identity, path, needed) {
            return Explanation::DeniedBelow(rule.name.clone());
        }
        Explanation::AllowedBy(allowing)
    }
}

fn is_admin(identity: &Identity, admin_role: &str) -> bool {
    !admin_role.is_empty() && identity.roles.iter().any(|role| role == admin_role)
}

/// Whether a path belongs to the broker itself.
pub fn is_special(path: &Path) -> bool {
    path.names().first().is_some_and(|name| &**name == SPECIAL)
}

impl Explanation {
    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        matches!(
            self,
            Explanation::AllowedToAll | Explanation::AllowedToAdmin(_) | Explanation::AllowedBy(_)
        )
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Explanation::AllowedToAll => write!(formatter, "everybody may do everything"),
            Explanation::AllowedToAdmin(role) => {
                write!(formatter, "the role {role} may do everything")
            }
            Explanation::AllowedBy(rules) => write!(formatter, "allowed by {}", rules.join(", ")),
            Explanation::DeniedToAll => write!(formatter, "nobody may do anything"),
            Explanation::DeniedSpecial => {
                write!(formatter, "what is below $fanal belongs to the broker itself")
            }
            Explanation::DeniedBy(rule) => write!(formatter, "denied by {rule}"),
            Explanation::DeniedBelow(rule) => {
                write!(formatter, "what is below would go too, and that is denied by {rule}")
            }
            Explanation::NotAllowed(rights) => write!(formatter, "no rule allows {rights:?}"),
        }
    }
}

/// What an identity sees of a listing.
#[derive(Clone, Debug)]
pub struct View {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Who lists.
    pub identity: Arc<Identity>,
}

impl View {
    /// Whether a name is seen.
    pub fn shows(&self, path: &Path) -> bool {
        self.policy.shows(&self.identity, path)
    }

    /// Whether everything below a directory is seen.
    pub fn shows_all_below(&self, path: &Path) -> bool {
        self.policy.shows_all_below(&self.identity, path)
    }
}
