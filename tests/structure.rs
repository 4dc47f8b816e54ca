//! The tree: what each verb answers to each situation, listings, limits, and what happens when
//! many change it at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rmpv::Value;
use support::{
    Answer, Client, ClientOptions, Random, Request, Server, array, int, nil, text, to_bytes,
};

/// Situations, the columns of the table of codes.
const SITUATIONS: &[(&str, &[&str])] = &[
    ("missing", &["directory", "missing"]),
    ("missing parent", &["missing", "missing", "missing"]),
    ("directory", &["directory"]),
    ("empty directory", &["directory", "empty"]),
    ("resource", &["directory", "resource"]),
    ("below a resource", &["directory", "resource", "below"]),
    ("slash in PATH", &["directory/resource"]),
    ("root", &[]),
];

/// The table of codes: what each verb answers in each situation. Codes from 400 on come with a
/// warning, others without one.
const CODES: &[(&str, [i64; 8])] = &[
    ("POST", [201, 201, 404, 404, 200, 404, 400, 404]),
    ("CREATE", [201, 201, 400, 400, 400, 400, 400, 400]),
    ("MKDIR", [201, 201, 400, 400, 400, 400, 400, 400]),
    ("DELETE", [404, 404, 200, 200, 200, 404, 400, 404]),
    ("LIST", [404, 404, 200, 200, 404, 404, 400, 200]),
    ("GET", [404, 404, 404, 404, 200, 404, 400, 404]),
    ("PUT", [404, 404, 404, 404, 200, 404, 400, 404]),
    ("STREAM", [404, 404, 404, 404, 200, 404, 400, 404]),
    ("STOP", [404, 404, 404, 404, 404, 404, 400, 404]),
    ("LINK", [404, 404, 404, 404, 200, 404, 400, 404]),
    ("UNLINK", [404, 404, 404, 404, 404, 404, 400, 404]),
];

/// For large trees that nobody needs on disk.
const UNSAVED: &str = "store.sync = \"interval\"
snapshot.interval = \"1h\"";

/// A server, and a client of it, with the tree that the table speaks of, and a resource `source`.
fn prepared(settings: &str) -> (Server, Client) {
    let server = Server::start_with(settings);
    let mut client = server.client();
    make_tree(&mut client);
    (server, client)
}

fn make_tree(client: &mut Client) {
    client.expect("MKDIR", &["directory", "empty"], nil(), 201);
    client.expect("POST", &["directory", "resource"], int(7), 201);
    client.expect("POST", &["source"], int(8), 201);
}

/// Sends this request and expects this code and a warning or none.
#[track_caller]
fn check(client: &mut Client, what: &str, request: &Request, rnum: i64, warned: bool) {
    client.send_request(request);
    let answer = client.next_answer();
    assert_eq!((answer.rnum, !answer.warnings.is_empty()), (rnum, warned), "{what}: {answer:?}");
}

fn payl_for(verb: &str) -> Vec<u8> {
    if verb.ends_with("LINK") { array(&["source"]) } else { int(1) }
}

#[test]
fn every_verb_answers_every_situation_as_recorded() {
    let (server, mut owner) = prepared("");
    for (verb, codes) in CODES {
        for ((situation, path), rnum) in SITUATIONS.iter().zip(codes) {
            let request = Request::new(verb, path).payl(payl_for(verb));
            let what = format!("{verb}, {situation}");
            check(&mut server.client(), &what, &request, *rnum, *rnum >= 400);
            for name in ["directory", "missing", "source"] {
                owner.request("DELETE", &[name], nil());
            }
            make_tree(&mut owner);
        }
    }
}

#[test]
fn a_refused_request_changes_nothing() {
    let (_server, mut client) = prepared("");
    client.expect("LINK", &["directory", "resource"], array(&["source"]), 200);
    client.send_request(&Request::new("STREAM", &["source"]).reid(text("stream")));
    assert_eq!(client.next_answer().number(), 8);
    let before = client.expect("LIST", &[], nil(), 200).value();
    for (verb, codes) in CODES {
        for ((situation, path), rnum) in SITUATIONS.iter().zip(codes) {
            // There is a link here that would be ended.
            let ends = *verb == "UNLINK" && *situation == "resource";
            if *rnum >= 400 && !ends {
                let request = Request::new(verb, path).payl(payl_for(verb));
                check(&mut client, &format!("{verb}, {situation}"), &request, *rnum, true);
            }
        }
    }
    assert_eq!(client.expect("LIST", &[], nil(), 200).value(), before);
    client.expect("PUT", &["source"], int(9), 200);
    assert_eq!(client.next_answer().reid, text("stream"));
    let followed = client.expect("GET", &["directory", "resource"], nil(), 200);
    assert_eq!(followed.number(), 9, "the link is still there");
}

#[test]
fn links_and_streams_that_are_there_already_are_remarked_on() {
    let (_server, mut client) = prepared("");
    let link = |verb| Request::new(verb, &["directory", "resource"]).payl(array(&["source"]));
    check(&mut client, "none yet", &link("LINK"), 200, false);
    check(&mut client, "there already", &link("LINK"), 200, true);
    let back = Request::new("LINK", &["source"]).payl(array(&["directory", "resource"]));
    check(&mut client, "a cycle", &back, 409, true);
    let itself = Request::new("LINK", &["source"]).payl(array(&["source"]));
    check(&mut client, "a cycle of one", &itself, 409, true);
    check(&mut client, "there", &link("UNLINK"), 200, false);
    check(&mut client, "there no more", &link("UNLINK"), 404, true);
    let stream = |verb| Request::new(verb, &["source"]).reid(int(5));
    check(&mut client, "none yet", &stream("STREAM"), 200, false);
    check(&mut client, "there already", &stream("STREAM"), 200, true);
    check(&mut client, "another REID", &stream("STOP").reid(int(6)), 404, true);
    check(&mut client, "there", &stream("STOP"), 200, false);
    check(&mut client, "there no more", &stream("STOP"), 404, true);
}

#[test]
fn a_source_that_is_no_path_of_a_resource_is_refused() {
    let (_server, mut client) = prepared("");
    for verb in ["LINK", "UNLINK"] {
        for (situation, payl, rnum) in [
            ("missing", array(&["missing"]), 404),
            ("directory", array(&["directory"]), 404),
            ("root", array(&[]), 404),
            ("below a resource", array(&["source", "below"]), 404),
            ("nil", nil(), 400),
            ("a string", text("source"), 400),
            ("an array of other things", to_bytes(&Value::Array(vec![Value::from(1)])), 400),
            ("bytes that are no text", vec![0x91, 0xa1, 0xff], 400),
        ] {
            let request = Request::new(verb, &["directory", "resource"]).payl(payl);
            check(&mut client, situation, &request, rnum, true);
        }
        let without = Request { payl: None, ..Request::new(verb, &["directory", "resource"]) };
        check(&mut client, "no PAYL", &without, 400, true);
    }
}

#[test]
fn what_is_no_verb_or_comes_from_nobody_is_refused_without_a_word() {
    let (_server, mut client) = prepared("");
    for verb in ["get", "", "GETS", "GET "] {
        check(&mut client, "no verb", &Request::new(verb, &["source"]), 405, false);
    }
    let without = Request { verb: None, ..Request::new("GET", &["source"]) };
    check(&mut client, "no VERB", &without, 405, false);
    let users = "auth.mode = \"users\"
auth.users = [{ name = \"ann\", token = \"a\", admin = true }, { name = \"bob\", token = \"b\" }]";
    let server = Server::start_with(users);
    let mut client = server.client_as("ann", "a");
    for (verb, codes) in CODES {
        let request = |path| Request::new(verb, path).payl(payl_for(verb));
        for (situation, path) in SITUATIONS {
            let what = format!("{verb}, {situation}");
            check(&mut client, &what, &request(path).user("ann", "wrong"), 401, false);
            check(&mut client, &what, &request(path).user("eve", "a"), 401, false);
            // LIST is for everybody, and the form of PATH is looked at first.
            if *verb != "LIST" && *situation != "slash in PATH" {
                check(&mut client, &what, &request(path).user("bob", "b"), 403, false);
            }
        }
        let missing = request(SITUATIONS[0].1).user("ann", "a");
        check(&mut client, "allowed", &missing, codes[0], codes[0] >= 400);
        client.request("DELETE", &["directory"], nil());
    }
}

/// A listing: names of directories with what is in them, and of resources with nil.
fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(name, below)| (Value::from(*name), below.clone())).collect())
}

#[test]
fn a_listing_is_nested_maps_in_the_order_of_their_names() {
    let server = Server::start();
    let mut client = server.client();
    let mut list = |path: &[&str], meta: Value| {
        client.send_request(&Request::new("LIST", path).meta(&meta));
        client.next_answer().value()
    };
    let plain = || map(&[]);
    assert_eq!(list(&[], plain()), map(&[]));
    let mut other = server.client();
    for path in [&["b", "y", "z"][..], &["b", "x"], &["a"], &["", "", ""], &["B"], &["\u{e4}"]] {
        other.expect("CREATE", path, nil(), 201);
    }
    other.expect("MKDIR", &["b", "e"], nil(), 201);
    let b = map(&[("e", map(&[])), ("x", Value::Nil), ("y", map(&[("z", Value::Nil)]))]);
    let empty_names = map(&[("", map(&[("", Value::Nil)]))]);
    let all = map(&[
        ("", empty_names),
        ("B", Value::Nil),
        ("a", Value::Nil),
        ("b", b.clone()),
        ("\u{e4}", Value::Nil),
    ]);
    assert_eq!(list(&[], plain()), all);
    assert_eq!(list(&["b"], plain()), b);
    assert_eq!(list(&["b", "e"], plain()), map(&[]));
    let no = map(&[("NONRECURSIVE", Value::from(false))]);
    let other_key = map(&[("RECURSIVE", Value::from(true))]);
    for meta in [no, other_key, Value::Nil, Value::from("NONRECURSIVE")] {
        assert_eq!(list(&["b"], meta), b);
    }
    let one_level = map(&[("x", Value::Nil), ("NONRECURSIVE", Value::from(true))]);
    let flat = map(&[("e", map(&[])), ("x", Value::Nil), ("y", map(&[]))]);
    assert_eq!(list(&["b"], one_level), flat);
}

#[test]
fn a_listing_of_100_000_names_holds_up_no_value() {
    const NAMES: usize = 100_000;
    let server = Server::start_with(UNSAVED);
    thread::scope(|scope| {
        // Several at once, because a connection has one of these requests in flight at a time.
        for part in 0..10 {
            let mut maker = server.client();
            scope.spawn(move || {
                let numbers = part * NAMES / 10..(part + 1) * NAMES / 10;
                let create = |n| Request::new("CREATE", &["many", &format!("n{n:05}")]);
                let requests: Vec<Request> = numbers.map(create).collect();
                for requests in requests.chunks(1000) {
                    maker.send_all(requests);
                    requests.iter().for_each(|_| assert_eq!(maker.next_answer().rnum, 201));
                }
            });
        }
    });
    let mut maker = server.client();
    let in_time = || server.client_with(ClientOptions::default().patience(Duration::from_secs(1)));
    let (mut writer, mut reader) = (in_time(), in_time());
    writer.expect("POST", &["x"], int(0), 201);
    let listed = thread::scope(|scope| {
        let listing = scope.spawn(|| {
            (0..3).for_each(|_| drop(maker.expect("LIST", &["many"], nil(), 200)));
            maker.expect("LIST", &["many"], nil(), 200).value()
        });
        let mut round = 0;
        while round < 500 || !listing.is_finished() {
            round += 1;
            writer.expect("PUT", &["x"], int(round), 200);
            assert_eq!(reader.expect("GET", &["x"], nil(), 200).number(), round);
        }
        listing.join().expect("the listings came")
    });
    let names = listed.as_map().expect("a listing is a map");
    assert_eq!(names.len(), NAMES);
    for (number, (name, below)) in names.iter().enumerate() {
        assert_eq!((name.as_str(), below), (Some(&*format!("n{number:05}")), &Value::Nil));
    }
}

#[test]
fn paths_and_names_up_to_the_limits_work_and_longer_ones_are_refused() {
    for (settings, depth, bytes) in
        [("", 256, 2048), ("limits.path_depth_max = 3\nlimits.name_bytes_max = 4", 3, 4)]
    {
        let server = Server::start_with(settings);
        let mut client = server.client();
        let (deepest, too_deep) = (vec!["n"; depth], vec!["n"; depth + 1]);
        let (longest, too_long) = ("x".repeat(bytes), "x".repeat(bytes + 1));
        // Two bytes each, so the limit is not one of characters.
        let umlauts = "\u{e4}".repeat(bytes / 2 + 1);
        client.expect("POST", &deepest, int(1), 201);
        client.expect("GET", &deepest, nil(), 200);
        client.expect("POST", &[&longest], int(1), 201);
        client.expect("GET", &[&longest], nil(), 200);
        for (verb, _) in CODES {
            let payl = || if verb.ends_with("LINK") { array(&["x"]) } else { int(1) };
            for path in [&too_deep[..], &[&too_long], &["n", &too_long], &[&umlauts]] {
                check(&mut client, "too much", &Request::new(verb, path).payl(payl()), 400, true);
            }
        }
        for source in [&too_deep[..], &[&too_long]] {
            let link = Request::new("LINK", &[&longest]).payl(array(source));
            check(&mut client, "too much", &link, 400, true);
        }
        client.expect("LINK", &[&longest], array(&deepest), 200);
        let listed = client.expect("LIST", &[], nil(), 200).value();
        assert_eq!(listed.as_map().map(Vec::len), Some(2));
    }
}

#[test]
fn every_stream_in_a_deleted_tree_ends_with_its_last_value_and_a_404() {
    const RESOURCES: usize = 10_000;
    const STREAMS: usize = 50;
    let server = Server::start_with(UNSAVED);
    let mut owner = server.client();
    let path =
        |number: usize| ["tree".to_owned(), format!("d{}", number % 100), number.to_string()];
    let request = |verb, number: usize| {
        let path = path(number);
        Request::new(verb, &[&path[0], &path[1], &path[2]]).payl(int(number as i64))
    };
    for first in (0..RESOURCES).step_by(1000) {
        owner.send_all(&(first..first + 1000).map(|n| request("POST", n)).collect::<Vec<_>>());
        (0..1000).for_each(|_| assert_eq!(owner.next_answer().rnum, 201));
    }
    let streamed = |stream: usize| stream * RESOURCES / STREAMS;
    let mut clients: Vec<Client> = (0..STREAMS).map(|_| server.client()).collect();
    for (stream, client) in clients.iter_mut().enumerate() {
        client.send_request(&request("STREAM", streamed(stream)).reid(text("s")));
        assert_eq!(client.next_answer().number(), streamed(stream) as i64);
    }
    // Written and deleted in one write.
    let mut requests: Vec<Request> = (0..STREAMS)
        .flat_map(|stream| (1..=5).map(move |value| (stream, value)))
        .map(|(stream, value)| request("PUT", streamed(stream)).payl(int(value)))
        .collect();
    requests.push(Request::new("DELETE", &["tree"]));
    owner.send_all(&requests);
    requests.iter().for_each(|_| assert_eq!(owner.next_answer().rnum, 200));
    for client in &mut clients {
        for value in 1..=5 {
            let update = client.next_answer();
            assert_eq!((update.rnum, update.number(), update.reid), (200, value, text("s")));
        }
        let last = client.next_answer();
        assert_eq!((last.rnum, last.warnings.len(), last.reid), (404, 1, text("s")));
        client.expect("LIST", &["tree"], nil(), 404);
    }
    owner.expect("POST", &["tree", "d0", "0"], int(1), 201);
    owner.expect("PUT", &["tree", "d0", "0"], int(2), 200);
    for client in &mut clients {
        assert_eq!(client.barrier(), [], "a stream that has ended stays so");
    }
}

#[test]
fn a_stream_ends_with_its_resource_however_busy_that_is() {
    let server = Server::start_with("server.workers = 2\nstore.sync = \"interval\"");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            let (mut writer, done) = (server.client(), &done);
            // One at a time, so that the resource goes to sleep and wakes all the time.
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    writer.request("PUT", &["x"], int(1));
                }
            });
        }
        let done = SetOnDrop(&done);
        let mut owner = server.client();
        for round in 0..2000 {
            owner.expect("CREATE", &["x"], nil(), 201);
            owner.send_request(&Request::new("STREAM", &["x"]).reid(int(round)));
            while owner.next_answer().payl == nil() {}
            owner.send_request(&Request::new("DELETE", &["x"]).reid(text("delete")));
            // The answer to DELETE and the end of the stream, in any order.
            let mut ends = 0;
            while ends < 2 {
                let frame = owner.next_answer();
                ends += i32::from(frame.reid == text("delete") || frame.rnum == 404);
            }
        }
        drop(done);
    });
}

/// Tells others that this one has ended, however it ends.
struct SetOnDrop<'f>(&'f AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const RACED: &[&[&str]] = &[&["a"], &["b"], &["c", "d"], &["c", "e"], &["c"], &["f", "g", "h"]];

/// A client that races others, and the streams that it has open: REID and path.
struct Racer {
    client: Client,
    random: Random,
    open: BTreeMap<Vec<u8>, &'static [&'static str]>,
}

impl Racer {
    /// One request, answered.
    fn round(&mut self, number: i64) {
        let verb =
            self.random.one_of(&["CREATE", "CREATE", "DELETE", "STREAM", "STREAM", "PUT", "STOP"]);
        let path = self.random.one_of(RACED);
        let open = self.open.iter().find(|(_, other)| **other == path);
        if verb == "STOP"
            && let Some((reid, _)) = open
        {
            return self.stop(reid.clone(), path);
        }
        let request = Request::new(verb, path).reid(int(number)).payl(int(number));
        self.client.send_request(&request);
        let answer = self.answer_to(&int(number));
        if verb == "STREAM" && answer.rnum == 200 {
            self.open.insert(answer.reid, path);
        }
    }

    /// Stops a stream that may end by itself meanwhile. Then there are two frames with 404, the
    /// answer to STOP and the end of the stream, in any order.
    fn stop(&mut self, reid: Vec<u8>, path: &[&str]) {
        self.client.send_request(&Request::new("STOP", path).reid(reid.clone()));
        let mut refusals = 0;
        while refusals < 2 {
            let frame = self.answer_to(&reid);
            refusals += i32::from(frame.rnum == 404);
            // Updates have numbers as their value.
            if frame.rnum == 200 && frame.payl == nil() {
                break;
            }
        }
        self.open.remove(&reid);
    }

    /// The next frame with this REID. Others are noted.
    fn answer_to(&mut self, reid: &[u8]) -> Answer {
        loop {
            let frame = self.client.next_answer();
            if frame.reid == reid {
                return frame;
            }
            self.note(&frame);
        }
    }

    /// Notes an update or the end of a stream.
    fn note(&mut self, frame: &Answer) {
        assert!(self.open.contains_key(&frame.reid), "{frame:?}");
        if frame.rnum == 404 {
            self.open.remove(&frame.reid);
        }
    }
}

#[test]
fn clients_that_create_delete_and_stream_at_once_leave_a_consistent_state() {
    const END: i64 = -1;
    let server = Server::start_with("store.sync = \"interval\"");
    let mut racers: Vec<Racer> = (0..6)
        .map(|seed| Racer {
            client: server.client(),
            random: Random::new(seed),
            open: BTreeMap::new(),
        })
        .collect();
    thread::scope(|scope| {
        for racer in &mut racers {
            scope.spawn(|| (0..2000).for_each(|number| racer.round(number)));
        }
    });
    let mut client = server.client();
    let mut resources = BTreeSet::new();
    for path in RACED {
        let (parent, name) = path.split_at(path.len() - 1);
        let listing = client.request("LIST", parent, nil());
        let entries = listing.value().as_map().cloned().unwrap_or_default();
        let entry = entries.into_iter().find(|(other, _)| *other == Value::from(name[0]));
        let is_resource = entry.is_some_and(|(_, below)| below.is_nil());
        let rnum = client.request("PUT", path, int(END)).rnum;
        assert_eq!(rnum, if is_resource { 200 } else { 404 }, "{path:?}");
        if is_resource {
            resources.insert(*path);
        }
    }
    for racer in &mut racers {
        for frame in racer.client.barrier() {
            racer.note(&frame);
            if frame.rnum == 200 && frame.number() == END {
                let path = racer.open.remove(&frame.reid).expect("it was there a moment ago");
                assert!(resources.contains(path), "{path:?}");
            }
        }
        assert!(racer.open.is_empty(), "streams without the last value: {:?}", racer.open);
    }
}
