//! The provider `http`: a service beside the broker knows the users, as heimdall does in Project
//! Lighthouse.
//!
//! A claim is judged by what is known ([`cache`]), on the thread that asks. What is not known is
//! asked for in the background, once for all who want to know it: `GET {url}/{user}` with the token
//! of the claim in the Authorization header. The answer is a stream of lines that is held open
//! while the user is used ([`user`]), so that a new token or other roles are known at once.
//! The [`feed`] tells of all users, and gives each its places in the tree.
//!
//! While the service is down, who is known stays known until the credentials expire, and who is
//! not gets 503: never access.

mod backoff;
mod cache;
mod client;
mod feed;
mod lines;
mod record;
mod user;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use actix_web::http::Uri;
use actix_web::rt::time::{interval, sleep};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::places::Places;
use super::secrets::sha256;
use super::trust;
use super::{Background, Claim, Outcome, Provider, Surroundings};
use crate::config::Config;
use crate::sparing::Sparing;
use backoff::Backoff;
use cache::{Bounds, Cache, Checked, Now, QUESTIONS_MAX, Verdict};
use client::{Service, header};
use feed::Feed;
use record::{TOKEN_BYTES_MAX, Token, is_name};
use user::Question;

/// What is not encoded in a segment of a URL: the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How often it is looked for users that nobody uses.
const SWEEP_MIN: Duration = Duration::from_millis(10);
const SWEEP_MAX: Duration = Duration::from_secs(5);

/// Changes within so much time lead to one look at all credentials in use.
const CHANGES_TIME: Duration = Duration::from_millis(10);

/// See the module's text.
pub struct Http {
    cache: Cache,
    questions: mpsc::Sender<Question>,
    _background: Background,
}

impl Http {
    /// The service of this configuration, whether it is there now or not.
    ///
    /// # Errors
    /// If encryption cannot be used.
    pub fn from_config(config: &Config, surroundings: &Surroundings) -> anyhow::Result<Self> {
        let settings = &config.auth_http;
        let (url, users_url) = (&settings.url, &settings.users_url);
        for (key, url) in [("auth_http.url", url), ("auth_http.users_url", users_url)] {
            if !is_private(url) {
                log::warn!("{key}: {url} is not encrypted, so others may read the tokens");
            }
        }
        let is_encrypted = [url, users_url].iter().any(|url| is_https(url));
        let encryption = is_encrypted.then(|| trust::https("auth_http.url")).transpose()?;
        let backoff = Backoff::new(settings.retry_wait_max);
        let cache = Cache::new(Bounds {
            users_max: settings.users_max,
            refusal_time: settings.refusal_time,
            idle_timeout: settings.idle_timeout,
            backoff,
        });
        let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
        let start = Start {
            url: url.trim_end_matches('/').to_owned(),
            feed: (!users_url.is_empty()).then(|| Feed {
                url: users_url.clone(),
                token: settings.token.reveal().to_owned(),
                places: Places::new(&config.auth.user_paths, config.limits.name_bytes_max),
            }),
            encryption,
            timeout: settings.timeout,
            sweep_interval: (settings.idle_timeout / 4).clamp(SWEEP_MIN, SWEEP_MAX),
            backoff,
            cache: cache.clone(),
            surroundings: surroundings.clone(),
            questions,
        };
        let background = surroundings.spawn(move || run(start));
        Ok(Http { cache, questions: sender, _background: background })
    }
}

impl Provider for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn check(&self, claim: &Claim<'_>, waiter: &Waker) -> Outcome {
        if !is_name(claim.user) || claim.token.len() > TOKEN_BYTES_MAX {
            return Outcome::Unknown;
        }
        if claim.token.is_empty() || header(claim.token).is_none() {
            return Outcome::Unknown;
        }
        let hash = sha256(claim.token);
        match self.cache.check(claim.user, &hash, waiter, Now::get()) {
            Checked::Proven(proof) => Outcome::Proven(proof),
            Checked::Unknown => Outcome::Unknown,
            Checked::Unavailable => Outcome::Unavailable,
            Checked::Pending => Outcome::Pending,
            Checked::Ask(key) => {
                let (user, token) = (claim.user.to_owned(), Token::new(claim.token));
                if self.questions.try_send(Question { key, user, token }).is_ok() {
                    return Outcome::Pending;
                }
                // There is room for as many as the cache lets ask, so the thread has ended.
                let _no_place = self.cache.settle(key, &hash, Verdict::Failed, Now::get());
                Outcome::Unavailable
            }
        }
    }

    fn roles_of(&self, user: &str) -> Option<Vec<String>> {
        self.cache.roles_of(user)
    }
}

/// What the background begins with.
struct Start {
    url: String,
    feed: Option<Feed>,
    encryption: Option<Arc<ClientConfig>>,
    timeout: Duration,
    sweep_interval: Duration,
    backoff: Backoff,
    cache: Cache,
    surroundings: Surroundings,
    questions: mpsc::Receiver<Question>,
}

/// What the tasks in the background share.
struct Context {
    url: String,
    service: Service,
    backoff: Backoff,
    cache: Cache,
    surroundings: Surroundings,
    changes: Notify,
    is_down: Cell<bool>,
    complaints: Sparing,
    strange_names: Sparing,
    failed_places: Sparing,
}

impl Context {
    /// Where the service tells of a user.
    fn url_of(&self, user: &str) -> String {
        format!("{}/{}", self.url, utf8_percent_encode(user, SEGMENT))
    }

    /// Has all credentials in use judged again, soon.
    fn changed(&self) {
        self.changes.notify_one();
    }

    /// Says that the service does not work as it should.
    fn complain(&self, how: &str) {
        self.is_down.set(true);
        self.complaints.warn(format_args!(
            "auth_http.url: the service {how}; users that are known stay as they are until they \
             expire, others are answered 503"
        ));
    }

    fn note_success(&self) {
        if self.is_down.replace(false) {
            log::info!("auth_http.url: the service answers again");
        }
    }
}

/// Runs until it is dropped. The tasks are its own and end with it.
async fn run(start: Start) {
    let mut questions = start.questions;
    let context = Rc::new(Context {
        url: start.url,
        service: Service::new(start.encryption, start.timeout),
        backoff: start.backoff,
        cache: start.cache,
        surroundings: start.surroundings,
        changes: Notify::new(),
        is_down: Cell::default(),
        complaints: Sparing::default(),
        strange_names: Sparing::default(),
        failed_places: Sparing::default(),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn_local(tell_changes(Rc::clone(&context)));
    if let Some(feed) = start.feed {
        tasks.spawn_local(feed::follow(Rc::clone(&context), feed));
    }
    let mut sweeps = interval(start.sweep_interval);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            question = questions.recv() => {
                let Some(question) = question else { return };
                tasks.spawn_local(user::ask(Rc::clone(&context), question));
            }
            Some(_) = tasks.join_next() => {}
            _ = sweeps.tick() => {
                if context.cache.sweep(Now::get()) {
                    context.changed();
                }
            }
        }
    }
}

/// Has all credentials in use judged again when something has changed, at once for the first
/// change and together for those that follow it.
async fn tell_changes(context: Rc<Context>) {
    loop {
        context.changes.notified().await;
        context.surroundings.changed();
        sleep(CHANGES_TIME).await;
    }
}

fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// Whether nobody else can read what is sent there.
fn is_private(url: &str) -> bool {
    if url.is_empty() || is_https(url) {
        return true;
    }
    let Ok(uri) = url.parse::<Uri>() else { return false };
    trust::is_loopback(uri.host().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_the_url() {
        let check = |name: &str, expected: &str| {
            assert_eq!(utf8_percent_encode(name, SEGMENT).to_string(), expected);
        };
        check("ann", "ann");
        check("A-z_0.9~", "A-z_0.9~");
        check("a b", "a%20b");
        check("a/b?c#d", "a%2Fb%3Fc%23d");
        check("%2e%2e", "%252e%252e");
        check("\u{fc}\r\n", "%C3%BC%0D%0A");
        check("a;b@c:d&e=f+g", "a%3Bb%40c%3Ad%26e%3Df%2Bg");
    }

    #[test]
    fn only_encryption_and_this_machine_are_private() {
        for url in [
            "",
            "https://example.org/x",
            "HTTPS://example.org",
            "http://127.0.0.1:80/x",
            "http://127.8.9.1",
            "http://[::1]:8080/x",
            "http://[::ffff:127.0.0.1]/x",
            "http://localhost:1/x",
        ] {
            assert!(is_private(url), "{url}");
        }
        for url in ["http://example.org", "http://10.0.0.1/x", "http://localhost.example.org"] {
            assert!(!is_private(url), "{url}");
        }
    }
}
