//! Ticks of an interval that may be changed, or be zero for none.

use std::time::Duration;

use actix_web::rt::time::{Instant, sleep_until};
use tokio::sync::watch;

/// See the module's text.
pub struct Ticks {
    every: watch::Receiver<Duration>,
    /// The last tick, or when it was begun.
    last: Instant,
}

impl Ticks {
    /// From now on; the first tick is after one interval.
    pub fn new(every: watch::Receiver<Duration>) -> Self {
        Ticks { every, last: Instant::now() }
    }

    /// Waits for the next; `false` if there will be none. After a pause of the machine there is one
    /// and not all that were missed.
    pub async fn next(&mut self) -> bool {
        loop {
            let every = *self.every.borrow_and_update();
            let due = async {
                match self.last.checked_add(every).filter(|_| !every.is_zero()) {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    self.last = Instant::now();
                    return true;
                }
                changed = self.every.changed() => {
                    if changed.is_err() {
                        return false;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn ticks_come_at_the_interval_as_it_is() {
        tokio::time::pause();
        let (sender, receiver) = watch::channel(Duration::from_secs(3600));
        let mut ticks = Ticks::new(receiver);
        let started = Instant::now();
        let passed = || (Instant::now() - started).as_secs();
        assert!(ticks.next().await);
        assert_eq!(passed(), 3600);
        sender.send_replace(Duration::from_secs(1));
        assert!(ticks.next().await && ticks.next().await);
        assert_eq!(passed(), 3602);
        sender.send_replace(Duration::ZERO);
        let wait = tokio::time::timeout(Duration::from_secs(10_000), ticks.next()).await;
        assert!(wait.is_err(), "zero is never");
        sender.send_replace(Duration::from_secs(1));
        assert!(ticks.next().await, "it is over already");
        assert_eq!(passed(), 13_602);
        drop(sender);
        assert!(!ticks.next().await);
    }
}
