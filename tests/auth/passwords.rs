//! Passwords: judged in the background, while requests keep their order.

use std::fs;
use std::process::{Command, Stdio};

use super::support::{Request, Server, int, nil};
use super::{USERS, client, make};

/// A server with a user `eve` who has a password.
fn server() -> Server {
    let mut server = Server::prepare(&format!("{USERS}auth.users_file = \"users.toml\"\n"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_fanal"))
        .args(["token", "new", "eve", "--password", "--file", "users.toml"])
        .current_dir(server.folder())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    use std::io::Write;
    child.stdin.take().unwrap().write_all(b"correct horse\n").unwrap();
    assert!(child.wait().unwrap().success());
    let file = fs::read_to_string(server.folder().join("users.toml")).unwrap();
    assert!(file.contains("$argon2id$") && !file.contains("correct horse"), "{file}");
    server.start_again();
    server.wait_for_line("the places of users are as they should be");
    make(&server, &[&["live"]]);
    server
}

#[test]
fn a_password_lets_its_user_in_and_others_do_not() {
    let server = server();
    let mut eve = server.client_as("eve", "correct horse");
    eve.expect("PUT", &["user", "eve", "model"], int(1), 200);
    server.client_as("eve", "correct hors").expect("GET", &["live"], nil(), 401);
    server.client_as("nobody", "correct horse").expect("GET", &["live"], nil(), 401);
    // A password alone names nobody.
    server.client_as("", "correct horse").expect("GET", &["live"], nil(), 401);
}

#[test]
fn requests_that_wait_for_a_password_keep_their_order() {
    let server = server();
    let mut client = server.client();
    let model = ["user", "eve", "model"];
    let eve = |request: Request| request.user("eve", "correct horse");
    let mut requests = Vec::new();
    for number in 0..30 {
        let request = if number % 3 == 2 {
            Request::new("GET", &model)
        } else {
            Request::new("PUT", &model).payl(int(number))
        };
        requests.push(eve(request).reid(int(number)));
    }
    // One with another user's credentials in between waits its turn as well.
    let stranger = Request::new("GET", &model).user("eve", "wrong horse").reid(int(30));
    requests.push(stranger);
    requests.push(eve(Request::new("GET", &model)).reid(int(31)));
    client.send_all(&requests);
    for number in 0..32 {
        let answer = client.next_answer();
        assert_eq!(answer.reid, int(number), "{answer:?}");
        let expected = if number == 30 { 401 } else { 200 };
        assert_eq!(answer.rnum, expected, "{number}");
        if number < 30 && number % 3 == 2 {
            assert_eq!(answer.number(), number - 1);
        }
    }
}

#[test]
fn a_connection_that_ends_while_its_password_is_judged_leaves_nothing_behind() {
    let server = server();
    for attempt in 0..10 {
        let mut stranger = server.client_as("eve", &format!("guess {attempt}"));
        stranger.send("GET", &["live"], nil());
        stranger.reset();
        // It is gone before anybody knows whether its guess was right.
        server.wait_for_lines("user nobody", attempt + 1);
    }
    client(&server, "ann").expect("GET", &["live"], nil(), 200);
    server.client_as("eve", "correct horse").expect("GET", &["live"], nil(), 200);
}

#[test]
fn while_one_password_is_judged_others_are_served() {
    let server = server();
    let mut ann = client(&server, "ann");
    let mut strangers: Vec<_> =
        (0..10).map(|n| server.client_as("eve", &format!("guess {n}"))).collect();
    for stranger in &mut strangers {
        stranger.send("GET", &["live"], nil());
    }
    for _ in 0..20 {
        ann.expect("GET", &["live"], nil(), 200);
    }
    for stranger in &mut strangers {
        assert_eq!(stranger.next_answer().rnum, 401);
    }
}
