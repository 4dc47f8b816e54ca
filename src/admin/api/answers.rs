//! What the API answers.

use std::net::Ipv6Addr;
use std::time::{Duration, UNIX_EPOCH};

use fanal_actors::{
    Activity, Class, LinkView, Path, ResourceView, SessionView, StreamView, TreeView,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the server is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of the server.
    pub version: String,
    /// The number of its process.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// Whether it is about to stop.
    pub stopping: bool,
    /// Whether what is acknowledged gets to the disk.
    pub durable: bool,
    /// Connections that are open.
    pub sessions: u64,
    /// Resources and directories.
    pub nodes: u64,
    /// Bytes of all values.
    pub values_bytes: u64,
    /// Bytes of the values that are in memory.
    pub values_resident_bytes: u64,
    /// What was counted since the start, by name; see docs/metrics.md.
    pub counters: std::collections::BTreeMap<String, u64>,
}

/// A connection.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its number, as in the log.
    pub number: u64,
    /// Whom it last proved to be; absent until then.
    pub user: Option<String>,
    /// The provider that knows the user.
    pub provider: Option<String>,
    /// Its address; absent through a socket file.
    pub address: Option<String>,
    /// When it was opened (RFC 3339).
    pub opened: String,
    /// Requests that were answered.
    pub requests: u64,
    /// Streams that are open.
    pub streams: u64,
    /// Bytes that wait to be sent.
    pub waiting_bytes: u64,
    /// Updates that it did not get because it was behind.
    pub skipped: u64,
}

/// A connection and its streams.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionAndStreams {
    /// The connection.
    pub session: Session,
    /// Its streams.
    pub streams: Vec<Stream>,
}

/// A stream.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Stream {
    /// The number of its connection.
    pub session: u64,
    /// Its resource, as names separated by slashes; absent if that is gone.
    pub path: Option<String>,
    /// Values that wait to be sent.
    pub waiting: u64,
    /// Bytes of those.
    pub waiting_bytes: u64,
    /// Older values that were dropped because the connection was behind.
    pub skipped: u64,
}

/// A resource.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Resource {
    /// Where it is, as names separated by slashes.
    pub path: String,
    /// What is kept of it: `state`, `live` or `event`.
    pub class: String,
    /// Bytes of its value.
    pub bytes: u64,
    /// Whether the value is in memory, and not in the store only.
    pub resident: bool,
    /// `untouched` (nothing but its value), `passive` (streams or links), `active` (an actor), or
    /// `loading` (its value is on its way from the store).
    pub activity: String,
    /// Values that it took since it last had nothing but its value.
    pub updates: u64,
    /// Values that it took in a second, if that was asked for.
    pub updates_per_second: Option<f64>,
    /// Requests and values that wait for its actor.
    pub waiting: u64,
    /// Streams of it.
    pub streams: u64,
}

/// A resource, its streams and its links.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceAndStreams {
    /// The resource.
    pub resource: Resource,
    /// Its streams.
    pub streams: Vec<Stream>,
    /// Links from it and to it.
    pub links: Vec<Link>,
}

/// A link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// The resource that follows.
    pub destination: String,
    /// The resource that is followed.
    pub source: String,
}

/// Numbers of the tree as a whole.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Tree {
    /// Directories, without the root.
    pub directories: u64,
    /// Resources.
    pub resources: u64,
    /// Resources with nothing but their value.
    pub untouched: u64,
    /// Resources with streams or links, and no actor.
    pub passive: u64,
    /// Resources with an actor.
    pub active: u64,
    /// Resources whose value is in the store only.
    pub away: u64,
    /// Names of the longest path.
    pub depth: u64,
    /// Bytes of all values.
    pub values_bytes: u64,
    /// Links.
    pub links: u64,
    /// Streams.
    pub streams: u64,
}

/// What is logged.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogLevel {
    /// The least important messages that are shown, as `log.level` has it.
    pub level: String,
}

/// A setting that may be changed while the server runs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Tunable {
    /// Its name, such as `stream.buffer`.
    pub key: String,
    /// Its value as TOML.
    pub value: String,
    /// Where the value comes from.
    pub origin: String,
    /// What a change counts for: `now`, `new connections` or `next start`.
    pub effect: String,
    /// The value that counts until the next start, if that is another one.
    pub in_effect: Option<String>,
    /// What it is.
    pub description: String,
}

/// A setting that was changed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Tuned {
    /// Its name.
    pub key: String,
    /// Its value now, as TOML.
    pub value: String,
    /// What the change counts for: `now`, `new connections` or `next start`.
    pub effect: String,
    /// What is to be known besides, for people.
    pub remark: Option<String>,
}

/// What was done.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// What was done, for people.
    pub done: String,
}

/// What was saved.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Saved {
    /// Values that had changed; 0 if everything was saved already.
    pub resources: u64,
    /// Bytes that were written.
    pub bytes: u64,
}

impl From<SessionView> for Session {
    fn from(view: SessionView) -> Self {
        let address = view.address.map(|octets| Ipv6Addr::from(octets).to_canonical().to_string());
        let opened = UNIX_EPOCH + Duration::from_secs(view.opened.into());
        Session {
            number: view.number,
            provider: view.user.as_ref().map(|user| user.provider.to_owned()),
            user: view.user.map(|user| user.user.clone()),
            address,
            opened: humantime::format_rfc3339_seconds(opened).to_string(),
            requests: view.outbox.answered,
            streams: view.outbox.streams as u64,
            waiting_bytes: view.outbox.waiting_bytes as u64,
            skipped: view.outbox.skipped,
        }
    }
}

impl From<StreamView> for Stream {
    fn from(view: StreamView) -> Self {
        Stream {
            session: view.session,
            path: view.path.as_ref().map(to_text),
            waiting: view.waiting as u64,
            waiting_bytes: view.waiting_bytes as u64,
            skipped: view.skipped,
        }
    }
}

impl From<ResourceView> for Resource {
    fn from(view: ResourceView) -> Self {
        let class = match view.class {
            Class::State => "state",
            Class::Live => "live",
            Class::Event => "event",
        };
        let activity = match view.activity {
            Activity::Untouched => "untouched",
            Activity::Passive => "passive",
            Activity::Active => "active",
            Activity::Loading => "loading",
        };
        Resource {
            path: to_text(&view.path),
            class: class.to_owned(),
            bytes: view.bytes,
            resident: view.is_resident,
            activity: activity.to_owned(),
            updates: view.updates,
            updates_per_second: None,
            waiting: view.waiting as u64,
            streams: view.streams as u64,
        }
    }
}

impl From<LinkView> for Link {
    fn from(view: LinkView) -> Self {
        Link { destination: to_text(&view.destination), source: to_text(&view.source) }
    }
}

impl From<TreeView> for Tree {
    fn from(view: TreeView) -> Self {
        Tree {
            directories: view.directories,
            resources: view.untouched + view.passive + view.active + view.loading,
            untouched: view.untouched,
            passive: view.passive,
            active: view.active,
            away: view.away,
            depth: view.depth,
            values_bytes: view.values_bytes,
            links: view.links,
            streams: view.streams,
        }
    }
}

/// A path as names separated by slashes.
fn to_text(path: &Path) -> String {
    let names: Vec<&str> = path.names().iter().map(|name| &**name).collect();
    names.join("/")
}
