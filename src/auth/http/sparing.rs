//! Warnings that may come as often as a service or a stranger likes, and are logged now and then.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use crate::clock::Moment;

/// How often one kind of warning is logged.
const INTERVAL: Duration = Duration::from_secs(10);

/// One kind of warning.
#[derive(Default)]
pub struct Sparing {
    last: Cell<Option<Moment>>,
    left_out: Cell<u64>,
}

impl Sparing {
    /// Logs a warning, or counts it for the next one. What others have written is escaped.
    pub fn warn(&self, text: impl fmt::Display) {
        let now = Moment::now();
        if self.last.get().is_some_and(|last| now.since(last) < INTERVAL) {
            self.left_out.set(self.left_out.get().saturating_add(1));
            log::debug!("{}", escape(&text));
            return;
        }
        self.last.set(Some(now));
        match self.left_out.take() {
            0 => log::warn!("{}", escape(&text)),
            left_out => log::warn!("{} ({left_out} more like it before)", escape(&text)),
        }
    }
}

fn escape(text: &impl fmt::Display) -> String {
    let mut escaped = String::new();
    for character in text.to_string().chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_often_is_counted() {
        let sparing = Sparing::default();
        for expected in 0..5 {
            assert_eq!(sparing.left_out.get(), if expected < 2 { 0 } else { expected - 1 });
            sparing.warn("again");
        }
    }

    #[test]
    fn a_warning_is_one_line() {
        assert_eq!(escape(&"a\r\n\u{1b}[31m\u{fc}\""), "a\\r\\n\\u{1b}[31m\u{fc}\"");
    }
}
