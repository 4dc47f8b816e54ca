//! Credentials that come with the connection, and addresses with too many wrong ones.

use super::support::{Client, ClientOptions, Request, Server, int, nil, to_bytes};
use super::{client, make, server};

/// A client whose requests have this AUTH, or none.
fn request(client: &mut Client, auth: Option<&str>, verb: &str, path: &[&str]) -> i64 {
    let mut request = Request::new(verb, path).payl(int(1));
    request.auth = match auth {
        None => None,
        Some("") => Some(to_bytes(&rmpv::Value::Map(Vec::new()))),
        Some(user) => Request::new(verb, path).user(user, &format!("{user}-token")).auth,
    };
    client.send_request(&request);
    client.next_answer().rnum
}

fn connect(server: &Server, header: &str) -> Client {
    server.client_with(ClientOptions::default().header(header))
}

#[test]
fn credentials_of_the_upgrade_count_where_auth_says_nothing() {
    let server = server(
        "auth.cookie = \"fanal_token\"\nserver.allowed_origins = [\"http://here.example\"]\n",
    );
    make(&server, &[&["user", "ann", "model"], &["user", "bob", "model"]]);
    let (own, other) = (["user", "ann", "model"], ["user", "bob", "model"]);
    for header in [
        "Authorization: Basic YW5uOmFubi10b2tlbg==",
        "Authorization: Bearer ann-token",
        "Cookie: a=b; fanal_token=ann-token; c=d",
    ] {
        let mut ann = connect(&server, header);
        for auth in [None, Some("")] {
            assert_eq!(request(&mut ann, auth, "PUT", &own), 200, "{header} {auth:?}");
            assert_eq!(request(&mut ann, auth, "PUT", &other), 403, "{header} {auth:?}");
        }
        // What a request says itself counts, good or not.
        assert_eq!(request(&mut ann, Some("bob"), "PUT", &other), 200);
        assert_eq!(request(&mut ann, Some("nobody"), "PUT", &own), 401);
        assert_eq!(request(&mut ann, None, "PUT", &own), 200);
    }
    for header in [
        "Authorization: Basic YW5uOndyb25n",
        "Authorization: Bearer wrong",
        "Authorization: Basic ###",
        "Cookie: fanal_token=wrong",
        "Cookie: token=ann-token",
        "X-Token: ann-token",
    ] {
        let mut stranger = connect(&server, header);
        assert_eq!(request(&mut stranger, None, "GET", &own), 401, "{header}");
    }
}

#[test]
fn an_address_with_too_many_wrong_credentials_has_to_wait() {
    let server = server("auth.failures_max = 3\nauth.failures_wait_max = \"10m\"\n");
    make(&server, &[&["live"]]);
    let mut ann = client(&server, "ann");
    ann.expect("GET", &["live"], nil(), 200);
    let mut codes = Vec::new();
    for attempt in 0..12 {
        let mut stranger = server.client_as("ann", &format!("guess {attempt}"));
        codes.push(stranger.request("GET", &["live"], nil()).rnum);
    }
    assert_eq!(codes[..4], [401; 4]);
    assert!(codes[4..].contains(&429), "{codes:?}");
    // Who is known goes on, who comes now waits, whatever it says.
    ann.expect("GET", &["live"], nil(), 200);
    client(&server, "ann").expect("GET", &["live"], nil(), 429);
    let output = server.output();
    assert!(!output.contains("guess") && !output.contains("ann-token"), "{output}");
}

#[test]
fn a_wait_ends() {
    let server = server("auth.failures_max = 1\nauth.failures_wait_max = \"50ms\"\n");
    make(&server, &[&["live"]]);
    for guess in 0..2 {
        server.client_as("ann", &guess.to_string()).expect("GET", &["live"], nil(), 401);
    }
    let mut ann = client(&server, "ann");
    let mut waited = 0;
    while ann.request("GET", &["live"], nil()).rnum != 200 {
        waited += 1;
    }
    assert!(waited > 0, "it has not waited at all");
}

#[test]
fn no_secret_reaches_the_log() {
    let server = server(
        "log.level = \"trace\"\nauth.cookie = \"fanal_token\"\n\
         server.allowed_origins = [\"http://here.example\"]\n",
    );
    make(&server, &[&["live"]]);
    client(&server, "ann").expect("GET", &["live"], nil(), 200);
    server.client_as("ann", "secret-guess").expect("GET", &["live"], nil(), 401);
    for header in [
        "Authorization: Basic YW5uOmFubi10b2tlbg==",
        "Authorization: Bearer ann-token",
        "Cookie: fanal_token=ann-token",
    ] {
        let mut ann = connect(&server, header);
        assert_eq!(request(&mut ann, None, "GET", &["live"]), 200);
    }
    let output = server.output();
    for secret in ["ann-token", "root-token", "secret-guess", "YW5uOmFubi10b2tlbg"] {
        assert!(!output.contains(secret), "{secret} is in the log");
    }
}
