//! Every request gets exactly one answer, whatever is wrong with it.

use std::collections::HashSet;

use rmpv::Value;

use crate::support::websocket::BINARY;
use crate::support::{Client, Random, Request, Server, WireFrame};
use crate::support::{array, bin, int, nil, text, to_bytes};

const REQUESTS: usize = 20_000;

/// Requests in one write.
const BATCH: usize = 500;

/// Requests that may be without an answer; far more than the server has in flight.
const OPEN_MAX: usize = 2000;

const PATHS: &[&[&str]] =
    &[&["a"], &["b"], &["c", "d"], &["c"], &["a", "below"], &["missing"], &["with/slash"], &[]];

const VERBS: &[&str] = &[
    "GET", "PUT", "POST", "CREATE", "MKDIR", "DELETE", "LIST", "STREAM", "STOP", "LINK", "UNLINK",
];

/// REIDs of many kinds, none of them twice.
fn reid(number: usize) -> Vec<u8> {
    let text = number.to_string();
    let number = Value::from(number);
    to_bytes(&match text.chars().next_back() {
        Some('1') => Value::from(text),
        Some('2') => Value::Binary(text.into_bytes()),
        Some('3') => Value::Array(vec![Value::Nil, number]),
        Some('4') => Value::Map(vec![(number, Value::Boolean(true))]),
        Some('5') => Value::from(text.repeat(60)),
        _ => number,
    })
}

/// A message that has this REID in its beginning, and whether it asks for a stream.
fn message(reid: &[u8], random: &mut Random) -> (Vec<u8>, bool) {
    let path = random.one_of(PATHS);
    let verb = random.one_of(VERBS);
    let good = Request::new(verb, path).reid(reid).payl(match verb {
        "LINK" | "UNLINK" => array(random.one_of(PATHS)),
        _ => bin(&vec![7; random.below(200)]),
    });
    let bytes = good.encode();
    let reid_end = 1 + text("REID").len() + reid.len();
    let bad = match random.below(40) {
        0 => Request { verb: Some(text("get")), ..good }.encode(),
        1 => Request { verb: None, ..good }.encode(),
        2 => Request { verb: Some(int(5)), ..good }.encode(),
        3 => Request { path: None, ..good }.encode(),
        4 => Request { path: Some(text("a")), ..good }.encode(),
        5 => Request { path: Some(vec![0x91, 0xa2, 0xff, 0xfe]), ..good }.encode(),
        6 => Request { auth: Some(array(&["u", "t"])), ..good }.encode(),
        7 => return (Request { meta: Some(int(5)), ..good }.encode(), verb == "STREAM"),
        8 => Request { payl: Some([vec![0x91; 2000], nil()].concat()), ..good }.encode(),
        9 => Request { payl: Some(vec![0xc1]), ..good }.encode(),
        10 => Request { payl: Some(vec![0xdd, 0xff, 0xff, 0xff, 0xff]), ..good }.encode(),
        11 => [bytes, nil()].concat(),
        12 => bytes[..reid_end + random.below(bytes.len() - reid_end)].to_vec(),
        13 => Request { verb: Some(text("LINK")), payl: Some(int(1)), ..good }.encode(),
        _ => return (bytes, verb == "STREAM"),
    };
    (bad, false)
}

/// Reads frames until the answers to all but so many requests are there, in order. Whatever else
/// comes has to be an update of a stream.
fn read_answers(client: &mut Client, answered: &mut usize, until: usize, open: &HashSet<Vec<u8>>) {
    while *answered < until {
        let frame = client.next_answer();
        if frame.reid == reid(*answered) {
            *answered += 1;
            continue;
        }
        assert!(open.contains(&frame.reid), "request {answered} is next, not {frame:?}");
        assert!(frame.rnum == 200 || frame.rnum == 404, "an update: {frame:?}");
    }
}

#[track_caller]
fn check(settings: &str) {
    let server = Server::start_with(settings);
    let mut client = server.client();
    let mut random = Random::new(5);
    // The REIDs of requests for streams; those whose answer is awaited are told by the order.
    let mut streams = HashSet::new();
    let mut answered = 0;
    for first in (0..REQUESTS).step_by(BATCH) {
        let mut bytes = Vec::new();
        for number in first..first + BATCH {
            let reid = reid(number);
            let (message, is_stream) = message(&reid, &mut random);
            bytes.extend(WireFrame::new(BINARY, message).encode());
            if is_stream {
                streams.insert(reid);
            }
        }
        client.send_raw(&bytes);
        read_answers(
            &mut client,
            &mut answered,
            (first + BATCH).saturating_sub(OPEN_MAX),
            &streams,
        );
    }
    read_answers(&mut client, &mut answered, REQUESTS, &streams);
    for frame in client.barrier() {
        assert!(streams.contains(&frame.reid), "a second answer: {frame:?}");
    }
}

#[test]
fn each_of_20000_requests_of_all_kinds_gets_one_answer_in_its_turn() {
    check("store.sync = \"interval\"");
}

#[test]
fn each_of_20000_requests_gets_one_answer_with_the_smallest_bounds() {
    check(
        "store.sync = \"interval\"
session.requests_max = 1
session.requests_bytes_max = 1024
session.streams_max = 1
stream.buffer = 1
stream.buffer_bytes = 1024
outbox.replies_bytes_max = 1024
outbox.updates_bytes_max = 1024
mailbox.directory = 16
mailbox.resource = 16
limits.nodes_max = 3
limits.values_bytes_max = 1024
limits.list_bytes_max = 1024
link.links_max = 1
link.buffer = 1",
    );
}
