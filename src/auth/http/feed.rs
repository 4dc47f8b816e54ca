//! The feed: the service tells which users there are, and each gets its places in the tree.
//!
//! The feed has no mark behind the last user, so it is never known to be complete. A user is
//! removed when the feed says so, and for no other reason: not because the feed was cut, nor
//! because a user is missing when it is told again from the start.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use actix_web::rt::time::{sleep, timeout};
use fanal_actors::{Broker, Path, Provision, Rnum};
use tokio::task::JoinSet;

use super::super::places::Places;
use super::Context;
use super::client::{Failure, Lined};
use super::record::{UserLine, is_name, read_user};
use crate::clock::Moment;
use crate::sparing::Sparing;

/// Users whose places are made or deleted at a time; meanwhile the feed is not read on.
const BUSY_MAX: usize = 64;

/// How often it is looked whether the broker runs.
const START_INTERVAL: Duration = Duration::from_millis(20);

/// Where the feed is, and what it is for.
pub struct Feed {
    /// The URL.
    pub url: String,
    /// What it is asked with; empty for nothing.
    pub token: String,
    /// The places of each user.
    pub places: Places,
}

/// Follows the feed for ever.
pub async fn follow(context: Rc<Context>, feed: Feed) {
    let broker = loop {
        match context.surroundings.broker() {
            Some(broker) => break broker.clone(),
            None => sleep(START_INTERVAL).await,
        }
    };
    let complaints = Sparing::default();
    let feed = Rc::new(feed);
    let mut failures: u32 = 0;
    loop {
        let opened = Moment::now();
        let how = match context.service.open(&feed.url, &feed.token).await {
            Ok(stream) => {
                log::info!("auth_http.users_url: following the users");
                let mut work = Work::new(Rc::clone(&context), Rc::clone(&feed), broker.clone());
                read(&context, stream, &mut work).await
            }
            Err(Failure::Refused) => "does not accept auth_http.token".to_owned(),
            Err(Failure::Down(how)) => how,
        };
        complaints.warn(format_args!(
            "auth_http.users_url: the service {how}; all users stay as they are until it answers \
             again"
        ));
        if Moment::now().since(opened) >= context.backoff.max() {
            failures = 0;
        }
        failures = failures.saturating_add(1);
        sleep(context.backoff.wait(failures)).await;
    }
}

/// Does what the feed says until it breaks off, and returns how it did.
async fn read(context: &Context, mut stream: Lined, work: &mut Work) -> String {
    let limit = context.service.timeout();
    let how = loop {
        match timeout(limit, stream.next(read_user)).await {
            Err(_) => break format!("gave no sign of life within {limit:?}"),
            Ok(Err(Failure::Down(how))) => break how,
            Ok(Err(Failure::Refused)) => break "refused".to_owned(),
            Ok(Ok(None)) => {}
            Ok(Ok(Some(line))) => work.take(line).await,
        }
    };
    work.finish().await;
    how
}

/// What is being made and deleted.
struct Work {
    context: Rc<Context>,
    feed: Rc<Feed>,
    broker: Broker,
    tasks: JoinSet<String>,
    /// The users of the tasks, so that what is said of one is done in its order.
    busy: HashSet<String>,
}

impl Work {
    fn new(context: Rc<Context>, feed: Rc<Feed>, broker: Broker) -> Self {
        Work { context, feed, broker, tasks: JoinSet::new(), busy: HashSet::new() }
    }

    async fn take(&mut self, line: UserLine) {
        let user = line.username;
        if !is_name(&user) {
            let shown: String = user.chars().take(64).collect();
            self.context.strange_names.warn(format_args!(
                "auth_http.users_url: the user {shown:?} is left out: expected a name of 1 to 256 \
                 bytes without a slash"
            ));
            return;
        }
        if line.removed && self.context.cache.remove(&user) {
            self.context.changed();
        }
        while self.tasks.len() >= BUSY_MAX || self.busy.contains(&user) {
            self.wait().await;
        }
        self.busy.insert(user.clone());
        let (context, feed) = (Rc::clone(&self.context), Rc::clone(&self.feed));
        let broker = self.broker.clone();
        self.tasks.spawn_local(async move {
            for path in feed.places.of(&user) {
                provide(&context, &broker, path, line.removed).await;
            }
            user
        });
    }

    async fn finish(&mut self) {
        while !self.tasks.is_empty() {
            self.wait().await;
        }
    }

    async fn wait(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(user)) => {
                self.busy.remove(&user);
            }
            // Without a task nobody is busy, and of one that failed it is not known who was.
            Some(Err(_)) | None => self.busy.clear(),
        }
    }
}

async fn provide(context: &Context, broker: &Broker, path: Path, removed: bool) {
    let (wanted, what) = if removed {
        (Provision::Delete(path.clone()), "deleted")
    } else {
        (Provision::Create(path.clone(), None), "made")
    };
    match broker.provision(wanted).await {
        Rnum::Ok | Rnum::Created => log::debug!("auth_http.users_url: {what} {path}"),
        // It is there already, or gone already.
        Rnum::BadRequest if !removed => {}
        Rnum::NotFound if removed => {}
        rnum => context
            .failed_places
            .warn(format_args!("auth_http.users_url: {path} is not {what}: {}", rnum.text())),
    }
}
