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

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246, without what is known to be weak.
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
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

/// Rules that are there before the configured ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthPreset {
    /// Those of the original server.
    Lighthouse,
    /// None.
    None,
}

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text. It must not reach a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

/// One user of the configuration.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// The name, which is also the user's place in the tree.
    pub name: String,
    /// The secret that proves the name; empty if a hash is given.
    pub token: String,
    /// SHA-256 of the token, in hexadecimal.
    pub token_sha256: String,
    /// A password as a PHC string of Argon2.
    pub password_argon2: String,
    /// What the rules know the user by.
    pub roles: Vec<String>,
    /// When it ends, as RFC 3339 has it; empty for never.
    pub expires: String,
    /// Whether this user has the admin role.
    pub admin: bool,
}

/// Written by hand because a derived one would bring tokens into logs.
impl std::fmt::Debug for User {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("User")
            .field("name", &self.name)
            .field("roles", &self.roles)
            .field("expires", &self.expires)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}
