//! The provider `sql`: users of a real PostgreSQL, seen through real connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly"
)]

#[path = "auth_sql/cluster.rs"]
mod cluster;
mod support;

use std::net::TcpListener;

use cluster::Cluster;
use support::{Client, Server, int, nil};

/// What each server is told beside where its database is.
const SETTINGS: &str = "auth.mode = \"users\"\nauth.providers = [\"users\", \"sql\"]\n\
     auth.users = [{ name = \"root\", token = \"r\", admin = true }]\n\
     auth.recheck_interval = \"50ms\"\nauth_sql.interval = \"50ms\"\n";

/// What the server says when it knows of something new.
const NEWS: &str = " of them new, ";
const PLACES_DONE: &str = "the places of users are as they should be";

const MODEL: [&str; 3] = ["user", "ann", "model"];

/// A server and its database.
struct Pair {
    cluster: Cluster,
    server: Server,
    /// How often something new was awaited.
    news: usize,
}

impl Pair {
    /// With these rows of a table `(name, token, roles, expires)`.
    fn start(rows: &str) -> Self {
        Self::start_with(rows, "")
    }

    fn start_with(rows: &str, settings: &str) -> Self {
        let cluster = Cluster::start();
        cluster.run(&format!("insert into users values {rows}"));
        let server = Server::start_with(&settings_for(&cluster, settings));
        let mut pair = Pair { cluster, server, news: 0 };
        pair.wait_for_news();
        pair.server.wait_for_line(PLACES_DONE);
        pair
    }

    /// Changes the database, and waits until the server knows.
    fn change(&mut self, sql: &str) {
        self.cluster.run(sql);
        self.wait_for_news();
    }

    fn wait_for_news(&mut self) {
        self.news += 1;
        self.server.wait_for_lines(NEWS, self.news);
    }

    /// What a new connection is answered that asks for the model of ann.
    fn ask(&self, user: &str, token: &str) -> i64 {
        self.server.client_as(user, token).request("GET", &MODEL, nil()).rnum
    }
}

fn settings_for(cluster: &Cluster, settings: &str) -> String {
    format!("{SETTINGS}auth_sql.url = {:?}\n{settings}", cluster.url())
}

/// A client that has a stream, whose first update has come.
fn streaming(server: &Server, user: &str, token: &str) -> Client {
    let mut client = server.client_as(user, token);
    client.expect("STREAM", &MODEL, nil(), 200);
    client
}

#[test]
fn users_of_a_database_are_let_in() {
    let pair = Pair::start(
        "('ann', 'ann''s', null, null), ('bob', 'sha256:' || encode(sha256('bob''s'), 'hex'), \
         '{deploy,null}', now() + interval '1 hour'), ('old', 'old''s', '{}', now()), \
         ('none', null, null, null), ('odd', 'sha256:xyz', null, 'infinity'), \
         ('gone', 'gone''s', null, '-infinity')",
    );
    for (user, token, expected) in [
        ("ann", "ann's", 200),
        ("bob", "bob's", 200),
        ("", "ann's", 401),
        ("root", "r", 200),
        ("ann", "bob's", 401),
        ("ann", "", 401),
        ("Ann", "ann's", 401),
        ("old", "old's", 401),
        ("none", "", 401),
        ("odd", "sha256:xyz", 401),
        ("odd", "xyz", 401),
        ("gone", "gone's", 401),
        ("nobody", "x", 401),
    ] {
        assert_eq!(pair.ask(user, token), expected, "{user} {token}");
    }
    pair.server.wait_for_line("1 users have a token that begins with sha256: and is no hash");
    let output = pair.server.output();
    assert!(!output.contains("ann's") && !output.contains("xyz"), "{output}");
}

#[test]
fn a_token_that_was_changed_is_good_no_longer() {
    let mut pair = Pair::start("('ann', 'old', null, null), ('bob', 'b', null, null)");
    let mut ann = streaming(&pair.server, "ann", "old");
    let mut bob = streaming(&pair.server, "bob", "b");
    pair.change("update users set token = 'new' where name = 'ann'");
    ann.expect_end_of_stream(403);
    ann.expect("GET", &MODEL, nil(), 401);
    assert_eq!((pair.ask("ann", "old"), pair.ask("ann", "new")), (401, 200));
    // Whom it does not concern has not noticed.
    pair.server.client_as("ann", "new").expect("PUT", &MODEL, int(7), 200);
    assert_eq!(bob.next_answer().number(), 7);
}

#[test]
fn roles_and_their_loss_take_effect_on_open_connections() {
    let mut pair = Pair::start("('ann', 'a', null, null)");
    let mut ann = pair.server.client_as("ann", "a");
    ann.expect("POST", &["metrics", "load"], int(1), 403);
    pair.change("update users set roles = '{deploy}'");
    ann.expect("POST", &["metrics", "load"], int(1), 201);
    ann.expect("STREAM", &["metrics", "load"], nil(), 200);
    pair.change("update users set roles = '{tutor}'");
    ann.expect_end_of_stream(403);
    ann.expect("PUT", &["metrics", "load"], int(2), 403);
    ann.expect("GET", &MODEL, nil(), 200);
}

#[test]
fn a_user_that_expires_loses_its_streams() {
    let mut pair = Pair::start("('ann', 'a', null, null)");
    let mut ann = streaming(&pair.server, "ann", "a");
    pair.change("update users set expires = now() + interval '1 second'");
    ann.expect_end_of_stream(403);
    assert_eq!(pair.ask("ann", "a"), 401);
}

#[test]
fn places_come_and_go_with_users() {
    let mut pair = Pair::start("('ann', 'a', null, null), ('bob', 'b', null, null)");
    let mut root = pair.server.client_as("root", "r");
    root.expect("GET", &["user", "bob", "input"], nil(), 200);
    root.expect("GET", &["user", "eve", "input"], nil(), 404);
    pair.change("insert into users values ('eve', 'e', null, null), ('a/b', 'x', null, null)");
    pair.server.wait_for_lines(PLACES_DONE, 2);
    root.expect("GET", &["user", "eve", "input"], nil(), 200);
    // A name that cannot be that of a place is a user like any other.
    assert_eq!(pair.ask("a/b", "x"), 200);

    let mut ann = streaming(&pair.server, "ann", "a");
    let mut bob = pair.server.client_as("bob", "b");
    bob.expect("STREAM", &MODEL, nil(), 200);
    pair.change("delete from users where name = 'ann'");
    pair.server.wait_for_lines(PLACES_DONE, 3);
    for path in [MODEL, ["user", "ann", "input"]] {
        root.expect("GET", &path, nil(), 404);
    }
    expect_gone(&mut ann);
    bob.expect("GET", &MODEL, nil(), 404);
    assert_eq!(pair.ask("ann", "a"), 401);
    bob.expect("GET", &["user", "eve", "model"], nil(), 200);
}

#[test]
fn what_is_in_a_place_survives_a_restart_and_a_user_that_went_meanwhile() {
    let mut pair = Pair::start("('ann', 'a', null, null), ('bob', 'b', null, null)");
    pair.server.client_as("ann", "a").expect("PUT", &MODEL, int(7), 200);
    pair.server.stop();
    pair.cluster.run("delete from users where name = 'ann'");
    pair.server.start_again();
    pair.server.wait_for_line(PLACES_DONE);
    // Nobody knows that it was there on account of ann.
    let mut root = pair.server.client_as("root", "r");
    assert_eq!(root.expect("GET", &MODEL, nil(), 200).number(), 7);
    assert_eq!(pair.ask("ann", "a"), 401);
}

#[test]
fn known_users_stay_while_the_database_is_down() {
    let mut pair = Pair::start("('ann', 'a', null, null)");
    let mut ann = streaming(&pair.server, "ann", "a");
    pair.cluster.stop();
    pair.server.wait_for_line("the 1 users that were known stay");
    ann.expect("PUT", &MODEL, int(1), 200);
    assert_eq!((pair.ask("ann", "a"), pair.ask("ann", "b"), pair.ask("eve", "e")), (200, 401, 401));
    pair.cluster.start_again();
    pair.server.wait_for_line("the database answers again");
    pair.change("insert into users values ('eve', 'e', null, null)");
    assert_eq!((pair.ask("ann", "a"), pair.ask("eve", "e")), (200, 200));
}

#[test]
fn a_database_that_is_not_there_yet_is_awaited() {
    let mut cluster = Cluster::prepare();
    let server = Server::start_with(&settings_for(&cluster, ""));
    server.wait_for_line("until it answers requests of its users are answered 503");
    let mut ann = server.client_as("ann", "a");
    ann.expect("GET", &MODEL, nil(), 503);
    server.client_as("root", "r").expect("GET", &MODEL, nil(), 404);
    cluster.start_again();
    cluster.make_table();
    cluster.run("insert into users values ('ann', 'a', null, null)");
    server.wait_for_line("1 of them new");
    server.wait_for_line(PLACES_DONE);
    ann.expect("GET", &MODEL, nil(), 200);
}

#[test]
fn a_database_that_does_not_answer_is_waited_for_no_longer_than_it_may_take() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://fanal:geheim@{}/campus", silent.local_addr().unwrap());
    let settings = format!("{SETTINGS}auth_sql.url = {url:?}\nauth_sql.timeout = \"300ms\"\n");
    let server = Server::start_with(&settings);
    server.client_as("ann", "a").expect("GET", &MODEL, nil(), 503);
    server.wait_for_line("no answer within 300ms (auth_sql.timeout)");
    assert!(!server.output().contains("geheim"));
}

#[test]
fn a_table_that_was_emptied_or_is_too_long_changes_nothing() {
    let mut pair = Pair::start_with(
        "('ann', 'a', null, null), ('bob', 'b', null, null)",
        "auth_sql.users_max = 3\n",
    );
    pair.server.client_as("ann", "a").expect("PUT", &MODEL, int(7), 200);
    let mut ann = streaming(&pair.server, "ann", "a");
    pair.cluster.run("delete from users");
    pair.server.wait_for_line("the answer is empty, which is more often a mistake than meant");
    let many = "insert into users select 'u' || n, 'x', null, null from generate_series(1, 4) n";
    pair.cluster.run(many);
    pair.server.wait_for_line("expected at most 3 (auth_sql.users_max)");
    assert_eq!((pair.ask("ann", "a"), pair.ask("u1", "x")), (200, 401));
    assert_eq!(ann.expect("GET", &MODEL, nil(), 200).number(), 7);
    pair.change("delete from users where name in ('u1', 'u2')");
    pair.server.wait_for_lines(PLACES_DONE, 2);
    assert_eq!((pair.ask("u3", "x"), pair.ask("ann", "a")), (404, 401));
    expect_gone(&mut ann);
}

/// A stream that ends because its user is gone, or because its resource is.
#[track_caller]
fn expect_gone(client: &mut Client) {
    let end = client.next_answer().rnum;
    assert!([403, 404].contains(&end), "{end}");
}

#[test]
fn a_query_says_what_is_wrong_with_it() {
    #[track_caller]
    fn check(cluster: &Cluster, query: &str, expected: &str) {
        let settings = format!("auth_sql.query = {query:?}\n");
        let server = Server::start_with(&settings_for(cluster, &settings));
        server.wait_for_line(expected);
        server.client_as("ann", "a").expect("GET", &MODEL, nil(), 503);
    }
    let cluster = Cluster::start();
    cluster.run("insert into users values ('ann', 'a', null, null)");
    for (query, expected) in [
        ("select name from users", "auth_sql.query: its rows have no column token"),
        ("select name, token, expires::text from users", "the column expires is of the type text"),
        ("select name, token, 'x' as roles from users", "expected text[]"),
        ("select 1 as name, token from users", "the column name is of the type int4"),
        ("select name, token from nowhere", "relation \\\"nowhere\\\" does not exist"),
        ("select name, token from users where name = $1", "auth_sql.query has parameters"),
        ("select name, token from users, generate_series(1, 2)", "\"ann\" twice"),
        ("select null as name, token from users", "a row has no name"),
    ] {
        check(&cluster, query, expected);
    }
    // Columns that are not there are no roles and no end.
    let settings = "auth_sql.query = \"select name, token from users\"\n";
    let server = Server::start_with(&settings_for(&cluster, settings));
    server.wait_for_line(PLACES_DONE);
    server.client_as("ann", "a").expect("GET", &MODEL, nil(), 200);
}

#[test]
fn a_url_that_is_wrong_is_said_before_anything_starts() {
    for (url, expected) in [
        ("", "auth_sql.url"),
        ("mysql://fanal:geheim@db/campus", "expected a URL such as postgresql://"),
        ("postgresql://fanal:geheim@db:x/campus", "invalid value for option `port`"),
    ] {
        let server = Server::prepare(&format!("{SETTINGS}auth_sql.url = {url:?}\n"));
        let (status, output) = server.run_to_end();
        assert!(!status.success() && output.contains(expected), "{output}");
        assert!(!output.contains("geheim"), "{output}");
    }
}

#[test]
fn a_password_is_asked_for_and_never_shown() {
    let mut cluster = Cluster::start();
    cluster.run("insert into users values ('ann', 'a', null, null)");
    cluster.run("create role fanal login password 'geheim'; grant select on users to fanal");
    cluster.write("pg_hba.conf", "local all postgres trust\nlocal all all scram-sha-256\n");
    cluster.stop();
    cluster.start_again();
    let url = cluster.url().replacen("postgres@", "fanal@", 1);
    let settings = |password: &str| {
        format!("{SETTINGS}auth_sql.url = {url:?}\nauth_sql.password = {password:?}\n")
    };
    let mut server = Server::start_with(&settings("falsch"));
    server.wait_for_line("password authentication failed for user");
    assert!(!server.output().contains("falsch"));
    server.configure(&settings("geheim"));
    server.restart();
    server.wait_for_line(PLACES_DONE);
    server.client_as("ann", "a").expect("GET", &MODEL, nil(), 200);
    assert!(!server.output().contains("geheim"));
}

#[test]
fn a_certificate_of_nobody_is_not_trusted() {
    let mut cluster = Cluster::prepare();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    cluster.write("server.crt", &made.cert.pem());
    cluster.write("server.key", &made.signing_key.serialize_pem());
    // Taken and given back: nobody else asks for it in between, or the test says so.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for setting in ["ssl=on", "listen_addresses=127.0.0.1", &format!("port={port}")] {
        cluster.set(setting);
    }
    cluster.start_again();
    let url = |mode| format!("postgresql://postgres@localhost:{port}/postgres?sslmode={mode}");
    for mode in ["require", "prefer"] {
        let server = Server::start_with(&format!("{SETTINGS}auth_sql.url = {:?}\n", url(mode)));
        server.wait_for_line("error performing TLS handshake: invalid peer certificate");
        server.client_as("ann", "a").expect("GET", &MODEL, nil(), 503);
    }
    // With the certificate among those that the system trusts it is.
    let trusted = cluster.write("trusted.pem", &made.cert.pem());
    let mut server = Server::prepare(&format!("{SETTINGS}auth_sql.url = {:?}\n", url("require")));
    server.set_environment("SSL_CERT_FILE", &trusted.display().to_string());
    server.start_again();
    server.wait_for_line("relation \\\"users\\\" does not exist");
}
