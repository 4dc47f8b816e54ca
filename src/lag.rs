//! Lag: how late the event loops of the workers are. A worker that is late keeps all its
//! connections waiting for so long.
//!
//! A task of each worker asks to be woken again and again, and looks how late it was. That costs a
//! few microseconds a second, whether or not anybody looks.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::sleep;
use fanal_actors::metrics::{Histogram, Reading};
use parking_lot::Mutex;

use crate::clock::Clock;

/// How often each worker is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Bounds in nanoseconds. The timer of the runtime has steps of a millisecond, so that one of two
/// milliseconds is no lag.
const LAGS: &[u64] = &[
    2_000_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// Workers that are told apart; further ones are not looked at.
const WORKERS_MAX: usize = 1024;

/// The lag of each worker. Clones are the same.
#[derive(Clone, Default)]
pub struct Lags(Arc<Mutex<Vec<Arc<Histogram>>>>);

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
}

impl Lags {
    /// Has the event loop of this thread looked at, if it is not already.
    pub fn watch_this_thread(&self) {
        if IS_WATCHED.replace(true) {
            return;
        }
        let lag = {
            let mut all = self.0.lock();
            if all.len() >= WORKERS_MAX {
                return;
            }
            let lag = Arc::new(Histogram::new(LAGS));
            all.push(Arc::clone(&lag));
            lag
        };
        actix_web::rt::spawn(async move {
            loop {
                let asked = Clock::now();
                sleep(INTERVAL).await;
                let waited = Clock::now().saturating_duration_since(asked);
                lag.observe(waited.saturating_sub(INTERVAL));
            }
        });
    }

    /// The lag of each worker so far, in the order in which they began.
    pub fn read(&self) -> Vec<Reading> {
        let all = self.0.lock().clone();
        all.iter().map(|lag| lag.read()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_thread_that_is_busy_is_late() {
        let lags = Lags::default();
        lags.watch_this_thread();
        lags.watch_this_thread();
        // The task asks to be woken, and then nobody has time for it.
        actix_web::rt::task::yield_now().await;
        let busy_until = Clock::now() + INTERVAL + Duration::from_millis(30);
        while Clock::now() < busy_until {
            std::hint::spin_loop();
        }
        while lags.read().iter().all(|lag| lag.count == 0) {
            actix_web::rt::task::yield_now().await;
        }
        let read = lags.read();
        assert_eq!(read.len(), 1, "a thread is looked at once");
        assert!(read[0].sum >= 0.03, "{read:?}");
    }
}
