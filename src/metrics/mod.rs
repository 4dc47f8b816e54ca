//! Metrics: everything that is measured, in the text formats of Prometheus and OpenMetrics.
//!
//! A scrape reads what the rooms keep for themselves; nothing is counted here, and nothing is done
//! while nobody asks. `docs/metrics.md` says what each metric means, and `tests/metrics.rs` that
//! the two agree.

mod counted;
mod format;
mod process;
mod write;

use std::fmt::{self, Error};
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use fanal_actors::metrics::{Mailbox, REQUESTS_PER_SAMPLE};
use fanal_actors::{Amounts, Broker, Rnum};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::auth::{Attempts, Authority};
use crate::clock::Clock;
use crate::lag::Lags;
use crate::store::{Operation, StoreMetrics};
use format::Format;
use write::{counter, counters, gauge, gauge_f64, gauges, histogram, histograms, label};

/// What is measured of a server. Clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<Sources>);

struct Sources {
    broker: Broker,
    attempts: Arc<Attempts>,
    store: Arc<StoreMetrics>,
    lags: Lags,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

/// Answers with everything, in the format that is wanted.
pub async fn answer(request: HttpRequest, metrics: web::Data<Metrics>) -> HttpResponse {
    let format = Format::wanted(&request);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics.get_ref().clone()));
    let mut body = String::new();
    let written = match format {
        Format::Prometheus => prometheus_text::encode(&mut body, &registry),
        Format::OpenMetrics => text::encode(&mut body, &registry),
    };
    match written {
        Ok(()) => HttpResponse::Ok().content_type(format.content_type()).body(body),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

impl Metrics {
    /// Those of this server, and has the time of its requests taken from now on.
    pub fn new(
        broker: Broker,
        authority: &Authority,
        store: Arc<StoreMetrics>,
        lags: Lags,
    ) -> Self {
        broker.metrics().time_by(Clock::since_start);
        Metrics(Arc::new(Sources { broker, attempts: authority.attempts(), store, lags }))
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Sources { broker, attempts, store, lags } = &*self.0;
        let encoder = &mut encoder;
        let help = "The version that runs";
        let version = label("version", env!("CARGO_PKG_VERSION"));
        gauges(encoder, "fanal_build_info", help, [(version, 1)])?;
        // First, so that what is no longer there is seen to have ended by what follows.
        amounts(encoder, broker)?;
        counted::write(encoder, broker.counters())?;
        requests(encoder, broker)?;
        mailboxes(encoder, broker)?;
        let attempts = attempts.all().into_iter().map(|(provider, outcome, count)| {
            ([("provider", provider.to_owned()), ("outcome", outcome.to_owned())], count)
        });
        let help = "Credentials that were judged, by who knew them and the outcome";
        counters(encoder, "fanal_auth_attempts", help, attempts)?;
        stored(encoder, store)?;
        let lags = (0..)
            .zip(lags.read())
            .map(|(number, lag): (u32, _)| (label("worker", number.to_string()), lag));
        let help = "How late the event loop of a worker was, looked at ten times a second";
        histograms(encoder, "fanal_event_loop_lag_seconds", help, lags)?;
        process::write(encoder)
    }
}

fn requests(encoder: &mut DescriptorEncoder<'_>, broker: &Broker) -> Result<(), Error> {
    let metrics = broker.metrics();
    let name = |verb: Option<fanal_actors::Verb>| verb.map_or("none", fanal_actors::Verb::name);
    // A series that begins when something goes wrong hides the first time that it does.
    let is_shown =
        |rnum: Rnum, count: u64| count > 0 || matches!(rnum, Rnum::Ok | Rnum::InternalServerError);
    let answered = metrics.requests.all().filter(|(_, rnum, count)| is_shown(*rnum, *count));
    let answered = answered.map(|(verb, rnum, count)| {
        let (verb, status) = (name(verb).to_owned(), rnum.number().to_string());
        ([("verb", verb), ("status", status)], count)
    });
    let help =
        "Requests that were answered, by verb and RNUM; the verb is none if there is no such";
    counters(encoder, "fanal_requests", help, answered)?;
    let verbs = fanal_actors::Verb::ALL.into_iter().map(Some).chain([None]);
    let durations = verbs.filter_map(|verb| {
        let reading = metrics.duration(verb)?.read();
        Some((label("verb", name(verb)), reading))
    });
    let help = format!(
        "From the arrival of a request to its answer being written, of one request in \
         {REQUESTS_PER_SAMPLE} of each connection"
    );
    histograms(encoder, "fanal_request_duration_seconds", &help, durations)
}

fn mailboxes(encoder: &mut DescriptorEncoder<'_>, broker: &Broker) -> Result<(), Error> {
    let metrics = broker.metrics();
    let all: [(&str, &Mailbox); 4] = [
        ("directory", &metrics.directory),
        ("supervisor", &metrics.supervisor),
        ("resource", &metrics.resources),
        ("session", &metrics.sessions),
    ];
    let depths = all.map(|(actor, mailbox)| (label("actor", actor), mailbox.depth()));
    let help = "Messages that wait for the actors of a kind";
    gauges(encoder, "fanal_mailbox_messages", help, depths)?;
    let waits = all.map(|(actor, mailbox)| (label("actor", actor), mailbox.waits().read()));
    let help = "How long messages waited for the actors of a kind; for resources one in 64";
    histograms(encoder, "fanal_mailbox_wait_seconds", help, waits)
}

fn amounts(encoder: &mut DescriptorEncoder<'_>, broker: &Broker) -> Result<(), Error> {
    let Amounts { resources, directories, links, streams, outbox_bytes, unsaved } =
        broker.amounts();
    let active = broker.metrics().active_resources().min(resources);
    let swapped = broker.metrics().away_resources().min(resources - active);
    let states =
        [("active", active), ("passive", resources - active - swapped), ("swapped", swapped)]
            .map(|(state, count)| (label("state", state), count));
    let help = "Resources with an actor, without one, and with their value in the store only";
    gauges(encoder, "fanal_resources", help, states)?;
    let settings = broker.settings();
    let (bytes, resident) = broker.value_bytes();
    let durable = u64::from(broker.is_durable());
    for (name, help, number) in [
        ("fanal_connections_open", "Connections that are open", broker.sessions() as u64),
        (
            "fanal_connections_max",
            "Connections that may be open (server.connections_max)",
            settings.connections_max as u64,
        ),
        ("fanal_directories", "Directories, without the root", directories),
        (
            "fanal_nodes_max",
            "Resources and directories that there may be (limits.nodes_max)",
            settings.nodes_max.get() as u64,
        ),
        ("fanal_links", "Links", links),
        ("fanal_streams", "Streams that are open", streams),
        (
            "fanal_outbox_bytes",
            "Bytes of answers and updates that wait for connections to take them",
            outbox_bytes,
        ),
        ("fanal_values_bytes", "Bytes of all values, wherever they are", bytes),
        (
            "fanal_values_max_bytes",
            "Bytes that all values may have (limits.values_bytes_max)",
            settings.values_bytes_max.get(),
        ),
        ("fanal_values_resident_bytes", "Bytes of the values that are in memory", resident),
        ("fanal_store_durable", "1 while what is acknowledged gets to the disk, else 0", durable),
        ("fanal_store_unsaved_resources", "Resources whose value is to be saved", unsaved),
        (
            "fanal_stopping",
            "1 from the moment at which the server is told to stop, else 0",
            u64::from(broker.is_stopping()),
        ),
    ] {
        gauge(encoder, name, help, number)?;
    }
    Ok(())
}

fn stored(encoder: &mut DescriptorEncoder<'_>, store: &StoreMetrics) -> Result<(), Error> {
    for (name, help, times) in [
        ("fanal_store_save_duration_seconds", "How long saves of values took", &store.saves),
        (
            "fanal_store_append_duration_seconds",
            "How long it took structural changes to get to the disk, many with one flush",
            &store.appends,
        ),
        (
            "fanal_store_read_duration_seconds",
            "How long it took to read a value that was in the store only",
            &store.reads,
        ),
        ("fanal_store_backup_duration_seconds", "How long backups took", &store.backups),
    ] {
        histogram(encoder, name, help, &times.read())?;
    }
    let help = "Bytes that saves wrote";
    counter(encoder, "fanal_store_saved_bytes", help, store.saved_bytes())?;
    let help = "Values that saves wrote";
    counter(encoder, "fanal_store_saved_values", help, store.saved_values())?;
    let last = Duration::from_millis(store.last_save_millis()).as_secs_f64();
    let help = "When the last save ended well, in seconds since 1970; 0 if none has yet";
    gauge_f64(encoder, "fanal_store_last_save_timestamp_seconds", help, last)?;
    let errors = Operation::ALL
        .map(|operation| (label("operation", operation.name()), store.errors(operation)));
    let help = "Times that the store could not do what it was asked, by what that was";
    counters(encoder, "fanal_store_errors", help, errors)
}
