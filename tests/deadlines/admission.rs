//! Who is let in: connections of one address, and in one second.

use std::time::{Duration, Instant};

use crate::support::{Client, ClientOptions, PATIENCE, Server, StreamClient, nil};
use crate::{frames_for, missing};

const OF_ONE_ADDRESS: &str = "server.connections_per_address_max = 2";
const IN_ONE_SECOND: &str = "server.connections_per_second_max = 3";

/// How often one that is refused comes again while it waits for a place.
const AGAIN: Duration = Duration::from_millis(20);

fn connect(server: &Server) -> Result<Client, String> {
    Client::try_connect(server.port(), ClientOptions::default())
}

/// A connection is refused with a 503 that says when to come again and names the key.
#[track_caller]
fn assert_refused(outcome: Result<Client, String>, key: &str) {
    let answer = outcome.err().expect("there is no room");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nretry-after: "), "{answer}");
    assert!(answer.contains(key), "{answer}");
}

/// Comes again and again until there is a place. `other` is a connection that is open meanwhile.
fn connect_in_the_end(server: &Server, other: &mut Client) -> Client {
    let began = Instant::now();
    loop {
        match connect(server) {
            Ok(client) => return client,
            Err(answer) => assert!(began.elapsed() < PATIENCE, "still refused:\n{answer}"),
        }
        assert_eq!(frames_for(other, AGAIN), []);
    }
}

#[test]
fn a_place_of_an_address_is_free_again_after_each_way_to_end() {
    let mut server = Server::start_with(OF_ONE_ADDRESS);
    let mut stays = server.client();
    let mut second = server.client();
    let ways: [fn(Client); 5] = [
        |client| assert_eq!(client.close(1000), Some(1000)),
        Client::reset,
        drop,
        |mut client| {
            client.send_raw(b"no frame at all");
            assert_eq!(client.wait_for_close(), Some(1002));
        },
        |mut client| {
            client.finish_sending();
            client.wait_for_close();
        },
    ];
    for end in ways {
        for _ in 0..3 {
            assert_refused(connect(&server), "server.connections_per_address_max");
        }
        end(second);
        second = connect_in_the_end(&server, &mut stays);
    }
    stays.expect("GET", &["missing"], nil(), 404);
    second.expect("GET", &["missing"], nil(), 404);
    let [refused] = server.stop_and_count(["connections_refused_address"]);
    assert!(refused >= 15, "{refused}");
}

#[test]
fn a_request_that_becomes_no_connection_takes_no_place() {
    let server = Server::start_with(OF_ONE_ADDRESS);
    let bad = || Client::try_connect(server.port(), ClientOptions::default().path("/elsewhere"));
    for _ in 0..5 {
        assert!(bad().err().expect("there is no such path").starts_with("HTTP/1.1 404 "));
    }
    let clients = [server.client(), server.client()];
    assert_refused(connect(&server), "server.connections_per_address_max");
    drop(clients);
}

#[test]
fn behind_a_proxy_it_is_the_address_of_the_client_that_counts() {
    let server =
        Server::start_with(&format!("{OF_ONE_ADDRESS}\nserver.trusted_proxies = [\"127.0.0.1\"]"));
    let connect = |from: &str| {
        let options = ClientOptions::default().header(&format!("X-Forwarded-For: {from}"));
        Client::try_connect(server.port(), options)
    };
    let clients: Vec<Client> = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
        .iter()
        .flat_map(|from| [connect(from), connect(from)])
        .map(|outcome| outcome.expect("each address has places of its own"))
        .collect();
    assert_refused(connect("192.0.2.1"), "server.connections_per_address_max");
    // What a client claims before the proxy adds to it is nothing.
    assert_refused(connect("192.0.2.9, 192.0.2.1"), "server.connections_per_address_max");
    drop(clients);
}

#[test]
fn on_the_tcp_door_the_only_message_says_503() {
    let settings = format!("{OF_ONE_ADDRESS}\ntcp.enabled = true\ntcp.port = 0");
    let mut server = Server::start_with(&settings);
    let port = server.tcp_port();
    // The doors share the places.
    let mut stays = server.client();
    let mut second = StreamClient::tcp(port);
    second.send(&missing());
    assert_eq!(second.next_answer().rnum, 404);
    for _ in 0..2 {
        let mut third = StreamClient::tcp(port);
        let last = third.next_answer();
        assert_eq!((last.rnum, last.reid), (503, nil()));
        assert!(last.warnings[0].contains("server.connections_per_address_max"));
        assert_eq!(third.next_message(), None);
    }
    assert_refused(connect(&server), "server.connections_per_address_max");
    drop(second);
    connect_in_the_end(&server, &mut stays).expect("GET", &["missing"], nil(), 404);
    let [refused] = server.stop_and_count(["connections_refused_address"]);
    assert!(refused >= 3, "{refused}");
}

/// Connects until one is refused. While that takes its time, places come free.
#[track_caller]
fn fill(server: &Server) -> Vec<Client> {
    let began = Instant::now();
    let mut clients = Vec::new();
    loop {
        match connect(server) {
            Ok(client) => clients.push(client),
            refused => {
                assert_refused(refused, "server.connections_per_second_max");
                let most = 3 + 3 * began.elapsed().as_millis() / 1000 + 1;
                assert!(clients.len() >= 3 && clients.len() as u128 <= most, "{}", clients.len());
                return clients;
            }
        }
    }
}

#[test]
fn more_connections_than_may_come_in_a_second_are_refused_for_a_while() {
    let mut server = Server::start_with(IN_ONE_SECOND);
    let began = Instant::now();
    let mut clients = fill(&server);
    // A place comes free with time only, not with the end of a connection.
    drop(clients.pop());
    let opened = clients.len() as u64 + 1;
    let mut late = connect_in_the_end(&server, &mut clients[0]);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    for client in clients.iter_mut().chain([&mut late]) {
        client.expect("GET", &["missing"], nil(), 404);
    }
    let counters = ["connections_refused_rate", "connections_opened"];
    let [refused, counted] = server.stop_and_count(counters);
    assert!(refused >= 1, "{refused}");
    assert_eq!(counted, opened + 1);
}

#[test]
fn the_rate_is_that_of_all_doors_together() {
    let settings = format!("{IN_ONE_SECOND}\ntcp.enabled = true\ntcp.port = 0");
    let server = Server::start_with(&settings);
    let port = server.tcp_port();
    let _clients = fill(&server);
    let began = Instant::now();
    let mut let_in = 0;
    let last = loop {
        let mut client = StreamClient::tcp(port);
        client.send(&missing());
        match client.next_answer() {
            answer if answer.rnum == 404 => let_in += 1,
            refused => break refused,
        }
    };
    assert_eq!((last.rnum, last.reid), (503, nil()));
    assert!(last.warnings[0].contains("server.connections_per_second_max"));
    assert!(let_in <= 3 * began.elapsed().as_millis() / 1000 + 1, "{let_in} were let in");
}

#[test]
fn without_bounds_one_address_may_come_as_often_as_it_likes() {
    let server = Server::start();
    let clients: Vec<Client> = (0..200).map(|_| server.client()).collect();
    assert_eq!(clients.len(), 200);
}
