//! Changes while the server runs: rules, users and expiry, with streams open.

use std::fs;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use super::support::{Request, Server, int, nil};
use super::{USERS, client, make, server};

const READ_LIVE: &str = "auth.preset = \"none\"\nauth.rules = \
     [{ roles = [\"student\"], allow = [\"READ\"], paths = [\"live\", \"other\"] }]\n";

const READ_OTHER: &str = "auth.preset = \"none\"\nauth.rules = \
     [{ roles = [\"student\"], allow = [\"READ\"], paths = [\"other\"] }]\n";

#[test]
fn a_changed_file_ends_the_streams_that_are_no_longer_allowed_and_no_others() {
    let server = server(READ_LIVE);
    make(&server, &[&["live"], &["other"]]);
    let mut root = client(&server, "root");
    let mut ann = client(&server, "ann");
    let live = ann.send("STREAM", &["live"], nil());
    let other = ann.send("STREAM", &["other"], nil());
    assert_eq!((ann.next_answer().rnum, ann.next_answer().rnum), (200, 200));
    root.expect("PUT", &["live"], int(1), 200);
    assert_eq!(ann.next_answer().number(), 1);
    server.configure(&format!("{USERS}{READ_OTHER}"));
    let last = ann.next_answer();
    assert_eq!((last.rnum, &last.reid), (403, &live), "{last:?}");
    root.expect("PUT", &["live"], int(2), 200);
    root.expect("PUT", &["other"], int(3), 200);
    let update = ann.next_answer();
    assert_eq!((update.number(), &update.reid), (3, &other));
    ann.expect("GET", &["live"], nil(), 403);
    ann.expect("STREAM", &["live"], nil(), 403);
    ann.expect("GET", &["other"], nil(), 200);
    // And back.
    server.configure(&format!("{USERS}{READ_LIVE}"));
    server.wait_for_lines("reloaded: ", 2);
    ann.expect("STREAM", &["live"], nil(), 200);
}

#[test]
fn a_familiar_request_is_refused_as_soon_as_it_is_not_allowed() {
    let server = server("");
    make(&server, &[&["user", "ann", "model"]]);
    let mut ann = client(&server, "ann");
    for value in 0..20 {
        ann.expect("PUT", &["user", "ann", "model"], int(value), 200);
    }
    server.configure(&format!("{USERS}auth.preset = \"none\"\n"));
    server.wait_for_line("reloaded: ");
    for value in 0..5 {
        ann.expect("PUT", &["user", "ann", "model"], int(value), 403);
    }
}

#[test]
fn a_faulty_file_changes_nothing() {
    let server = server(READ_LIVE);
    make(&server, &[&["live"]]);
    let mut ann = client(&server, "ann");
    ann.expect("STREAM", &["live"], nil(), 200);
    for (faulty, expected) in [
        ("auth.rules = [{ allow = [\"READING\"], paths = [\"live\"] }]\n", "auth.rules.allow"),
        ("auth.rules = [{ paths = [\"live\"] }]\n", "expected allow or deny"),
        ("auth.users_file = \"not-there.toml\"\n", "cannot read"),
        ("nonsense", "not valid TOML"),
        ("", "there are no users"),
    ] {
        let users = if faulty.is_empty() { "auth.mode = \"users\"\n" } else { USERS };
        server.configure(&format!("{users}{faulty}"));
        server.signal(Signal::HUP);
        server.wait_for_line(expected);
        server.wait_for_line("nothing has changed");
        client(&server, "ann").expect("GET", &["live"], nil(), 200);
        client(&server, "ann").expect("PUT", &["live"], nil(), 403);
    }
    let mut root = client(&server, "root");
    root.expect("PUT", &["live"], int(7), 200);
    assert_eq!(ann.next_answer().number(), 7, "the stream goes on");
}

#[test]
fn sighup_reloads_without_waiting() {
    let server = Server::start_with(&USERS.replace("50ms", "0s"));
    make(&server, &[&["live"]]);
    let mut guest = client(&server, "guest");
    guest.expect("STREAM", &["live"], nil(), 200);
    let without_guest = USERS.replace("guest-token", "another-token");
    server.configure(&without_guest.replace("50ms", "0s"));
    guest.expect("GET", &["live"], nil(), 200);
    server.signal(Signal::HUP);
    let last = guest.next_answer();
    assert_eq!(last.rnum, 403, "{last:?}");
    assert_eq!(last.warnings, ["these credentials are no longer good"]);
    guest.expect("GET", &["live"], nil(), 401);
    // What else the file says is for the next start.
    server.configure(&format!("{}server.backlog = 99\n", without_guest.replace("50ms", "0s")));
    server.signal(Signal::HUP);
    server.wait_for_line("at the next start only: server.backlog");
}

/// A time so many milliseconds from now on, as the configuration has it.
fn in_ms(milliseconds: u64) -> String {
    let time = SystemTime::now() + Duration::from_millis(milliseconds);
    humantime::format_rfc3339_millis(time).to_string()
}

/// A user whose token ends soon, in a file of users.
fn expiring(server: &Server, token: &str, expires: &str) {
    let text = format!("[[users]]\nname = \"zoe\"\ntoken = \"{token}\"\nexpires = \"{expires}\"\n");
    fs::write(server.folder().join("users.toml"), text).unwrap();
}

#[test]
fn a_stream_ends_when_the_token_that_opened_it_has_expired() {
    let mut server = Server::prepare(&format!("{USERS}auth.users_file = \"users.toml\"\n"));
    expiring(&server, "short", &in_ms(4000));
    server.start_again();
    make(&server, &[&["live"]]);
    let mut zoe = server.client_as("zoe", "short");
    zoe.expect("STREAM", &["live"], nil(), 200);
    let last = zoe.next_answer();
    assert_eq!(last.rnum, 403, "{last:?}");
    zoe.expect("GET", &["live"], nil(), 401);
}

#[test]
fn streams_that_begin_while_the_rules_change_do_not_slip_through() {
    let users = USERS.replace("50ms", "0s");
    let server = Server::start_with(&format!("{users}{READ_LIVE}"));
    make(&server, &[&["live"], &["other"]]);
    let mut root = client(&server, "root");
    let mut clients: Vec<_> = (0..8).map(|_| client(&server, "ann")).collect();
    for round in 0..10 {
        server.configure(&format!("{users}{READ_OTHER}"));
        server.signal(Signal::HUP);
        for client in &mut clients {
            for reid in 1000..1020 {
                let request = Request::new("STREAM", &["live"]).user("ann", "ann-token");
                client.send_request(&request.reid(int(reid)));
            }
        }
        server.wait_for_lines("reloaded: ", 2 * round + 1);
        for client in &mut clients {
            client.expect("GET", &["live"], nil(), 403);
            client.barrier();
        }
        root.expect("PUT", &["live"], int(-1), 200);
        for client in &mut clients {
            let came = client.barrier();
            assert!(came.iter().all(|answer| answer.payl != int(-1)), "{came:?}");
        }
        server.configure(&format!("{users}{READ_LIVE}"));
        server.signal(Signal::HUP);
        server.wait_for_lines("reloaded: ", 2 * round + 2);
    }
}

#[test]
fn nobody_is_believed_while_a_reload_closes_the_server() {
    let open = format!("{USERS}auth.failures_max = 0\nsession.wrong_requests_max = 0\n")
        .replace("50ms", "0s");
    let server = Server::start_with(&open);
    make(&server, &[&["live"]]);
    let closed = open.replace("\"users\"", "\"allow_none\"");
    let until_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            // Each request has other credentials, so that each is judged.
            let mut stranger = server.client();
            let over = &until_over;
            scope.spawn(move || {
                let mut guess = 0_i64;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let requests: Vec<Request> = (0..30)
                        .map(|_| {
                            guess += 1;
                            let request = Request::new("GET", &["live"]);
                            request.user("ann", &guess.to_string()).reid(int(guess))
                        })
                        .collect();
                    stranger.send_all(&requests);
                    for _ in 0..30 {
                        let answer = stranger.next_answer();
                        assert!([401, 403].contains(&answer.rnum), "{answer:?}");
                    }
                }
            });
        }
        for round in 1..=300 {
            server.configure(if round % 2 == 1 { &closed } else { &open });
            server.signal(Signal::HUP);
            server.wait_for_lines("reloaded: ", round);
        }
        until_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
