//! Attempts to prove who one is, counted by who knew and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Who knows users: the providers, `anonymous` for those without credentials, `anybody` where
/// nobody has to prove anything, and `none` for whom nobody knows.
const PROVIDERS: [&str; 9] =
    ["none", "anonymous", "anybody", "users", "jwt", "mtls", "http", "sql", "tree"];

/// What came of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// They were good.
    Accepted,
    /// They were good before, and still are.
    Confirmed,
    /// They were good before, and no longer are.
    Withdrawn,
    /// They were not good.
    Refused,
    /// It could not be found out.
    Unavailable,
    /// They were not judged: too many from their address were not good.
    HeldOff,
}

impl Attempt {
    const ALL: [Attempt; 6] = [
        Attempt::Accepted,
        Attempt::Confirmed,
        Attempt::Withdrawn,
        Attempt::Refused,
        Attempt::Unavailable,
        Attempt::HeldOff,
    ];

    fn name(self) -> &'static str {
        match self {
            Attempt::Accepted => "accepted",
            Attempt::Confirmed => "confirmed",
            Attempt::Withdrawn => "withdrawn",
            Attempt::Refused => "refused",
            Attempt::Unavailable => "unavailable",
            Attempt::HeldOff => "held_off",
        }
    }

    /// Whether it is counted for who knows users so.
    fn is_for(self, provider: &str) -> bool {
        match self {
            Attempt::Accepted | Attempt::Confirmed => provider != "none",
            Attempt::Withdrawn | Attempt::Refused | Attempt::HeldOff => provider == "none",
            Attempt::Unavailable => !["none", "anonymous", "anybody"].contains(&provider),
        }
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Attempts([[AtomicU64; Attempt::ALL.len()]; PROVIDERS.len()]);

impl Attempts {
    /// Counts one.
    pub fn note(&self, provider: &str, attempt: Attempt) {
        let place = PROVIDERS.iter().position(|name| *name == provider).unwrap_or(0);
        if let Some(count) = self.0.get(place).and_then(|row| row.get(attempt as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Provider, outcome and how many, of every pair that there can be.
    pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut all = Vec::new();
        for (provider, row) in PROVIDERS.iter().zip(&self.0) {
            for (attempt, count) in Attempt::ALL.iter().zip(row) {
                if attempt.is_for(provider) {
                    all.push((*provider, attempt.name(), count.load(Ordering::Relaxed)));
                }
            }
        }
        all
    }
}
