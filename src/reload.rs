//! Reload: the configuration is read anew while the server runs, and what of it may takes its place
//! at once or, if anything is wrong, nothing.
//!
//! It is asked for by SIGHUP or `fanal reload`, or begins by itself when the configuration file,
//! the file of users or a certificate has changed. Who may do what, the certificates and most of
//! the tunables change at once; everything else does at the next start, and is named in the log.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fanal_actors::Broker;
use parking_lot::Mutex;

use crate::auth::Authority;
use crate::cli::ServerArgs;
use crate::clock::Moment;
use crate::config::{self, Config, DEFAULT_FILE};
use crate::tls::{self, Encryption, Files};
use crate::tunables::{self, Effect, Tunables};

/// How often it is looked whether the certificate expires.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(24 * 3600);

/// Reloads. Clones are the same.
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

struct Inner {
    args: ServerArgs,
    /// The configuration with which the server was started.
    started: Config,
    tunables: Tunables,
    authority: Authority,
    broker: Broker,
    /// Whose certificates are read anew as well.
    encryption: Option<Encryption>,
    /// Files as they were when they were last read. Whoever holds it reloads.
    stamps: Mutex<Vec<(PathBuf, Option<Stamp>)>>,
}

/// What tells a file from the same file with other content.
type Stamp = (i64, i64, u64, u64);

impl Reloader {
    /// For a server that was started with these flags and this configuration.
    pub fn new(
        args: &ServerArgs,
        started: &Config,
        authority: Authority,
        broker: Broker,
        tunables: Tunables,
        encryption: Option<Encryption>,
    ) -> Self {
        let stamps = Mutex::new(stamps(&files(args, started)));
        let (args, started) = (args.clone(), started.clone());
        let inner = Inner { args, started, tunables, authority, broker, encryption, stamps };
        Reloader(Arc::new(inner))
    }

    /// Reads everything again and takes it; the answer is a line for people.
    ///
    /// # Errors
    /// What is wrong, one line for each thing; nothing has changed then.
    pub fn reload(&self) -> Result<String, String> {
        self.reload_from(&mut self.0.stamps.lock())
    }

    /// Reloads if a file has changed since it was last read.
    fn reload_if_changed(&self) {
        let mut known = self.0.stamps.lock();
        let paths: Vec<PathBuf> = known.iter().map(|(path, _)| path.clone()).collect();
        if stamps(&paths) != *known {
            // It is in the log.
            let _ = self.reload_from(&mut known);
        }
    }

    fn reload_from(&self, known: &mut Vec<(PathBuf, Option<Stamp>)>) -> Result<String, String> {
        let inner = &self.0;
        let counters = inner.broker.counters();
        // Looked at before they are read: a change in between is seen the next time.
        let before = stamps(&files(&inner.args, &inner.authority.config()));
        *known = before;
        let outcome = inner
            .tunables
            .reload(|config| inner.take(config).map_err(|error| format!("{error:#}")));
        match outcome {
            Ok((config, changed)) => {
                counters.reloads.add(1);
                // The file of users may be another one now. Those that were looked at before they
                // were read keep that look, or a change in between would never be seen.
                for (path, stamp) in stamps(&files(&inner.args, &config)) {
                    if known.iter().all(|(other, _)| *other != path) {
                        known.push((path, stamp));
                    }
                }
                let changed = match &*changed {
                    [] => String::new(),
                    changed => format!("; changed: {}", changed.join(", ")),
                };
                let later = later(&inner.started, &config);
                let done = "who may do what is as the configuration says now";
                log::info!("reloaded: {done}{changed}{later}");
                Ok(format!("{done}{changed}{later}"))
            }
            Err(problems) => {
                counters.reloads_failed.add(1);
                for line in problems.lines() {
                    log::error!("reload: {line}");
                }
                log::error!("reload: nothing has changed; mend it and reload again");
                Err(problems)
            }
        }
    }

    /// What may be changed while the server runs.
    pub fn tunables(&self) -> &Tunables {
        &self.0.tunables
    }

    /// Looks again and again, until the server ends, for files that have changed, for credentials
    /// that have expired, and for a certificate that is about to.
    pub async fn watch(self) {
        let interval = self.0.started.auth.recheck_interval;
        if interval.is_zero() {
            return;
        }
        let mut ticks = actix_web::rt::time::interval(interval);
        let mut warned = Moment::now();
        loop {
            ticks.tick().await;
            if let Some(encryption) = &self.0.encryption
                && Moment::now().since(warned) > CERTIFICATE_LOOK
            {
                warned = Moment::now();
                encryption.warn_of_expiry();
            }
            if self.0.authority.has_expired() {
                self.0.broker.recheck();
            }
            let reloader = self.clone();
            // Reading files, and what providers are made of, takes its time.
            let looked = actix_web::rt::task::spawn_blocking(move || reloader.reload_if_changed());
            if looked.await.is_err() {
                log::error!("reload: it failed, which is a fault of the server");
            }
        }
    }
}

impl Inner {
    /// Takes who may do what and the certificates of a configuration, or nothing of it.
    fn take(&self, config: &Config) -> anyhow::Result<()> {
        let encryption = self.encryption.as_ref().filter(|_| has(&config.tls.certificate));
        // All of it is read before any of it is taken.
        let files = encryption.map(|_| Files::read(config)).transpose()?;
        self.authority.reload(config, &self.broker)?;
        if let (Some(encryption), Some(files)) = (encryption, files) {
            encryption.replace(files);
        }
        Ok(())
    }
}

fn has(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// What the new configuration says that waits for the next start.
fn later(started: &Config, config: &Config) -> String {
    let keys = config::changed_keys(started, config);
    let waiting: Vec<&str> =
        keys.into_iter().filter(|key| !is_live(key, started, config)).collect();
    if waiting.is_empty() {
        return String::new();
    }
    format!("; at the next start only: {}", waiting.join(", "))
}

/// Whether a key takes effect at a reload.
fn is_live(key: &str, started: &Config, config: &Config) -> bool {
    const STARTED_ONLY: &[&str] = &[
        "auth.cookie",
        "auth.first_request_timeout",
        "auth.recheck_interval",
        "auth_mtls.required",
    ];
    match key {
        // Whether there are any is settled at the start.
        "tls.certificate" | "tls.key" => {
            has(&started.tls.certificate) && has(&config.tls.certificate)
        }
        "auth_mtls.authorities" => {
            has(&started.auth_mtls.authorities) && has(&config.auth_mtls.authorities)
        }
        _ => {
            let section = key.split('.').next().unwrap_or_default();
            let auth = section == "auth" || section.starts_with("auth_");
            (auth && !STARTED_ONLY.contains(&key)) || tunables::effect(key) != Effect::NextStart
        }
    }
}

/// The files that are looked at.
fn files(args: &ServerArgs, config: &Config) -> Vec<PathBuf> {
    let main = args.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let users = &config.auth.users_file;
    let users = has(users).then(|| users.clone());
    let certificates = tls::paths(config).cloned();
    [Some(main), users].into_iter().flatten().chain(certificates).collect()
}

fn stamps(paths: &[PathBuf]) -> Vec<(PathBuf, Option<Stamp>)> {
    paths.iter().map(|path| (path.clone(), stamp(path))).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    Some((data.mtime(), data.mtime_nsec(), data.size(), data.ino()))
}
