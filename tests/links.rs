//! Links: each value of a resource goes on to the resources that follow it, in order, and the last
//! one always arrives.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{Answer, Client, Random, Request, Server, array, bin, int, nil};

/// Makes these links, a source and a destination each, PUTs to `a`, and expects that exactly these
/// resources have the value in the end, each after one update.
#[track_caller]
fn check(links: &[(&str, &str)], followers: &[&str]) {
    let server = Server::start();
    let mut client = server.client();
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        client.expect("POST", &[name], int(0), 201);
        client.send_request(&Request::new("STREAM", &[name]).reid(text_of(name)));
        assert_eq!(client.next_answer().rnum, 200);
    }
    for (source, destination) in links {
        client.expect("LINK", &[destination], array(&[source]), 200);
    }
    client.expect("PUT", &["a"], int(1), 200);
    for name in names {
        let expected = i64::from(name == "a" || followers.contains(&name));
        assert_eq!(client.expect("GET", &[name], nil(), 200).number(), expected, "{name}");
    }
    let mut updated: Vec<Vec<u8>> = client.barrier().into_iter().map(|u| u.reid).collect();
    updated.sort();
    let mut expected = [&["a"], followers].concat();
    expected.sort_unstable();
    assert_eq!(updated, expected.into_iter().map(text_of).collect::<Vec<_>>());
}

fn text_of(name: &str) -> Vec<u8> {
    support::text(name)
}

/// Makes resources with these names and the value 0.
fn make(client: &mut Client, names: &[String]) {
    for name in names {
        client.expect("POST", &[name], int(0), 201);
    }
}

/// Makes each of these resources follow the one before it.
fn chain(client: &mut Client, names: &[String]) {
    for pair in names.windows(2) {
        client.expect("LINK", &[&pair[1]], array(&[&pair[0]]), 200);
    }
}

fn numbered_names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("r{number}")).collect()
}

/// Opens a stream of this resource on a connection of its own.
fn stream(server: &Server, name: &str) -> Client {
    let mut client = server.client();
    client.expect("STREAM", &[name], nil(), 200);
    client
}

/// Reads updates, which have to rise, up to this one; returns how many there were.
#[track_caller]
fn read_rising(stream: &mut Client, last: i64) -> usize {
    let (mut newest, mut count) = (i64::MIN, 0);
    while newest != last {
        let update = stream.next_answer();
        assert_eq!((update.rnum, update.warnings.len()), (200, 0), "{update:?}");
        assert!(update.number() > newest, "{} after {newest}", update.number());
        newest = update.number();
        count += 1;
    }
    count
}

/// PUTs these numbers in one write and waits for all answers.
fn put_all(client: &mut Client, name: &str, numbers: impl Iterator<Item = i64>) {
    let requests: Vec<Request> =
        numbers.map(|number| Request::new("PUT", &[name]).payl(int(number))).collect();
    client.send_all(&requests);
    for _ in requests {
        let answer = client.next_answer();
        assert_eq!(answer.rnum, 200, "{answer:?}");
    }
}

#[test]
fn a_value_goes_along_a_chain_and_not_back() {
    check(&[("a", "b"), ("b", "c"), ("c", "d")], &["b", "c", "d"]);
    check(&[("b", "a"), ("a", "c")], &["c"]);
    check(&[("b", "a")], &[]);
}

#[test]
fn a_value_goes_to_all_that_follow_and_from_each_that_is_followed() {
    check(&[("a", "b"), ("a", "c"), ("a", "d"), ("a", "e")], &["b", "c", "d", "e"]);
    check(&[("a", "f"), ("b", "f"), ("c", "f")], &["f"]);
}

#[test]
fn a_value_that_comes_by_several_ways_is_one_update() {
    check(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")], &["b", "c", "d"]);
    let all = ["b", "c", "d", "e", "f"];
    check(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f"), ("a", "f")], &all);
    let ladder = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("b", "e"), ("c", "e")];
    check(&[&ladder[..], &[("d", "f"), ("e", "f"), ("a", "f")]].concat(), &all);
}

#[test]
fn a_destination_gets_the_values_of_each_source_and_its_own() {
    let server = Server::start();
    let mut client = server.client();
    make(&mut client, &numbered_names(3));
    let mut follower = stream(&server, "r2");
    for source in ["r0", "r1"] {
        client.expect("LINK", &["r2"], array(&[source]), 200);
        assert_eq!(client.expect("GET", &["r2"], nil(), 200).number(), 0, "the next value follows");
    }
    for (number, name) in (1..).zip(["r0", "r1", "r2", "r1", "r0", "r2"]) {
        client.expect("PUT", &[name], int(number), 200);
        assert_eq!(follower.next_answer().number(), number);
    }
    assert_eq!(client.expect("GET", &["r0"], nil(), 200).number(), 5);
    assert_eq!(client.expect("GET", &["r1"], nil(), 200).number(), 4);
}

#[test]
fn a_link_that_would_close_a_cycle_is_refused() {
    for length in [1, 2, 3, 50] {
        let server = Server::start();
        let mut client = server.client();
        let names = numbered_names(length);
        make(&mut client, &names);
        chain(&mut client, &names);
        let (first, last) = (names[0].as_str(), names[length - 1].as_str());
        let answer = client.expect("LINK", &[first], array(&[last]), 409);
        assert_eq!(answer.warnings.len(), 1, "{answer:?}");
        client.expect("UNLINK", &[first], array(&[last]), 404);
        client.expect("PUT", &[first], int(1), 200);
        assert_eq!(client.expect("GET", &[last], nil(), 200).number(), 1);
        client.expect("PUT", &[last], int(2), 200);
        assert_eq!(
            client.expect("GET", &[first], nil(), 200).number(),
            if length == 1 { 2 } else { 1 }
        );
    }
}

#[test]
fn a_link_ends_with_either_of_its_ends() {
    for end in ["from", "to"] {
        let server = Server::start();
        let mut client = server.client();
        make(&mut client, &["from".to_owned(), "to".to_owned()]);
        client.expect("LINK", &["to"], array(&["from"]), 200);
        client.expect("PUT", &["from"], int(1), 200);
        client.expect("DELETE", &[end], nil(), 200);
        client.expect("UNLINK", &["to"], array(&["from"]), 404);
        client.expect("POST", &[end], int(5), 201);
        client.expect("UNLINK", &["to"], array(&["from"]), 404);
        let before = client.expect("GET", &["to"], nil(), 200).number();
        client.expect("PUT", &["from"], int(2), 200);
        assert_eq!(client.expect("GET", &["to"], nil(), 200).number(), before);
        let answer = client.expect("LINK", &["to"], array(&["from"]), 200);
        assert_eq!(answer.warnings, Vec::<String>::new(), "the link is a new one");
        client.expect("PUT", &["from"], int(3), 200);
        assert_eq!(client.expect("GET", &["to"], nil(), 200).number(), 3);
    }
}

#[test]
fn a_chain_ends_where_a_directory_with_a_part_of_it_is_deleted() {
    let server = Server::start();
    let mut client = server.client();
    for path in [&["a"][..], &["d", "b"], &["d", "c"], &["e"]] {
        client.expect("POST", path, int(0), 201);
    }
    client.expect("LINK", &["d", "b"], array(&["a"]), 200);
    client.expect("LINK", &["d", "c"], array(&["d", "b"]), 200);
    client.expect("LINK", &["e"], array(&["d", "c"]), 200);
    client.expect("PUT", &["a"], int(1), 200);
    assert_eq!(client.expect("GET", &["e"], nil(), 200).number(), 1);
    client.expect("DELETE", &["d"], nil(), 200);
    client.expect("PUT", &["a"], int(2), 200);
    assert_eq!(client.expect("GET", &["e"], nil(), 200).number(), 1);
    // What was a cycle before is none any more.
    client.expect("LINK", &["a"], array(&["e"]), 200);
    client.expect("PUT", &["e"], int(3), 200);
    assert_eq!(client.expect("GET", &["a"], nil(), 200).number(), 3);
}

#[test]
fn nothing_passes_between_unlink_and_link() {
    let server = Server::start();
    let mut client = server.client();
    make(&mut client, &numbered_names(2));
    let mut follower = stream(&server, "r1");
    for round in (0..300).step_by(3) {
        client.expect("LINK", &["r1"], array(&["r0"]), 200);
        let again = client.expect("LINK", &["r1"], array(&["r0"]), 200);
        assert_eq!(again.warnings.len(), 1, "{again:?}");
        client.expect("PUT", &["r0"], int(round), 200);
        client.expect("UNLINK", &["r1"], array(&["r0"]), 200);
        client.expect("UNLINK", &["r1"], array(&["r0"]), 404);
        client.expect("PUT", &["r0"], int(round + 1), 200);
        assert_eq!(client.expect("GET", &["r1"], nil(), 200).number(), round);
        assert_eq!(follower.next_answer().number(), round);
    }
    assert_eq!(follower.barrier(), []);
}

#[test]
fn a_burst_through_a_chain_of_100_links_arrives_in_order_and_ends_on_the_last_value() {
    for settings in ["", "link.buffer = 1", "server.workers = 1\nlink.buffer = 65536"] {
        let server = Server::start_with(settings);
        let mut client = server.client();
        let names = numbered_names(101);
        make(&mut client, &names);
        chain(&mut client, &names);
        let mut streams = [0, 1, 50, 99, 100].map(|position| stream(&server, &names[position]));
        put_all(&mut client, "r0", 1..=500);
        assert_eq!(client.expect("GET", &["r100"], nil(), 200).number(), 500);
        for stream in &mut streams {
            read_rising(stream, 500);
        }
        client.expect("PUT", &["r0"], int(501), 200);
        for stream in &mut streams {
            assert_eq!(read_rising(stream, 501), 1, "nothing more came after the burst");
        }
    }
}

#[test]
fn values_pass_between_resources_that_other_threads_write() {
    let server = Server::start_with("server.workers = 2");
    let names = numbered_names(8);
    // Connections are dealt out to the threads in turn, and the first to write a resource takes it
    // to its own thread.
    let mut clients: Vec<Client> = names.iter().map(|_| server.client()).collect();
    for (client, name) in clients.iter_mut().zip(&names) {
        client.expect("POST", &[name], int(0), 201);
        client.expect("PUT", &[name], int(0), 200);
    }
    chain(&mut clients[0], &names);
    let mut follower = stream(&server, "r7");
    let mut last = 0;
    for client in &mut clients {
        for _ in 0..50 {
            last += 1;
            client.expect("PUT", &["r0"], int(last), 200);
            assert_eq!(client.expect("GET", &["r7"], nil(), 200).number(), last);
        }
    }
    assert!(read_rising(&mut follower, last) > 1);
}

#[test]
fn an_answered_value_or_a_newer_one_is_at_the_far_end_while_others_write_too() {
    // The smallest buffer, so that most values are overtaken by newer ones on their way.
    let settings = "link.buffer = 1
stream.buffer = 65536
stream.buffer_bytes = 1073741824
outbox.updates_bytes_max = 1073741824";
    let server = Server::start_with(settings);
    let mut client = server.client();
    let names = numbered_names(10);
    make(&mut client, &names);
    chain(&mut client, &names);
    let mut witness = stream(&server, "r0");
    let done = AtomicBool::new(false);
    let seen: Vec<(i64, i64)> = thread::scope(|scope| {
        let guard = SetOnDrop(&done);
        for writer in 2..=4 {
            let (mut client, done) = (server.client(), &done);
            scope.spawn(move || {
                let mut next = writer * 1_000_000;
                while !done.load(Ordering::Relaxed) {
                    put_all(&mut client, "r0", next..next + 20);
                    next += 20;
                }
            });
        }
        let round = |number| {
            // In one write, so that the GET begins as soon as the PUT is answered.
            let put = Request::new("PUT", &["r0"]).payl(int(number));
            client.send_all(&[put, Request::new("GET", &["r9"])]);
            assert_eq!(client.next_answer().rnum, 200);
            (number, client.next_answer().number())
        };
        let seen = (1_000_000..1_000_300).map(round).collect();
        drop(guard);
        seen
    });
    client.expect("PUT", &["r0"], int(-1), 200);
    let mut order = Vec::new();
    while order.last() != Some(&-1) {
        order.push(witness.next_answer().number());
    }
    let place = |number| order.iter().position(|other| *other == number);
    for (written, found) in seen {
        assert!(place(found) >= place(written), "{found} is older than {written}");
    }
}

/// Tells others that this one has ended, however it ends.
struct SetOnDrop<'f>(&'f AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_out_of_order_and_the_last_value_arrives_however_links_change_meanwhile() {
    for seed in 1..=3 {
        let server = Server::start_with("server.workers = 2\nstore.sync = \"interval\"");
        let mut client = server.client();
        let names = numbered_names(8);
        make(&mut client, &names);
        let mut streams: Vec<Client> = names.iter().map(|name| stream(&server, name)).collect();
        let done = AtomicBool::new(false);
        let last = thread::scope(|scope| {
            let guard = SetOnDrop(&done);
            let (mut writer, done) = (server.client(), &done);
            let writing = scope.spawn(move || {
                let mut next = 1;
                while !done.load(Ordering::Relaxed) {
                    put_all(&mut writer, "r0", next..next + 50);
                    next += 50;
                }
                next
            });
            let mut random = Random::new(seed);
            for _ in 0..2000 {
                // Links lead from lower to higher numbers, so that there are many but no cycles.
                let (one, other) = (random.below(names.len()), random.below(names.len()));
                if one != other {
                    let verb = random.one_of(&["LINK", "LINK", "UNLINK"]);
                    let (source, destination) = (&names[one.min(other)], &names[one.max(other)]);
                    let answer = client.request(verb, &[destination], array(&[source]));
                    assert!([200, 404].contains(&answer.rnum), "{answer:?}");
                }
            }
            drop(guard);
            writing.join().expect("the writer has written")
        });
        for destination in &names[1..] {
            client.request("LINK", &[destination], array(&["r0"]));
        }
        client.expect("PUT", &["r0"], int(last), 200);
        for name in &names {
            assert_eq!(client.expect("GET", &[name], nil(), 200).number(), last, "{name}");
        }
        for stream in &mut streams {
            read_rising(stream, last);
            assert_eq!(stream.barrier(), []);
        }
    }
}

#[test]
fn a_resource_with_more_sources_than_it_remembers_takes_each_value_in_order() {
    const SOURCES: usize = 100;
    let server = Server::start_with("stream.buffer = 65536");
    let mut client = server.client();
    let names = numbered_names(SOURCES);
    make(&mut client, &names);
    make(&mut client, &["way".to_owned(), "end".to_owned()]);
    client.expect("LINK", &["end"], array(&["way"]), 200);
    for name in &names {
        client.expect("LINK", &["way"], array(&[name]), 200);
        client.expect("LINK", &["end"], array(&[name]), 200);
    }
    let mut follower = stream(&server, "end");
    for number in 1..=2 * SOURCES {
        client.expect("PUT", &[&names[number % SOURCES]], int(number as i64), 200);
    }
    assert_eq!(read_rising(&mut follower, 2 * SOURCES as i64), 2 * SOURCES);
    assert_eq!(follower.barrier(), []);
}

#[test]
fn links_survive_a_stop_and_a_kill() {
    let mut server = Server::start();
    let names = numbered_names(5);
    let mut client = server.client();
    make(&mut client, &names);
    chain(&mut client, &names);
    client.expect("UNLINK", &["r4"], array(&["r3"]), 200);
    for round in 1..=4 {
        if round % 2 == 0 {
            server.restart();
        } else {
            server.kill();
            server.start_again();
        }
        let mut client = server.client();
        client.expect("PUT", &["r0"], int(round), 200);
        assert_eq!(client.expect("GET", &["r3"], nil(), 200).number(), round);
        let answer = client.expect("LINK", &["r3"], array(&["r2"]), 200);
        assert_eq!(answer.warnings.len(), 1, "it is there already: {answer:?}");
        client.expect("LINK", &["r0"], array(&["r3"]), 409);
        client.expect("UNLINK", &["r4"], array(&["r3"]), 404);
    }
}

#[test]
fn links_beyond_the_bound_are_refused_until_one_ends() {
    let server = Server::start_with("link.links_max = 2");
    let mut client = server.client();
    make(&mut client, &numbered_names(5));
    let mut link = |verb, source, destination| -> Answer {
        client.request(verb, &[destination], array(&[source]))
    };
    assert_eq!(link("LINK", "r0", "r1").rnum, 200);
    assert_eq!(link("LINK", "r1", "r2").rnum, 200);
    let refused = link("LINK", "r2", "r3");
    assert_eq!((refused.rnum, refused.warnings.len()), (507, 1));
    assert_eq!(link("LINK", "r0", "r1").rnum, 200, "it is there already");
    assert_eq!(link("LINK", "r2", "r0").rnum, 409);
    assert_eq!(link("UNLINK", "r0", "r1").rnum, 200);
    assert_eq!(link("LINK", "r2", "r3").rnum, 200);
    assert_eq!(link("LINK", "r0", "r1").rnum, 507);
    // Both links have r2 as one of their ends.
    assert_eq!(link("DELETE", "", "r2").rnum, 200);
    assert_eq!(link("LINK", "r0", "r1").rnum, 200);
    assert_eq!(link("LINK", "r1", "r3").rnum, 200);
    assert_eq!(link("LINK", "r3", "r4").rnum, 507);
}

#[test]
fn a_value_for_which_a_destination_has_no_room_is_not_answered_as_if_it_had_arrived() {
    let server = Server::start_with("limits.values_bytes_max = 1024");
    let mut client = server.client();
    make(&mut client, &numbered_names(2));
    client.expect("LINK", &["r1"], array(&["r0"]), 200);
    // Room for it once, not twice.
    let value = bin(&[7; 200]);
    client.expect("POST", &["other"], bin(&[7; 230]), 201);
    client.expect("POST", &["more"], bin(&[7; 230]), 201);
    client.expect("POST", &["most"], bin(&[7; 230]), 201);
    let answer = client.request("PUT", &["r0"], value.clone());
    assert_eq!((answer.rnum, answer.warnings.len()), (507, 1), "{answer:?}");
    client.expect("DELETE", &["other"], nil(), 200);
    client.expect("PUT", &["r0"], value.clone(), 200);
    assert_eq!(client.expect("GET", &["r1"], nil(), 200).payl, value);
}
