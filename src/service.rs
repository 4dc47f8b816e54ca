//! What the service manager is told (sd_notify(3)): that the server is ready, that it stops, and
//! that it is alive. Without one that wants to know, nothing.

use std::time::Duration;

use actix_web::rt::time::interval;
use sd_notify::NotifyState;

/// Says that the server is ready, and from then on that it is alive, if that is wanted.
pub fn note_ready(nodes: usize) {
    let status = format!("{nodes} resources and directories loaded");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    if let Some(patience) = sd_notify::watchdog_enabled() {
        actix_web::rt::spawn(stay_alive(patience / 2));
    }
}

/// Says that the server stops.
pub fn note_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// From the thread that waits for signals: while that one works, the server can be stopped.
async fn stay_alive(every: Duration) {
    let mut ticks = interval(every.max(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}
