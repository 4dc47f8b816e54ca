//! The provider `tree`: users and rules that a program keeps in the broker, seen through real
//! connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly"
)]

mod support;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest, Sha256};
use support::{Client, Server, array, int, nil};

/// It is looked again on account of requests only: the interval is too long to be of help.
const SETTINGS: &str = "auth.mode = \"users\"\nauth.providers = [\"users\", \"tree\"]\n\
     auth.users = [{ name = \"root\", token = \"r\", admin = true }]\nauth.preset = \"none\"\n";
const SELDOM: &str = "auth.recheck_interval = \"1h\"\n";

const LIVE: [&str; 2] = ["live", "a"];
const BOTH: &str = "{'allow': ['READ', 'WRITE'], 'paths': ['live/**']}";

/// A server and the program that keeps its users.
struct House {
    server: Server,
    root: Client,
    /// How often something new was awaited.
    news: usize,
}

impl House {
    fn start() -> Self {
        Self::start_with(SELDOM)
    }

    fn start_with(settings: &str) -> Self {
        let server = Server::start_with(&format!("{SETTINGS}{settings}"));
        let mut root = server.client_as("root", "r");
        root.expect("POST", &LIVE, int(0), 201);
        // Nobody and nothing is what is read first.
        House { server, root, news: 1 }
    }

    /// Writes an entry, and waits until it counts.
    fn write(&mut self, what: &str, name: &str, json: &str) {
        self.put(what, name, json);
        self.wait_for_news();
    }

    fn put(&mut self, what: &str, name: &str, json: &str) {
        let rnum = self.root.request("POST", &["$fanal", "auth", what, name], map(json)).rnum;
        assert!([200, 201].contains(&rnum), "{rnum}");
    }

    fn delete(&mut self, what: &str, name: &str) {
        self.root.expect("DELETE", &["$fanal", "auth", what, name], nil(), 200);
        self.wait_for_news();
    }

    fn wait_for_news(&mut self) {
        self.news += 1;
        self.server.wait_for_lines(" rules in the tree", self.news);
    }

    /// What a new connection of a user is answered.
    fn ask(&self, user: &str, token: &str) -> i64 {
        self.server.client_as(user, token).request("GET", &LIVE, nil()).rnum
    }
}

/// The MessagePack of a JSON text with single quotes, in which `#t` stands for the hash of `t`.
fn map(json: &str) -> Vec<u8> {
    let mut text = json.replace('\'', "\"");
    while let Some(at) = text.find('#') {
        let end = at + text[at..].find('"').expect("it stands in quotes");
        let hash = Sha256::digest(&text[at + 1..end]);
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        text.replace_range(at..end, &digits);
    }
    let value: serde_json::Value = serde_json::from_str(&text).expect("the test writes JSON");
    rmp_serde::to_vec(&value).expect("it can be encoded")
}

#[test]
fn what_a_program_writes_counts_at_once() {
    let mut house = House::start();
    assert_eq!(house.ask("ann", "a"), 401);
    house.write("users", "ann", "{'token_sha256': '#a', 'roles': ['tutor']}");
    assert_eq!((house.ask("ann", "a"), house.ask("ann", "b"), house.ask("", "a")), (403, 401, 401));
    house.write("rules", "live", BOTH);
    assert_eq!(house.ask("ann", "a"), 200);
    let mut ann = house.server.client_as("ann", "a");
    ann.expect("PUT", &LIVE, int(1), 200);
    ann.expect("DELETE", &LIVE, nil(), 403);

    // A rule that takes something ends streams that were there.
    ann.expect("STREAM", &LIVE, nil(), 200);
    house.write("rules", "no", "{'deny': ['STREAM'], 'roles': ['tutor'], 'paths': ['live/*']}");
    ann.expect_end_of_stream(403);
    ann.expect("GET", &LIVE, nil(), 200);
    house.write("users", "ann", "{'token_sha256': '#a', 'roles': ['student']}");
    ann.expect("STREAM", &LIVE, nil(), 200);
    house.delete("rules", "live");
    ann.expect_end_of_stream(403);
    ann.expect("GET", &LIVE, nil(), 403);
}

#[test]
fn a_user_that_is_changed_or_deleted_loses_its_streams() {
    let mut house = House::start();
    house.write("rules", "live", BOTH);
    house.write("users", "ann", "{'token_sha256': '#a'}");
    house.write("users", "bob", "{'token_sha256': '#b'}");
    let streaming = |user, token| {
        let mut client = house.server.client_as(user, token);
        client.expect("STREAM", &LIVE, nil(), 200);
        client
    };
    let (mut ann, mut bob) = (streaming("ann", "a"), streaming("bob", "b"));
    house.write("users", "ann", "{'token_sha256': '#new'}");
    ann.expect_end_of_stream(403);
    assert_eq!((house.ask("ann", "a"), house.ask("ann", "new")), (401, 200));
    house.delete("users", "bob");
    bob.expect_end_of_stream(403);
    bob.expect("GET", &LIVE, nil(), 401);
    // Something else in its place is as good as nothing.
    let mut ann = house.server.client_as("ann", "new");
    ann.expect("STREAM", &LIVE, nil(), 200);
    house.write("users", "ann", "'nonsense'");
    ann.expect_end_of_stream(403);
    house.server.wait_for_line("$fanal/auth/users/ann is left out: expected a map");
}

#[test]
fn the_same_request_again_and_again_is_noticed_each_time() {
    let mut house = House::start();
    house.write("rules", "live", BOTH);
    house.write("users", "ann", "{'token_sha256': '#0'}");
    // A client that sends the same bytes but for REID and PAYL, which nobody decodes elsewhere.
    for token in 1..20 {
        let user = format!("{{'token_sha256': '#{token}'}}");
        house.root.expect("PUT", &["$fanal", "auth", "users", "ann"], map(&user), 200);
        house.wait_for_news();
        assert_eq!(house.ask("ann", &token.to_string()), 200, "{token}");
    }
}

#[test]
fn users_and_rules_survive_a_restart_and_count_from_the_first_request_on() {
    let mut house = House::start();
    house.write("rules", "live", BOTH);
    house.write("rules", "no", "{'deny': ['WRITE'], 'users': ['ann'], 'paths': ['live/**']}");
    house.write("users", "ann", "{'token_sha256': '#a'}");
    house.server.restart();
    let mut ann = house.server.client_as("ann", "a");
    ann.expect("PUT", &LIVE, int(1), 403);
    ann.expect("GET", &LIVE, nil(), 200);
    house.server.kill();
    house.server.start_again();
    house.server.client_as("ann", "a").expect("PUT", &LIVE, int(1), 403);
}

#[test]
fn a_password_and_an_admin_may_be_kept_there_too() {
    let mut house = House::start();
    // Cheap, for a test.
    let params = Params::new(8, 1, 1, None).unwrap();
    let salt = SaltString::encode_b64(b"saltsaltsalt").unwrap();
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = hasher.hash_password(b"geheim", &salt).unwrap().to_string();
    house.write("users", "ann", &format!("{{'password_argon2': '{hash}', 'admin': true}}"));
    assert_eq!((house.ask("ann", "geheim"), house.ask("ann", "Geheim")), (200, 401));
    let mut ann = house.server.client_as("ann", "geheim");
    let bob = ["$fanal", "auth", "users", "bob"];
    ann.expect("POST", &bob, map("{'token_sha256': '#b'}"), 201);
    house.wait_for_news();
    assert_eq!(house.ask("bob", "b"), 403);
}

#[test]
fn a_user_expires() {
    let mut house = House::start_with("auth.recheck_interval = \"50ms\"\n");
    house.write("rules", "live", BOTH);
    house.write("users", "old", "{'token_sha256': '#o', 'expires': '2020-01-01T00:00:00Z'}");
    assert_eq!(house.ask("old", "o"), 401);
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    let soon = humantime::format_rfc3339(soon);
    let ann = format!("{{'token_sha256': '#a', 'expires': '{soon}'}}");
    house.write("users", "ann", &ann);
    let mut ann = house.server.client_as("ann", "a");
    ann.expect("STREAM", &LIVE, nil(), 200);
    ann.expect_end_of_stream(403);
    assert_eq!(house.ask("ann", "a"), 401);
}

#[test]
fn nobody_but_admins_reaches_what_belongs_to_the_broker() {
    let mut house = House::start();
    house.write("users", "ann", "{'token_sha256': '#a', 'roles': ['all']}");
    house.write("users", "ops", "{'token_sha256': '#o', 'roles': ['ops']}");
    house.write("rules", "all", "{'allow': ['ADMIN'], 'roles': ['all'], 'paths': ['**']}");
    let mut ann = house.server.client_as("ann", "a");
    let own = ["$fanal", "auth", "users", "ann"];
    let mine = map("{'token_sha256': '#a', 'admin': true}");
    for verb in ["GET", "PUT", "POST", "CREATE", "DELETE", "STREAM", "LIST", "MKDIR"] {
        for depth in 1..=own.len() {
            ann.expect(verb, &own[..depth], mine.clone(), 403);
        }
    }
    ann.expect("LINK", &own, array(&LIVE), 403);
    ann.expect("LINK", &LIVE, array(&own), 403);
    let seen = ann.expect("LIST", &[], nil(), 200).value().to_string();
    assert!(seen.contains("live") && !seen.contains("$fanal"), "{seen}");
    let seen = house.root.expect("LIST", &[], nil(), 200).value().to_string();
    assert!(seen.contains("$fanal"), "{seen}");

    // A rule that names it opens it.
    let ops = "{'allow': ['ADMIN'], 'roles': ['ops'], 'paths': ['$fanal/auth/users/*']}";
    house.write("rules", "ops", ops);
    let mut ops = house.server.client_as("ops", "o");
    ops.expect("PUT", &own, map("{'token_sha256': '#new'}"), 200);
    house.wait_for_news();
    ops.expect("GET", &["$fanal", "auth", "rules", "ops"], nil(), 403);
    assert_eq!((house.ask("ann", "a"), house.ask("ann", "new")), (401, 403));
}

#[test]
fn a_broken_rule_never_opens_anything() {
    let mut house = House::start();
    house.write("rules", "live", BOTH);
    house.write("users", "ann", "{'token_sha256': '#a', 'roles': ['tutor']}");
    house.write("users", "bob", "{'token_sha256': '#b'}");
    let mut ann = house.server.client_as("ann", "a");
    ann.expect("PUT", &LIVE, int(1), 200);

    // It was good once: it stays as it was.
    house.write("rules", "no", "{'deny': ['WRITE'], 'users': ['ann'], 'paths': ['live/**']}");
    ann.expect("PUT", &LIVE, int(1), 403);
    house.put("rules", "no", "{'deny': ['WRIET'], 'users': ['ann'], 'paths': ['live/**']}");
    house.server.wait_for_line("$fanal/auth/rules/no stays as it was, for it denies something: ");
    ann.expect("PUT", &LIVE, int(1), 403);
    ann.expect("GET", &LIVE, nil(), 200);

    // It never was: those whom it names may do nothing, or nobody if it names nobody.
    house.delete("rules", "no");
    ann.expect("PUT", &LIVE, int(1), 200);
    house.write("rules", "typo", "{'deny': ['WRIET'], 'roles': ['tutor'], 'paths': ['live']}");
    house.server.wait_for_line("to the users and roles that it names until it is mended");
    assert_eq!((house.ask("ann", "a"), house.ask("bob", "b")), (403, 200));
    house.write("rules", "typo", "{'deny': ['WRITE'], 'path': ['live']}");
    house.server.wait_for_line("to everybody but admins until it is mended or deleted");
    assert_eq!((house.ask("ann", "a"), house.ask("bob", "b")), (403, 403));
    assert_eq!(house.ask("root", "r"), 200);
    house.server.restart();
    assert_eq!((house.ask("bob", "b"), house.ask("root", "r")), (403, 200));
    house.root = house.server.client_as("root", "r");
    house.news = 1;
    house.write("rules", "typo", "{'deny': ['WRITE'], 'paths': ['live/**']}");
    let mut bob = house.server.client_as("bob", "b");
    bob.expect("GET", &LIVE, nil(), 200);
    bob.expect("PUT", &LIVE, int(1), 403);
}

#[test]
fn what_a_link_writes_is_seen_by_and_by() {
    let mut house = House::start_with("auth.recheck_interval = \"50ms\"\n");
    house.write("users", "ann", "{'token_sha256': '#a'}");
    house.root.expect("POST", &["source"], map("{'token_sha256': '#a'}"), 201);
    house.root.expect("LINK", &["$fanal", "auth", "users", "ann"], array(&["source"]), 200);
    house.root.expect("PUT", &["source"], map("{'token_sha256': '#new'}"), 200);
    house.wait_for_news();
    assert_eq!((house.ask("ann", "a"), house.ask("ann", "new")), (401, 403));
}

#[test]
fn without_users_nobody_reaches_what_belongs_to_the_broker() {
    let server = Server::start();
    let mut client = server.client();
    let path = ["$fanal", "auth", "users", "u"];
    for verb in ["GET", "PUT", "POST", "CREATE", "DELETE", "STREAM", "LIST", "MKDIR"] {
        client.expect(verb, &path, map("{'token_sha256': '#t'}"), 403);
    }
    client.expect("POST", &["a"], int(1), 201);
}
