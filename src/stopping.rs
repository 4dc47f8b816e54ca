//! The end of a server: what brings it about, and how it goes.

use std::sync::OnceLock;
use std::time::Duration;

use actix_web::rt::signal::unix::{Signal, SignalKind, signal};
use actix_web::rt::time::{Instant, interval_at};
use anyhow::Context;
use fanal_actors::{Broker, is_guarded};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::reload::Reloader;

/// Exit code after a second signal: the last changes may not be saved.
pub const EXIT_AT_ONCE: i32 = 130;

/// How often it is said how far the end has come.
const PROGRESS: Duration = Duration::from_secs(1);

/// Tells a server to stop. Clones tell the same one.
#[derive(Clone)]
pub struct Stopper(Sender<Duration>);

impl Stopper {
    /// Has the server stop, and close its connections over this time; `false` if it is about to
    /// already.
    pub fn stop(&self, drain: Duration) -> bool {
        self.0.try_send(drain).is_ok()
    }
}

/// A stopper, and what it wishes.
pub fn stopper() -> (Stopper, Receiver<Duration>) {
    let (sender, receiver) = channel(1);
    (Stopper(sender), receiver)
}

/// Why the server ends.
pub struct End {
    /// A thread of it has failed.
    pub failed: bool,
    /// The time over which connections are to be closed; `None` for that of the configuration.
    pub drain: Option<Duration>,
}

/// Closes every session, saves, and says what happened.
///
/// # Errors
/// If the last changes could not be saved.
pub async fn stop(broker: Broker, drain: Duration) -> anyhow::Result<()> {
    let numbers = broker.clone();
    let all = broker.sessions();
    log::info!("stopping: {all} connections to close");
    let mut ticks = interval_at(Instant::now() + PROGRESS, PROGRESS);
    let stopping = broker.stop(drain);
    tokio::pin!(stopping);
    let saved = loop {
        tokio::select! {
            saved = &mut stopping => break saved?,
            _ = ticks.tick() => {
                log::info!("stopping: {} of {all} connections are left", numbers.sessions());
            }
        }
    };
    match saved {
        Some(report) => {
            log::info!("saved {} resources in {} bytes", report.resources, report.bytes);
        }
        None => log::info!("everything was saved already"),
    }
    let counts: Vec<String> = numbers
        .counters()
        .all()
        .into_iter()
        .filter(|(_, _, count)| *count > 0)
        .map(|(name, _, count)| format!("{name} {count}"))
        .collect();
    log::info!("since the start: {}", counts.join(", "));
    Ok(())
}

/// Waits for something that ends the server; what reloads it does so meanwhile.
pub async fn wait_for_the_end(
    signals: &mut Signals,
    reloader: &Reloader,
    wishes: &mut Receiver<Duration>,
) -> End {
    loop {
        tokio::select! {
            signal = signals.next_or_hangup() => match signal {
                Some(signal) => {
                    log::info!("{signal}: stopping");
                    return End { failed: false, drain: None };
                }
                None => {
                    let reloader = reloader.clone();
                    // What comes of it is in the log.
                    drop(actix_web::rt::task::spawn_blocking(move || reloader.reload()));
                }
            },
            Some(drain) = wishes.recv() => return End { failed: false, drain: Some(drain) },
            () = failure().notified() => return End { failed: true, drain: None },
        }
    }
}

/// The signals that end the server. Listened to without a break from the start on: one that comes
/// while nobody waits for it is kept for who waits next.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// SIGHUP, which reloads.
    hangup: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the system does not let it.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?,
        })
    }

    /// The next SIGTERM or SIGINT, or `None` for a SIGHUP.
    async fn next_or_hangup(&mut self) -> Option<&'static str> {
        tokio::select! {
            _ = self.terminate.recv() => Some("SIGTERM"),
            _ = self.interrupt.recv() => Some("SIGINT"),
            _ = self.hangup.recv() => None,
        }
    }

    /// The next SIGTERM or SIGINT.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Told when a thread has failed.
fn failure() -> &'static Notify {
    static FAILURE: OnceLock<Notify> = OnceLock::new();
    FAILURE.get_or_init(Notify::new)
}

/// A panic outside a guarded handler has taken an actor along that others rely on: the server saves
/// and ends with an error, for the service manager to start it again.
pub fn watch_for_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        if !is_guarded() {
            log::error!("a thread of the server has failed: {panic}");
            failure().notify_one();
        }
    }));
}
