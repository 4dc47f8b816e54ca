//! `fanal tree`: all that is below a directory, drawn.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use actix_web::http::Method;
use anyhow::Result;
use clap::Args;
use rmpv::Value;

use super::Connect;
use crate::admin::answers::{Link, Resource};
use crate::cli::ServerArgs;
use crate::cli::client::{Address, Client, NO_META, printable};
use crate::cli::operate::{Server, Where};
use crate::control::escaped;

pub const HELP: &str = "\
Draws all that is below a directory. Behind a resource that follows another one stands \
\"-> SOURCE\", and behind one with streams how many. The server's API says these two: that of \
--admin-url, --data or --config if one is given, else of ./data while --url is on this machine. \
Without it, or with --plain, they are left out.";

/// Resources that are asked about at once.
const ASKED_MAX: usize = 1000;

/// What `fanal tree` is told.
#[derive(Args)]
pub struct TreeArgs {
    /// The directory; without, the root.
    #[arg(value_name = "PATH", default_value = "/")]
    path: String,

    /// Draw so many levels.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    depth: Option<u64>,

    /// Leave out links and how many watch.
    #[arg(long)]
    plain: bool,

    /// Ask the API at this URL, with admin.token, for links and watchers.
    #[arg(long, value_name = "URL")]
    admin_url: Option<String>,

    /// Ask the API of the server that keeps its state in this directory.
    #[arg(long, value_name = "PATH")]
    data: Option<String>,

    /// Ask the API of the server with this configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Which server, and who.
    #[command(flatten)]
    connect: Connect,
}

impl TreeArgs {
    fn is_api_told(&self) -> bool {
        self.admin_url.is_some() || self.data.is_some() || self.config.is_some()
    }

    fn api(&self) -> Where {
        let (config, data) = (self.config.clone(), self.data.clone());
        let server = ServerArgs { config, data, ..ServerArgs::default() };
        Where { admin_url: self.admin_url.clone(), server }
    }
}

/// Draws it.
///
/// # Errors
/// If the server cannot be reached or refuses.
pub fn run(args: &TreeArgs) -> Result<()> {
    let target = args.connect.target()?;
    let mut client = Client::connect(&target)?;
    let answer = client.carry_out("LIST", &args.path, &NO_META, &Value::Nil)?;
    client.close();
    let is_told = args.is_api_told();
    let is_here = Address::read(&target.url).is_ok_and(|address| address.is_here());
    let known = if !args.plain && (is_told || is_here) {
        match Known::ask(args) {
            Ok(known) => known,
            Err(error) if is_told => return Err(error),
            Err(_) => Known::default(),
        }
    } else {
        Known::default()
    };
    let depth = args.depth.map_or(usize::MAX, |depth| usize::try_from(depth).unwrap_or(usize::MAX));
    let mut drawing = Drawing { known, depth, directories: 0, resources: 0 };
    let mut out = BufWriter::new(io::stdout().lock());
    let root = args.path.trim_matches('/');
    writeln!(out, "{}", if root.is_empty() { "/".to_owned() } else { printable(root) })?;
    drawing.draw(&answer.payload, root, &mut out)?;
    writeln!(
        out,
        "\n{}, {}",
        counted(drawing.directories, "directory", "directories"),
        counted(drawing.resources, "resource", "resources")
    )?;
    Ok(out.flush()?)
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The names of a listing with what they stand for, in order.
pub fn entries(listing: &Value) -> Vec<(String, &Value)> {
    let Value::Map(entries) = listing else { return Vec::new() };
    let mut named: Vec<(String, &Value)> = entries
        .iter()
        .map(|(name, node)| match name {
            Value::String(name) => (String::from_utf8_lossy(name.as_bytes()).into_owned(), node),
            other => (other.to_string(), node),
        })
        .collect();
    named.sort_by(|one, other| one.0.cmp(&other.0));
    named
}

/// What the API knows of resources, by path.
#[derive(Default)]
struct Known {
    sources: HashMap<String, Vec<String>>,
    streams: HashMap<String, u64>,
}

impl Known {
    fn ask(args: &TreeArgs) -> Result<Self> {
        let server = Server::of(&args.api()).map_err(|_| anyhow::anyhow!("see above"))?;
        let links: Vec<Link> = server.ask(&Method::GET, "links")?.read()?;
        let mut sources: HashMap<String, Vec<String>> = HashMap::new();
        for link in links {
            sources.entry(link.destination).or_default().push(link.source);
        }
        let below = match args.path.trim_matches('/') {
            "" => String::new(),
            path => format!("&below={}", escaped(path)),
        };
        let what = format!("resources?by=streams&top={ASKED_MAX}{below}");
        let resources: Vec<Resource> = server.ask(&Method::GET, &what)?.read()?;
        let streams = resources.into_iter().map(|one| (one.path, one.streams)).collect();
        Ok(Known { sources, streams })
    }

    /// What stands behind a resource.
    fn note(&self, path: &str) -> String {
        let mut note = String::new();
        for source in self.sources.get(path).into_iter().flatten() {
            note.push_str(&format!(" -> {}", printable(source)));
        }
        if let Some(streams @ 1..) = self.streams.get(path) {
            note.push_str(&format!("  [{}]", counted(*streams, "watcher", "watchers")));
        }
        note
    }
}

struct Drawing {
    known: Known,
    depth: usize,
    directories: u64,
    resources: u64,
}

impl Drawing {
    /// Without recursion: a tree may be deeper than a stack.
    fn draw(&mut self, listing: &Value, root: &str, out: &mut dyn Write) -> Result<()> {
        let mut open = vec![(entries(listing).into_iter().peekable(), root.to_owned())];
        let mut margin: Vec<&str> = Vec::new();
        while let Some((rest, place)) = open.last_mut() {
            let Some((name, node)) = rest.next() else {
                open.pop();
                margin.pop();
                continue;
            };
            let is_last = rest.peek().is_none();
            let path = if place.is_empty() { name.clone() } else { format!("{place}/{name}") };
            let branch = if is_last { "└── " } else { "├── " };
            let note = if let Value::Map(_) = node {
                self.directories += 1;
                "/".to_owned()
            } else {
                self.resources += 1;
                self.known.note(&path)
            };
            writeln!(out, "{}{branch}{}{note}", margin.concat(), printable(&name))?;
            if matches!(node, Value::Map(_)) && open.len() < self.depth {
                margin.push(if is_last { "    " } else { "│   " });
                open.push((entries(node).into_iter().peekable(), path));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: Vec<(&str, Value)>) -> Value {
        Value::Map(entries.into_iter().map(|(name, node)| (name.into(), node)).collect())
    }

    #[track_caller]
    fn check(depth: usize, expected: &str) {
        let ann = map(vec![("model", Value::Nil), ("input", Value::Nil)]);
        let user = map(vec![("ann", ann), ("bob\u{7}", map(vec![]))]);
        let listing = map(vec![("wall", Value::Nil), ("user", user)]);
        let known = Known {
            sources: HashMap::from([("wall".to_owned(), vec!["user/ann/model".to_owned()])]),
            streams: HashMap::from([("wall".to_owned(), 2), ("user/ann/model".to_owned(), 1)]),
        };
        let mut out = Vec::new();
        let mut drawing = Drawing { known, depth, directories: 0, resources: 0 };
        drawing.draw(&listing, "", &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_tree_is_drawn() {
        check(
            usize::MAX,
            "\
├── user/
│   ├── ann/
│   │   ├── input
│   │   └── model  [1 watcher]
│   └── bob\u{fffd}/
└── wall -> user/ann/model  [2 watchers]
",
        );
        check(1, "├── user/\n└── wall -> user/ann/model  [2 watchers]\n");
    }

    #[test]
    fn a_deep_tree_needs_no_deep_stack() {
        let mut listing = Value::Nil;
        for _ in 0..1000 {
            listing = map(vec![("a", listing)]);
        }
        let mut drawing =
            Drawing { known: Known::default(), depth: usize::MAX, directories: 0, resources: 0 };
        drawing.draw(&listing, "", &mut io::sink()).unwrap();
        assert_eq!((drawing.directories, drawing.resources), (999, 1));
    }
}
