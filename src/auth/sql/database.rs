//! The database: the connection to it, and the one question that it is asked.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, SystemTime};

use anyhow::{anyhow, bail, ensure};
use futures_core::Stream;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{FromSql, Timestamp, Type};
use tokio_postgres::{Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::trust;
use super::answer::{Answer, Row};
use crate::config::AuthSql;

/// The key that messages about encryption begin with.
const KEY: &str = "auth_sql.url";

/// What is expected of a URL, for messages.
const EXPECTED: &str = "expected a URL such as postgresql://fanal@db.example.org/campus";

/// How a database is reached, and what it is asked.
pub struct Database {
    config: Config,
    tls: MakeRustlsConnect,
    query: String,
    users_max: usize,
    /// What no message may show.
    password: String,
    /// The connection of the last question, if it was answered.
    client: Option<Client>,
}

/// Where the columns are.
struct Columns {
    name: usize,
    token: usize,
    roles: Option<usize>,
    expires: Option<usize>,
}

impl Database {
    /// Reads how to reach it, without doing so.
    ///
    /// # Errors
    /// One sentence that says what is wrong with the settings.
    pub fn new(settings: &AuthSql) -> anyhow::Result<Self> {
        let config = read_url(settings)?;
        let tls = MakeRustlsConnect::new(tls(config.get_ssl_mode())?);
        let password = config.get_password().map(String::from_utf8_lossy).unwrap_or_default();
        Ok(Database {
            tls,
            query: settings.query.clone(),
            users_max: settings.users_max,
            password: password.into_owned(),
            client: None,
            config,
        })
    }

    /// Asks for all users. Connects first if there is no connection.
    ///
    /// # Errors
    /// One sentence with what the database says, without a password.
    pub async fn ask(&mut self) -> anyhow::Result<Answer> {
        // What is interrupted leaves no connection behind.
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connect().await.map_err(|error| self.describe(&error))?,
        };
        let answer = self.read(&client).await?;
        self.client = Some(client);
        Ok(answer)
    }

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        // It ends with its client.
        actix_web::rt::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("auth_sql: the connection has ended: {}", text(&error));
            }
        });
        Ok(client)
    }

    async fn read(&self, client: &Client) -> anyhow::Result<Answer> {
        let describe = |error| self.describe(&error);
        let statement = client.prepare(&self.query).await.map_err(describe)?;
        let columns = Columns::find(&statement)?;
        let nothing: [&str; 0] = [];
        let rows = client.query_raw(&statement, nothing).await.map_err(describe)?;
        let mut rows = pin!(rows);
        let mut answer = Answer::default();
        while let Some(row) = poll_fn(|task| rows.as_mut().poll_next(task)).await {
            let row = row.map_err(describe)?;
            answer.add(columns.read(&row).map_err(describe)?, self.users_max)?;
        }
        Ok(answer)
    }

    fn describe(&self, error: &tokio_postgres::Error) -> anyhow::Error {
        let mut text = text(error);
        if !self.password.is_empty() {
            text = text.replace(&self.password, "***");
        }
        anyhow!("{text}")
    }
}

/// What an error says, on one line.
fn text(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return said.message().escape_debug().to_string();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.escape_debug().to_string()
}

/// The URL, and the password that has a key of its own.
fn read_url(settings: &AuthSql) -> anyhow::Result<Config> {
    let url = settings.url.reveal();
    let schemes = ["postgresql://", "postgres://"];
    if !schemes.iter().any(|scheme| url.starts_with(scheme)) {
        bail!("auth_sql.url = \"***\": {EXPECTED}");
    }
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        // Only what cannot show a part of the URL: it may have a password in an odd place.
        let cause = error.into_source().map(|cause| cause.to_string()).unwrap_or_default();
        let known = ["invalid value for option", "unterminated parameter"];
        if known.iter().any(|text| cause.starts_with(text)) {
            anyhow!("auth_sql.url = \"***\": {cause}; {EXPECTED}")
        } else {
            anyhow!("auth_sql.url = \"***\": it has an option that nobody knows; {EXPECTED}")
        }
    })?;
    let nowhere = config.get_hosts().is_empty() && config.get_hostaddrs().is_empty();
    ensure!(!nowhere, "auth_sql.url = \"***\": it names no host; {EXPECTED}");
    if !settings.password.reveal().is_empty() {
        config.password(settings.password.reveal());
    }
    if config.get_application_name().is_none() {
        config.application_name("fanal");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(settings.timeout.max(Duration::from_secs(1)));
    }
    Ok(config)
}

/// Encryption, with a certificate that the system trusts: here tokens travel.
fn tls(mode: SslMode) -> anyhow::Result<ClientConfig> {
    let roots = match mode {
        SslMode::Disable => RootCertStore::empty(),
        _ => trust::authorities(KEY),
    };
    trust::encryption(KEY, roots)
}

impl Columns {
    fn find(statement: &Statement) -> anyhow::Result<Self> {
        ensure!(statement.params().is_empty(), "auth_sql.query has parameters, expected none");
        let column = |name: &str, fits: fn(&Type) -> bool, expected: &str| {
            let mut columns = statement.columns().iter().enumerate();
            let Some((place, column)) = columns.find(|(_, column)| column.name() == name) else {
                return Ok(None);
            };
            let found = column.type_();
            ensure!(
                fits(found),
                "auth_sql.query: the column {name} is of the type {found}, expected {expected}"
            );
            Ok(Some(place))
        };
        let needed = |name, place: Option<usize>| {
            place.ok_or_else(|| {
                anyhow!(
                    "auth_sql.query: its rows have no column {name}, expected name and token, and \
                     roles and expires if wanted"
                )
            })
        };
        let is_text = <&str as FromSql>::accepts;
        Ok(Columns {
            name: needed("name", column("name", is_text, "text")?)?,
            token: needed("token", column("token", is_text, "text")?)?,
            roles: column("roles", <Vec<String> as FromSql>::accepts, "text[]")?,
            expires: column("expires", |found| *found == Type::TIMESTAMPTZ, "timestamptz")?,
        })
    }

    fn read<'r>(&self, row: &'r tokio_postgres::Row) -> Result<Row<'r>, tokio_postgres::Error> {
        let roles: Option<Vec<Option<String>>> =
            self.roles.map(|place| row.try_get(place)).transpose()?.flatten();
        let expires: Option<Timestamp<SystemTime>> =
            self.expires.map(|place| row.try_get(place)).transpose()?.flatten();
        Ok(Row {
            name: row.try_get(self.name)?,
            token: row.try_get(self.token)?,
            roles: roles.unwrap_or_default().into_iter().flatten().collect(),
            expires: match expires {
                None | Some(Timestamp::PosInfinity) => None,
                Some(Timestamp::NegInfinity) => Some(SystemTime::UNIX_EPOCH),
                Some(Timestamp::Value(time)) => Some(time),
            },
        })
    }
}

/// What a future gives, or that it took longer than it may.
pub async fn within<T>(
    time: Duration,
    future: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    match actix_web::rt::time::timeout(time, future).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let time = humantime::format_duration(time);
            bail!("no answer within {time} (auth_sql.timeout)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, password: &str) -> AuthSql {
        let text = format!("url = {url:?}\npassword = {password:?}");
        AuthSql { ..toml::from_str(&text).unwrap() }
    }

    #[track_caller]
    fn check(url: &str, expected: &str) {
        let error = match Database::new(&settings(url, "")) {
            Ok(_) => panic!("{url} is good"),
            Err(error) => error.to_string(),
        };
        assert!(error.starts_with("auth_sql.url = \"***\": "), "{error}");
        assert!(error.contains(expected) && error.contains(EXPECTED), "{error}");
        assert!(!error.contains("geheim"), "{error}");
    }

    #[test]
    fn a_wrong_url_is_said_in_one_sentence_without_its_password() {
        check("", "expected a URL");
        check("mysql://fanal:geheim@db/campus", "expected a URL");
        check("host=db password=geheim", "expected a URL");
        check("postgresql:///campus", "names no host");
        check("postgresql://fanal:geheim@db:port/campus", "invalid value for option `port`");
        check("postgresql://fanal:geheim@db/campus?sslmode=maybe", "option `sslmode`");
        check("postgresql://fanal@db/campus?geheim=1", "nobody knows");
        check("postgresql://fanal@db/campus?geheim", "unterminated parameter");
    }

    #[test]
    fn a_password_may_be_in_the_url_or_beside_it() {
        for (url, password, expected) in [
            ("postgresql://fanal:geheim@db/campus", "", "geheim"),
            ("postgres://fanal@db/campus", "beside", "beside"),
            ("postgresql://fanal:geheim@db/campus", "beside", "beside"),
        ] {
            let database = Database::new(&settings(url, password)).unwrap();
            assert_eq!(database.password, expected);
        }
    }
}
