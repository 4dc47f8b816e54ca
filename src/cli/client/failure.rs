//! Why a command failed, as the code that its process ends with.

use std::fmt;

/// What one does of a failure in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server refused, or something else went wrong.
    Refused = 1,
    /// The command cannot be understood: flags, a profile, a value.
    Usage = 2,
    /// The credentials are not good, or do not allow this.
    Denied = 3,
    /// There is nothing at this path.
    NotFound = 4,
    /// The server cannot be reached, or went away.
    Unreachable = 5,
}

/// What the process ends with when the user stops it.
const INTERRUPTED: u8 = 130;

/// What `--help` says of them.
pub const CODES: &str = "\
Exit codes:
  0  it is done
  1  the server refused, or something else went wrong
  2  the command, a profile or a value cannot be understood
  3  the credentials are not good, or do not allow this (401, 403)
  4  there is nothing at this path (404)
  5  the server cannot be reached, or went away
  130  stopped by Ctrl-C";

/// A failure with a code; whatever else fails is of kind `Refused`.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// A failure with what to tell the user.
    pub fn error(kind: Kind, text: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Failure { code: kind as u8, text: text.into() })
    }

    /// No failure, but the user's wish: there is nothing to say.
    pub fn interrupted() -> anyhow::Error {
        anyhow::Error::new(Failure { code: INTERRUPTED, text: String::new() })
    }

    /// The same failure as one of a kind.
    pub fn of(kind: Kind, error: &anyhow::Error) -> anyhow::Error {
        Failure::error(kind, format!("{error:#}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// The code of an error.
pub fn code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Failure>().map_or(Kind::Refused as u8, |failure| failure.code)
}
