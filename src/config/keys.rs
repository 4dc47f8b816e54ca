//! The keys of the configuration but for those in `auth_keys.rs`: type, default, allowed range and
//! meaning of each, said once.
//!
//! These two lists are the only ones. The structs, the checks, the names of the environment
//! variables, `print-config` and `config.example.toml` all come from them, so they cannot disagree.
//! The first lines above a key are its description wherever it is shown to a person.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::auth_keys::{Auth, AuthHttp, AuthJwt, AuthMtls, AuthSql};
use super::choices::{LogFormat, Secret, StoreEngine, StoreSync, TlsVersion};
use super::kind::{Kind, bytes, count, time};
use super::preload::Declared;
use super::show::Show;
use super::table::{Key, Section, duration, key_sections};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// Short enough for tests, long enough not to keep a thread busy.
pub(super) const TICK: Duration = Duration::from_millis(10);
pub(super) const TEN_MINUTES: Duration = Duration::from_secs(600);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// The whole configuration, one field per section.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the server listens and who may connect.
    pub server: Server,
    /// How connections are read and written, whatever door they came through.
    pub socket: Socket,
    /// How silent WebSocket connections are found out.
    pub websocket: Websocket,
    /// A port on which the messages come back to back, without WebSocket.
    pub tcp: Tcp,
    /// A socket in the file system on which the messages come back to back.
    pub unix: Unix,
    /// A port for who operates the server: `/healthz`, `/readyz`, `/metrics` and, with a token, an
    /// API over HTTP.
    pub admin: Admin,
    /// Encryption of the WebSocket port; both files are needed for it.
    pub tls: Tls,
    /// What one connection may ask for at a time.
    pub session: Session,
    /// What is kept for each stream whose client is slower than the updates.
    pub stream: Stream,
    /// What is kept for each connection until its socket takes it.
    pub outbox: Outbox,
    /// How many messages may wait for each of the actors inside the server.
    pub mailbox: Mailbox,
    /// Resources that are in use have an actor each, which is quick to write to.
    pub resource: Resource,
    /// Links, which hand each value of one resource on to another.
    pub link: Link,
    /// How large things may become.
    pub limits: Limits,
    /// Where the tree and its values are kept over a restart.
    pub store: Store,
    /// When changed values are saved.
    pub snapshot: Snapshot,
    /// How the server stops.
    pub shutdown: Shutdown,
    /// What the broker does, as resources below `$fanal/stats`, for who may read there.
    pub statistics: Statistics,
    /// Whether settings may be changed by clients.
    pub tunables: Tunables,
    /// What is logged.
    pub log: Log,
    /// What is there when the server starts.
    pub preload: Preload,
    /// Who may read and write.
    pub auth: Auth,
    /// JSON Web Tokens (RFC 7519), with the provider `jwt`.
    pub auth_jwt: AuthJwt,
    /// A service that knows the users, with the provider `http`.
    pub auth_http: AuthHttp,
    /// A PostgreSQL database that knows the users, with the provider `sql`.
    pub auth_sql: AuthSql,
    /// Client certificates, with the provider `mtls`.
    pub auth_mtls: AuthMtls,
}

key_sections! {
    /// Where the server listens and who may connect.
    server: Server {
        /// The address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 or :: for all.
        bind: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST), Kind::Address;

        /// The TCP port to listen on; 0 takes any free one and logs it.
        port: u16 = 3000, count(0, 65_535);

        /// The URL paths on which WebSocket clients are accepted; `*` stands for every path.
        routes: Vec<String> = vec!["/".to_owned(), "/websocket".to_owned()], Kind::Routes;

        /// The web pages whose scripts may connect; if empty all may, else a request with another
        /// Origin is answered 403, and one without Origin (not a browser) passes.
        allowed_origins: Vec<String> = Vec::new(), Kind::Origins;

        /// The proxies in front of this server whose X-Forwarded-For header is believed.
        trusted_proxies: Vec<IpNet> = Vec::new(), Kind::Networks;

        /// Whether those proxies begin each connection with a PROXY protocol header, version 1 or
        /// 2, which says whose it is; theirs without one are refused. On the TCP port as well.
        proxy_protocol: bool = false, Kind::Flag;

        /// How many threads serve connections; more than one helps only with several busy cores.
        workers: usize = 1, count(1, 64);

        /// How many connections may be open at once; further ones are turned away.
        connections_max: usize = 10_000, count(1, 1_000_000);

        /// How many of them one address may have open at once; 0 for any number.
        connections_per_address_max: usize = 0, count(0, 1_000_000);

        /// How many new connections are let in per second, on all doors together; further ones are
        /// turned away. 0 for any number.
        connections_per_second_max: u32 = 0, count(0, 10_000_000);

        /// How many new connections the kernel may hold until the server gets to them.
        backlog: u32 = 1024, count(1, 65_535);
    }

    /// How connections are read and written, whatever door they came through.
    socket: Socket {
        /// How much is read from one connection before the next one gets its turn.
        read_buffer_bytes: usize = 65_536, bytes(KIB, 16 * MIB);

        /// How much is encoded for one connection before the next one gets its turn.
        write_buffer_bytes: usize = 65_536, bytes(KIB, 16 * MIB);

        /// Whether small messages are sent at once (`TCP_NODELAY`) instead of waiting for more.
        nodelay: bool = true, Kind::Flag;

        /// How much the kernel takes beyond what it has sent (`TCP_NOTSENT_LOWAT`); the less, the
        /// fresher is what a slow client gets.
        notsent_lowat_bytes: u32 = 16_384, bytes(KIB, GIB);

        /// How long sent bytes may stay unacknowledged before the kernel ends the connection
        /// (`TCP_USER_TIMEOUT`); 0s leaves it to the kernel.
        #[serde(deserialize_with = "duration")]
        user_timeout: Duration = Duration::from_secs(60), time(Duration::ZERO, HOUR);
    }

    /// How silent WebSocket connections are found out.
    websocket: Websocket {
        /// How often a connection is sent a ping, which a living client answers.
        #[serde(deserialize_with = "duration")]
        ping_interval: Duration = Duration::from_secs(25), time(TICK, HOUR);

        /// How long after a ping a connection may send nothing at all, not even the answer, before
        /// it is closed; 0s for any time.
        #[serde(deserialize_with = "duration")]
        pong_timeout: Duration = Duration::from_secs(35), time(Duration::ZERO, DAY);
    }

    /// A port on which the messages come back to back, without WebSocket.
    tcp: Tcp {
        /// Whether there is such a port.
        enabled: bool = false, Kind::Flag;

        /// The address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 or :: for all.
        bind: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST), Kind::Address;

        /// The TCP port to listen on; 0 takes any free one and logs it.
        port: u16 = 3002, count(0, 65_535);
    }

    /// A socket in the file system on which the messages come back to back.
    unix: Unix {
        /// The file of the socket; empty for none.
        path: PathBuf = PathBuf::new(), Kind::OptionalPath;

        /// Who may connect, as an octal file mode: `0600` the owner, `0660` the group as well.
        mode: String = "0660".to_owned(), Kind::Mode;

        /// The user who owns the socket, by name or number; empty for who starts the server.
        owner: String = String::new(), Kind::Text;

        /// The group that owns the socket, by name or number; empty for that of who starts it.
        group: String = String::new(), Kind::Text;
    }

    /// A port for who operates the server: `/healthz`, `/readyz` and `/metrics` over HTTP.
    admin: Admin {
        /// Whether there is such a port.
        enabled: bool = false, Kind::Flag;

        /// The address to listen on; everybody who reaches it may read the metrics.
        bind: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST), Kind::Address;

        /// The TCP port to listen on; 0 takes any free one and logs it.
        port: u16 = 3001, count(0, 65_535);

        /// What the API below `/v1` wants as `Authorization: Bearer`; empty for no API on this
        /// port. The commands of `fanal` use a socket in `store.directory` and need no token.
        token: Secret = Secret::default(), Kind::Secret;
    }

    /// Encryption of the WebSocket port; both files are needed for it.
    tls: Tls {
        /// The file with the certificate chain in PEM; empty for no encryption.
        certificate: PathBuf = PathBuf::new(), Kind::OptionalPath;

        /// The file with the private key in PEM.
        key: PathBuf = PathBuf::new(), Kind::OptionalPath;

        /// The oldest version of TLS that is spoken.
        version_min: TlsVersion = TlsVersion::Tls12, Kind::Choice(&["1.2", "1.3"]);
    }

    /// What one connection may ask for at a time.
    session: Session {
        /// How many requests of one connection may be in work before it has to wait for an answer.
        requests_max: usize = 64, count(1, 1024);

        /// How large the payloads of those requests may be together; one request always passes.
        requests_bytes_max: usize = 4_194_304, bytes(KIB, GIB);

        /// How many streams one connection may have open.
        streams_max: usize = 1024, count(1, 1_000_000);

        /// How many requests one connection may make per second; further ones are answered 429.
        /// 0 for any number.
        requests_per_second_max: u32 = 0, count(0, 10_000_000);

        /// How many requests in a row may be malformed or forbidden before the connection is
        /// closed with 1008; 0 for any number.
        wrong_requests_max: u32 = 1000, count(0, 1_000_000_000);

        /// How long all requests may be malformed or forbidden before the connection is closed with
        /// 1008; 0s for any time.
        #[serde(deserialize_with = "duration")]
        wrong_requests_timeout: Duration = Duration::from_secs(60), time(Duration::ZERO, DAY);

        /// How long a connection may have no stream and make no request before it is closed; 0s for
        /// any time.
        #[serde(deserialize_with = "duration")]
        idle_timeout: Duration = Duration::ZERO, time(Duration::ZERO, DAY);
    }

    /// What is kept for each stream whose client is slower than the updates.
    stream: Stream {
        /// How many of the newest values are kept per stream; older ones are skipped and counted.
        buffer: usize = 16, count(1, 65_536);

        /// How many bytes of values are kept per stream; the newest one is kept whatever its size.
        buffer_bytes: usize = 1_048_576, bytes(KIB, GIB);
    }

    /// What is kept for each connection until its socket takes it.
    outbox: Outbox {
        /// How large the answers that wait to be written may be together; beyond that no further
        /// requests of the connection are read.
        replies_bytes_max: usize = 8_388_608, bytes(KIB, GIB);

        /// How large the updates that wait to be written may be together; beyond that each stream
        /// of the connection keeps only its newest value.
        updates_bytes_max: usize = 8_388_608, bytes(KIB, GIB);

        /// How long a client may take nothing of what is sent to it before its connection is ended;
        /// 0s for any time.
        #[serde(deserialize_with = "duration")]
        stall_timeout: Duration = Duration::from_secs(60), time(Duration::ZERO, DAY);
    }

    /// How many messages may wait for each of the actors inside the server.
    mailbox: Mailbox {
        /// Messages that may wait for the directory, which owns the tree of names.
        directory: usize = 8192, count(16, 1_048_576);

        /// Messages that may wait for one resource.
        resource: usize = 4096, count(16, 1_048_576);

        /// Messages that may wait for the supervisor, which loads and saves.
        supervisor: usize = 8192, count(16, 1_048_576);
    }

    /// Resources that are in use have an actor each, which is quick to write to.
    resource: Resource {
        /// How long a resource may be unused until its actor ends and gives its memory back; the
        /// value stays, and the next write starts another one.
        #[serde(deserialize_with = "duration")]
        idle_timeout: Duration = Duration::from_secs(60), time(TICK, DAY);

        /// How large the values in memory may be together; beyond that, those of resources unused
        /// for `idle_timeout` are left to the embedded store and read from it when they are used.
        resident_bytes_max: u64 = 1_073_741_824, bytes(KIB, TIB);

        /// The resources whose values are kept in memory but not saved (class live): paths in which
        /// `*` stands for one name and `**` for any number of them.
        live_paths: Vec<String> = Vec::new(), Kind::Patterns;

        /// The resources whose values are handed to streams and links but not kept (class event):
        /// who reads or begins a stream gets nil; paths as above, and these go first.
        event_paths: Vec<String> = Vec::new(), Kind::Patterns;
    }

    /// Links, which hand each value of one resource on to another.
    link: Link {
        /// How many of the newest values are kept per link while its destination is behind.
        buffer: usize = 64, count(1, 65_536);

        /// How many links there may be in all.
        links_max: usize = 10_000, count(1, 1_000_000);
    }

    /// How large things may become.
    limits: Limits {
        /// The largest request a client may send; a larger one closes the connection with 1009.
        message_bytes_max: usize = 2_097_152, bytes(KIB, 64 * MIB);

        /// How many names a path may have.
        path_depth_max: usize = 256, count(1, 512);

        /// How long one name in a path may be.
        name_bytes_max: usize = 2048, bytes(1, 64 * KIB);

        /// How long a path may be, all names together as they are encoded.
        path_bytes_max: usize = 16_384, bytes(64, MIB);

        /// How long the credentials of a request may be, as they are encoded.
        auth_bytes_max: usize = 8192, bytes(64, MIB);

        /// How long the REID of a STREAM may be, as it is encoded; it is kept with the stream.
        reid_bytes_max: usize = 4096, bytes(16, MIB);

        /// How deep arrays and maps may be nested in one message.
        payload_depth_max: usize = 512, count(8, 512);

        /// How many resources and directories there may be together.
        nodes_max: usize = 1_000_000, count(1, 100_000_000);

        /// How large the values of all resources may be together.
        values_bytes_max: u64 = 2_147_483_648, bytes(KIB, TIB);

        /// How large the answer to a LIST may be; for a larger directory it is an error.
        list_bytes_max: usize = 16_777_216, bytes(KIB, GIB);
    }

    /// Where the tree and its values are kept over a restart.
    store: Store {
        /// How: `embedded` in a database that is written where something changed, `file` in one
        /// file that is written as a whole, `memory` not at all.
        engine: StoreEngine = StoreEngine::Embedded, Kind::Choice(&["embedded", "file", "memory"]);

        /// The directory of its files; a relative path starts at the working directory.
        directory: PathBuf = PathBuf::from("./data"), Kind::Path;

        /// What is on disk before a request is answered: `structure` what creates, deletes or
        /// links, `all` values too, `interval` nothing, all is saved at `snapshot.interval`.
        sync: StoreSync = StoreSync::Structure, Kind::Choice(&["structure", "all", "interval"]);

        /// Whether the server refuses to start on a damaged store, instead of setting it aside and
        /// starting from the newest backup.
        strict: bool = false, Kind::Flag;

        /// How much memory the embedded store takes to remember parts of its file.
        cache_bytes_max: usize = 33_554_432, bytes(MIB, TIB);

        /// How old the newest backup in the directory becomes before the embedded store writes
        /// another one; it is used if the database is damaged.
        #[serde(deserialize_with = "duration")]
        backup_interval: Duration = HOUR, time(TICK, WEEK);
    }

    /// When changed values are saved.
    snapshot: Snapshot {
        /// How often changed values are saved, which is also how much of them a crash can lose.
        #[serde(deserialize_with = "duration")]
        interval: Duration = Duration::from_secs(1), time(TICK, HOUR);
    }

    /// How the server stops.
    shutdown: Shutdown {
        /// The time over which the connections are closed, so that not all come back at once.
        #[serde(deserialize_with = "duration")]
        drain: Duration = Duration::from_secs(2), time(Duration::ZERO, TEN_MINUTES);
    }

    /// What the broker does, as resources below `$fanal/stats`, for who may read there.
    statistics: Statistics {
        /// How often they are written; 0 for no statistics.
        #[serde(deserialize_with = "duration")]
        interval: Duration = Duration::ZERO, time(Duration::ZERO, HOUR);
    }

    /// Settings as resources below `$fanal/config`, for who may read and write there.
    tunables: Tunables {
        /// Whether they are there: who writes one changes a setting of the running server, which
        /// `docs/operations.md` lists.
        enabled: bool = false, Kind::Flag;
    }

    /// What is logged.
    log: Log {
        /// The least important messages that are shown; parts of the server can have a level of
        /// their own, as in `info,fanal::doors=debug`.
        level: String = "info".to_owned(), Kind::LogFilter;

        /// One line of text for people or one JSON object for machines per message.
        format: LogFormat = LogFormat::Text, Kind::Choice(&["text", "json"]);

        /// How often a line says what the server does, at the level info; 0 for never.
        #[serde(deserialize_with = "duration")]
        summary_interval: Duration = Duration::from_secs(60), time(Duration::ZERO, DAY);
    }

    /// What is there when the server starts.
    preload: Preload {
        /// What is made at every start if it is not there, with missing directories: a resource,
        /// with its first value (`value`, or `zero_bytes` for so many zeros, else nil), or with
        /// `directory = true` a directory. `source` is a resource that it follows from then on, as
        /// by LINK. What is there keeps its value. `{user}` stands for each of the users below.
        resources: Vec<Declared> = Vec::new(), Kind::Preload;
    }
}

impl Unix {
    /// The bits of `unix.mode`.
    pub fn mode_bits(&self) -> u32 {
        super::kind::file_mode(&self.mode).unwrap_or(0o600)
    }
}
