//! Mailboxes: how much waits for the actors of a kind, and for how long.
//!
//! A mailbox of actix does not tell how much is in it, so whoever sends a letter says so, and
//! whoever takes it up does.

use std::time::Duration;

use super::histogram::Histogram;
use super::lanes::Lanes;

/// The mailboxes of all actors of a kind together.
#[derive(Debug)]
pub struct Mailbox {
    sent: Lanes,
    taken: Lanes,
    waits: Histogram,
}

/// A letter that waits, and since when if that is to be known.
#[derive(Clone, Copy, Debug)]
#[must_use = "it waits until it is taken"]
pub struct Posted(Option<Duration>);

impl Mailbox {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        let waits = Histogram::new(bounds);
        Mailbox { sent: Lanes::default(), taken: Lanes::default(), waits }
    }

    /// Letters that this thread has sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.own()
    }

    pub(super) fn post(&self, now: Option<Duration>) -> Posted {
        self.sent.add(1);
        Posted(now)
    }

    pub(super) fn take(&self, Posted(sent): Posted, now: impl FnOnce() -> Option<Duration>) {
        self.taken.add(1);
        if let (Some(sent), Some(now)) = (sent, sent.and_then(|_| now())) {
            self.waits.observe(now.saturating_sub(sent));
        }
    }

    /// Letters that nobody will take up any more.
    pub fn drop_letters(&self, letters: u64) {
        self.taken.add(letters);
    }

    /// Letters that wait.
    pub fn depth(&self) -> u64 {
        // In this order: what is taken in between must not be more than what was sent.
        let taken = self.taken.get();
        self.sent.get().saturating_sub(taken)
    }

    /// How long letters waited.
    pub fn waits(&self) -> &Histogram {
        &self.waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_waits_until_it_is_taken() {
        let mailbox = Mailbox::new(&[1000]);
        let letters = [mailbox.post(Some(Duration::ZERO)), mailbox.post(None), mailbox.post(None)];
        assert_eq!(mailbox.depth(), 3);
        for letter in letters {
            mailbox.take(letter, || Some(Duration::from_nanos(700)));
        }
        assert_eq!((mailbox.depth(), mailbox.waits().read().count), (0, 1));
        let _lost = mailbox.post(None);
        mailbox.drop_letters(1);
        assert_eq!(mailbox.depth(), 0);
    }
}
