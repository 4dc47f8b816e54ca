//! The server from start to stop: the one place where all rooms meet.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::rt::signal::unix::{Signal, SignalKind, signal};
use actix_web::{App, HttpServer, web};
use anyhow::Context;
use fanal_actors::{Broker, Limits, OutboxLimits, Settings, Sync, is_guarded};
use tokio::sync::Notify;

use crate::config::{AuthMode, Config, DEFAULT_FILE, Loaded, SnapshotSync};
use crate::doors::{Door, DoorSettings, listen, prepare_socket, routes};
use crate::store::FileStore;
use crate::{auth, descriptors, logging};

/// How long a peer has to answer a close frame before its connection is ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client has to send the head of its HTTP request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Exit code after a second signal: the last changes may not be saved.
const EXIT_AT_ONCE: i32 = 130;

/// Connections beyond `server.connections_max` that are accepted, to be told 503.
const CONNECTIONS_TO_REFUSE: usize = 256;

/// Runs the server until it is told to stop.
///
/// # Errors
/// If it cannot start, or cannot save at the end, or a thread of it has failed.
pub fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    logging::start(&config.log);
    watch_for_panics();
    descriptors::prepare(config.server.connections_max);
    let address = SocketAddr::new(config.server.bind, config.server.port);
    let backlog = i32::try_from(config.server.backlog).unwrap_or(i32::MAX);
    let listener = listen(address, backlog).with_context(|| {
        format!("cannot listen on {address}; is another server running? --port takes another one")
    })?;
    let address = listener.local_addr().context("the listening socket has no address")?;
    let store = FileStore::open(config.snapshot.path.clone())?;
    actix_web::rt::System::new().block_on(async {
        let (credentials, policy) = auth::from_config(&config.auth);
        let broker = Broker::start(settings(config), policy, credentials, Arc::new(store))?;
        let server = serve(listener, config, broker.clone())?;
        let handle = server.handle();
        let running = actix_web::rt::spawn(server);
        let mut signals = Signals::listen()?;
        greet(loaded, address, broker.nodes());
        let failed = wait_for_the_end(&mut signals).await;
        log::info!("stopping: {} connections to close", broker.sessions());
        handle.pause().await;
        let stopping = stop(broker, config.shutdown.drain);
        let outcome = tokio::select! {
            outcome = stopping => outcome,
            _ = signals.next() => {
                log::warn!("a second signal: ending at once");
                std::process::exit(EXIT_AT_ONCE);
            }
        };
        handle.stop(false).await;
        running.abort();
        outcome?;
        anyhow::ensure!(!failed, "a thread of the server has failed; see the log");
        Ok(())
    })
}

/// Closes every session, saves, and says what happened.
async fn stop(broker: Broker, drain: Duration) -> anyhow::Result<()> {
    let numbers = broker.clone();
    let saved = broker.stop(drain).await?;
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
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    log::info!("since the start: {}", counts.join(", "));
    Ok(())
}

fn serve(
    listener: std::net::TcpListener,
    config: &Config,
    broker: Broker,
) -> anyhow::Result<actix_web::dev::Server> {
    let settings = Arc::new(door_settings(config));
    let door = web::Data::new(Door { broker, settings: Arc::clone(&settings) });
    let user_timeout = settings.user_timeout;
    let server = HttpServer::new(move || {
        let settings = Arc::clone(&settings);
        App::new()
            .app_data(web::Data::clone(&door))
            .configure(move |service| routes(&settings, service))
    });
    // The framework's bound is one for each worker; the broker's own is that of the configuration.
    let connections = config.server.connections_max.saturating_add(CONNECTIONS_TO_REFUSE);
    let connections = connections.div_ceil(config.server.workers);
    Ok(server
        .workers(config.server.workers)
        .max_connections(connections)
        .client_request_timeout(REQUEST_TIMEOUT)
        .client_disconnect_timeout(Duration::ZERO)
        .h1_write_buffer_size(config.websocket.write_buffer_bytes)
        .tcp_nodelay(true)
        .on_connect(move |connection, _| prepare_socket(connection, user_timeout))
        .disable_signals()
        .shutdown_timeout(1)
        .listen(listener)
        .context("cannot take connections")?
        .run())
}

fn settings(config: &Config) -> Settings {
    Settings {
        limits: Limits {
            payload_depth_max: config.limits.payload_depth_max,
            path_depth_max: config.limits.path_depth_max,
            name_bytes_max: config.limits.name_bytes_max,
            path_bytes_max: config.limits.path_bytes_max,
            auth_bytes_max: config.limits.auth_bytes_max,
            reid_bytes_max: config.limits.reid_bytes_max,
        },
        nodes_max: config.limits.nodes_max,
        values_bytes_max: config.limits.values_bytes_max,
        list_bytes_max: config.limits.list_bytes_max,
        links_max: config.link.links_max,
        link_buffer: config.link.buffer,
        connections_max: config.server.connections_max,
        requests_max: config.session.requests_max,
        requests_bytes_max: config.session.requests_bytes_max,
        replies_bytes_max: config.outbox.replies_bytes_max,
        outbox: OutboxLimits {
            streams_max: config.session.streams_max,
            stream_buffer: config.stream.buffer,
            stream_buffer_bytes: config.stream.buffer_bytes,
            updates_bytes_max: config.outbox.updates_bytes_max,
        },
        turn_bytes: config.websocket.write_buffer_bytes,
        mailbox_directory: config.mailbox.directory,
        mailbox_resource: config.mailbox.resource,
        mailbox_supervisor: config.mailbox.supervisor,
        snapshot_interval: config.snapshot.interval,
        sync: match config.snapshot.sync {
            SnapshotSync::Structure => Sync::Structure,
            SnapshotSync::Interval => Sync::Interval,
        },
    }
}

fn door_settings(config: &Config) -> DoorSettings {
    DoorSettings {
        routes: config.server.routes.clone(),
        allowed_origins: config.server.allowed_origins.clone(),
        trusted_proxies: config.server.trusted_proxies.clone(),
        message_bytes_max: config.websocket.message_bytes_max,
        read_buffer_bytes: config.websocket.read_buffer_bytes,
        ping_interval: config.websocket.ping_interval,
        idle_timeout: config.websocket.idle_timeout,
        close_timeout: CLOSE_TIMEOUT,
        user_timeout: config.websocket.user_timeout,
    }
}

/// Tells the person at the terminal what runs and what to try.
fn greet(loaded: &Loaded, address: SocketAddr, nodes: usize) {
    let config = &loaded.config;
    let url = |route: &str| format!("ws://{address}{}", if route == "*" { "/" } else { route });
    let urls: Vec<String> = config.server.routes.iter().map(|route| url(route)).collect();
    let file = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => format!("built-in defaults (there is no ./{DEFAULT_FILE})"),
    };
    let access = match config.auth.mode {
        AuthMode::AllowAll => "everybody may do everything (auth.mode = allow_all)".into(),
        AuthMode::AllowNone => "nobody may do anything (auth.mode = allow_none)".into(),
        AuthMode::Users => format!(
            "{} users, {} of them admins (auth.mode = users)",
            config.auth.users.len(),
            config.auth.users.iter().filter(|user| user.admin).count()
        ),
    };
    let data = format!(
        "{}, saved every {}, {nodes} resources and directories loaded",
        config.snapshot.path.display(),
        humantime::format_duration(config.snapshot.interval),
    );
    let websocket = urls.iter().find(|url| url.ends_with("/websocket")).or(urls.first());
    let to = match websocket {
        Some(url) if url != "ws://127.0.0.1:3000/websocket" => format!(" --url {url}"),
        _ => String::new(),
    };
    // Who closed the pipe does not want to know.
    let _ = writeln!(
        std::io::stdout(),
        "fanal {}\n  listening  {}\n  config     {file}\n  access     {access}\n  \
         data       {data}\n  try        fanal demo{to}\n             \
         fanal watch user/demo/model{to}   (in another terminal)",
        env!("CARGO_PKG_VERSION"),
        urls.join("  "),
    );
}

/// Waits for a signal, or for a thread to fail: then the answer is `true`.
async fn wait_for_the_end(signals: &mut Signals) -> bool {
    tokio::select! {
        signal = signals.next() => {
            log::info!("{signal}: stopping");
            false
        }
        () = failure().notified() => true,
    }
}

/// The signals that end the server. Listened to without a break from the start on: one that comes
/// while nobody waits for it is kept for who waits next.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    /// The next SIGTERM or SIGINT.
    async fn next(&mut self) -> &'static str {
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
fn watch_for_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        if !is_guarded() {
            log::error!("a thread of the server has failed: {panic}");
            failure().notify_one();
        }
    }));
}
