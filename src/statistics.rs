//! Statistics as resources: what the broker does, below `$fanal/stats`, for every client that may
//! read there.
//!
//! | resource | value |
//! |---|---|
//! | `broker` | a map of numbers |
//! | `watchers` | a map from path to streams, the 1000 most watched; while it is streamed |
//! | `slow` | a list of maps: the 20 streams that lost the most; while it is streamed |
//! | `events` | a map for each thing that happens |
//!
//! They keep no value beyond a stop, and `events` keeps none at all. Where every resource has to be
//! looked at to answer, nothing is done while nobody listens.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use actix_web::rt::task::spawn_blocking;
use fanal_actors::{Broker, Class, Event, Path, Provision, Rnum, Value, Wanted};
use serde::Serialize;
use tokio::sync::watch;

use crate::clock::{Clock, Instant};
use crate::ticks::Ticks;

/// Resources in `watchers`.
const WATCHED_MAX: usize = 1000;

/// Streams in `slow`.
const SLOW_MAX: usize = 20;

/// Where everything is.
const PLACE: [&str; 2] = ["$fanal", "stats"];

/// What there is, and what is kept of it.
const RESOURCES: [(&str, Class); 4] = [
    ("broker", Class::Live),
    ("watchers", Class::Live),
    ("slow", Class::Live),
    ("events", Class::Event),
];

/// The value of `broker`.
#[derive(Serialize)]
struct Numbers {
    version: &'static str,
    uptime_seconds: u64,
    durable: bool,
    connections: u64,
    nodes: u64,
    values_bytes: u64,
    values_resident_bytes: u64,
    requests_per_second: u64,
    updates_in_per_second: u64,
    updates_delivered_per_second: u64,
    updates_skipped_per_second: u64,
}

/// A value of `slow`.
#[derive(Serialize)]
struct Slow {
    session: u64,
    path: Option<String>,
    waiting: usize,
    skipped: u64,
}

/// A value of `events`.
#[derive(Serialize)]
struct Happened {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

impl Happened {
    fn new(event: &'static str) -> Self {
        Happened { event, session: None, user: None, address: None, requests: None, count: None }
    }
}

/// Publishes them until the broker stops, each interval if that is not zero. Must run on a thread
/// that has actors.
pub async fn publish(broker: Broker, mut every: watch::Receiver<Duration>) {
    // Nothing is made for who does not want any.
    if every.wait_for(|every| !every.is_zero()).await.is_err() {
        return;
    }
    broker.events().want();
    for (name, class) in RESOURCES {
        if broker.inspector().resource(&place(name)).is_some() {
            continue;
        }
        let made = broker.provision(Provision::Create(place(name), Some(class))).await;
        if made != Rnum::Created {
            log::warn!("statistics: {} was not made: {}", place(name), made.text());
        }
    }
    let mut last = Last::new(&broker);
    let mut ticks = Ticks::new(every);
    while !broker.is_stopping() && ticks.next().await {
        let numbers = last.numbers(&broker);
        send(&broker, "broker", &numbers);
        for happened in last.events(&broker) {
            send(&broker, "events", &happened);
        }
        if is_streamed(&broker, "watchers") {
            let looked = broker.clone();
            if let Ok(watchers) = spawn_blocking(move || watchers(&looked)).await {
                send(&broker, "watchers", &watchers);
            }
        }
        if is_streamed(&broker, "slow") {
            let looked = broker.clone();
            if let Ok(slow) = spawn_blocking(move || slow(&looked)).await {
                send(&broker, "slow", &slow);
            }
        }
    }
}

fn place(name: &str) -> Path {
    Path::new(PLACE.into_iter().chain([name]))
}

fn send(broker: &Broker, name: &str, value: &impl Serialize) {
    match rmp_serde::to_vec_named(value) {
        // Somebody may have deleted it.
        Ok(bytes) => drop(broker.publish(&place(name), Value::copy_from(&bytes))),
        Err(error) => log::error!("statistics: {name} cannot be encoded: {error}"),
    }
}

fn is_streamed(broker: &Broker, name: &str) -> bool {
    broker.inspector().resource(&place(name)).is_some_and(|(_, streams)| !streams.is_empty())
}

fn watchers(broker: &Broker) -> BTreeMap<String, usize> {
    let found = broker.inspector().first_resources(Wanted::Streams, &Path::root(), WATCHED_MAX);
    let watched = found.into_iter().filter(|resource| resource.streams > 0);
    watched.map(|resource| (to_text(&resource.path), resource.streams)).collect()
}

fn slow(broker: &Broker) -> Vec<Slow> {
    let found = broker.inspector().slowest_streams(SLOW_MAX).into_iter();
    found
        .map(|stream| Slow {
            session: stream.session,
            path: stream.path.as_ref().map(to_text),
            waiting: stream.waiting,
            skipped: stream.skipped,
        })
        .collect()
}

fn to_text(path: &Path) -> String {
    let names: Vec<&str> = path.names().iter().map(|name| &**name).collect();
    names.join("/")
}

/// How much happens in a second.
pub struct Rates {
    at: Instant,
    /// Requests, updates taken, delivered and skipped.
    counts: [u64; 4],
}

impl Rates {
    /// From now on.
    pub fn new(broker: &Broker) -> Self {
        Rates { at: Clock::now(), counts: counts(broker) }
    }

    /// Requests, updates taken, delivered and skipped in a second, since the last call.
    pub fn step(&mut self, broker: &Broker) -> [u64; 4] {
        let now = Clock::now();
        let millis = now.saturating_duration_since(self.at).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX).max(1);
        let before = std::mem::replace(&mut self.counts, counts(broker));
        self.at = now;
        let mut rates = [0; 4];
        for ((rate, before), after) in rates.iter_mut().zip(before).zip(self.counts) {
            *rate = after.saturating_sub(before).saturating_mul(1000) / millis;
        }
        rates
    }
}

/// What was the case the last time.
struct Last {
    started: Instant,
    rates: Rates,
    reloads: u64,
    reloads_failed: u64,
    durable: bool,
}

impl Last {
    fn new(broker: &Broker) -> Self {
        let counters = broker.counters();
        Last {
            started: Clock::now(),
            rates: Rates::new(broker),
            reloads: counters.reloads.get(),
            reloads_failed: counters.reloads_failed.get(),
            durable: true,
        }
    }

    fn numbers(&mut self, broker: &Broker) -> Numbers {
        let [requests, taken, delivered, skipped] = self.rates.step(broker);
        let uptime = Clock::now().saturating_duration_since(self.started);
        let (values_bytes, values_resident_bytes) = broker.value_bytes();
        Numbers {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: uptime.as_secs(),
            durable: broker.is_durable(),
            connections: broker.sessions() as u64,
            nodes: broker.nodes() as u64,
            values_bytes,
            values_resident_bytes,
            requests_per_second: requests,
            updates_in_per_second: taken,
            updates_delivered_per_second: delivered,
            updates_skipped_per_second: skipped,
        }
    }

    fn events(&mut self, broker: &Broker) -> Vec<Happened> {
        let (events, lost) = broker.events().take();
        let mut all: Vec<Happened> = events.into_iter().map(happened).collect();
        if lost > 0 {
            all.push(Happened { count: Some(lost), ..Happened::new("events_lost") });
        }
        let counters = broker.counters();
        for (name, before, now) in [
            ("reloaded", &mut self.reloads, counters.reloads.get()),
            ("reload_failed", &mut self.reloads_failed, counters.reloads_failed.get()),
        ] {
            if now > *before {
                all.push(Happened { count: Some(now - *before), ..Happened::new(name) });
                *before = now;
            }
        }
        if broker.is_durable() != self.durable {
            self.durable = broker.is_durable();
            all.push(Happened::new(if self.durable { "store_works" } else { "store_failed" }));
        }
        all
    }
}

fn counts(broker: &Broker) -> [u64; 4] {
    let counters = broker.counters();
    [
        counters.requests.get(),
        counters.updates_in.get(),
        counters.updates_delivered.get(),
        counters.updates_skipped.get(),
    ]
}

fn happened(event: Event) -> Happened {
    match event {
        Event::Opened { session, address } => Happened {
            session: Some(session),
            address: address.map(|octets| Ipv6Addr::from(octets).to_canonical().to_string()),
            ..Happened::new("connected")
        },
        Event::Closed { session, user, requests } => Happened {
            session: Some(session),
            user: user.map(|user| user.user.clone()),
            requests: Some(requests),
            ..Happened::new("disconnected")
        },
    }
}
