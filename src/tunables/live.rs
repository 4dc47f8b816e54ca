//! What of a configuration takes effect while the server runs, and how.

use std::sync::Arc;
use std::time::Duration;

use fanal_actors::{Class, ClassRule, Limits, OutboxLimits, Pattern, Settings, Sync};
use tokio::sync::watch;

use crate::config::{Config, StoreSync};
use crate::doors::DoorSettings;
use crate::logging;

/// How long a peer has to answer a close frame before its connection is ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// When a changed setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At once, or within a second.
    Now,
    /// For connections that are opened from then on.
    NewConnections,
    /// At the next start of the server.
    NextStart,
}

impl Effect {
    /// When, in words.
    pub fn text(self) -> &'static str {
        match self {
            Effect::Now => "now",
            Effect::NewConnections => "new connections",
            Effect::NextStart => "next start",
        }
    }
}

/// Where the settings of a running server are.
pub struct Targets {
    /// Those of the broker.
    pub broker: fanal_actors::Broker,
    /// Those of the doors.
    pub doors: Arc<DoorSettings>,
    /// `statistics.interval`.
    pub statistics: watch::Sender<Duration>,
    /// `log.summary_interval`.
    pub summary: watch::Sender<Duration>,
}

type Apply = fn(&Config, &Targets);

use Effect::{NewConnections, Now};

/// The keys that take effect before the next start.
const LIVE: &[(&str, Effect, Apply)] = &[
    ("stream.buffer", Now, |c, t| t.outbox().stream_buffer.set(c.stream.buffer)),
    ("stream.buffer_bytes", Now, |c, t| {
        t.outbox().stream_buffer_bytes.set(c.stream.buffer_bytes);
    }),
    ("outbox.updates_bytes_max", Now, |c, t| {
        t.outbox().updates_bytes_max.set(c.outbox.updates_bytes_max);
    }),
    ("outbox.replies_bytes_max", Now, |c, t| {
        t.settings().replies_bytes_max.set(c.outbox.replies_bytes_max);
    }),
    ("outbox.stall_timeout", Now, |c, t| t.doors.stall_timeout.set(c.outbox.stall_timeout)),
    ("session.streams_max", Now, |c, t| t.outbox().streams_max.set(c.session.streams_max)),
    ("session.requests_max", Now, |c, t| t.settings().requests_max.set(c.session.requests_max)),
    ("session.requests_bytes_max", Now, |c, t| {
        t.settings().requests_bytes_max.set(c.session.requests_bytes_max);
    }),
    ("session.wrong_requests_max", Now, |c, t| {
        t.doors.wrong_requests_max.set(c.session.wrong_requests_max);
    }),
    ("session.wrong_requests_timeout", Now, |c, t| {
        t.doors.wrong_requests_timeout.set(c.session.wrong_requests_timeout);
    }),
    ("session.idle_timeout", NewConnections, |c, t| {
        t.doors.idle_timeout.set(c.session.idle_timeout);
    }),
    ("websocket.ping_interval", NewConnections, |c, t| {
        t.doors.ping_interval.set(c.websocket.ping_interval);
    }),
    ("websocket.pong_timeout", Now, |c, t| t.doors.pong_timeout.set(c.websocket.pong_timeout)),
    ("socket.read_buffer_bytes", Now, |c, t| {
        t.doors.read_buffer_bytes.set(c.socket.read_buffer_bytes);
    }),
    ("socket.write_buffer_bytes", Now, |c, t| {
        t.doors.write_buffer_bytes.set(c.socket.write_buffer_bytes);
    }),
    ("socket.nodelay", NewConnections, |c, t| t.doors.nodelay.set(c.socket.nodelay)),
    ("socket.notsent_lowat_bytes", NewConnections, |c, t| {
        t.doors.notsent_lowat_bytes.set(c.socket.notsent_lowat_bytes);
    }),
    ("socket.user_timeout", NewConnections, |c, t| {
        t.doors.user_timeout.set(c.socket.user_timeout);
    }),
    ("mailbox.resource", Now, |c, t| t.settings().mailbox_resource.set(c.mailbox.resource)),
    ("resource.idle_timeout", Now, |c, t| {
        t.settings().resource_idle_timeout.set(c.resource.idle_timeout);
    }),
    ("resource.resident_bytes_max", Now, |c, t| {
        t.settings().resident_bytes_max.set(c.resource.resident_bytes_max);
    }),
    ("link.buffer", Now, |c, t| t.settings().link_buffer.set(c.link.buffer)),
    ("link.links_max", Now, |c, t| t.settings().links_max.set(c.link.links_max)),
    ("limits.nodes_max", Now, |c, t| t.settings().nodes_max.set(c.limits.nodes_max)),
    ("limits.values_bytes_max", Now, |c, t| {
        t.settings().values_bytes_max.set(c.limits.values_bytes_max);
    }),
    ("limits.list_bytes_max", Now, |c, t| {
        t.settings().list_bytes_max.set(c.limits.list_bytes_max);
    }),
    ("snapshot.interval", Now, |c, t| t.settings().snapshot_interval.set(c.snapshot.interval)),
    ("store.backup_interval", Now, |c, t| {
        t.settings().backup_interval.set(c.store.backup_interval);
    }),
    ("statistics.interval", Now, |c, t| {
        t.statistics.send_replace(c.statistics.interval);
    }),
    ("log.level", Now, |c, _| {
        logging::set_level(&c.log.level);
    }),
    ("log.summary_interval", Now, |c, t| {
        t.summary.send_replace(c.log.summary_interval);
    }),
    // Read when the server stops.
    ("shutdown.drain", Now, |_, _| {}),
];

impl Targets {
    fn settings(&self) -> &Settings {
        self.broker.settings()
    }

    fn outbox(&self) -> &OutboxLimits {
        &self.settings().outbox
    }
}

/// When a key takes effect.
pub fn effect(key: &str) -> Effect {
    let found = LIVE.iter().find(|(name, ..)| *name == key);
    found.map_or(Effect::NextStart, |(_, effect, _)| *effect)
}

/// Has those of these keys take effect that do before the next start.
pub fn apply(keys: &[&str], config: &Config, targets: &Targets) {
    for (_, _, apply) in LIVE.iter().filter(|(name, ..)| keys.contains(name)) {
        apply(config, targets);
    }
}

/// What the broker needs of the configuration.
pub fn settings(config: &Config) -> Settings {
    Settings {
        limits: Limits {
            payload_depth_max: config.limits.payload_depth_max,
            path_depth_max: config.limits.path_depth_max,
            name_bytes_max: config.limits.name_bytes_max,
            path_bytes_max: config.limits.path_bytes_max,
            auth_bytes_max: config.limits.auth_bytes_max,
            reid_bytes_max: config.limits.reid_bytes_max,
        },
        nodes_max: config.limits.nodes_max.into(),
        values_bytes_max: Arc::new(config.limits.values_bytes_max.into()),
        list_bytes_max: config.limits.list_bytes_max.into(),
        links_max: config.link.links_max.into(),
        link_buffer: config.link.buffer.into(),
        connections_max: config.server.connections_max,
        requests_max: config.session.requests_max.into(),
        requests_bytes_max: config.session.requests_bytes_max.into(),
        replies_bytes_max: config.outbox.replies_bytes_max.into(),
        outbox: Arc::new(OutboxLimits {
            streams_max: config.session.streams_max.into(),
            stream_buffer: config.stream.buffer.into(),
            stream_buffer_bytes: config.stream.buffer_bytes.into(),
            updates_bytes_max: config.outbox.updates_bytes_max.into(),
        }),
        resource_idle_timeout: config.resource.idle_timeout.into(),
        mailbox_directory: config.mailbox.directory,
        mailbox_resource: config.mailbox.resource.into(),
        mailbox_supervisor: config.mailbox.supervisor,
        snapshot_interval: config.snapshot.interval.into(),
        backup_interval: config.store.backup_interval.into(),
        sync: match config.store.sync {
            StoreSync::Structure => Sync::Structure,
            StoreSync::All => Sync::All,
            StoreSync::Interval => Sync::Interval,
        },
        classes: class_rules(config),
        resident_bytes_max: config.resource.resident_bytes_max.into(),
    }
}

fn class_rules(config: &Config) -> Vec<ClassRule> {
    let rules = |paths: &[String], class| -> Vec<ClassRule> {
        paths.iter().map(|text| ClassRule { pattern: Pattern::new(text), class }).collect()
    };
    let mut classes = rules(&config.resource.event_paths, Class::Event);
    classes.append(&mut rules(&config.resource.live_paths, Class::Live));
    classes
}

/// What the doors need of the configuration.
pub fn door_settings(config: &Config) -> DoorSettings {
    DoorSettings {
        routes: config.server.routes.clone(),
        allowed_origins: config.server.allowed_origins.clone(),
        trusted_proxies: config.server.trusted_proxies.clone(),
        proxy_protocol: config.server.proxy_protocol,
        cookie: config.auth.cookie.clone(),
        connections_per_address_max: config.server.connections_per_address_max,
        connections_per_second_max: config.server.connections_per_second_max,
        requests_per_second_max: config.session.requests_per_second_max,
        message_bytes_max: config.limits.message_bytes_max,
        read_buffer_bytes: config.socket.read_buffer_bytes.into(),
        write_buffer_bytes: config.socket.write_buffer_bytes.into(),
        ping_interval: config.websocket.ping_interval.into(),
        pong_timeout: config.websocket.pong_timeout.into(),
        idle_timeout: config.session.idle_timeout.into(),
        first_request_timeout: config.auth.first_request_timeout,
        stall_timeout: config.outbox.stall_timeout.into(),
        wrong_requests_max: config.session.wrong_requests_max.into(),
        wrong_requests_timeout: config.session.wrong_requests_timeout.into(),
        close_timeout: CLOSE_TIMEOUT,
        nodelay: config.socket.nodelay.into(),
        notsent_lowat_bytes: config.socket.notsent_lowat_bytes.into(),
        user_timeout: config.socket.user_timeout.into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use fanal_actors::Broker;

    use super::*;
    use crate::cli::Cli;
    use crate::config::{self, TunableKey};
    use crate::{auth, store};

    fn config(setting: &str) -> Config {
        let args = ["fanal", "--set", "store.engine=memory", "--set", setting];
        let args = Cli::try_parse_from(args).unwrap().server;
        config::resolve(None, &args, std::iter::empty()).unwrap().config
    }

    /// Another value than that of the defaults.
    fn other(key: TunableKey) -> String {
        let value = key.value(&Config::default());
        match value.trim_matches('"') {
            "true" => "false".to_owned(),
            "info" => "warn".to_owned(),
            text => match text.parse::<u64>() {
                Ok(number) => (number + 1).to_string(),
                Err(_) => "77s".to_owned(),
            },
        }
    }

    fn targets(config: &Config) -> Targets {
        let surroundings = auth::Surroundings::new(actix::Arbiter::new().handle());
        let (authority, policy) = auth::Authority::new(config, surroundings).unwrap();
        let store = store::open(config).unwrap();
        let credentials = Box::new(authority);
        let broker = Broker::start(settings(config), policy, credentials, store, Vec::new());
        Targets {
            broker: broker.unwrap(),
            doors: Arc::new(door_settings(config)),
            statistics: watch::channel(config.statistics.interval).0,
            summary: watch::channel(config.log.summary_interval).0,
        }
    }

    fn seen(targets: &Targets) -> String {
        let (statistics, summary) = (&targets.statistics, &targets.summary);
        let intervals = (*statistics.borrow(), *summary.borrow());
        format!("{:?} {:?} {intervals:?}", targets.settings(), targets.doors)
    }

    /// Nobody sees what it changes in `seen`.
    const UNSEEN: [&str; 2] = ["log.level", "shutdown.drain"];

    #[test]
    fn what_takes_effect_while_it_runs_is_as_a_start_would_have_it() {
        actix::System::new().block_on(async {
            for (index, (name, effect, _)) in LIVE.iter().enumerate() {
                assert_ne!(*effect, Effect::NextStart, "{name}");
                assert!(LIVE.iter().skip(index + 1).all(|(other, ..)| other != name), "{name}");
                let key = TunableKey::find(name).unwrap();
                if UNSEEN.contains(name) {
                    continue;
                }
                let changed = config(&format!("{name}={}", other(key)));
                let defaults = config("stream.buffer=16");
                let running = targets(&defaults);
                let before = seen(&running);
                apply(&[*name], &changed, &running);
                let expected = seen(&targets(&changed));
                assert_ne!(before, expected, "{name}");
                assert_eq!(seen(&running), expected, "{name}");
            }
        });
    }
}
