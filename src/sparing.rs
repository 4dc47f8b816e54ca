//! Warnings that may come as often as a service or a stranger likes, and are logged now and then.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Moment;

/// How often one kind of warning is logged.
const INTERVAL: Duration = Duration::from_secs(10);

/// One kind of warning.
#[derive(Default)]
pub struct Sparing(Mutex<Past>);

#[derive(Default)]
struct Past {
    last: Option<Moment>,
    left_out: u64,
}

impl Sparing {
    /// Logs a warning, or counts it for the next one. What others have written is escaped.
    pub fn warn(&self, text: impl fmt::Display) {
        let now = Moment::now();
        let mut past = self.0.lock();
        if past.last.is_some_and(|last| now.since(last) < INTERVAL) {
            past.left_out = past.left_out.saturating_add(1);
            log::debug!("{}", escape(&text));
            return;
        }
        let past = std::mem::replace(&mut *past, Past { last: Some(now), left_out: 0 });
        match past.left_out {
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
            assert_eq!(sparing.0.lock().left_out, if expected < 2 { 0 } else { expected - 1 });
            sparing.warn("again");
        }
    }

    #[test]
    fn a_warning_is_one_line() {
        assert_eq!(escape(&"a\r\n\u{1b}[31m\u{fc}\""), "a\\r\\n\\u{1b}[31m\u{fc}\"");
    }
}
