//! The server from start to stop: the one place where all rooms meet.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::Arbiter;
use anyhow::Context;
use fanal_actors::Broker;
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::admin::{Admin, Gate, Place};
use crate::config::{Auth, AuthMode, Config, DEFAULT_FILE, Loaded, ServerArgs, StoreEngine};
use crate::doors::{Door, DoorSettings, listen, listen_unix, serve_direct, serve_tcp, serve_unix};
use crate::inherited::Inherited;
use crate::metrics::Metrics;
use crate::reload::Reloader;
use crate::stopping::{EXIT_AT_ONCE, Signals, stop, stopper, wait_for_the_end, watch_for_panics};
use crate::tunables::{Targets, Tunables};
use crate::{
    accounts, admin, auth, control, descriptors, logging, preload, service, statistics, store,
    summary, tls, tunables,
};

/// Connections beyond `server.connections_max` that are accepted, to be told 503.
const CONNECTIONS_TO_REFUSE: usize = 256;

/// Runs the server until it is told to stop.
///
/// # Errors
/// If it cannot start, or cannot save at the end, or a thread of it has failed.
pub fn run(loaded: &Loaded, args: &ServerArgs) -> anyhow::Result<()> {
    let config = &loaded.config;
    logging::start(&config.log);
    watch_for_panics();
    descriptors::prepare(config.server.connections_max, users_of_a_service(config));
    crate::config::ensure_tunables_readable(config)?;
    let encryption = tls::Encryption::from_config(config)?;
    let tls = encryption.as_ref().map(|encryption| encryption.server(config)).transpose()?;
    let listeners = Listeners::open(config, Inherited::take()?)?;
    let own_socket = listeners.own_socket.clone();
    let urls = listeners.urls(config)?;
    let (store, store_metrics) = store::measure(store::open(config)?);
    actix_web::rt::System::new().block_on(async {
        let surroundings = auth::Surroundings::new(Arbiter::new().handle());
        let (authority, policy) = auth::Authority::new(config, surroundings.clone())?;
        let wanted = preload::from_config(config)?;
        let credentials = Box::new(authority.clone());
        let broker = Broker::start(tunables::settings(config), policy, credentials, store, wanted)?;
        surroundings.connect(broker.clone());
        let mut listeners = listeners;
        let doors = Arc::new(tunables::door_settings(config));
        let tunables = start_tunables(args, loaded, &broker, &doors).await;
        let reloader = Reloader::new(
            args,
            config,
            authority.clone(),
            broker.clone(),
            tunables.clone(),
            encryption,
        );
        actix_web::rt::spawn(reloader.clone().watch());
        let (stopper, mut wishes) = stopper();
        let door = Door::new(broker.clone(), doors);
        let metrics = Metrics::new(broker.clone(), &authority, store_metrics, door.lags.clone());
        let admin = Admin::new(broker.clone(), authority, reloader.clone(), stopper);
        serve_admin(listeners.admin.take(), &admin, &metrics, config)?;
        let server = serve(listeners, config, tls, door)?;
        let handle = server.handle();
        let running = actix_web::rt::spawn(server);
        let mut signals = Signals::listen()?;
        greet(loaded, &urls, broker.nodes());
        service::note_ready(broker.nodes());
        let end = wait_for_the_end(&mut signals, &reloader, &mut wishes).await;
        service::note_stopping();
        handle.pause().await;
        let stopping = stop(broker, end.drain.unwrap_or_else(|| tunables.drain()));
        let outcome = tokio::select! {
            outcome = stopping => outcome,
            _ = signals.next() => {
                log::warn!("a second signal: ending at once");
                std::process::exit(EXIT_AT_ONCE);
            }
        };
        handle.stop(false).await;
        // A socket that is left behind is replaced at the next start.
        let _ = std::fs::remove_file(control::place(&config.store.directory));
        if let Some(path) = own_socket {
            let _ = std::fs::remove_file(path);
        }
        running.abort();
        outcome?;
        anyhow::ensure!(!end.failed, "a thread of the server has failed; see the log");
        Ok(())
    })
}

/// Has the settings that may be changed take effect when they are, and writes what they time.
async fn start_tunables(
    args: &ServerArgs,
    loaded: &Loaded,
    broker: &Broker,
    doors: &Arc<DoorSettings>,
) -> Tunables {
    let config = &loaded.config;
    let (statistics, every) = watch::channel(config.statistics.interval);
    actix_web::rt::spawn(statistics::publish(broker.clone(), every));
    let (summary, every) = watch::channel(config.log.summary_interval);
    actix_web::rt::spawn(summary::write(broker.clone(), every));
    let (broker, doors) = (broker.clone(), Arc::clone(doors));
    let targets = Targets { broker: broker.clone(), doors, statistics, summary };
    let tunables = Tunables::new(args, loaded, targets);
    if config.tunables.enabled {
        tunables::offer(broker, tunables.clone()).await;
    } else {
        tunables::withdraw(&broker).await;
    }
    tunables
}

/// Has the admin listener and the control socket answer.
fn serve_admin(
    listener: Option<TcpListener>,
    admin: &Admin,
    metrics: &Metrics,
    config: &Config,
) -> anyhow::Result<()> {
    let serve = |place, gate| admin::serve(place, admin.clone(), metrics.clone(), gate);
    if let Some(listener) = listener {
        let gate = Gate::Token(config.admin.token.clone());
        actix_web::rt::spawn(serve(Place::Port(listener), gate)?);
    }
    if config.store.engine == StoreEngine::Memory {
        return Ok(());
    }
    // A path may be too long for a socket.
    match control::listen(&config.store.directory) {
        Ok(listener) => {
            actix_web::rt::spawn(serve(Place::File(listener), Gate::Open)?);
        }
        Err(error) => log::warn!(
            "{error:#}: `fanal snapshot` can look at the data of a stopped server only, and \
             `fanal reload`, `fanal auth explain` and others cannot ask this one"
        ),
    }
    Ok(())
}

/// The sockets that listen.
struct Listeners {
    websocket: TcpListener,
    tcp: Option<TcpListener>,
    unix: Option<UnixListener>,
    admin: Option<TcpListener>,
    /// The file of the socket, if the server made it.
    own_socket: Option<PathBuf>,
}

impl Listeners {
    /// Opens those that the service manager has not.
    fn open(config: &Config, inherited: Inherited) -> anyhow::Result<Self> {
        refuse_open_door(config, &inherited)?;
        let backlog = i32::try_from(config.server.backlog).unwrap_or(i32::MAX);
        let listen = |bind, port, key: &str| {
            let address = SocketAddr::new(bind, port);
            listen(address, backlog).with_context(|| {
                format!(
                    "cannot listen on {address}; is another server running? {key} takes another one"
                )
            })
        };
        // The file of the socket is made under a mask that is that of the whole process.
        let path = &config.unix.path;
        let own_socket = (inherited.unix.is_none() && has(path)).then(|| path.clone());
        let unix = match &own_socket {
            None => inherited.unix,
            Some(path) => {
                let unix = &config.unix;
                let (owner, group) = (accounts::user(&unix.owner)?, accounts::group(&unix.group)?);
                Some(listen_unix(path, unix.mode_bits(), owner, group)?)
            }
        };
        let (server, tcp, admin) = (&config.server, &config.tcp, &config.admin);
        Ok(Listeners {
            websocket: match inherited.websocket {
                Some(listener) => listener,
                None => listen(server.bind, server.port, "--port")?,
            },
            tcp: match inherited.tcp {
                None if tcp.enabled => Some(listen(tcp.bind, tcp.port, "tcp.port")?),
                inherited => inherited,
            },
            unix,
            admin: match inherited.admin {
                None if admin.enabled => Some(listen(admin.bind, admin.port, "admin.port")?),
                inherited => inherited,
            },
            own_socket,
        })
    }

    /// What the greeting says of each.
    fn urls(&self, config: &Config) -> anyhow::Result<Vec<String>> {
        let address = self.websocket.local_addr().context("the socket has no address")?;
        let scheme = if is_encrypted(config) { "wss" } else { "ws" };
        let url = |route: &String| {
            format!("{scheme}://{address}{}", if route == "*" { "/" } else { route })
        };
        let mut urls: Vec<String> = config.server.routes.iter().map(url).collect();
        if let Some(tcp) = &self.tcp {
            let address = tcp.local_addr().context("the socket has no address")?;
            urls.push(format!("tcp://{address}"));
        }
        if let Some(admin) = &self.admin {
            let address = admin.local_addr().context("the socket has no address")?;
            urls.push(format!("http://{address}/metrics"));
        }
        if let Some(unix) = &self.unix {
            let address = unix.local_addr().context("the socket has no address")?;
            let path = address.as_pathname().unwrap_or(&config.unix.path);
            urls.push(format!("unix:{}", path.display()));
        }
        Ok(urls)
    }
}

/// What `config` refuses of `server.bind`, for sockets that it knows nothing of.
fn refuse_open_door(config: &Config, inherited: &Inherited) -> anyhow::Result<()> {
    let auth = &config.auth;
    let open = auth.mode == AuthMode::AllowAll && !auth.insecure;
    let is_open = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
    if open && let Some(address) = inherited.addresses().find(is_open) {
        anyhow::bail!(
            "the service manager listens on {address}, and with auth.mode = \"allow_all\" \
             everybody who reaches it could read and write everything: expected auth.mode = \
             \"users\", or auth.insecure = true if that is meant"
        );
    }
    Ok(())
}

fn has(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

fn is_encrypted(config: &Config) -> bool {
    has(&config.tls.certificate)
}

fn serve(
    listeners: Listeners,
    config: &Config,
    tls: Option<ServerConfig>,
    door: Arc<Door>,
) -> anyhow::Result<actix_server::Server> {
    // The framework's bound is one for each worker, and for what is no session yet.
    let connections = config.server.connections_max.saturating_add(CONNECTIONS_TO_REFUSE);
    let server = actix_server::Server::build()
        .workers(config.server.workers)
        .max_concurrent_connections(connections.div_ceil(config.server.workers))
        .disable_signals()
        .shutdown_timeout(1);
    let address = listeners.websocket.local_addr().context("the socket has no address")?;
    let mut server = serve_direct(server, listeners.websocket, address, Arc::clone(&door), tls)
        .context("cannot take connections")?;
    if let Some(tcp) = listeners.tcp {
        server =
            serve_tcp(server, tcp, Arc::clone(&door)).context("cannot take tcp connections")?;
    }
    if let Some(unix) = listeners.unix {
        server = serve_unix(server, unix, door).context("cannot take unix connections")?;
    }
    Ok(server.run())
}

/// Users each of whom takes a connection to the service that knows them.
fn users_of_a_service(config: &Config) -> usize {
    let auth = &config.auth;
    let is_used =
        auth.mode == AuthMode::Users && auth.providers.iter().any(|provider| provider == "http");
    if is_used { config.auth_http.users_max } else { 0 }
}

/// Tells the person at the terminal what runs and what to try.
fn greet(loaded: &Loaded, urls: &[String], nodes: usize) {
    let config = &loaded.config;
    let file = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => format!("built-in defaults (there is no ./{DEFAULT_FILE})"),
    };
    let access = match config.auth.mode {
        AuthMode::AllowAll => "everybody may do everything (auth.mode = allow_all)".into(),
        AuthMode::AllowNone => "nobody may do anything (auth.mode = allow_none)".into(),
        AuthMode::Users => users(&config.auth),
    };
    let data = match config.store.engine {
        StoreEngine::Memory => "in memory only (store.engine = memory)".to_owned(),
        StoreEngine::Embedded | StoreEngine::File => format!(
            "{}, saved every {}, {nodes} resources and directories loaded",
            config.store.directory.display(),
            humantime::format_duration(config.snapshot.interval),
        ),
    };
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

/// Who the users are, for the greeting.
fn users(auth: &Auth) -> String {
    let admins = auth.users.iter().filter(|user| user.admin).count();
    let mut text = format!("{} users, {admins} of them admins", auth.users.len());
    if !auth.users_file.as_os_str().is_empty() {
        text += &format!(", those of {}", auth.users_file.display());
    }
    for provider in auth.providers.iter().filter(|name| *name != "users") {
        text += &format!(", those of {provider}");
    }
    text + " (auth.mode = users)"
}
