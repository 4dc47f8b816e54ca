//! Limits and quotas of roles.

use super::support::{Client, ClientOptions, Request, Server, bin, int, nil};
use super::{USERS, client};

/// The metric of requests that were refused for this reason.
fn refusals(reason: &str) -> String {
    format!("fanal_requests_refused_total{{reason=\"{reason}\"}}")
}

/// A server whose students may have so much, with an admin listener.
fn limited(limits: &str) -> Server {
    let server = Server::start_with(&format!(
        "{USERS}admin.enabled = true\nadmin.port = 0\n\
         auth.limits = [{{ roles = [\"student\"], {limits} }}]\n\
         auth.rules = [{{ allow = [\"ADMIN\"], paths = [\"all/**\"] }}]\n"
    ));
    client(&server, "root").expect("CREATE", &["all", "x"], nil(), 201);
    server
}

#[test]
fn connections_of_a_user() {
    let server = limited("connections = 2");
    let mut first = client(&server, "ann");
    let mut second = client(&server, "ann");
    let mut third = client(&server, "ann");
    first.expect("GET", &["all", "x"], nil(), 200);
    second.expect("GET", &["all", "x"], nil(), 200);
    let refused = third.expect("GET", &["all", "x"], nil(), 429);
    assert!(refused.warnings[0].contains("2 connections"), "{refused:?}");
    client(&server, "bob").expect("GET", &["all", "x"], nil(), 200);
    client(&server, "guest").expect("GET", &["all", "x"], nil(), 200);
    first.expect("GET", &["all", "x"], nil(), 200);
    // A place is free as soon as a connection has ended.
    second.close(1000);
    server.wait_for_line("closed: the client closed it");
    third.expect("GET", &["all", "x"], nil(), 200);
    assert_eq!(server.metric(&refusals("quota_connections")), 1);
}

#[test]
fn a_connection_of_two_users_has_one_place_of_each() {
    let server = limited("connections = 1");
    let mut both = client(&server, "ann");
    both.expect("STREAM", &["all", "x"], nil(), 200);
    for user in ["bob", "ann", "bob", "ann"] {
        let request = Request::new("GET", &["all", "x"]).user(user, &format!("{user}-token"));
        both.send_request(&request);
        assert_eq!(both.next_answer().rnum, 200, "{user}");
    }
    client(&server, "ann").expect("GET", &["all", "x"], nil(), 429);
}

#[test]
fn a_reload_counts_no_connection_twice() {
    let server = limited("connections = 1");
    let mut ann = client(&server, "ann");
    ann.expect("STREAM", &["all", "x"], nil(), 200);
    for count in 1..=3 {
        server.signal(rustix::process::Signal::HUP);
        server.wait_for_lines("reloaded: ", count);
    }
    ann.expect("GET", &["all", "x"], nil(), 200);
    client(&server, "ann").expect("GET", &["all", "x"], nil(), 429);
}

#[test]
fn a_connection_whose_user_has_another_role_keeps_its_place() {
    let settings = |role: &str| {
        let users = USERS.replace("roles = [\"student\"]", &format!("roles = [\"student\"{role}]"));
        format!(
            "{users}auth.limits = [{{ roles = [\"student\"], connections = 1 }}]\n\
             auth.rules = [{{ allow = [\"ADMIN\"], paths = [\"all/**\"] }}]\n"
        )
    };
    let server = Server::start_with(&settings(""));
    client(&server, "root").expect("CREATE", &["all", "x"], nil(), 201);
    let mut ann = client(&server, "ann");
    ann.expect("STREAM", &["all", "x"], nil(), 200);
    for (count, role) in [(1, ", \"tutor\""), (2, ""), (3, ", \"tutor\"")] {
        server.configure(&settings(role));
        server.wait_for_lines("reloaded: ", count);
        ann.expect("GET", &["all", "x"], nil(), 200);
    }
    client(&server, "ann").expect("GET", &["all", "x"], nil(), 429);
}

#[test]
fn streams_of_a_connection() {
    let server = limited("streams = 2");
    let mut root = client(&server, "root");
    for name in ["a", "b", "c"] {
        root.expect("CREATE", &["all", name], nil(), 201);
    }
    let mut ann = client(&server, "ann");
    let reid = ann.send("STREAM", &["all", "a"], nil());
    assert_eq!(ann.next_answer().rnum, 200);
    ann.expect("STREAM", &["all", "b"], nil(), 200);
    ann.expect("STREAM", &["all", "c"], nil(), 429);
    let stop = Request::new("STOP", &["all", "a"]);
    ann.send_request(&stop.user("ann", "ann-token").reid(reid));
    assert_eq!(ann.next_answer().rnum, 200);
    ann.expect("STREAM", &["all", "c"], nil(), 200);
    assert_eq!(server.metric(&refusals("quota_streams")), 1);
}

/// Sends so many PUTs at once and returns how many were answered 200, and how many 429.
fn burst(client: &mut Client, count: usize) -> (usize, usize) {
    for _ in 0..count {
        client.send("PUT", &["all", "x"], bin(&[7; 100]));
    }
    let codes: Vec<i64> = (0..count).map(|_| client.next_answer().rnum).collect();
    let of = |rnum| codes.iter().filter(|code| **code == rnum).count();
    assert_eq!(of(200) + of(429), count, "{codes:?}");
    (of(200), of(429))
}

#[test]
fn requests_in_a_second_over_all_connections() {
    let server = limited("requests_per_second = 10");
    let (mut one, mut other) = (client(&server, "ann"), client(&server, "ann"));
    let (good, refused) = burst(&mut one, 200);
    assert!((10..100).contains(&good) && refused > 100, "{good} {refused}");
    let (good, refused) = burst(&mut other, 50);
    assert!(good < 40 && refused > 10, "{good} {refused}");
    assert_eq!(burst(&mut client(&server, "bob"), 5), (5, 0));
    assert_eq!(burst(&mut client(&server, "guest"), 100), (100, 0));
    assert!(server.metric(&refusals("quota_rate")) > 100);
}

#[test]
fn bytes_in_a_second_over_all_connections() {
    let server = limited("bytes_per_second = 4000");
    let (good, refused) = burst(&mut client(&server, "ann"), 200);
    assert!((10..100).contains(&good) && refused > 100, "{good} {refused}");
    assert_eq!(burst(&mut client(&server, "guest"), 100), (100, 0));
}

#[test]
fn resources_that_a_user_has_made() {
    let server = limited("resources = 2");
    let mut ann = client(&server, "ann");
    ann.expect("CREATE", &["all", "1"], nil(), 201);
    ann.expect("POST", &["all", "deep", "2"], int(1), 201);
    let refused = ann.expect("CREATE", &["all", "3"], nil(), 429);
    assert!(refused.warnings[0].contains("2 resources"), "{refused:?}");
    ann.expect("POST", &["all", "3"], int(1), 429);
    client(&server, "ann").expect("CREATE", &["all", "3"], nil(), 429);
    // What is there may be written, and what is refused for another reason takes no place.
    ann.expect("POST", &["all", "1"], int(1), 200);
    ann.expect("CREATE", &["all", "1"], nil(), 400);
    client(&server, "bob").expect("CREATE", &["all", "bob"], nil(), 201);
    client(&server, "root").expect("DELETE", &["all", "deep"], nil(), 200);
    ann.expect("CREATE", &["all", "3"], nil(), 201);
    ann.expect("CREATE", &["all", "4"], nil(), 429);
}

#[test]
fn bytes_of_a_value_and_of_a_request() {
    let server = limited("value_bytes = 102, message_bytes = 400");
    let mut ann = client(&server, "ann");
    for _ in 0..3 {
        ann.expect("PUT", &["all", "x"], bin(&[1; 100]), 200);
        ann.expect("PUT", &["all", "x"], bin(&[1; 101]), 413);
        ann.expect("POST", &["all", "y"], bin(&[1; 101]), 413);
        ann.expect("PUT", &["all", "x"], bin(&[1; 500]), 413);
        ann.expect("GET", &["all", "x"], bin(&[1; 500]), 413);
    }
    assert_eq!(ann.expect("GET", &["all", "x"], nil(), 200).payl, bin(&[1; 100]));
    client(&server, "guest").expect("PUT", &["all", "x"], bin(&[1; 500]), 200);
    assert_eq!(server.metric(&refusals("quota_value_bytes")), 6);
    assert_eq!(server.metric(&refusals("quota_message_bytes")), 6);
}

#[test]
fn refused_for_too_much_is_no_reason_to_be_closed() {
    let server = Server::start_with(&format!(
        "{USERS}session.wrong_requests_max = 5\n\
         auth.limits = [{{ requests_per_second = 1 }}]\n\
         auth.rules = [{{ allow = [\"ADMIN\"], paths = [\"all/**\"] }}]\n"
    ));
    client(&server, "root").expect("CREATE", &["all", "x"], nil(), 201);
    let options = ClientOptions::default().user("ann", "ann-token");
    let (_, refused) = burst(&mut server.client_with(options), 50);
    assert!(refused > 40, "{refused}");
}
