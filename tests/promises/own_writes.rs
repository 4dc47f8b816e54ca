//! Read your writes: the requests of a connection take effect in the order sent, and are answered
//! in it.

use std::sync::mpsc::{TryRecvError, sync_channel};
use std::thread;

use crate::support::{Client, Request, Server, array, int, nil};

/// Verb, name below the root, PAYL, and the expected RNUM and, where it matters, PAYL.
type Step<'s> = (&'s str, &'s str, Vec<u8>, i64, Option<i64>);

/// Sends these requests in one write and expects these answers: verb, path below `root`, PAYL,
/// RNUM and, where it matters, PAYL of the answer.
#[track_caller]
fn check(client: &mut Client, root: &str, steps: &[Step<'_>]) {
    let request = |(number, (verb, name, payl, ..)): (usize, &(&str, &str, Vec<u8>, _, _))| {
        let path: &[&str] = if name.is_empty() { &[root] } else { &[root, name] };
        Request::new(verb, path).payl(payl.clone()).reid(int(number as i64))
    };
    let requests: Vec<Request> = steps.iter().enumerate().map(request).collect();
    client.send_all(&requests);
    for (number, (verb, name, _, rnum, value)) in steps.iter().enumerate() {
        let answer = client.next_answer();
        assert_eq!(answer.reid, int(number as i64), "step {number}, {verb} {name}: {answer:?}");
        assert_eq!(answer.rnum, *rnum, "step {number}, {verb} {name}: {answer:?}");
        if let Some(value) = value {
            assert_eq!(answer.number(), *value, "step {number}, {verb} {name}");
        }
    }
}

/// Every verb among the others, through a link and after it.
#[track_caller]
fn check_all_verbs(client: &mut Client, root: &str) {
    let source = |name| array(&[root, name]);
    check(
        client,
        root,
        &[
            ("GET", "a", nil(), 404, None),
            ("POST", "a", int(1), 201, None),
            ("GET", "a", nil(), 200, Some(1)),
            ("PUT", "a", int(2), 200, None),
            ("PUT", "a", int(3), 200, None),
            ("GET", "a", nil(), 200, Some(3)),
            ("POST", "a", int(4), 200, None),
            ("GET", "a", nil(), 200, Some(4)),
            ("CREATE", "b", nil(), 201, None),
            ("CREATE", "b", nil(), 400, None),
            ("PUT", "b", int(5), 200, None),
            ("LINK", "b", source("a"), 200, None),
            ("GET", "b", nil(), 200, Some(5)),
            ("PUT", "a", int(6), 200, None),
            ("GET", "b", nil(), 200, Some(6)),
            ("PUT", "a", int(7), 200, None),
            ("PUT", "b", int(8), 200, None),
            ("GET", "b", nil(), 200, Some(8)),
            ("GET", "a", nil(), 200, Some(7)),
            ("LIST", "", nil(), 200, None),
            ("LINK", "a", source("b"), 409, None),
            ("UNLINK", "b", source("a"), 200, None),
            ("PUT", "a", int(9), 200, None),
            ("GET", "b", nil(), 200, Some(8)),
            ("MKDIR", "c", nil(), 201, None),
            ("GET", "c", nil(), 404, None),
            ("LINK", "b", source("a"), 200, None),
            ("DELETE", "a", nil(), 200, None),
            ("PUT", "a", int(10), 404, None),
            ("POST", "a", int(11), 201, None),
            ("PUT", "a", int(12), 200, None),
            ("GET", "a", nil(), 200, Some(12)),
            ("GET", "b", nil(), 200, Some(8)),
            ("DELETE", "", nil(), 200, None),
            ("LIST", "", nil(), 404, None),
        ],
    );
}

#[test]
fn requests_sent_in_one_write_take_effect_in_order() {
    let server = Server::start();
    let mut client = server.client();
    for round in 0..50 {
        check_all_verbs(&mut client, &format!("root {round}"));
    }
}

#[test]
fn requests_sent_in_one_write_take_effect_in_order_beside_other_connections() {
    let server = Server::start_with("server.workers = 2");
    thread::scope(|scope| {
        for root in ["a", "b", "c", "d"] {
            let mut client = server.client();
            scope.spawn(move || (0..25).for_each(|_| check_all_verbs(&mut client, root)));
        }
    });
}

#[test]
fn requests_to_resources_of_other_threads_take_effect_in_order() {
    const NAMES: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let server = Server::start_with("server.workers = 2");
    // Connections are dealt out to the threads in turn, and the first to write a resource takes it
    // to its own thread.
    let mut clients = NAMES.map(|_| server.client());
    for (client, name) in clients.iter_mut().zip(NAMES) {
        client.expect("POST", &["r", name], int(0), 201);
        client.expect("PUT", &["r", name], int(0), 200);
    }
    let put = |name, value| ("PUT", name, int(value), 200, None);
    let get = |name, value| ("GET", name, nil(), 200, Some(value));
    for (round, client) in (1..).zip(&mut clients) {
        let mut steps = Vec::new();
        for name in NAMES {
            steps.extend([put(name, 10 * round), get(name, 10 * round)]);
        }
        // A chain through all of them, then the same without it.
        for pair in NAMES.windows(2) {
            steps.push(("LINK", pair[1], array(&["r", pair[0]]), 200, None));
        }
        for value in 0..100 {
            steps.push(put("0", 1000 * round + value));
            steps.extend([get("7", 1000 * round + value), get("3", 1000 * round + value)]);
        }
        for pair in NAMES.windows(2) {
            steps.push(("UNLINK", pair[1], array(&["r", pair[0]]), 200, None));
        }
        steps.extend([put("0", round), get("0", round), get("7", 1000 * round + 99)]);
        check(client, "r", &steps);
    }
}

#[test]
fn a_link_holds_from_its_answer_on_while_another_thread_writes_its_source() {
    let server = Server::start_with("server.workers = 2\nstore.sync = \"interval\"");
    let mut client = server.client();
    client.expect("POST", &["r", "from"], int(0), 201);
    client.expect("POST", &["r", "to"], int(0), 201);
    thread::scope(|scope| {
        let mut flood = server.client();
        let (done, is_done) = sync_channel::<()>(0);
        scope.spawn(move || {
            let put = Request::new("PUT", &["r", "from"]).payl(int(-1));
            while is_done.try_recv() == Err(TryRecvError::Empty) {
                flood.send_all(&vec![put.clone(); 50]);
                (0..50).for_each(|_| drop(flood.next_answer()));
            }
        });
        let source = || array(&["r", "from"]);
        for round in 0..1000 {
            client.send_all(&[
                Request::new("PUT", &["r", "to"]).payl(int(round)),
                Request::new("LINK", &["r", "to"]).payl(source()),
                Request::new("PUT", &["r", "from"]).payl(int(-1)),
                Request::new("GET", &["r", "to"]),
                Request::new("UNLINK", &["r", "to"]).payl(source()),
            ]);
            let answers = [(); 5].map(|()| client.next_answer());
            let rnums = answers.each_ref().map(|answer| answer.rnum);
            assert_eq!(rnums, [200; 5], "{answers:?}");
            assert_eq!(answers[3].number(), -1, "an older value, in round {round}");
        }
        drop(done);
    });
}
