//! Rules: each allows or denies something to some users at some paths.

use super::identity::Identity;
use super::rights::Rights;
use crate::protocol::{Path, Pattern};

/// What a rule does where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It gives the rights, unless another rule takes them.
    Allow,
    /// It takes the rights, whatever other rules give.
    Deny,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What people know it by, such as its name or its place in a file.
    pub name: String,
    /// What it does.
    pub effect: Effect,
    /// The rights that it gives or takes.
    pub rights: Rights,
    /// Roles that it is for.
    pub roles: Vec<String>,
    /// Users that it is for. With no roles and no users it is for every user that is known.
    pub users: Vec<String>,
    /// Where it applies; `{user}` stands for the name of the user. Wildcards at the beginning of a
    /// pattern do not stand for names that begin with `$`.
    pub paths: Vec<Pattern>,
}

impl Rule {
    /// Whether the rule is for this user.
    pub fn is_for(&self, identity: &Identity) -> bool {
        if self.roles.is_empty() && self.users.is_empty() {
            // Who gave no credentials gets what is given to its role only.
            return !identity.is_anonymous();
        }
        self.roles.iter().any(|role| identity.roles.contains(role))
            || (!identity.is_anonymous() && self.users.contains(&identity.user))
    }

    /// Whether the rule applies here.
    pub fn applies_at(&self, identity: &Identity, path: &Path) -> bool {
        self.paths.iter().any(|pattern| pattern.matches_for(&identity.user, path))
    }

    /// Whether the rule applies to something below this path.
    pub fn applies_below(&self, identity: &Identity, path: &Path) -> bool {
        self.paths.iter().any(|pattern| pattern.may_match_below(&identity.user, path))
    }

    /// Whether the rule applies to everything below this path.
    pub fn applies_all_below(&self, identity: &Identity, path: &Path) -> bool {
        self.paths.iter().any(|pattern| pattern.matches_all_below(&identity.user, path))
    }
}
