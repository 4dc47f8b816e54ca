//! Identities: who a client has proved to be.

/// A user, as the credentials port has recognised it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the user. May come from the network: escape it before it reaches a log.
    pub user: String,
    /// Whether the user may do everything.
    pub admin: bool,
}
