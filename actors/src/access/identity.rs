//! Identities: who a client has proved to be.

use std::sync::Arc;

use super::allowance::Allowance;

/// A user, as the credentials port has recognised it.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Name of the user; empty for a client that gave no credentials and was let in without. May
    /// come from the network: escape it before it reaches a log.
    pub user: String,
    /// What the rules know the user by.
    pub roles: Vec<String>,
    /// Which provider recognised it.
    pub provider: &'static str,
    /// How much it may have and do; `None` for as much as anybody.
    pub allowance: Option<Arc<Allowance>>,
}

impl Identity {
    /// Whether the client gave no credentials and was let in without.
    pub fn is_anonymous(&self) -> bool {
        self.user.is_empty()
    }
}

/// Who it is and what it may, but not what it has used.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.allowance, &other.allowance) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same && (&self.user, &self.roles, self.provider)
            == (&other.user, &other.roles, other.provider)
    }
}
