//! `fanal stream`: the values of resources, one line for each.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use indicatif::BinaryBytes;
use rmpv::Value;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Connect;
use super::value::Shown;
use crate::cli::client::failure::{Failure, Kind, code};
use crate::cli::client::{Answer, Client, STOP_POLL, now, printable};
use crate::cli::watch::stop_on_signal;

pub const HELP: &str = "\
Prints the value of each resource now and after each change, one line for each, until Ctrl-C, \
until all resources are gone, or as --count and --for say. With more than one path, the path \
stands before the value. Who reads more slowly than a resource changes misses old values, never \
the newest.";

/// The longest pause before the server is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A rate over less time than this says nothing.
const RATE_OVER_MIN: Duration = Duration::from_millis(500);

/// What `fanal stream` is told.
#[derive(Args)]
pub struct StreamArgs {
    /// The resources, as names separated by slashes.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,

    /// End after so many values.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after this time, such as 10s.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    length: Option<Duration>,

    /// Print once a second how many values come, instead of the values.
    #[arg(long, conflicts_with_all = ["raw", "hex", "msgpack"])]
    rate: bool,

    /// Connect again when the server goes away.
    #[arg(long)]
    reconnect: bool,

    /// How each value is written.
    #[command(flatten)]
    shown: Shown,

    /// Which server, and who.
    #[command(flatten)]
    connect: Connect,
}

/// Prints what comes.
///
/// # Errors
/// If the server cannot be reached, refuses, or goes away.
pub fn run(args: &StreamArgs) -> Result<()> {
    let stop = stop_on_signal()?;
    let end = args.length.and_then(|length| now().checked_add(length));
    let mut printer = Printer::new(args, end);
    let mut pause = Duration::from_secs(1);
    loop {
        let before = printer.seen;
        let outcome = follow(args, &mut printer, &stop);
        let is_gone = outcome.as_ref().is_err_and(|error| code(error) == Kind::Unreachable as u8);
        if !(is_gone && args.reconnect) {
            return outcome;
        }
        if printer.seen > before {
            pause = Duration::from_secs(1);
        }
        if let Err(error) = outcome {
            let _ = writeln!(io::stderr(), "fanal: {error:#}; again in {} s", pause.as_secs());
        }
        wait(pause.min(printer.time_left()), &stop);
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::interrupted());
        }
        if printer.is_over() {
            return Ok(());
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[expect(clippy::disallowed_methods, reason = "a command has nothing else to do meanwhile")]
fn wait(time: Duration, stop: &AtomicBool) {
    let end = now() + time;
    while now() < end && !stop.load(Ordering::Relaxed) {
        thread::sleep(STOP_POLL);
    }
}

/// Opens the streams and prints what comes until it is enough.
fn follow(args: &StreamArgs, printer: &mut Printer, stop: &AtomicBool) -> Result<()> {
    let mut client = Client::connect(&args.connect.target()?)?;
    let mut open = BTreeMap::new();
    for path in &args.paths {
        open.insert(client.send("STREAM", path, &Value::Nil)?, (path.as_str(), false));
    }
    while !printer.is_over() {
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::interrupted());
        }
        match client.receive(STOP_POLL.min(printer.time_left()))? {
            Some(answer) => take(&client, &mut open, printer, &answer)?,
            None if is_closed(&io::stdout()) => break,
            None => client.check_alive()?,
        }
        printer.tell_rates()?;
    }
    client.close();
    Ok(())
}

/// Whether nobody reads the output any more, which a write would tell, but there may be none.
fn is_closed(output: &impl AsFd) -> bool {
    let mut looked = [PollFd::new(output, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut looked, Some(&at_once)).is_ok()
        && looked.iter().any(|one| one.revents().contains(PollFlags::ERR))
}

/// Takes one message; the value tells whether a stream has begun.
fn take(
    client: &Client,
    open: &mut BTreeMap<u64, (&str, bool)>,
    printer: &mut Printer,
    answer: &Answer,
) -> Result<()> {
    let Some((reid, (path, begun))) =
        answer.reid.and_then(|reid| Some((reid, open.get_mut(&reid)?)))
    else {
        return Ok(());
    };
    if answer.is_success() {
        *begun = true;
        return printer.take(path, &answer.payload);
    }
    if !*begun {
        return Err(client.refusal("STREAM", path, answer));
    }
    let error = Client::end_of_stream(path, answer);
    open.remove(&reid);
    if open.is_empty() {
        return Err(error);
    }
    let _ = writeln!(io::stderr(), "fanal: {error}");
    Ok(())
}

/// Values of a resource since it was last told.
#[derive(Default)]
struct Counted {
    values: u64,
    bytes: u64,
}

/// Writes values, or how many there are.
struct Printer<'a> {
    args: &'a StreamArgs,
    end: Option<Instant>,
    seen: u64,
    started: Instant,
    told: Instant,
    counted: BTreeMap<&'a str, Counted>,
}

impl<'a> Printer<'a> {
    fn new(args: &'a StreamArgs, end: Option<Instant>) -> Self {
        let now = now();
        let counted = args.paths.iter().map(|path| (path.as_str(), Counted::default())).collect();
        Printer { args, end, seen: 0, started: now, told: now, counted }
    }

    fn is_over(&self) -> bool {
        self.args.count.is_some_and(|count| self.seen >= count) || self.time_left().is_zero()
    }

    fn time_left(&self) -> Duration {
        self.end.map_or(Duration::MAX, |end| end.saturating_duration_since(now()))
    }

    fn take(&mut self, path: &str, value: &Value) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        self.seen += 1;
        if self.args.rate {
            if let Some(counted) = self.counted.get_mut(path) {
                counted.values += 1;
                counted.bytes += size(value);
            }
            return Ok(());
        }
        let before = match *self.args.paths {
            [_] => String::new(),
            _ => format!("{}  ", printable(path)),
        };
        self.args.shown.write(&before, value, &mut io::stdout().lock())
    }

    fn tell_rates(&mut self) -> Result<()> {
        let now = now();
        let time = now.saturating_duration_since(self.told);
        let is_due = time >= Duration::from_secs(1) || (self.is_over() && time >= RATE_OVER_MIN);
        if !self.args.rate || !is_due {
            return Ok(());
        }
        self.told = now;
        let width = self.args.paths.iter().map(|path| path.chars().count()).max().unwrap_or(0);
        let since = now.saturating_duration_since(self.started).as_secs_f64();
        let mut out = io::stdout().lock();
        for (path, counted) in &mut self.counted {
            let values = counted.values as f64 / time.as_secs_f64();
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
            let bytes = BinaryBytes((counted.bytes.saturating_mul(1000) + millis / 2) / millis);
            let path = printable(path);
            writeln!(out, "{since:>7.1} s  {path:<width$}  {values:>9.1} values/s  {bytes:>11}/s")?;
            *counted = Counted::default();
        }
        Ok(out.flush()?)
    }
}

/// Bytes of a value as it is encoded.
fn size(value: &Value) -> u64 {
    match value {
        Value::Binary(bytes) => bytes.len() as u64,
        other => rmp_serde::to_vec(other).map_or(0, |bytes| bytes.len() as u64),
    }
}
