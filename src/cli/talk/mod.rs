//! Commands that are clients of a running server: they speak the protocol.

mod bench;
mod stream;
mod tree;
mod value;

use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, Subcommand};
use rmpv::Value;

use super::Connect;
use super::client::failure::CODES;
use super::client::{Client, NO_META, printable, target};
use super::watch::forgive_closed_output;
pub use bench::BenchArgs;
pub use stream::StreamArgs;
pub use tree::TreeArgs;
use value::{Given, Shown};

/// What every client's help ends with.
fn help() -> String {
    format!("{}\n\n{CODES}", target::HELP)
}

/// What a client can do.
#[derive(Subcommand)]
pub enum Talk {
    /// Print the value of a resource.
    #[command(after_help = "Example: fanal get user/ann/model", after_long_help = help())]
    Get {
        /// The resource, as names separated by slashes.
        #[arg(value_name = "PATH")]
        path: String,
        /// How the value is written.
        #[command(flatten)]
        shown: Shown,
        /// Which server, and who.
        #[command(flatten)]
        connect: Connect,
    },
    /// Write the value of a resource that exists.
    #[command(
        after_help = "Examples:\n  fanal put wall/brightness 7\n  \
                      fanal put wall/text --text hello\n  fanal put wall --file frame.rgb\n  \
                      fanal put wall --hex - < frame.hex",
        after_long_help = help()
    )]
    Put(WriteArgs),
    /// Write the value of a resource, and make it and its parents if they are missing.
    #[command(
        after_help = "Example: fanal post wall/brightness 7",
        after_long_help = help()
    )]
    Post(WriteArgs),
    /// Make resources with the value nil, and their parents.
    #[command(
        after_help = "Example: fanal create wall buttons/1 --class live",
        after_long_help = help()
    )]
    Create {
        /// The resources.
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<String>,
        /// What is kept of them: state (memory and disk), live (memory) or event (nothing).
        #[arg(long, value_name = "CLASS")]
        class: Option<String>,
        /// Which server, and who.
        #[command(flatten)]
        connect: Connect,
    },
    /// Make directories, and their parents.
    #[command(after_help = "Example: fanal mkdir scenes", after_long_help = help())]
    Mkdir(Paths),
    /// Remove resources, and directories with all that is in them.
    #[command(after_help = "Example: fanal rm scenes/old", after_long_help = help())]
    Rm(Paths),
    /// Print the names in a directory; those of directories end with a slash.
    #[command(after_help = "Example: fanal ls user", after_long_help = help())]
    Ls {
        /// The directory; without, the root.
        #[arg(value_name = "PATH", default_value = "/")]
        path: String,
        /// Which server, and who.
        #[command(flatten)]
        connect: Connect,
    },
    /// Draw all that is below a directory, with links and how many watch.
    #[command(
        after_help = "Example: fanal tree user --depth 2",
        long_about = tree::HELP,
        after_long_help = help()
    )]
    Tree(TreeArgs),
    /// Print the values of resources, now and after each change.
    #[command(
        after_help = "Examples:\n  fanal stream wall\n  fanal stream user/ann/model live --rate\n  \
                      fanal stream wall --raw --count 1 > frame.rgb",
        long_about = stream::HELP,
        after_long_help = help()
    )]
    Stream(StreamArgs),
    /// Have a resource follow another one.
    #[command(
        after_help = "Example: fanal link wall user/ann/model    # wall shows what ann draws",
        after_long_help = help()
    )]
    Link(LinkArgs),
    /// Have a resource no longer follow another one.
    #[command(
        after_help = "Example: fanal unlink wall user/ann/model",
        after_long_help = help()
    )]
    Unlink(LinkArgs),
    /// Put a load on a running server, and measure what it does.
    #[command(
        after_help = "Example: fanal bench --publishers 20 --watchers 100 --rate 60",
        long_about = bench::HELP,
        after_long_help = help()
    )]
    Bench(BenchArgs),
}

/// What `fanal put` and `fanal post` are told.
#[derive(Args)]
pub struct WriteArgs {
    /// The resource, as names separated by slashes.
    #[arg(value_name = "PATH")]
    path: String,
    /// The value.
    #[command(flatten)]
    given: Given,
    /// Which server, and who.
    #[command(flatten)]
    connect: Connect,
}

/// What `fanal mkdir` and `fanal rm` are told.
#[derive(Args)]
pub struct Paths {
    /// The paths, as names separated by slashes.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    /// Which server, and who.
    #[command(flatten)]
    connect: Connect,
}

/// What `fanal link` and `fanal unlink` are told.
#[derive(Args)]
pub struct LinkArgs {
    /// The resource that follows.
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// The resource that it follows.
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Which server, and who.
    #[command(flatten)]
    connect: Connect,
}

/// Does it.
///
/// # Errors
/// If the server cannot be reached, refuses, or goes away.
pub fn run(talk: &Talk) -> Result<()> {
    forgive_closed_output(match talk {
        Talk::Get { path, shown, connect } => get(path, *shown, connect),
        Talk::Put(args) => write("PUT", args),
        Talk::Post(args) => write("POST", args),
        Talk::Create { paths, class, connect } => {
            let meta = match class {
                Some(class) => option("CLASS", class.as_str().into()),
                None => NO_META,
            };
            each("CREATE", paths, &meta, connect)
        }
        Talk::Mkdir(Paths { paths, connect }) => each("MKDIR", paths, &NO_META, connect),
        Talk::Rm(Paths { paths, connect }) => each("DELETE", paths, &NO_META, connect),
        Talk::Ls { path, connect } => ls(path, connect),
        Talk::Tree(args) => tree::run(args),
        Talk::Stream(args) => stream::run(args),
        Talk::Link(args) => link("LINK", args),
        Talk::Unlink(args) => link("UNLINK", args),
        Talk::Bench(args) => bench::run(args),
    })
}

/// META with one entry.
fn option(name: &str, value: Value) -> Value {
    Value::Map(vec![(name.into(), value)])
}

fn connect(connect: &Connect) -> Result<Client> {
    Client::connect(&connect.target()?)
}

fn get(path: &str, shown: Shown, to: &Connect) -> Result<()> {
    let mut client = connect(to)?;
    let answer = client.carry_out("GET", path, &NO_META, &Value::Nil)?;
    shown.write("", &answer.payload, &mut io::stdout().lock())?;
    client.close();
    Ok(())
}

fn write(verb: &str, args: &WriteArgs) -> Result<()> {
    // Read before connecting: a server does not wait long for the first request.
    let value = args.given.read()?;
    let mut client = connect(&args.connect)?;
    let answer = client.carry_out(verb, &args.path, &NO_META, &value)?;
    warn(&answer.warnings);
    client.close();
    Ok(())
}

/// What the server wants to be known although it has done as asked.
fn warn(warnings: &Option<Vec<String>>) {
    for warning in warnings.iter().flatten() {
        let _ = writeln!(io::stderr(), "fanal: {}", printable(warning));
    }
}

fn each(verb: &str, paths: &[String], meta: &Value, to: &Connect) -> Result<()> {
    let mut client = connect(to)?;
    for path in paths {
        let answer = client.carry_out(verb, path, meta, &Value::Nil)?;
        warn(&answer.warnings);
    }
    client.close();
    Ok(())
}

fn ls(path: &str, to: &Connect) -> Result<()> {
    let mut client = connect(to)?;
    let meta = option("NONRECURSIVE", true.into());
    let answer = client.carry_out("LIST", path, &meta, &Value::Nil)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (name, node) in tree::entries(&answer.payload) {
        let slash = if matches!(node, Value::Map(_)) { "/" } else { "" };
        writeln!(out, "{}{slash}", printable(&name))?;
    }
    out.flush()?;
    client.close();
    Ok(())
}

fn link(verb: &str, args: &LinkArgs) -> Result<()> {
    let mut client = connect(&args.connect)?;
    let names = args.source.trim_matches('/').split('/').map(Value::from).collect();
    let answer = client.carry_out(verb, &args.destination, &NO_META, &Value::Array(names))?;
    warn(&answer.warnings);
    client.close();
    Ok(())
}
