//! Commands of who operates a server: they ask its API, at the socket in the data directory or at
//! a URL.

pub mod table;
mod top;
mod tune;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use actix_web::http::Method;
use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use super::{ServerArgs, check_config, environment};
use crate::admin::answers::{Done, Link, LogLevel, Saved, Session, Status};
use crate::config;
use crate::control::{Answered, Api, escaped};
use table::{Side, table};
use tune::Tune;

/// How often it is looked how far a server that stops has come.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// Which server is meant.
#[derive(Args, Clone)]
pub struct Where {
    /// Ask the API at this URL, with admin.token, instead of the server of the data directory.
    #[arg(long, value_name = "URL")]
    pub admin_url: Option<String>,

    /// Where the data is.
    #[command(flatten)]
    pub server: ServerArgs,
}

const WHICH_HELP: &str = "\
The server is the one that uses the same --data or --config, asked through a socket in its data \
directory that only its owner may use. --admin-url asks one elsewhere at its port (admin.enabled) \
with admin.token, which FANAL_ADMIN_TOKEN gives without it being seen.";

const DRAIN_HELP: &str = "\
Has a running server let nobody in any more, close its connections in batches over a time, so that \
not all come back at once, save what has changed, and stop. /readyz answers 503 from the beginning \
on. Waits until the server is gone.";

const TUNE_HELP: &str = "\
Shows or changes settings of a running server. A change is kept over a restart, in tunables.toml \
beside the data, and wins over the configuration file; what the environment or a flag sets cannot \
be changed. Without a setting all are listed, with what a change of each counts for: now, new \
connections, or the next start.";

/// What an operator can do.
#[derive(Subcommand)]
pub enum Operation {
    /// Show how a running server is.
    #[command(after_help = "Example: fanal status", after_long_help = WHICH_HELP)]
    Status {
        /// Which server.
        #[command(flatten)]
        place: Where,
    },
    /// Watch a running server: what it does, and the resources that do the most.
    #[command(
        after_help = "Example: fanal top\n\nKeys: r rate, s streams, b bytes, u updates, q ends it",
        after_long_help = WHICH_HELP
    )]
    Top {
        /// Which server.
        #[command(flatten)]
        place: Where,
    },
    /// Show the connections of a running server.
    #[command(
        after_help = "Example: fanal sessions --of-user ann",
        after_long_help = WHICH_HELP
    )]
    Sessions {
        /// Only those of this user.
        #[arg(long, value_name = "NAME")]
        of_user: Option<String>,
        /// Which server.
        #[command(flatten)]
        place: Where,
    },
    /// End connections of a running server; they may come back.
    #[command(after_help = "Example: fanal kick 17", after_long_help = WHICH_HELP)]
    Kick {
        /// Their numbers, as `fanal sessions` and the log have them.
        #[arg(value_name = "NUMBER", required_unless_present = "of_user")]
        numbers: Vec<u64>,
        /// All of this user.
        #[arg(long, value_name = "NAME", conflicts_with = "numbers")]
        of_user: Option<String>,
        /// Which server.
        #[command(flatten)]
        place: Where,
    },
    /// Show which resources follow which on a running server.
    #[command(after_help = "Example: fanal links user/ann/model", after_long_help = WHICH_HELP)]
    Links {
        /// Only those from and to this resource, as names separated by slashes.
        #[arg(value_name = "PATH")]
        path: Option<String>,
        /// Which server.
        #[command(flatten)]
        place: Where,
    },
    /// Have a running server close its connections, save and stop.
    #[command(
        after_help = "Example: fanal drain --over 30s",
        long_about = DRAIN_HELP,
        after_long_help = WHICH_HELP
    )]
    Drain {
        /// The time over which connections are closed, in batches; without, shutdown.drain.
        #[arg(long, value_name = "TIME")]
        over: Option<String>,
        /// Which server.
        #[command(flatten)]
        place: Where,
    },
    /// Show or change what a running server logs, until its next start.
    #[command(
        after_help = "Example: fanal log info,fanal::doors=debug",
        after_long_help = WHICH_HELP
    )]
    Log {
        /// The least important messages to show, as log.level has it; without, it is shown.
        #[arg(value_name = "LEVEL")]
        level: Option<String>,
        /// Which server.
        #[command(flatten)]
        place: Where,
    },
    /// Show or change settings of a running server.
    #[command(
        after_help = "Examples:\n  fanal tune\n  fanal tune stream.buffer 32\n  \
                      fanal tune stream.buffer --unset",
        long_about = TUNE_HELP,
        after_long_help = WHICH_HELP
    )]
    Tune {
        /// The setting, such as stream.buffer; without, all are listed.
        #[arg(value_name = "SETTING")]
        setting: Option<String>,
        /// Its value as --set takes it; without, what the setting is and has is shown.
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: Option<String>,
        /// Give it back the value that the configuration has.
        #[arg(long, conflicts_with = "value", requires = "setting")]
        unset: bool,
        /// List only those that are not as the defaults have them.
        #[arg(long, conflicts_with = "setting")]
        changed: bool,
        /// Which server.
        #[command(flatten)]
        place: Where,
    },
    /// Have a running server save what has changed, now.
    #[command(after_help = "Example: fanal save", after_long_help = WHICH_HELP)]
    Save {
        /// Which server.
        #[command(flatten)]
        place: Where,
    },
}

/// Does it.
pub fn run(operation: &Operation) -> ExitCode {
    let (Operation::Status { place }
    | Operation::Top { place }
    | Operation::Sessions { place, .. }
    | Operation::Kick { place, .. }
    | Operation::Links { place, .. }
    | Operation::Drain { place, .. }
    | Operation::Log { place, .. }
    | Operation::Tune { place, .. }
    | Operation::Save { place }) = operation;
    let api = match Server::of(place) {
        Ok(server) => server,
        Err(code) => return code,
    };
    let outcome = match operation {
        Operation::Status { .. } => status(&api),
        Operation::Top { .. } => top::run(&api),
        Operation::Sessions { of_user, .. } => sessions(&api, of_user.as_deref()),
        Operation::Kick { numbers, of_user, .. } => kick(&api, numbers, of_user.as_deref()),
        Operation::Links { path, .. } => links(&api, path.as_deref()),
        Operation::Drain { over, .. } => drain(&api, over.as_deref()),
        Operation::Log { level, .. } => log_level(&api, level.as_deref()),
        Operation::Tune { setting, value, unset, changed, .. } => {
            let tune = match (setting, value) {
                (None, _) => Tune::List { changed: *changed },
                (Some(setting), None) if *unset => Tune::Unset(setting),
                (Some(setting), None) => Tune::Show(setting),
                (Some(setting), Some(value)) => Tune::Set(setting, value),
            };
            tune::run(&api, &tune)
        }
        Operation::Save { .. } => save(&api),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "fanal: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The server that is asked.
pub struct Server {
    api: Api,
    name: String,
}

impl Server {
    /// The one that is meant.
    ///
    /// # Errors
    /// The code to end with; what is wrong with the configuration is on standard error.
    pub fn of(place: &Where) -> Result<Self, ExitCode> {
        let config = match config::load(&place.server, environment()) {
            Ok(loaded) => loaded.config,
            Err(problems) => return Err(check_config::fail(&problems)),
        };
        Ok(match &place.admin_url {
            Some(url) => {
                let token = config.admin.token.reveal().to_owned();
                Server { api: Api::Url { url: url.clone(), token }, name: url.clone() }
            }
            None => Server {
                api: Api::of(&config.store.directory),
                name: config.store.directory.display().to_string(),
            },
        })
    }

    /// Asks for something below `/v1`.
    ///
    /// # Errors
    /// If no server runs there, or it does not answer.
    pub fn ask(&self, method: &Method, what: &str) -> anyhow::Result<Answered> {
        self.api.ask(method, what)?.with_context(|| {
            format!(
                "no server runs on {}; --data or --config name the one that is meant, --admin-url \
                 one elsewhere",
                self.name
            )
        })
    }

    fn get<T: serde::de::DeserializeOwned>(&self, what: &str) -> anyhow::Result<T> {
        self.ask(&Method::GET, what)?.read()
    }
}

/// Who closed the pipe does not want to know.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn status(server: &Server) -> anyhow::Result<()> {
    let status: Status = server.get("status")?;
    let state = match (status.stopping, status.durable) {
        (true, _) => "stopping",
        (false, false) => "NOT DURABLE: the store cannot be written, see the log",
        (false, true) => "ready",
    };
    let uptime = Duration::from_secs(status.uptime_seconds);
    let mut rows = vec![
        ["state".to_owned(), state.to_owned()],
        ["version".to_owned(), format!("{}, process {}", status.version, status.pid)],
        ["up".to_owned(), humantime::format_duration(uptime).to_string()],
        ["connections".to_owned(), status.sessions.to_string()],
        ["tree".to_owned(), format!("{} resources and directories", status.nodes)],
        [
            "values".to_owned(),
            format!(
                "{}, {} in memory",
                table::bytes(status.values_bytes),
                table::bytes(status.values_resident_bytes)
            ),
        ],
    ];
    let counted = status.counters.into_iter().filter(|(_, count)| *count > 0);
    rows.extend(counted.map(|(name, count)| [name, count.to_string()]));
    say(&table(None, &[Side::Left, Side::Left], &rows));
    Ok(())
}

fn sessions_of(server: &Server, user: Option<&str>) -> anyhow::Result<Vec<Session>> {
    let user = user.map_or(String::new(), |user| format!("&user={}", escaped(user)));
    let mut all: Vec<Session> = Vec::new();
    loop {
        let after = all.last().map_or(0, |session| session.number);
        let mut more: Vec<Session> =
            server.get(&format!("sessions?limit=1000&after={after}{user}"))?;
        if more.is_empty() {
            return Ok(all);
        }
        all.append(&mut more);
    }
}

fn sessions(server: &Server, user: Option<&str>) -> anyhow::Result<()> {
    let rows: Vec<[String; 8]> = sessions_of(server, user)?
        .into_iter()
        .map(|session| {
            [
                session.number.to_string(),
                table::printable(session.user.as_deref().unwrap_or("-")),
                session.address.unwrap_or_else(|| "socket file".to_owned()),
                session.opened,
                session.requests.to_string(),
                session.streams.to_string(),
                table::bytes(session.waiting_bytes),
                session.skipped.to_string(),
            ]
        })
        .collect();
    let titles =
        ["number", "user", "address", "opened", "requests", "streams", "waiting", "skipped"];
    use Side::{Left, Right};
    let sides = [Right, Left, Left, Left, Right, Right, Right, Right];
    say(&table(Some(&titles), &sides, &rows));
    Ok(())
}

fn kick(server: &Server, numbers: &[u64], user: Option<&str>) -> anyhow::Result<()> {
    let numbers = match user {
        None => numbers.to_vec(),
        Some(user) => {
            let found = sessions_of(server, Some(user))?;
            anyhow::ensure!(!found.is_empty(), "user {user:?} has no connection");
            found.into_iter().map(|session| session.number).collect()
        }
    };
    for number in numbers {
        let answer = server.ask(&Method::DELETE, &format!("sessions/{number}"))?;
        let Done { done } = answer.read()?;
        say(&format!("{done}\n"));
    }
    Ok(())
}

fn links(server: &Server, path: Option<&str>) -> anyhow::Result<()> {
    let of = path.map_or(String::new(), |path| format!("?path={}", escaped(path)));
    let links: Vec<Link> = server.get(&format!("links{of}"))?;
    let rows: Vec<[String; 3]> = links
        .into_iter()
        .map(|link| {
            let (destination, source) =
                (table::printable(&link.destination), table::printable(&link.source));
            [destination, "follows".to_owned(), source]
        })
        .collect();
    say(&table(None, &[Side::Left; 3], &rows));
    Ok(())
}

fn log_level(server: &Server, level: Option<&str>) -> anyhow::Result<()> {
    let answer = match level {
        None => server.ask(&Method::GET, "log")?,
        Some(level) => server.ask(&Method::PUT, &format!("log?level={}", escaped(level)))?,
    };
    let LogLevel { level } = answer.read()?;
    say(&format!("{level}\n"));
    Ok(())
}

fn save(server: &Server) -> anyhow::Result<()> {
    let saved: Saved = server.ask(&Method::POST, "snapshot")?.read()?;
    say(&match saved.resources {
        0 => "everything was saved already\n".to_owned(),
        count => format!("saved {count} resources in {}\n", table::bytes(saved.bytes)),
    });
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a command has nothing else to do meanwhile")]
fn drain(server: &Server, over: Option<&str>) -> anyhow::Result<()> {
    let before: Status = server.get("status")?;
    let over = over.map_or(String::new(), |over| format!("?over={}", escaped(over)));
    let Done { done } = server.ask(&Method::POST, &format!("drain{over}"))?.read()?;
    say(&format!("{done}\n"));
    let bar = ProgressBar::new(before.sessions).with_message("connections closed");
    // It answers until everything is saved, and then not at all.
    while let Ok(Some(answer)) = server.api.ask(&Method::GET, "status") {
        let Ok(status) = answer.read::<Status>() else { break };
        bar.set_position(before.sessions.saturating_sub(status.sessions));
        std::thread::sleep(DRAIN_LOOK);
    }
    bar.finish_and_clear();
    say("the server has stopped\n");
    Ok(())
}
