//! The command line: what can be typed, and what its help says.
//!
//! The flags of the server are a layer of its settings, so they are defined and checked in `config`
//! together with the file and the environment; here is what surrounds them.

pub mod auth;
pub mod check_config;
mod client;
pub mod demo;
pub mod manual;
pub mod operate;
mod picture;
pub mod print_config;
pub mod reload;
pub mod talk;
pub mod token;
pub mod watch;

use std::env;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use crate::config::ServerArgs;
pub use client::failure::code;
pub use client::messages::length as answer_length;
use client::target;
pub use client::target::Connect;

const SERVER_HELP: &str = "\
Runs the Fanal server, a broker that keeps the last value of every resource and sends each change \
to all clients that stream it.

Without any settings it listens on 127.0.0.1:3000 and lets every program on this machine in. It \
runs until it is told to stop (Ctrl-C or SIGTERM), then saves its values and closes its \
connections.";

const SERVER_AFTER: &str = "\
Where settings come from; later ones win:
  1. built-in defaults
  2. a TOML file: the one named by --config, else fanal.toml in the working directory if it exists
  3. tunables.toml beside the data: what was changed while the server ran (`fanal tune`)
  4. environment variables: server.port is FANAL_SERVER_PORT, lists are separated by commas
  5. flags, those of --set last

config.example.toml explains every key. `fanal check-config` reports everything that is wrong, and \
`fanal print-config` shows every value and where it came from; both start nothing.

Example: let other machines connect on port 4000, with users from a file
  fanal --config users.toml --bind 0.0.0.0 --port 4000 --set auth.mode=users";

const CHECK_HELP: &str = "\
Checks the configuration and reports everything that is wrong with it, one line per problem. \
Nothing is started and no port is opened.

Exits with 0 if the server would accept the configuration and with 2 if not.";

const PRINT_HELP: &str = "\
Shows every setting, its value, and where it came from, as a TOML file with comments. Tokens are \
shown as ***. Nothing is started.";

const DEMO_HELP: &str = "\
Connects to a running server and changes one resource many times per second, so that there is \
something to look at. Stop it with Ctrl-C.";

const WATCH_HELP: &str = "\
Connects to a running server and prints the value of one resource now and after each change. Stop \
it with Ctrl-C.";

const SNAPSHOT_HELP: &str = "\
Looks at the files in which a server keeps its state, writes that state to a file, or brings one \
in. The files are those that the server would use with the same flags: --data or --config name \
them. Everything but import may be used while the server runs.";

const EXPORT_HELP: &str = "\
Writes the whole tree with its values and links to a file: as JSON if its name ends in .json, else \
as a MessagePack snapshot. A server that runs meanwhile gives what it has in memory; with \
store.engine = \"file\" values are as of the last save.";

const IMPORT_HELP: &str = "\
Brings the content of a file into what is saved: JSON or a snapshot as written by export, or a \
snapshot file of the original server beacon. Values of the file win over those that are there, and \
nothing is removed, unless --replace is given. If anything is in conflict, nothing is done. The \
server must be stopped, but for --dry-run.";

const RELOAD_HELP: &str = "\
Has a running server read its configuration and its file of users again. Who may do what is then \
as they say, and so are limits, buffers, intervals and what is logged; on any error nothing \
changes and the problems are printed. Settings that take effect at the next start only are named. \
The server is the one that uses the same --data or --config. SIGHUP does the same, and so does a \
change of the files within auth.recheck_interval.";

const EXPLAIN_HELP: &str = "\
Says whether a user may do something, and which provider and which rule decide that. A running \
server is asked, which knows the users of all its providers; if none runs, the configuration is.

Exits with 0 if it is allowed, with 3 if it is denied and with 1 if there is no answer.";

const TOKEN_HELP: &str = "\
Makes, lists and revokes tokens in a file of users (auth.users_file). A running server takes a \
change within auth.recheck_interval, or at once with `fanal reload`.";

const TOKEN_NEW_HELP: &str = "\
Makes a token for a user and writes its hash to the file. The token is printed once, alone on \
standard output, and kept nowhere. With --password a password is read from standard input \
instead, and its Argon2 hash is written.";

/// A broker for live state: clients stream resources and always end on the last value.
#[derive(Parser)]
#[command(
    name = "fanal",
    version,
    long_about = SERVER_HELP,
    after_help = "Example: fanal --port 4000\n\nWhere settings come from: fanal --help",
    after_long_help = SERVER_AFTER,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// The settings of the server, which is what runs without a command.
    #[command(flatten)]
    pub server: ServerArgs,
    /// What to do instead of running the server.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The command line with its help as it is shown: in the long one, the example stands before what
/// is behind it in all commands of a kind.
pub fn command() -> clap::Command {
    let whole =
        |command: clap::Command| match (command.get_after_help(), command.get_after_long_help()) {
            (Some(example), Some(more)) => {
                let both = format!("{example}\n\n{more}");
                command.after_long_help(both)
            }
            _ => command,
        };
    Cli::command().mut_subcommands(move |command| whole(command).mut_subcommands(whole))
}

/// What `fanal` can do besides running the server.
#[derive(Subcommand)]
pub enum Command {
    /// Change a resource many times per second on a running server.
    #[command(
        long_about = DEMO_HELP,
        after_help = "Example: fanal demo --rate 10 --seconds 60",
        after_long_help = target::HELP
    )]
    Demo(DemoArgs),
    /// Print each change of a resource of a running server.
    #[command(
        long_about = WATCH_HELP,
        after_help = "Example: fanal watch user/demo/model --frames 10",
        after_long_help = target::HELP
    )]
    Watch(WatchArgs),
    /// What clients do.
    #[command(flatten)]
    Talk(talk::Talk),
    /// What operators do.
    #[command(flatten)]
    Operate(operate::Operation),
    /// Have a running server read anew who may do what.
    #[command(long_about = RELOAD_HELP, after_help = "Example: fanal reload --config fanal.toml")]
    Reload(ServerArgs),
    /// Find out why something is allowed or not.
    #[command(
        subcommand,
        after_help = "Example: fanal auth explain --user ann --verb PUT user/bob/model"
    )]
    Auth(AuthCommand),
    /// Make, list and revoke tokens of users.
    #[command(
        subcommand,
        long_about = TOKEN_HELP,
        after_help = "Example: fanal token new ann --role student --file users.toml"
    )]
    Token(TokenCommand),
    /// Look at what is saved, carry it elsewhere, or bring it in.
    #[command(
        subcommand,
        long_about = SNAPSHOT_HELP,
        after_help = "Example: fanal snapshot export show.json --data ./data"
    )]
    Snapshot(SnapshotCommand),
    /// Report everything that is wrong with the configuration.
    #[command(
        long_about = CHECK_HELP,
        after_help = "Example: fanal check-config --config fanal.toml"
    )]
    CheckConfig(ServerArgs),
    /// Show every setting and where it came from.
    #[command(
        long_about = PRINT_HELP,
        after_help = "Example: fanal print-config --set stream.buffer=32"
    )]
    PrintConfig(ServerArgs),
    /// Print what completes commands in a shell.
    #[command(after_help = "Example:\n  fanal completions bash > \
                      ~/.local/share/bash-completion/completions/fanal")]
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write the pages of the manual.
    #[command(after_help = "Examples:\n  fanal man | man -l -\n  \
                      fanal man --directory ~/.local/share/man/man1")]
    Man {
        /// Write a page for each command into this directory, instead of printing the first.
        #[arg(long, value_name = "DIRECTORY")]
        directory: Option<PathBuf>,
    },
}

/// What `fanal auth` can do.
#[derive(Subcommand)]
pub enum AuthCommand {
    /// Say whether a user may do something, and why.
    #[command(
        long_about = EXPLAIN_HELP,
        after_help = "Example: fanal auth explain --user ann --verb PUT user/bob/model"
    )]
    Explain(ExplainArgs),
}

/// What `fanal auth explain` is told.
#[derive(Args, Clone)]
pub struct ExplainArgs {
    /// The resource or directory, as names separated by slashes; / is the root.
    #[arg(value_name = "PATH")]
    pub path: String,

    /// The user; without, it is asked for who gives no credentials.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub user: String,

    /// What is to be done: GET, PUT, POST, CREATE, MKDIR, DELETE, LIST, STREAM, STOP, LINK or
    /// UNLINK.
    #[arg(long, value_name = "VERB")]
    pub verb: String,

    /// For LINK, the resource that is followed.
    #[arg(long, value_name = "PATH")]
    pub source: Option<String>,

    /// Take this role instead of those that the user has; may be given several times.
    #[arg(long, value_name = "ROLE")]
    pub role: Vec<String>,

    /// Which server is meant.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What `fanal token` can do.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a token for a user and print it once.
    #[command(
        long_about = TOKEN_NEW_HELP,
        after_help = "Example: fanal token new ann --role student --expires 180d --file users.toml"
    )]
    New(TokenArgs),
    /// Show the users of the file, without what is secret.
    #[command(after_help = "Example: fanal token list --file users.toml")]
    List {
        /// The file of users; without, the one that auth.users_file names.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Where auth.users_file is set.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Take a user out of the file.
    #[command(after_help = "Example: fanal token revoke ann --file users.toml")]
    Revoke {
        /// The user.
        #[arg(value_name = "USER")]
        user: String,
        /// The file of users; without, the one that auth.users_file names.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Where auth.users_file is set.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// What `fanal token new` is told.
#[derive(Args, Clone)]
pub struct TokenArgs {
    /// The user.
    #[arg(value_name = "USER")]
    pub user: String,

    /// A role of the user; may be given several times.
    #[arg(long, value_name = "ROLE")]
    pub role: Vec<String>,

    /// When it ends: a duration such as 30d, or a time such as 2027-03-31T23:59:59Z.
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,

    /// Read a password from standard input instead of making a token.
    #[arg(long)]
    pub password: bool,

    /// Replace the token of a user that is there already; its other fields stay as they are, but
    /// for those given here.
    #[arg(long)]
    pub replace: bool,

    /// The file of users; without, the one that auth.users_file names.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Where auth.users_file is set.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What `fanal snapshot` can do.
#[derive(Subcommand)]
pub enum SnapshotCommand {
    /// Show what is saved.
    #[command(after_help = "Example: fanal snapshot info --data ./data")]
    Info(ServerArgs),
    /// Read every file to its end and say whether it is good; exits with 1 if one is not.
    #[command(after_help = "Example: fanal snapshot verify --data ./data")]
    Verify(ServerArgs),
    /// Write what is saved to a file.
    #[command(
        long_about = EXPORT_HELP,
        after_help = "Example: fanal snapshot export show.json --data ./data"
    )]
    Export(ExportArgs),
    /// Bring what is in a file into what is saved.
    #[command(
        long_about = IMPORT_HELP,
        after_help = "Example: fanal snapshot import show.json --dry-run --data ./data"
    )]
    Import(ImportArgs),
}

/// What `fanal snapshot export` is told.
#[derive(Args, Clone)]
pub struct ExportArgs {
    /// The file to write; one that is there is replaced.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Where the data is.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What `fanal snapshot import` is told.
#[derive(Args, Clone)]
pub struct ImportArgs {
    /// The file to read.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Throw away what is saved instead of putting the file's content over it.
    #[arg(long)]
    pub replace: bool,

    /// Say what would be done and do nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Where the data is.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What `fanal demo` is told.
#[derive(Args, Clone)]
pub struct DemoArgs {
    /// The resource to change, as names separated by slashes.
    #[arg(long, default_value = "user/demo/model")]
    pub path: String,

    /// How many changes to send per second.
    #[arg(long, value_name = "N", default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,

    /// Stop after so many seconds instead of running until Ctrl-C.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,

    /// Which server, and who.
    #[command(flatten)]
    pub connect: Connect,
}

/// What `fanal watch` is told.
#[derive(Args, Clone)]
pub struct WatchArgs {
    /// The resource to watch, as names separated by slashes.
    #[arg(value_name = "PATH")]
    pub path: String,

    /// Stop after so many values instead of running until Ctrl-C.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub frames: Option<u64>,

    /// Which server, and who.
    #[command(flatten)]
    pub connect: Connect,
}

/// The environment as text. What is no Unicode is replaced instead of ending the program, since
/// variables of other programs are none of our business.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    })
}
