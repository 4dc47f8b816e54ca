//! The types of keys that take one of a few words, and of users.

use serde::Deserialize;

/// How the state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreEngine {
    /// In a database, written where something changed.
    Embedded,
    /// In one file, written as a whole.
    File,
    /// Not at all.
    Memory,
}

/// What is on disk before a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreSync {
    /// Structural changes.
    Structure,
    /// Structural changes and values.
    All,
    /// Nothing.
    Interval,
}

/// How a log message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// Everybody, with every right.
    AllowAll,
    /// Nobody.
    AllowNone,
    /// The configured users.
    Users,
}

/// One user of `auth.mode = "users"`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name, which is also the user's place in the tree.
    pub name: String,
    /// The secret that proves the name.
    pub token: String,
    /// Whether this user may do everything.
    #[serde(default)]
    pub admin: bool,
}

/// Written by hand because a derived one would bring tokens into logs.
impl std::fmt::Debug for User {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("User")
            .field("name", &self.name)
            .field("token", &"***")
            .field("admin", &self.admin)
            .finish()
    }
}
