//! `fanal demo`: a moving picture on a running server, to see that it works.
//!
//! The pictures follow a schedule, not the answers: the n-th is due n / rate seconds after the
//! start, so that no delay adds up. A few requests are in flight at most, and every answer is
//! read, so that a slow server slows the demo down instead of piling up requests.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rmpv::Value;

use super::DemoArgs;
use super::client::target::Target;
use super::client::{self, ANSWER_MAX, Answer, Client, STOP_POLL, now};
use super::picture;
use super::watch;

/// Requests that may wait for their answers at the same time.
const IN_FLIGHT_MAX: usize = 4;
/// Pictures later than this are left out, so that a pause is not followed by a rush.
const LATE_MAX: Duration = Duration::from_millis(250);
/// How often the status line is drawn over on a terminal, and how often it is printed elsewhere.
const REDRAW: Duration = Duration::from_secs(1);
const REPRINT: Duration = Duration::from_secs(5);
/// How long to wait for the last answers.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Latencies that the summary looks at.
const LATENCIES_MAX: usize = 8192;
/// The fastest rate that makes sense to ask for, in pictures per second.
const RATE_MAX: f64 = 100_000.0;

/// Shows the moving picture until the time is over or ctrl-c is pressed.
///
/// # Errors
/// If the server cannot be reached, refuses, or goes away.
pub fn run(args: &DemoArgs) -> Result<()> {
    let target = args.connect.target()?;
    let plan = Plan {
        target: &target,
        path: &args.path,
        token_file: args.connect.token_file.as_deref(),
        profile: args.connect.profile.as_deref(),
        rate: f64::from(args.rate),
        length: args.seconds.map(Duration::from_secs),
    };
    let stop = watch::stop_on_signal()?;
    let stdout = io::stdout();
    let on_screen = watch::is_screen(&stdout);
    watch::forgive_closed_output(play(&plan, &stop, &mut stdout.lock(), on_screen))
}

/// What is to be shown where, as the show needs it.
#[derive(Clone)]
struct Plan<'a> {
    target: &'a Target,
    path: &'a str,
    /// Where the token was found, so that `fanal watch` finds it as well.
    token_file: Option<&'a Path>,
    profile: Option<&'a str>,
    /// Pictures per second.
    rate: f64,
    /// None: until it is stopped.
    length: Option<Duration>,
}

fn play(plan: &Plan, stop: &AtomicBool, out: &mut dyn Write, on_screen: bool) -> Result<()> {
    if !(plan.rate > 0.0 && plan.rate <= RATE_MAX) {
        bail!("--rate {}: pictures per second are more than 0 and at most {RATE_MAX}", plan.rate);
    }
    let mut client = Client::connect(plan.target)?;
    publish_first(&mut client, plan.path)?;
    writeln!(out, "look at it with: {}", watch_command(plan))?;
    let mut show = Show::new(plan, client);
    let mut line = StatusLine::new(on_screen, show.started);
    let result = show.run(stop, &mut line, out).and_then(|()| show.drain());
    line.end(out)?;
    writeln!(out, "{}", show.summary())?;
    result?;
    show.client.close();
    Ok(())
}

/// Makes the resource with the first picture. A user who may not make resources can often still
/// write to one that an administrator made.
fn publish_first(client: &mut Client, path: &str) -> Result<()> {
    let payload = payload(0.0);
    let mut verb = "POST";
    let mut answer = client.call(verb, path, &payload)?;
    if answer.rnum == 403 {
        verb = "PUT";
        answer = client.call(verb, path, &payload)?;
    }
    if answer.is_success() { Ok(()) } else { Err(client.refusal(verb, path, &answer)) }
}

/// The picture of a moment as it is sent.
fn payload(seconds: f64) -> Value {
    Value::Binary(picture::lighthouse_at(seconds).to_vec())
}

fn watch_command(plan: &Plan) -> String {
    let (path, url, user) =
        (quoted(plan.path), quoted(&plan.target.url), quoted(&plan.target.user));
    let mut command = format!("fanal watch {path} --url {url} --user {user}");
    if let Some(file) = plan.token_file {
        command.push_str(&format!(" --token-file {}", quoted(&file.display().to_string())));
    }
    if let Some(profile) = plan.profile {
        command.push_str(&format!(" --profile {}", quoted(profile)));
    }
    command
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", client::printable(word).replace('\'', r"'\''"))
}

/// The pictures under way.
struct Show<'a> {
    plan: &'a Plan<'a>,
    client: Client,
    started: Instant,
    /// Number of the next picture; its moment is this divided by the rate.
    next: u64,
    /// REID and time of sending of the requests not yet answered, oldest first.
    in_flight: VecDeque<(u64, Instant)>,
    answered: u64,
    left_out: u64,
    /// How long the newest answers took, newest last.
    latencies: VecDeque<Duration>,
}

impl<'a> Show<'a> {
    fn new(plan: &'a Plan<'a>, client: Client) -> Self {
        Self {
            plan,
            client,
            started: now(),
            next: 1,
            in_flight: VecDeque::new(),
            answered: 0,
            left_out: 0,
            latencies: VecDeque::new(),
        }
    }

    fn run(&mut self, stop: &AtomicBool, line: &mut StatusLine, out: &mut dyn Write) -> Result<()> {
        let end = self.plan.length.and_then(|length| self.started.checked_add(length));
        while !stop.load(Ordering::Relaxed) {
            let time = now();
            if end.is_some_and(|end| end <= time) {
                break;
            }
            line.tell(time, self, out)?;
            let mut wait = STOP_POLL;
            if self.in_flight.len() < IN_FLIGHT_MAX {
                let until_due = self.due().saturating_duration_since(time);
                if until_due.is_zero() {
                    self.send(time)?;
                    continue;
                }
                wait = wait.min(until_due);
            }
            if let Some(end) = end {
                wait = wait.min(end.saturating_duration_since(time));
            }
            self.receive(wait)?;
        }
        Ok(())
    }

    /// When the next picture is due.
    fn due(&self) -> Instant {
        self.started + Duration::from_secs_f64(self.moment())
    }

    #[allow(clippy::cast_precision_loss, reason = "exact for 2^53 pictures")]
    fn moment(&self) -> f64 {
        self.next as f64 / self.plan.rate
    }

    fn send(&mut self, time: Instant) -> Result<()> {
        if time.saturating_duration_since(self.due()) > LATE_MAX {
            while self.due() < time {
                self.next += 1;
                self.left_out += 1;
            }
        }
        let payload = payload(self.moment());
        let reid = self.client.send("PUT", self.plan.path, &payload)?;
        self.in_flight.push_back((reid, time));
        self.next += 1;
        Ok(())
    }

    fn receive(&mut self, wait: Duration) -> Result<()> {
        if let Some(answer) = self.client.receive(wait)? {
            return self.take(&answer);
        }
        match self.in_flight.front() {
            Some((_, sent)) if now().saturating_duration_since(*sent) > ANSWER_MAX => {
                Err(self.client.no_answer("PUT", self.plan.path))
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, answer: &Answer) -> Result<()> {
        let place = self.in_flight.iter().position(|(reid, _)| Some(*reid) == answer.reid);
        // An answer to no request of ours tells nothing about the pictures.
        let Some((_, sent)) = place.and_then(|place| self.in_flight.remove(place)) else {
            return Ok(());
        };
        if !answer.is_success() {
            return Err(self.client.refusal("PUT", self.plan.path, answer));
        }
        self.answered += 1;
        if self.latencies.len() == LATENCIES_MAX {
            self.latencies.pop_front();
        }
        self.latencies.push_back(now().saturating_duration_since(sent));
        Ok(())
    }

    /// Waits for the answers to what is in flight.
    fn drain(&mut self) -> Result<()> {
        let deadline = now() + DRAIN_MAX;
        while !self.in_flight.is_empty() {
            let Some(wait) = deadline.checked_duration_since(now()) else { break };
            self.receive(wait)?;
        }
        Ok(())
    }

    /// The median latency of the newest answers, this many at most.
    fn median(&self, newest: u64) -> String {
        let newest = usize::try_from(newest).unwrap_or(usize::MAX);
        let mut latencies: Vec<_> = self.latencies.iter().rev().take(newest).collect();
        latencies.sort_unstable();
        match latencies.get(latencies.len() / 2) {
            Some(median) => format!("{:.2} ms", median.as_secs_f64() * 1000.0),
            None => "unknown".to_owned(),
        }
    }

    fn summary(&self) -> String {
        let elapsed = now().saturating_duration_since(self.started);
        let mut summary = format!(
            "{} frames in {:.1} s ({:.1} per second), answer latency p50 {}",
            self.answered,
            elapsed.as_secs_f64(),
            per_second(self.answered, elapsed),
            self.median(u64::MAX)
        );
        if self.left_out > 0 {
            summary.push_str(&format!(", {} left out because the server was late", self.left_out));
        }
        if !self.in_flight.is_empty() {
            summary.push_str(&format!(", {} not answered", self.in_flight.len()));
        }
        summary
    }
}

/// The line that tells how it goes.
struct StatusLine {
    on_screen: bool,
    told: Instant,
    answered: u64,
    is_open: bool,
}

impl StatusLine {
    fn new(on_screen: bool, started: Instant) -> Self {
        Self { on_screen, told: started, answered: 0, is_open: false }
    }

    fn tell(&mut self, time: Instant, show: &Show, out: &mut dyn Write) -> Result<()> {
        let elapsed = time.saturating_duration_since(self.told);
        if elapsed < if self.on_screen { REDRAW } else { REPRINT } {
            return Ok(());
        }
        let answered = show.answered - self.answered;
        let rate = per_second(answered, elapsed);
        let median = show.median(answered);
        let text = format!("{rate:.1} frames per second, answer latency p50 {median}");
        if self.on_screen {
            write!(out, "\r{text}\x1b[K")?;
            self.is_open = true;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()?;
        (self.told, self.answered) = (time, show.answered);
        Ok(())
    }

    /// Ends the line that is drawn over, if there is one.
    fn end(&mut self, out: &mut dyn Write) -> Result<()> {
        if self.is_open {
            writeln!(out)?;
        }
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact for 2^53 pictures, and only shown")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(0.001)
}

#[cfg(test)]
mod tests {
    use super::super::client::fake_server::{FakeServer, Script, map};
    use super::super::picture::PICTURE_BYTES;
    use super::*;

    fn plan(server: &FakeServer) -> Plan<'_> {
        Plan {
            target: &server.target,
            path: "user/it's me/model",
            token_file: None,
            profile: None,
            rate: 60.0,
            length: Some(Duration::from_millis(500)),
        }
    }

    fn play_to_the_end(plan: &Plan) -> (Result<()>, String) {
        let mut out = Vec::new();
        let result = play(plan, &AtomicBool::new(false), &mut out, false);
        (result, String::from_utf8(out).unwrap())
    }

    #[test]
    fn half_a_second_is_thirty_pictures_that_differ() {
        let server = FakeServer::start(Script::default());
        let (result, out) = play_to_the_end(&plan(&server));
        result.unwrap();
        let requests = server.requests.lock();
        let (first, puts) = requests.split_first().unwrap();
        assert_eq!((first.verb.as_str(), first.path.as_str()), ("POST", "user/it's me/model"));
        assert_eq!(first.auth, map([("USER", "demo".into()), ("TOKEN", "token".into())]));
        // A loaded machine leaves pictures out, but the schedule never makes more.
        assert!((15..=30).contains(&puts.len()), "{} pictures", puts.len());
        for pair in requests.windows(2) {
            let Value::Binary(picture) = &pair[1].payload else { panic!("no bytes") };
            assert_eq!(picture.len(), PICTURE_BYTES);
            assert_eq!(pair[1].verb, "PUT");
            assert_ne!(pair[0].payload, pair[1].payload);
        }
        let lines: Vec<_> = out.lines().collect();
        let command = r"fanal watch 'user/it'\''s me/model' --url";
        let url = &server.target.url;
        assert_eq!(lines[0], format!("look at it with: {command} {url} --user demo"));
        assert!(lines[1].starts_with(&format!("{} frames in 0.5", puts.len())), "{}", lines[1]);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_user_who_may_not_post_puts() {
        let server = FakeServer::start(Script { post: 403, ..Script::default() });
        let (result, _) =
            play_to_the_end(&Plan { length: Some(Duration::from_millis(50)), ..plan(&server) });
        result.unwrap();
        let verbs: Vec<_> = server.requests.lock().iter().map(|r| r.verb.clone()).collect();
        assert_eq!(verbs[..2], ["POST", "PUT"]);
    }

    #[test]
    fn a_refusal_in_the_middle_ends_it_and_says_why() {
        let server = FakeServer::start(Script { put: 404, ..Script::default() });
        let (result, out) = play_to_the_end(&plan(&server));
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("PUT user/it's me/model: there is no resource"), "{error}");
        assert!(out.contains("0 frames in"), "{out}");
    }

    #[test]
    fn an_unknown_user_is_told_about_user_and_token() {
        let server = FakeServer::start(Script { post: 401, ..Script::default() });
        let error = play_to_the_end(&plan(&server)).0.unwrap_err().to_string();
        assert!(error.contains("--user, and its token with --token-file"), "{error}");
        assert!(error.ends_with("(the server said: 401 as scripted; a warning)"), "{error}");
    }

    #[test]
    fn a_rate_that_makes_no_sense_is_refused_before_anything_is_sent() {
        let server = FakeServer::start(Script::default());
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = play_to_the_end(&Plan { rate, ..plan(&server) }).0.unwrap_err();
            assert!(error.to_string().starts_with("--rate"), "{error}");
        }
        assert!(server.requests.lock().is_empty());
    }

    #[test]
    fn the_token_is_not_shown_but_where_it_is() {
        let server = FakeServer::start(Script::default());
        let target = Target { token: "secret".to_owned(), ..server.target.clone() };
        let plain = Plan { target: &target, ..plan(&server) };
        assert!(watch_command(&plain).ends_with(" --user demo"));
        let file = Plan { token_file: Some(Path::new("my token")), ..plain.clone() };
        assert!(watch_command(&file).ends_with(" --user demo --token-file 'my token'"));
        let profile = Plan { profile: Some("wall"), ..plain };
        assert!(watch_command(&profile).ends_with(" --user demo --profile wall"));
    }

    #[test]
    fn on_a_screen_the_status_is_drawn_over() {
        let server = FakeServer::start(Script::default());
        let mut out = Vec::new();
        let plan = Plan { length: Some(Duration::from_millis(1200)), ..plan(&server) };
        play(&plan, &AtomicBool::new(false), &mut out, true).unwrap();
        let out = String::from_utf8(out).unwrap();
        let status = out.lines().nth(1).unwrap();
        assert!(status.starts_with('\r') && status.ends_with(" ms\x1b[K"), "{status:?}");
    }
}
