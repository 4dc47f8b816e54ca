//! `fanal bench`: a load on a running server, and what it does under it.
//!
//! Each publisher and each watcher is a connection of its own with a thread. A value begins with
//! when it was sent and its number, so that a watcher knows how old it is and what it has missed.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use rmpv::Value;

use super::Connect;
use crate::cli::client::failure::{Failure, Kind};
use crate::cli::client::target::Target;
use crate::cli::client::{ANSWER_MAX, Address, Client, NO_META, STOP_POLL, now, printable};
use crate::cli::operate::table::{Side, table};
use crate::cli::watch::stop_on_signal;

pub const HELP: &str = "\
Makes a resource for each publisher below --path, has each written and streamed, prints what came \
through and how late, and removes them again. The generator runs on the same machine as this \
command and takes part of it; a server elsewhere is only loaded with --yes.";

/// Requests of a publisher that may wait for their answers.
const IN_FLIGHT_MAX: usize = 16;

/// How long is waited for what is still on its way at the end.
const REST_MAX: Duration = Duration::from_secs(2);

/// The longest latency that is told from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// Bytes of a value that are the time and the number.
const STAMP_BYTES: usize = 16;

/// What a thread needs of its stack for the deepest answer.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// What `fanal bench` is told.
#[derive(Args)]
pub struct BenchArgs {
    /// Connections that write, each to a resource of its own.
    #[arg(long, value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(1..=500))]
    publishers: u16,

    /// Connections that stream, spread over those resources.
    #[arg(long, value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(0..=2000))]
    watchers: u16,

    /// Values that each publisher writes a second; 0 for as many as it can.
    #[arg(long, value_name = "N", default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(0..=100_000))]
    rate: u32,

    /// Bytes of each value.
    #[arg(long, value_name = "N", default_value_t = 1176,
        value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    size: u32,

    /// How long.
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,

    /// The directory of the resources, which must not be there yet.
    #[arg(long, value_name = "PATH", default_value = "bench")]
    path: String,

    /// Load a server that is not on this machine.
    #[arg(long)]
    yes: bool,

    /// Which server, and who.
    #[command(flatten)]
    connect: Connect,
}

/// What all threads share.
struct Load {
    target: Target,
    path: String,
    publishers: usize,
    rate: u32,
    size: usize,
    length: Duration,
    /// The moment that all times count from.
    origin: Instant,
    /// Where all wait until each is ready.
    ready: Barrier,
    stop: Arc<AtomicBool>,
    /// Set when nothing more is written.
    written: AtomicBool,
}

/// What a thread has counted.
struct Outcome {
    latencies: Histogram<u64>,
    skipped: u64,
}

/// Loads it.
///
/// # Errors
/// If the server cannot be reached, refuses, or goes away.
pub fn run(args: &BenchArgs) -> Result<()> {
    let target = args.connect.target()?;
    if !args.yes && !Address::read(&target.url).is_ok_and(|address| address.is_here()) {
        let text = format!("{} is not on this machine; --yes loads it all the same", target.url);
        return Err(Failure::error(Kind::Usage, text));
    }
    let mut client = Client::connect(&target)?;
    let path = args.path.trim_matches('/').to_owned();
    // Only what was made here is removed at the end.
    let made = client.call("MKDIR", &path, &Value::Nil)?;
    if made.rnum == 400 {
        let text = format!("{} is there already; --path names another one", printable(&path));
        return Err(Failure::error(Kind::Usage, text));
    }
    if !made.is_success() {
        return Err(client.refusal("MKDIR", &path, &made));
    }
    let outcome = make(args, &mut client, &path).and_then(|()| load(args, target.clone(), &path));
    client.close();
    // A connection of its own: the one from before was silent for long.
    let removed = Client::connect(&target).and_then(|mut client| {
        client.carry_out("DELETE", &path, &NO_META, &Value::Nil)?;
        client.close();
        Ok(())
    });
    let (report, was_stopped) = outcome?;
    io::stdout().write_all(report.as_bytes())?;
    removed?;
    if was_stopped { Err(Failure::interrupted()) } else { Ok(()) }
}

fn make(args: &BenchArgs, client: &mut Client, path: &str) -> Result<()> {
    for number in 0..args.publishers {
        client.carry_out("CREATE", &place(path, number.into()), &NO_META, &Value::Nil)?;
    }
    Ok(())
}

fn place(path: &str, number: usize) -> String {
    format!("{path}/{number}")
}

/// What came through, and whether the user stopped it.
fn load(args: &BenchArgs, target: Target, path: &str) -> Result<(String, bool)> {
    let (publishers, watchers) = (usize::from(args.publishers), usize::from(args.watchers));
    let load = Arc::new(Load {
        target,
        path: path.to_owned(),
        publishers,
        rate: args.rate,
        size: usize::try_from(args.size)?,
        length: Duration::from_secs(args.seconds.into()),
        origin: now(),
        ready: Barrier::new(publishers + watchers + 1),
        stop: stop_on_signal()?,
        written: AtomicBool::new(false),
    });
    let watching = start(&load, watchers, watch)?;
    let writing = start(&load, publishers, publish)?;
    load.ready.wait();
    let started = now();
    show_progress(&load, started);
    let writing = join(writing);
    let took = now().saturating_duration_since(started);
    load.written.store(true, Ordering::Relaxed);
    let watching = join(watching);
    let (written, watched) = (writing?, watching?);
    Ok((report(args, &written, &watched, took), load.stop.load(Ordering::Relaxed)))
}

type Work = fn(&Load, usize) -> Result<Outcome>;

fn start(load: &Arc<Load>, count: usize, work: Work) -> Result<Vec<JoinHandle<Result<Outcome>>>> {
    let one = |number| {
        let load = Arc::clone(load);
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn(move || work(&load, number)).context("no more threads can be started")
    };
    (0..count).map(one).collect()
}

/// What all have counted together.
fn join(threads: Vec<JoinHandle<Result<Outcome>>>) -> Result<Outcome> {
    let mut all = Outcome::new()?;
    let mut failed = None;
    for thread in threads {
        match thread.join().unwrap_or_else(|_| Err(anyhow!("a thread has died"))) {
            Ok(one) => {
                all.latencies.add(&one.latencies)?;
                all.skipped += one.skipped;
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(all), Err)
}

#[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do meanwhile")]
fn show_progress(load: &Load, started: Instant) {
    let steps = u64::try_from(load.length.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(steps).with_message("loading");
    loop {
        let since = now().saturating_duration_since(started);
        if since >= load.length || load.stop.load(Ordering::Relaxed) {
            break;
        }
        bar.set_position(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        thread::sleep(STOP_POLL.min(load.length - since));
    }
    bar.finish_and_clear();
}

impl Outcome {
    fn new() -> Result<Self> {
        let most = u64::try_from(LATENCY_MAX.as_micros())?;
        Ok(Outcome { latencies: Histogram::new_with_max(most, 3)?, skipped: 0 })
    }

    fn note(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros);
    }
}

impl Load {
    fn since_origin(&self) -> u64 {
        u64::try_from(now().saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    fn value(&self, number: u64) -> Value {
        let mut bytes = self.since_origin().to_be_bytes().to_vec();
        bytes.extend(number.to_be_bytes());
        bytes.resize(self.size.max(STAMP_BYTES), 0);
        Value::Binary(bytes)
    }
}

/// When the value was sent, and its number.
fn stamp(value: &Value) -> Option<(u64, u64)> {
    let Value::Binary(bytes) = value else { return None };
    let (time, rest) = bytes.split_first_chunk()?;
    let number = rest.first_chunk()?;
    Some((u64::from_be_bytes(*time), u64::from_be_bytes(*number)))
}

/// The client of a thread. Whatever becomes of it, the others are not left waiting for it.
fn ready<T>(load: &Load, prepare: impl FnOnce() -> Result<T>) -> Result<T> {
    let prepared = prepare();
    if prepared.is_err() {
        load.stop.store(true, Ordering::Relaxed);
    }
    load.ready.wait();
    prepared
}

fn publish(load: &Load, number: usize) -> Result<Outcome> {
    let path = place(&load.path, number);
    let mut client = ready(load, || Client::connect(&load.target))?;
    let mut outcome = Outcome::new()?;
    let started = now();
    let end = started + load.length;
    let mut in_flight: VecDeque<(u64, Instant)> = VecDeque::new();
    let mut next = 0_u64;
    // Spread over the first interval, as those of many people are.
    let share = number as f64 / load.publishers as f64;
    let due = |next: u64| match load.rate {
        0 => started,
        rate => started + Duration::from_secs_f64((next as f64 + share) / f64::from(rate)),
    };
    loop {
        let time = now();
        let is_over = time >= end || load.stop.load(Ordering::Relaxed);
        if is_over && (in_flight.is_empty() || time > end + REST_MAX) {
            client.close();
            return Ok(outcome);
        }
        let may_send = !is_over && in_flight.len() < IN_FLIGHT_MAX;
        if may_send && due(next) <= time {
            let reid = client.send("PUT", &path, &load.value(next))?;
            in_flight.push_back((reid, time));
            next += 1;
            continue;
        }
        if in_flight.front().is_some_and(|(_, sent)| time > *sent + ANSWER_MAX) {
            return Err(client.no_answer("PUT", &path));
        }
        let wait = if may_send { due(next).saturating_duration_since(time) } else { STOP_POLL };
        let Some(answer) = client.receive(wait.min(STOP_POLL))? else { continue };
        if !answer.is_success() {
            return Err(client.refusal("PUT", &path, &answer));
        }
        if let Some((_, sent)) = in_flight.pop_front() {
            outcome.note(now().saturating_duration_since(sent));
        }
    }
}

fn watch(load: &Load, number: usize) -> Result<Outcome> {
    let path = place(&load.path, number % load.publishers);
    let mut client = ready(load, || {
        let mut client = Client::connect(&load.target)?;
        client.carry_out("STREAM", &path, &NO_META, &Value::Nil)?;
        Ok(client)
    })?;
    let mut outcome = Outcome::new()?;
    let mut next = 0;
    let mut quiet_since = now();
    while !load.written.load(Ordering::Relaxed)
        || now().saturating_duration_since(quiet_since) < STOP_POLL
    {
        let Some(answer) = client.receive(STOP_POLL)? else {
            client.check_alive()?;
            continue;
        };
        quiet_since = now();
        if !answer.is_success() {
            return Err(client.refusal("STREAM", &path, &answer));
        }
        if let Some((sent, number)) = stamp(&answer.payload) {
            outcome.note(Duration::from_nanos(load.since_origin().saturating_sub(sent)));
            outcome.skipped += number.saturating_sub(next);
            next = number + 1;
        }
    }
    client.close();
    Ok(outcome)
}

fn report(args: &BenchArgs, written: &Outcome, watched: &Outcome, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let row = |name: &str, outcome: &Outcome| {
        let count = outcome.latencies.len() as f64;
        let mib = count * f64::from(args.size) / seconds / (1024.0 * 1024.0);
        let at = |quantile| {
            let micros = outcome.latencies.value_at_quantile(quantile) as f64;
            if outcome.latencies.is_empty() {
                "-".to_owned()
            } else {
                format!("{:.2}", micros / 1e3)
            }
        };
        [
            name.to_owned(),
            format!("{count:.0}"),
            format!("{:.0}", count / seconds),
            format!("{mib:.1}"),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
            outcome.skipped.to_string(),
        ]
    };
    let titles =
        ["", "values", "per s", "MiB/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "skipped"];
    let mut sides = [Side::Right; 9];
    sides[0] = Side::Left;
    let rows = [row("written", written), row("delivered", watched)];
    format!(
        "{} publishers, {} watchers, {} bytes, {seconds:.1} s\n{}",
        args.publishers,
        args.watchers,
        args.size,
        table(Some(&titles), &sides, &rows)
    )
}
