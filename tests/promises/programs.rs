//! Read your writes, whatever is written: random programs of requests on one connection, compared
//! with a model that carries out one after the other.

use std::cell::Cell;
use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use rmpv::Value;

use crate::model::{Model, Outcome, Path};
use crate::support::{Answer, Client, Request, Server, array, int, nil};

const CASES: u32 = 30;
const REQUESTS_MAX: usize = 60;

/// Verbs, those that make programs interesting more often.
const VERBS: &[&str] = &[
    "GET", "GET", "PUT", "PUT", "PUT", "PUT", "POST", "POST", "POST", "POST", "CREATE", "MKDIR",
    "DELETE", "LIST", "STREAM", "STREAM", "STREAM", "STOP", "LINK", "LINK", "LINK", "UNLINK",
];

/// Paths below a directory of the program, some in the way of others.
const PATHS: &[&[&str]] =
    &[&["a"], &["b"], &["c"], &["d"], &["d", "x"], &["d", "y"], &["a", "z"], &[]];

type Step = (&'static str, &'static [&'static str], &'static [&'static str]);

/// One stream of a program, and what it has yet to get.
struct Stream {
    reid: Vec<u8>,
    path: Path,
    /// The answer to STREAM has come.
    opened: bool,
    /// No more is written to it.
    ended: bool,
    /// The numbers of the steps that wrote them, and the values.
    updates: VecDeque<(i64, Vec<u8>)>,
    /// A last frame with 404 comes after the updates.
    goes: bool,
}

/// An answer that is to come.
struct Awaited {
    number: i64,
    step: String,
    verb: &'static str,
    reid: Vec<u8>,
    outcome: Outcome,
}

/// A program, with what the model says should come of it.
#[derive(Default)]
struct Run {
    model: Model,
    requests: Vec<Request>,
    awaited: VecDeque<Awaited>,
    streams: Vec<Stream>,
}

impl Run {
    fn of(root: &str, steps: &[Step]) -> Self {
        let mut run = Run::default();
        for (number, (verb, path, source)) in steps.iter().enumerate() {
            let below = |names: &[&str]| -> Path {
                [root].iter().chain(names).map(|name| (*name).to_owned()).collect()
            };
            run.add(number as i64, verb, &below(path), &below(source));
        }
        run
    }

    fn add(&mut self, number: i64, verb: &'static str, path: &Path, source: &Path) {
        let is_link = verb == "LINK" || verb == "UNLINK";
        let names = |path: &Path| -> Vec<u8> {
            array(&path.iter().map(String::as_str).collect::<Vec<_>>())
        };
        // Every value is another one, and none is nil, so that updates can be told from answers.
        let payl = if is_link { names(source) } else { int(1000 + number) };
        let mut reid = int(number);
        let mut outcome = self.model.apply(verb, path, source, &payl);
        if verb == "STREAM" && outcome.rnum == 200 {
            // Every third one again with the REID of one that is open.
            match self.open_stream(path).filter(|_| number % 3 == 0) {
                Some(stream) => (reid, outcome.remark) = (stream.reid.clone(), true),
                None => self.streams.push(Stream {
                    reid: reid.clone(),
                    path: path.clone(),
                    opened: false,
                    ended: false,
                    updates: VecDeque::new(),
                    goes: false,
                }),
            }
        }
        if verb == "STOP" {
            match self.open_stream(path) {
                Some(stream) => {
                    stream.ended = true;
                    reid.clone_from(&stream.reid);
                }
                None => outcome.rnum = 404,
            }
        }
        for stream in self.streams.iter_mut().filter(|stream| !stream.ended) {
            if outcome.written.contains(&stream.path) {
                stream.updates.push_back((number, payl.clone()));
            }
            stream.goes = outcome.gone.contains(&stream.path);
            stream.ended |= stream.goes;
        }
        let step = format!("step {number}, {verb} {path:?}");
        self.awaited.push_back(Awaited { number, step, verb, reid: reid.clone(), outcome });
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        self.requests.push(Request::new(verb, &path).reid(reid).payl(payl));
    }

    fn open_stream(&mut self, path: &Path) -> Option<&mut Stream> {
        self.streams.iter_mut().rev().find(|stream| !stream.ended && stream.path == *path)
    }

    /// Takes a frame: the next answer, or an update.
    fn take(&mut self, frame: &Answer) {
        let stream = self.streams.iter_mut().find(|stream| stream.reid == frame.reid);
        let next = self.awaited.front().filter(|next| {
            let is_answer = match (&stream, next.verb) {
                (Some(stream), "STREAM") if stream.opened => !frame.warnings.is_empty(),
                (Some(_), "STOP") => frame.payl == nil() && frame.rnum == 200,
                _ => true,
            };
            next.reid == frame.reid && is_answer
        });
        let Some(Awaited { number, step, verb, outcome, .. }) = next else {
            let next = self.awaited.front().map_or("nothing", |next| next.step.as_str());
            let stream = stream.unwrap_or_else(|| panic!("awaited {next}, got {frame:?}"));
            let again = self.awaited.iter().find(|next| next.reid == frame.reid);
            return take_update(stream, frame, again.map_or(i64::MAX, |again| again.number));
        };
        assert_eq!(frame.rnum, outcome.rnum, "{step}: {frame:?}");
        let warned = outcome.remark || frame.rnum >= 400;
        assert_eq!(!frame.warnings.is_empty(), warned, "{step}: {frame:?}");
        match &outcome.listing {
            Some(listing) => assert_eq!(frame.value(), *listing, "{step}"),
            None => assert_eq!(frame.payl, outcome.payl, "{step}: {frame:?}"),
        }
        if let Some(stream) = stream {
            stream.opened = true;
            if *verb == "STREAM" {
                // Updates from before it need not come, and must not come any more.
                stream.updates.retain(|(written, _)| written > number);
            }
            assert!(*verb != "STOP" || stream.updates.is_empty(), "{step}: an update is missing");
        }
        self.awaited.pop_front();
    }

    fn is_complete(&self) -> bool {
        let has_all = |stream: &Stream| stream.updates.is_empty() && !stream.goes;
        self.awaited.is_empty() && self.streams.iter().all(has_all)
    }
}

/// Takes a frame that is an update, of a step before this one.
fn take_update(stream: &mut Stream, frame: &Answer, before: i64) {
    assert!(stream.opened, "an update before the answer to STREAM: {frame:?}");
    match stream.updates.pop_front() {
        Some((number, value)) => {
            assert_eq!((frame.rnum, &frame.payl), (200, &value), "{:?}", stream.path);
            assert!(number < before, "an update before an answer that it follows: {frame:?}");
        }
        None => {
            assert!(stream.goes, "one update too many of {:?}: {frame:?}", stream.path);
            assert_eq!(frame.rnum, 404, "{frame:?}");
            stream.goes = false;
        }
    }
}

/// Runs a program in one write, and looks at the tree and the values after it.
fn check(client: &mut Client, root: &str, steps: &[Step]) {
    let mut run = Run::of(root, steps);
    client.send_all(&run.requests);
    while !run.is_complete() {
        run.take(&client.next_answer());
    }
    assert_eq!(client.barrier(), [], "nothing follows");
    let top = client.expect("LIST", &[], nil(), 200).value();
    let seen = top.as_map().and_then(|map| map.iter().find(|(name, _)| *name == Value::from(root)));
    let expected = run.model.listing(&vec![root.to_owned()]);
    let node = run.model.nodes.contains_key(&vec![root.to_owned()]);
    assert_eq!(seen.map(|(_, below)| below.clone()), node.then(|| expected.unwrap_or(Value::Nil)));
    for (path, value) in &run.model.nodes {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if let Some(value) = value {
            assert_eq!(client.expect("GET", &path, nil(), 200).payl, *value, "{path:?}");
        }
    }
}

fn check_random_programs(settings: &str) {
    let server = Server::start_with(settings);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let step = (select(VERBS), select(PATHS), select(PATHS));
    let root = Cell::new(0);
    let outcome = TestRunner::new(config).run(&vec(step, 1..=REQUESTS_MAX), |steps| {
        root.set(root.get() + 1);
        check(&mut server.client(), &format!("program {}", root.get()), &steps);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn random_programs_do_what_the_model_does() {
    check_random_programs("stream.buffer = 1024");
}

#[test]
fn random_programs_do_what_the_model_does_with_one_request_in_flight() {
    check_random_programs("stream.buffer = 1024\nsession.requests_max = 1");
}
