//! `fanal watch`: what a resource shows, live.
//!
//! On a terminal each picture is drawn over the last one. One thread reads and keeps the newest
//! picture only, another draws at most 30 times a second: a slow terminal leaves pictures out
//! instead of lagging behind. Elsewhere it is one line of plain text per update, none left out.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use parking_lot::{Condvar, Mutex};
use rmpv::Value;

use super::WatchArgs;
use super::client::target::Target;
use super::client::{self, Answer, Client, STOP_POLL, now};
use super::picture::{self, Ink, PICTURE_BYTES, Picture, STOREYS};

/// The least time between two drawings.
const DRAW_EVERY: Duration = Duration::from_millis(33);
/// How often the status line counts anew.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How long a command has to end in order before it may be ended at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// A flag that is set when the user or the system asks the command to end. Asked again a while
/// later, the process ends at once: a terminal that takes no output cannot hold it.
///
/// # Errors
/// If the signals cannot be watched.
pub fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let mut first_asked = None;
    ctrlc::set_handler(move || {
        let time = now();
        let waited = time.saturating_duration_since(*first_asked.get_or_insert(time));
        if waited > PATIENCE {
            std::process::exit(130);
        }
        flag.store(true, Ordering::Relaxed);
    })
    .context("cannot listen for ctrl-c")?;
    Ok(stop)
}

/// Whether output goes to a terminal in which a line can be drawn over.
pub fn is_screen(output: &impl IsTerminal) -> bool {
    output.is_terminal() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// Shows the updates until ctrl-c is pressed, enough were seen, or the resource is gone.
///
/// # Errors
/// If the server cannot be reached, refuses, or goes away.
pub fn run(args: &WatchArgs) -> Result<()> {
    let target = args.connect.target()?;
    let args = &Watched { target, path: args.path.clone(), frames: args.frames };
    let stop = stop_on_signal()?;
    let stdout = io::stdout();
    forgive_closed_output(if is_screen(&stdout) {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let ink = if no_colour { Ink::Letters } else { Ink::Colour };
        watch_on_screen(args, ink, &stop, &mut stdout.lock())
    } else {
        watch_in_lines(args, &stop, &mut stdout.lock())
    })
}

/// No error if the output was closed: whoever read it has seen enough.
///
/// # Errors
/// The error, if it is another one.
pub fn forgive_closed_output(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        result => result,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn watch_in_lines(args: &Watched, stop: &AtomicBool, out: &mut dyn Write) -> Result<()> {
    let mut updates = Updates::open(args)?;
    while let Some(payload) = updates.next(stop)? {
        writeln!(out, "update {}: {}", updates.seen, in_words(&payload))?;
        out.flush()?;
    }
    updates.client.close();
    Ok(())
}

fn in_words(payload: &Value) -> String {
    match picture_of(payload).as_ref().and_then(|picture| picture.first_chunk()) {
        Some([red, green, blue]) => {
            format!("{PICTURE_BYTES} bytes, first pixel #{red:02x}{green:02x}{blue:02x}")
        }
        None => describe(payload),
    }
}

/// A payload in a few words: its type and its size.
fn describe(payload: &Value) -> String {
    let bytes = |number| count(number, "byte", "bytes");
    let what = match payload {
        Value::Nil => return "nil".to_owned(),
        Value::Binary(binary) => return format!("{}, not a picture", bytes(binary.len())),
        Value::String(text) => return format!("text of {}", bytes(text.as_bytes().len())),
        Value::Boolean(_) => "boolean".to_owned(),
        Value::Integer(_) | Value::F32(_) | Value::F64(_) => "number".to_owned(),
        Value::Array(values) => format!("array of {}", count(values.len(), "value", "values")),
        Value::Map(entries) => format!("map of {}", count(entries.len(), "entry", "entries")),
        Value::Ext(..) => "extension".to_owned(),
    };
    match rmp_serde::to_vec(payload) {
        Ok(encoded) => format!("{what}, {} encoded", bytes(encoded.len())),
        Err(_) => what,
    }
}

fn count<N: From<u8> + PartialEq + Display>(number: N, one: &str, many: &str) -> String {
    let noun = if number == N::from(1) { one } else { many };
    format!("{number} {noun}")
}

fn picture_of(payload: &Value) -> Option<Picture> {
    match payload {
        Value::Binary(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

fn watch_on_screen(args: &Watched, ink: Ink, stop: &AtomicBool, out: &mut dyn Write) -> Result<()> {
    // Refusals come before the screen is taken, and stay readable in the scrollback.
    let mut updates = Updates::open(args)?;
    let mailbox = Mailbox::default();
    let mut view = View::new(client::printable(&args.path), ink);
    let result = {
        let mut screen = Screen::enter(out)?;
        thread::scope(|scope| {
            let reader = scope.spawn(|| read_all(&mut updates, stop, &mailbox));
            let drawn = draw_all(&mut screen, &mut view, &mailbox, &reader);
            if drawn.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let read = reader.join().unwrap_or_else(|_| Err(anyhow!("the reader has died")));
            drawn.and(read)
        })
    };
    // The screen is given back, so what was seen last is left in the scrollback.
    for line in view.lines() {
        writeln!(out, "{line}")?;
    }
    result?;
    updates.client.close();
    Ok(())
}

fn read_all(updates: &mut Updates, stop: &AtomicBool, mailbox: &Mailbox) -> Result<()> {
    while let Some(payload) = updates.next(stop)? {
        mailbox.put(updates.seen, &payload);
    }
    Ok(())
}

fn draw_all(
    screen: &mut Screen,
    view: &mut View,
    mailbox: &Mailbox,
    reader: &ScopedJoinHandle<Result<()>>,
) -> Result<()> {
    loop {
        // Asked before the mailbox, so that the reader's last update is drawn.
        let is_last = reader.is_finished();
        let is_fresh = mailbox.take(&mut view.news, STOP_POLL);
        if view.count(now()) || is_fresh {
            screen.draw(&view.lines())?;
            pause(DRAW_EVERY);
        }
        if is_last {
            return Ok(());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread draws and has no sessions to stop")]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// What is watched where.
struct Watched {
    target: Target,
    path: String,
    frames: Option<u64>,
}

/// The updates of one stream.
struct Updates<'a> {
    args: &'a Watched,
    client: Client,
    reid: u64,
    /// The answer to STREAM, which carries the value as it was then.
    first: Option<Answer>,
    seen: u64,
}

impl<'a> Updates<'a> {
    fn open(args: &'a Watched) -> Result<Self> {
        let mut client = Client::connect(&args.target)?;
        let first = client.call("STREAM", &args.path, &Value::Nil)?;
        if !first.is_success() {
            return Err(client.refusal("STREAM", &args.path, &first));
        }
        let Some(reid) = first.reid else { bail!("{} answered without a REID", args.target.url) };
        Ok(Self { args, client, reid, first: Some(first), seen: 0 })
    }

    /// The payload of the next update; none when enough were seen or it is time to stop.
    fn next(&mut self, stop: &AtomicBool) -> Result<Option<Value>> {
        if self.args.frames.is_some_and(|frames| self.seen >= frames) {
            return Ok(None);
        }
        if let Some(first) = self.first.take() {
            self.seen += 1;
            return Ok(Some(first.payload));
        }
        while !stop.load(Ordering::Relaxed) {
            match self.client.receive(STOP_POLL)? {
                Some(answer) if answer.reid == Some(self.reid) => {
                    if !answer.is_success() {
                        return Err(Client::end_of_stream(&self.args.path, &answer));
                    }
                    self.seen += 1;
                    return Ok(Some(answer.payload));
                }
                Some(_) => {}
                None => self.client.check_alive()?,
            }
        }
        Ok(None)
    }
}

/// The newest update, where the reader leaves it and the drawer finds it.
#[derive(Default)]
struct Mailbox {
    news: Mutex<Option<News>>,
    arrived: Condvar,
}

/// What is to be drawn.
#[derive(Clone, Default)]
struct News {
    /// How many updates there were.
    number: u64,
    /// The newest picture. Other payloads come between pictures in some resources and leave it.
    picture: Option<Box<Picture>>,
    /// The newest update in words, if it is no picture.
    note: Option<String>,
}

impl Mailbox {
    fn put(&self, number: u64, payload: &Value) {
        let picture = picture_of(payload).map(Box::new);
        let note = picture.is_none().then(|| describe(payload));
        let mut waiting = self.news.lock();
        // A picture that still waits is not lost to a payload that is none.
        let picture = picture.or_else(|| waiting.take().and_then(|news| news.picture));
        *waiting = Some(News { number, picture, note });
        self.arrived.notify_one();
    }

    /// Brings `news` up to date; false if nothing came within `wait`.
    fn take(&self, news: &mut News, wait: Duration) -> bool {
        let mut waiting = self.news.lock();
        if waiting.is_none() {
            self.arrived.wait_for(&mut waiting, wait);
        }
        let Some(newer) = waiting.take() else { return false };
        let picture = newer.picture.or_else(|| news.picture.take());
        *news = News { picture, ..newer };
        true
    }
}

/// The lines on the screen: the path, the picture, how it goes.
struct View {
    title: String,
    ink: Ink,
    news: News,
    /// When the updates were last counted, and how many there were.
    counted: (Instant, u64),
    per_second: Option<f64>,
}

impl View {
    fn new(title: String, ink: Ink) -> Self {
        let counted = (now(), 0);
        Self { title, ink, news: News::default(), counted, per_second: None }
    }

    /// Counts anew if it is time; whether the status line has changed.
    #[allow(clippy::cast_precision_loss, reason = "exact for 2^53 updates, and only shown")]
    fn count(&mut self, time: Instant) -> bool {
        let (last, number) = self.counted;
        let elapsed = time.saturating_duration_since(last);
        if elapsed < COUNT_EVERY {
            return false;
        }
        let new = self.news.number.saturating_sub(number);
        self.per_second = Some(new as f64 / elapsed.as_secs_f64());
        self.counted = (time, self.news.number);
        true
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::with_capacity(STOREYS + 3);
        lines.push(self.title.clone());
        let dark = [0; PICTURE_BYTES];
        lines.extend(picture::draw(self.news.picture.as_deref().unwrap_or(&dark), self.ink));
        let rate = self.per_second.map_or("-".to_owned(), |rate| format!("{rate:.1}"));
        // How many updates the server left out for us is not said on the wire.
        lines.push(format!("{rate} frames/s, frame {}", self.news.number));
        lines.push(match &self.news.note {
            Some(note) => format!("no picture: {note}"),
            None => String::new(),
        });
        lines
    }
}

/// The terminal while it is drawn on: a screen of its own, no cursor, long lines cut. Dropping it
/// gives the terminal back as it was, also on errors.
struct Screen<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Screen<'a> {
    fn enter(out: &'a mut dyn Write) -> Result<Self> {
        // The guard comes first: even half a command must be undone.
        let screen = Self { out };
        screen.out.write_all(b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J")?;
        Ok(screen)
    }

    /// Draws the lines from the top, each at its place, so that a low terminal does not scroll.
    fn draw(&mut self, lines: &[String]) -> Result<()> {
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            text.push_str(&format!("\x1b[{};1H{line}\x1b[K", number + 1));
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()?;
        Ok(())
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        self.out.write_all(b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l").ok();
        self.out.flush().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::fake_server::{FakeServer, Script, map};
    use super::*;

    const GIVEN_BACK: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

    fn args(server: &FakeServer, frames: Option<u64>) -> Watched {
        Watched { target: server.target.clone(), path: "user/demo/model".to_owned(), frames }
    }

    fn picture(byte: u8) -> Value {
        Value::Binary(vec![byte; PICTURE_BYTES])
    }

    /// An event as older clients put it between pictures.
    fn event() -> Value {
        map([("a", 1.into())])
    }

    fn on_screen(args: &Watched, out: &mut dyn Write) -> Result<()> {
        watch_on_screen(args, Ink::Letters, &AtomicBool::new(false), out)
    }

    #[test]
    fn payloads_are_described_by_type_and_size() {
        let check = |payload: Value, expect: &str| assert_eq!(describe(&payload), expect);
        check(Value::Nil, "nil");
        check(true.into(), "boolean, 1 byte encoded");
        check(256.into(), "number, 3 bytes encoded");
        check(1.5_f64.into(), "number, 9 bytes encoded");
        check("hi".into(), "text of 2 bytes");
        check(vec![1_u8, 2].into(), "2 bytes, not a picture");
        check(vec![Value::Nil; 2].into(), "array of 2 values, 3 bytes encoded");
        check(event(), "map of 1 entry, 4 bytes encoded");
        check(Value::Ext(5, vec![0]), "extension, 3 bytes encoded");
        check("a".repeat(PICTURE_BYTES).into(), "text of 1176 bytes");
    }

    #[test]
    fn without_a_terminal_each_update_is_one_line() {
        let mut stream = vec![(200, Value::Nil), (200, picture(0xab)), (200, event())];
        stream.extend([(200, b"short".to_vec().into()), (200, picture(1)), (200, picture(2))]);
        let server = FakeServer::start(Script { stream, ..Script::default() });
        let mut out = Vec::new();
        let stop = AtomicBool::new(false);
        watch_in_lines(&args(&server, Some(5)), &stop, &mut out).unwrap();
        let expect = "update 1: nil\n\
                      update 2: 1176 bytes, first pixel #ababab\n\
                      update 3: map of 1 entry, 4 bytes encoded\n\
                      update 4: 5 bytes, not a picture\n\
                      update 5: 1176 bytes, first pixel #010101\n";
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn on_a_terminal_the_screen_is_taken_and_given_back() {
        let stream = (0..5).map(|byte| (200, picture(byte * 60))).collect();
        let server = FakeServer::start(Script { stream, ..Script::default() });
        let mut out = Vec::new();
        on_screen(&args(&server, Some(5)), &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let (drawn, left) = out.split_once(GIVEN_BACK).unwrap();
        assert!(drawn.starts_with("\x1b[?1049h\x1b[?25l"), "{drawn:?}");
        let lines: Vec<_> = left.lines().collect();
        assert_eq!(lines.len(), STOREYS + 3);
        assert_eq!(lines[0], "user/demo/model");
        assert_eq!(lines[14], "@".repeat(56));
        assert_eq!(lines[15], "- frames/s, frame 5");
    }

    #[test]
    fn other_payloads_leave_the_picture_and_a_deletion_ends_it_with_a_sentence() {
        let stream = vec![(200, picture(255)), (200, event()), (404, Value::Nil)];
        let server = FakeServer::start(Script { stream, ..Script::default() });
        let mut out = Vec::new();
        let error = on_screen(&args(&server, None), &mut out).unwrap_err().to_string();
        assert_eq!(error, "user/demo/model was deleted; start again when there is a new one");
        let out = String::from_utf8(out).unwrap();
        let (_, left) = out.split_once(GIVEN_BACK).unwrap();
        assert!(left.contains(&"@".repeat(56)), "{left}");
        assert!(left.ends_with("no picture: map of 1 entry, 4 bytes encoded\n"), "{left}");
    }

    #[test]
    fn a_missing_resource_is_told_before_the_screen_is_taken() {
        let stream = vec![(404, Value::Nil)];
        let server = FakeServer::start(Script { stream, ..Script::default() });
        let mut out = Vec::new();
        let error = on_screen(&args(&server, None), &mut out).unwrap_err().to_string();
        assert!(error.contains("fanal create user/demo/model --url ws://"), "{error}");
        assert!(out.is_empty());
    }

    /// A terminal that takes its time.
    struct SlowTerminal(Vec<u8>);

    impl Write for SlowTerminal {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            pause(Duration::from_millis(20));
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_terminal_ends_on_the_newest_picture_and_leaves_others_out() {
        let mut stream = vec![(200, picture(0)); 2000];
        stream.push((200, picture(255)));
        let server = FakeServer::start(Script { stream, ..Script::default() });
        let mut out = SlowTerminal(Vec::new());
        on_screen(&args(&server, Some(2001)), &mut out).unwrap();
        let out = String::from_utf8(out.0).unwrap();
        let (drawn, left) = out.split_once(GIVEN_BACK).unwrap();
        assert!(drawn.matches("\x1b[1;1H").count() < 100);
        assert!(drawn.contains("frame 2001") && left.contains(&"@".repeat(56)));
    }

    /// A terminal that was closed.
    struct NoTerminal;

    impl Write for NoTerminal {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_terminal_ends_it() {
        let stream = vec![(200, picture(0))];
        let server = FakeServer::start(Script { stream, ..Script::default() });
        let error = on_screen(&args(&server, None), &mut NoTerminal).unwrap_err();
        assert!(is_broken_pipe(&error));
    }

    #[test]
    fn the_status_line_counts_once_a_second() {
        let mut view = View::new("path".to_owned(), Ink::Colour);
        view.news.number = 90;
        let start = view.counted.0;
        assert!(!view.count(start + Duration::from_millis(999)));
        assert!(view.count(start + Duration::from_millis(1500)));
        assert_eq!(view.lines()[STOREYS + 1], "60.0 frames/s, frame 90");
    }
}
