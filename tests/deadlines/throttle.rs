//! `session.requests_per_second_max`: further requests are answered 429, in their turn.

use std::time::{Duration, Instant};

use crate::support::{Answer, Client, Request, Server, array, int, nil};
use crate::{assert_quiet, malformed, missing};

const SETTINGS: &str = "session.requests_per_second_max = 5";

/// Sends these in one write, each with the REID of its place, and returns their answers, which come
/// in order and are one for each.
#[track_caller]
fn exchange(client: &mut Client, requests: &[Request]) -> Vec<Answer> {
    let numbered = (0..).zip(requests).map(|(reid, request)| request.clone().reid(int(reid)));
    client.send_all(&numbered.collect::<Vec<_>>());
    let answers: Vec<Answer> = requests.iter().map(|_| client.next_answer()).collect();
    for (reid, answer) in (0..).zip(&answers) {
        assert_eq!(answer.reid, int(reid), "{answer:?}");
    }
    answers
}

fn throttled(answers: &[Answer]) -> u64 {
    answers.iter().filter(|answer| answer.rnum == 429).count() as u64
}

#[test]
fn each_request_is_answered_once_and_in_order_and_those_beyond_the_bound_429() {
    let mut server = Server::start_with(SETTINGS);
    let mut client = server.client();
    let began = Instant::now();
    let answers = exchange(&mut client, &vec![missing(); 500]);
    // Further ones are let in while the time passes.
    let let_in = 5 + began.elapsed().as_millis() / 200 + 1;
    assert!(answers[..5].iter().all(|answer| answer.rnum == 404), "{answers:?}");
    let throttled = throttled(&answers);
    assert!(u128::from(500 - throttled) <= let_in, "{} of 500 were let in", 500 - throttled);
    for answer in answers.iter().filter(|answer| answer.rnum == 429) {
        assert!(answer.warnings[0].contains("session.requests_per_second_max"), "{answer:?}");
    }
    assert_eq!(client.barrier(), [], "an answer to nothing");
    assert_eq!(server.stop_and_count(["requests_throttled", "requests"]), [throttled, 500]);
}

#[test]
fn a_throttled_request_has_no_effect() {
    let server = Server::start_with(SETTINGS);
    let mut client = server.client();
    let puts = (0..50).map(|number| Request::new("POST", &["a"]).payl(int(number)));
    let answers = exchange(&mut client, &puts.collect::<Vec<_>>());
    let last = answers.iter().rposition(|answer| answer.rnum != 429).unwrap();
    let value = server.client().expect("GET", &["a"], nil(), 200).payl;
    assert_eq!(value, int(i64::try_from(last).unwrap()));
}

#[test]
fn requests_that_wait_for_another_one_are_judged_by_when_they_came() {
    let server = Server::start_with(SETTINGS);
    let mut client = server.client();
    let mkdir = |name: &str| Request::new("MKDIR", &[name]);
    let requests =
        [mkdir("a"), missing(), mkdir("b"), missing(), mkdir("c"), missing(), mkdir("d")];
    let rnums: Vec<i64> = exchange(&mut client, &requests).iter().map(|a| a.rnum).collect();
    assert_eq!(rnums, [201, 404, 201, 404, 201, 429, 429]);
    server.client().expect("LIST", &["c"], nil(), 200);
    server.client().expect("LIST", &["d"], nil(), 404);
}

#[test]
fn malformed_requests_are_answered_400_whether_throttled_or_not() {
    let server = Server::start_with(SETTINGS);
    let mut client = server.client();
    client.send_all(&vec![malformed(); 50]);
    for _ in 0..50 {
        let rnum = client.next_answer().rnum;
        assert!(rnum == 400 || rnum == 429, "{rnum}");
    }
    assert_eq!(client.barrier(), []);
}

#[test]
fn throttled_requests_are_not_wrong_ones() {
    let mut server = Server::start_with(&format!("{SETTINGS}\nsession.wrong_requests_max = 3"));
    let mut client = server.client();
    assert!(throttled(&exchange(&mut client, &vec![missing(); 50])) > 40);
    assert_quiet(&mut client, Duration::from_millis(100), "a client that asked too often");
    assert_eq!(server.stop_and_count(["connections_closed_wrong"]), [0]);
}

#[test]
fn there_is_room_again_with_time() {
    let server = Server::start_with(SETTINGS);
    let mut client = server.client();
    let began = Instant::now();
    assert!(throttled(&exchange(&mut client, &vec![missing(); 50])) > 0);
    let mut let_in = 0;
    while let_in < 5 {
        assert_quiet(&mut client, Duration::from_millis(50), "a client that asks too often");
        let_in += 1 - throttled(&exchange(&mut client, &[missing()]));
    }
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[test]
fn each_connection_has_a_bound_of_its_own_and_updates_are_no_requests() {
    let server = Server::start_with(SETTINGS);
    let (mut one, mut other) = (server.client(), server.client());
    one.expect("POST", &["a"], int(0), 201);
    other.expect("STREAM", &["a"], nil(), 200);
    assert!(throttled(&exchange(&mut one, &vec![missing(); 50])) > 0);
    let mut writers: Vec<Client> = (0..10).map(|_| server.client()).collect();
    for number in 0..30 {
        let writer = &mut writers[number % 10];
        let number = i64::try_from(number).unwrap();
        writer.expect("PUT", &["a"], int(number), 200);
        assert_eq!(other.next_answer().payl, int(number));
    }
    other.expect("GET", &["a"], nil(), 200);
}

#[test]
fn links_pass_on_what_was_let_in() {
    let server = Server::start_with(SETTINGS);
    let mut client = server.client();
    client.expect("POST", &["a"], int(0), 201);
    client.expect("POST", &["b"], int(0), 201);
    client.expect("LINK", &["b"], array(&["a"]), 200);
    let puts = (1..50).map(|number| Request::new("PUT", &["a"]).payl(int(number)));
    let answers = exchange(&mut client, &puts.collect::<Vec<_>>());
    let last = answers.iter().rposition(|answer| answer.rnum == 200).unwrap();
    let value = server.client().expect("GET", &["b"], nil(), 200).payl;
    assert_eq!(value, int(i64::try_from(last).unwrap() + 1));
}
