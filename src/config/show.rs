//! How values are written: as TOML, on one line, and short enough for a message.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::choices::{
    AuthMode, AuthPreset, LogFormat, Secret, StoreEngine, StoreSync, TlsVersion, User,
};

/// What stands in the place of a token wherever configuration is shown.
pub(super) const HIDDEN: &str = "***";

const FOUND_CHARS_MAX: usize = 60;

/// A value that can be written as TOML on one line.
pub(super) trait Show {
    fn show(&self) -> String;
}

/// A TOML string. Control characters are escaped, so it never breaks a line or colours a terminal.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

/// What was found, short enough to be read in the middle of a sentence.
pub(super) fn shorten(shown: &str) -> String {
    if shown.chars().count() <= FOUND_CHARS_MAX {
        return shown.to_owned();
    }
    let start: String = shown.chars().take(FOUND_CHARS_MAX).collect();
    format!("{start}...")
}

/// A duration in the way people write it: 90 seconds are "90s", not "1m 30s".
pub(super) fn duration(duration: Duration) -> String {
    const WHOLE_SECONDS_MAX: u64 = 120;
    if duration.subsec_nanos() == 0 && duration.as_secs() < WHOLE_SECONDS_MAX {
        return format!("{}s", duration.as_secs());
    }
    humantime::format_duration(duration).to_string()
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> String {
        let items: Vec<String> = self.iter().map(Show::show).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Show for String {
    fn show(&self) -> String {
        quote(self)
    }
}

impl Show for PathBuf {
    fn show(&self) -> String {
        quote(&self.to_string_lossy())
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        quote(&duration(*self))
    }
}

impl Show for IpAddr {
    fn show(&self) -> String {
        quote(&self.to_string())
    }
}

impl Show for IpNet {
    fn show(&self) -> String {
        quote(&self.to_string())
    }
}

impl Show for bool {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u16 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u32 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u64 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for usize {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for StoreEngine {
    fn show(&self) -> String {
        quote(match self {
            Self::Embedded => "embedded",
            Self::File => "file",
            Self::Memory => "memory",
        })
    }
}

impl Show for StoreSync {
    fn show(&self) -> String {
        quote(match self {
            Self::Structure => "structure",
            Self::All => "all",
            Self::Interval => "interval",
        })
    }
}

impl Show for LogFormat {
    fn show(&self) -> String {
        quote(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl Show for TlsVersion {
    fn show(&self) -> String {
        quote(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

impl Show for AuthMode {
    fn show(&self) -> String {
        quote(match self {
            Self::AllowAll => "allow_all",
            Self::AllowNone => "allow_none",
            Self::Users => "users",
        })
    }
}

impl Show for AuthPreset {
    fn show(&self) -> String {
        quote(match self {
            Self::Lighthouse => "lighthouse",
            Self::None => "none",
        })
    }
}

impl Show for Secret {
    fn show(&self) -> String {
        quote(if self.reveal().is_empty() { "" } else { HIDDEN })
    }
}

impl Show for User {
    fn show(&self) -> String {
        format!("{{ {} }}", self.fields().join(", "))
    }
}
