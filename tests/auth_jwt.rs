//! The provider `jwt`: tokens that a library of others has made, the known attacks, and keys that
//! are replaced while a stream is open.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and dates are of the wall"
)]

#[path = "auth_jwt/issuer.rs"]
mod issuer;
mod support;

use std::fs;
use std::time::{Duration, SystemTime};

use issuer::{Issuer, KeyServer, now};
use rmpv::Value as Packed;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Answer, Client, ClientOptions, Request, Server, int, to_bytes};

const MODE: &str = "auth.mode = \"users\"\nauth.providers = [\"jwt\"]\nauth.failures_max = 0\n\
    auth_jwt.issuer = \"school\"\nauth_jwt.audience = \"fanal\"\n\
    auth.recheck_interval = \"100ms\"\n\
    preload.resources = [{ path = \"user/ann/model\" }]\n";

const OWN: [&str; 3] = ["user", "ann", "model"];

/// A server that believes the keys of an issuer in a file, and its secret if `HS256` is wanted.
fn start(issuer: &Issuer, algorithms: &[&str]) -> Server {
    let mut settings = format!(
        "{MODE}auth_jwt.key_file = {:?}\nauth_jwt.algorithms = {algorithms:?}\n",
        issuer.pem_of(algorithms)
    );
    if algorithms.contains(&"HS256") {
        settings += &format!("auth_jwt.secret = {:?}\n", issuer.secret());
    }
    Server::start_with(&settings)
}

/// A server that asks another one for its keys.
fn start_with_url(keys: &KeyServer) -> Server {
    let url = keys.url();
    Server::start_with(&format!("{MODE}auth_jwt.keys = \"{url}\"\nauth_jwt.leeway = \"0s\"\n"))
}

/// AUTH with these entries.
fn auth(entries: &[(&str, &str)]) -> Vec<u8> {
    let pair = |(key, value): &(&str, &str)| (Packed::from(*key), Packed::from(*value));
    to_bytes(&Packed::Map(entries.iter().map(pair).collect()))
}

fn request(verb: &str, auth: Option<Vec<u8>>) -> Request {
    let mut request = Request::new(verb, &OWN);
    request.auth = auth;
    request
}

fn by_token(verb: &str, token: &str) -> Request {
    request(verb, Some(auth(&[("JWT", token)])))
}

fn ask(client: &mut Client, request: &Request) -> Answer {
    client.send_request(request);
    client.next_answer()
}

/// What a GET of the own resource is answered on a connection of its own.
fn get(server: &Server, entries: &[(&str, &str)]) -> i64 {
    ask(&mut server.client(), &request("GET", Some(auth(entries)))).rnum
}

/// What it is answered with this header at the upgrade, and AUTH left out or empty.
fn get_with_header(server: &Server, line: &str) -> [i64; 2] {
    [None, Some(auth(&[]))].map(|auth| {
        let mut client = server.client_with(ClientOptions::default().header(line));
        ask(&mut client, &request("GET", auth)).rnum
    })
}

/// A good token writes the own resource.
#[track_caller]
fn check_good(server: &Server, token: &str) {
    let answer = ask(&mut server.client(), &by_token("PUT", token).payl(int(7)));
    assert_eq!(answer.rnum, 200, "{answer:?}");
}

#[test]
fn tokens_of_another_library_are_accepted_in_every_place() {
    let issuer = Issuer::new();
    let algorithms = ["HS256", "RS256", "ES256", "EdDSA"];
    let server = start(&issuer, &algorithms);
    let keys = ["secret", "rs", "es", "ed"];
    let signed: Vec<Value> = algorithms
        .iter()
        .zip(keys)
        .map(|(algorithm, key)| json!({ "alg": algorithm, "key": key }))
        .collect();
    let tokens = issuer.sign(&signed);
    check_good(&server, &tokens[0]);
    for token in &tokens {
        for entries in [
            &[("JWT", &**token)][..],
            &[("TOKEN", token)],
            &[("USER", "ann"), ("TOKEN", token)],
            &[("USER", "ann"), ("JWT", token)],
        ] {
            assert_eq!(get(&server, entries), 200, "{entries:?}");
        }
        assert_eq!(get_with_header(&server, &format!("Authorization: Bearer {token}")), [200; 2]);
        let other = [("USER", "bob"), ("TOKEN", &**token)];
        assert_eq!(get(&server, &other), 401);
        assert_eq!(get(&server, &[("USER", "bob"), ("JWT", token)]), 401);
    }
    assert_eq!(get(&server, &[]), 401);
    assert!(!server.output().contains(&*tokens[0]), "a token is in the log");
}

#[test]
fn roles_are_those_that_the_token_says() {
    let issuer = Issuer::new();
    let server = start(&issuer, &["ES256"]);
    let with_roles =
        |roles: Value| json!({ "alg": "ES256", "key": "es", "add": { "roles": roles }});
    let tokens = issuer.sign(&[with_roles(json!(["admin"])), with_roles(json!("other roles"))]);
    let mut client = server.client();
    let there =
        |token: &str| Request { path: Some(support::array(&["any"])), ..by_token("POST", token) };
    assert_eq!(ask(&mut client, &there(&tokens[1])).rnum, 403);
    assert_eq!(ask(&mut client, &there(&tokens[0])).rnum, 201);
}

/// What is refused: a name, and how to sign it.
fn attacks() -> Vec<(&'static str, Value)> {
    let now = now();
    let es = |add: Value| json!({ "alg": "ES256", "key": "es", "add": add });
    let raw = |header: Value| json!({ "alg": "ES256", "key": "es", "raw": true, "header": header });
    let rs_as_secret = |file: &str| {
        let header = json!({ "alg": "HS256", "typ": "JWT" });
        json!({ "alg": "HS256", "secret_file": file, "header": header })
    };
    let mut attacks = vec![
        ("alg none by the library", json!({ "alg": "none" })),
        ("the RSA key as secret", rs_as_secret("rs.pem")),
        ("the file of keys as secret", rs_as_secret("keys.pem")),
        ("the key of another issuer", json!({ "alg": "ES256", "key": "es2" })),
        ("an algorithm that is not wanted", json!({ "alg": "RS512", "key": "rs" })),
        ("PSS", json!({ "alg": "PS256", "key": "rs" })),
        ("HS384", json!({ "alg": "HS384", "key": "secret" })),
        ("a wrong audience", es(json!({ "aud": "others" }))),
        ("no audience", es(json!({ "aud": null }))),
        ("a wrong issuer", es(json!({ "iss": "others" }))),
        ("no issuer", es(json!({ "iss": null }))),
        ("expired", es(json!({ "exp": now - 3600 }))),
        ("not valid yet", es(json!({ "nbf": now + 3600 }))),
        ("no exp", es(json!({ "exp": null }))),
        (
            "an exp that is a text",
            json!({ "alg": "ES256", "key": "es", "raw": true,
            "header": { "alg": "ES256" }, "add": { "exp": "4102444800" } }),
        ),
        ("no user", es(json!({ "sub": null }))),
        ("an empty user", es(json!({ "sub": "" }))),
        (
            "a user that is a number",
            json!({ "alg": "ES256", "key": "es", "raw": true,
            "header": { "alg": "ES256" }, "add": { "sub": 7 } }),
        ),
        ("roles that are a number", es(json!({ "roles": 7 }))),
        ("a role that is a number", es(json!({ "roles": ["admin", 7] }))),
        ("a key name that is no text", raw(json!({ "alg": "ES256", "kid": 7 }))),
        ("a long key name", raw(json!({ "alg": "ES256", "kid": "k".repeat(1000) }))),
        ("critical headers", raw(json!({ "alg": "ES256", "crit": ["exp"] }))),
        ("another algorithm named", raw(json!({ "alg": "EdDSA" }))),
        ("HS256 named", raw(json!({ "alg": "HS256" }))),
    ];
    for name in ["none", "None", "NONE", "nOnE", ""] {
        attacks.push(("a signature and alg none", raw(json!({ "alg": name }))));
    }
    attacks
}

#[test]
fn the_known_attacks_are_refused() {
    let issuer = Issuer::new();
    let server = start(&issuer, &["RS256", "ES256", "EdDSA", "HS256"]);
    let attacks = attacks();
    let mut signed: Vec<Value> = attacks.iter().map(|(_, signed)| signed.clone()).collect();
    signed.push(json!({ "alg": "ES256", "key": "es", "add": { "roles": ["admin"] } }));
    signed.push(json!({ "alg": "ES256", "key": "es" }));
    let tokens = issuer.sign(&signed);
    let [bad @ .., admin, good] = &tokens[..] else { panic!() };
    check_good(&server, good);
    let check = |name: &str, token: &str| {
        for field in ["JWT", "TOKEN"] {
            assert_eq!(get(&server, &[(field, token)]), 401, "{name} as {field}: {token}");
        }
        let line = format!("Authorization: Bearer {token}");
        assert_eq!(get_with_header(&server, &line), [401; 2], "{name} in the header: {token}");
    };
    for ((name, _), token) in attacks.iter().zip(bad) {
        check(name, token);
    }
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let other = admin.split('.').nth(1).unwrap();
    for (name, token) in [
        ("no signature", format!("{header}.{claims}.")),
        ("two parts", format!("{header}.{claims}")),
        ("truncated", good[..good.len() - 2].to_owned()),
        ("trailing parts", format!("{good}.{signature}")),
        ("other claims", format!("{header}.{other}.{signature}")),
        ("not base64", format!("{header}.{claims}.###")),
        ("a signature of zeros", format!("{header}.{claims}.{}", "A".repeat(86))),
    ] {
        check(name, &token);
    }
    assert_eq!(get(&server, &[("JWT", good)]), 200);
    let lines = server.output();
    assert!(tokens.iter().all(|token| !lines.contains(&**token)), "a token is in the log");
}

#[test]
fn a_public_key_is_no_secret_where_none_is_wanted() {
    let issuer = Issuer::new();
    let server = start(&issuer, &["RS256"]);
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let attack = json!({ "alg": "HS256", "secret_file": "rs.pem", "header": header });
    let tokens = issuer.sign(&[attack, json!({ "alg": "RS256", "key": "rs" })]);
    check_good(&server, &tokens[1]);
    assert_eq!(get(&server, &[("JWT", &tokens[0])]), 401);
}

#[test]
fn large_tokens_are_refused_before_they_are_read() {
    let issuer = Issuer::new();
    let server = start(&issuer, &["ES256"]);
    let of =
        |bytes: usize| json!({ "alg": "ES256", "key": "es", "add": { "fill": "x".repeat(bytes) }});
    let tokens = issuer.sign(&[of(5_000), of(10_000), of(20_000)]);
    check_good(&server, &tokens[0]);
    assert_eq!(get(&server, &[("JWT", &tokens[1])]), 400, "over limits.auth_bytes_max");
    for (token, expected) in tokens.iter().zip([200, 200, 401]) {
        let line = format!("Authorization: Bearer {token}");
        assert_eq!(get_with_header(&server, &line), [expected; 2], "{} bytes", token.len());
    }
}

#[test]
fn headers_of_a_token_lead_to_no_server() {
    let issuer = Issuer::new();
    let server = start(&issuer, &["ES256"]);
    let elsewhere = KeyServer::start(&issuer, &["es2"]);
    let url = elsewhere.url();
    let jwk = issuer.jwk("es2");
    let header = json!({ "alg": "ES256", "kid": "es2", "jku": url, "x5u": url, "jwk": jwk });
    let attack = json!({ "alg": "ES256", "key": "es2", "raw": true, "header": header });
    let tokens = issuer.sign(&[attack, json!({ "alg": "ES256", "key": "es" })]);
    check_good(&server, &tokens[1]);
    assert_eq!(get(&server, &[("JWT", &tokens[0])]), 401);
    assert_eq!(elsewhere.asked(), 0);
}

/// Opens a stream of the own resource.
fn stream(server: &Server, token: &str) -> Client {
    let mut client = server.client();
    let answer = ask(&mut client, &by_token("STREAM", token).reid(int(5)));
    assert_eq!(answer.rnum, 200, "{answer:?}");
    client
}

/// A PUT by this token on another connection arrives at a stream.
#[track_caller]
fn check_flows(server: &Server, stream: &mut Client, token: &str, number: i64) {
    let put = ask(&mut server.client(), &by_token("PUT", token).payl(int(number)));
    assert_eq!(put.rnum, 200, "{put:?}");
    let update = stream.next_answer();
    assert_eq!((&update.reid, update.number()), (&int(5), number), "{update:?}");
}

/// The next that a stream says is that it has ended.
#[track_caller]
fn check_ends(stream: &mut Client) {
    let last = stream.next_answer();
    assert_eq!((last.rnum, &last.reid), (403, &int(5)), "{last:?}");
}

fn named(key: &str) -> Value {
    json!({ "alg": "ES256", "key": key, "header": { "kid": key } })
}

#[test]
fn keys_are_replaced_while_streams_are_open() {
    let issuer = Issuer::new();
    let keys = KeyServer::start(&issuer, &["es", "rs"]);
    let server = start_with_url(&keys);
    let tokens = issuer.sign(&[named("es"), named("es2")]);
    let (old, new) = (&tokens[0], &tokens[1]);
    check_good(&server, old);
    let (mut stays, mut ends) = (stream(&server, old), stream(&server, old));
    check_flows(&server, &mut stays, old, 8);
    assert_eq!(ends.next_answer().number(), 8);
    keys.publish(&issuer, &["es2"]);
    // The first request with a new key has them fetched. Who has it keeps its streams.
    assert_eq!(ask(&mut stays, &by_token("GET", new).reid(int(6))).number(), 8);
    check_ends(&mut ends);
    assert_eq!(get(&server, &[("JWT", old)]), 401);
    check_flows(&server, &mut stays, new, 9);
    assert_eq!(keys.asked(), 2);
}

#[test]
fn invented_names_of_keys_do_not_have_them_fetched_again_and_again() {
    let issuer = Issuer::new();
    let keys = KeyServer::start(&issuer, &["es"]);
    let server = start_with_url(&keys);
    let invented = |number: usize| {
        let header = json!({ "alg": "ES256", "kid": format!("../{number}") });
        json!({ "alg": "ES256", "key": "es2", "raw": true, "header": header })
    };
    let mut signed: Vec<Value> = (0..50).map(invented).collect();
    signed.push(named("es"));
    let tokens = issuer.sign(&signed);
    let (good, bad) = tokens.split_last().unwrap();
    check_good(&server, good);
    assert_eq!(get(&server, &[("JWT", &bad[0])]), 401);
    assert_eq!(keys.asked(), 2);
    let mut waiting: Vec<Client> = Vec::new();
    for token in bad {
        let mut client = server.client();
        client.send_request(&by_token("GET", token));
        waiting.push(client);
    }
    // The name that was sought is known to be missing, and who has a key does not wait.
    assert_eq!(waiting[0].next_answer().rnum, 401);
    assert_eq!(get(&server, &[("JWT", good)]), 200);
    assert_eq!(keys.asked(), 2);
}

#[test]
fn a_server_of_keys_that_is_down_is_waited_for() {
    let issuer = Issuer::new();
    let keys = KeyServer::start(&issuer, &["es"]);
    keys.fail(true);
    let server = start_with_url(&keys);
    server.wait_for_line("auth_jwt.keys: http://127.0.0.1:");
    let tokens = issuer.sign(&[named("es"), named("es2")]);
    assert_eq!(get(&server, &[("JWT", &tokens[0])]), 503);
    assert_eq!(get(&server, &[("TOKEN", "no token of this kind")]), 401);
    keys.fail(false);
    server.wait_for_line("can be read again");
    check_good(&server, &tokens[0]);
    // Down once more: what is known stays good, and what is not cannot be found out.
    keys.fail(true);
    let mut open = stream(&server, &tokens[0]);
    assert_eq!(get(&server, &[("JWT", &tokens[1])]), 503);
    check_flows(&server, &mut open, &tokens[0], 8);
}

#[test]
fn a_set_of_keys_may_be_strange() {
    let issuer = Issuer::new();
    let keys = KeyServer::start(&issuer, &["es"]);
    let token = &issuer.sign(&[named("es")])[0];
    let set = issuer.set(&["es"]);
    for strange in
        ["", "[]", "{\"keys\":7}", &format!("{{\"keys\":[],\"a\":\"{}\"}}", "x".repeat(400_000))]
    {
        keys.answer(strange);
        let server = start_with_url(&keys);
        server.wait_for_line("cannot be read");
        assert_eq!(get(&server, &[("JWT", token)]), 503);
        keys.answer(&set);
        server.wait_for_line("can be read again");
        check_good(&server, token);
    }
}

#[test]
fn a_stream_ends_with_its_token_unless_there_is_a_newer_one() {
    let issuer = Issuer::new();
    let keys = KeyServer::start(&issuer, &["es"]);
    let server = start_with_url(&keys);
    let until = |seconds: u64| {
        let mut signed = named("es");
        signed["add"] = json!({ "exp": now() + seconds });
        signed
    };
    let warm = issuer.sign(&[until(600)]);
    check_good(&server, &warm[0]);
    let expires = now() + 4;
    let tokens = issuer.sign(&[until(4), until(600)]);
    let (short, long) = (&tokens[0], &tokens[1]);
    let (mut stays, mut ends) = (stream(&server, short), stream(&server, short));
    assert_eq!(ask(&mut stays, &by_token("GET", long).reid(int(6))).rnum, 200);
    check_ends(&mut ends);
    let ended = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let late = ended.saturating_sub(Duration::from_secs(expires));
    assert!(ended.as_secs() >= expires && late < Duration::from_millis(2500), "{late:?} late");
    assert_eq!(ask(&mut ends, &by_token("GET", short).reid(int(6))).rnum, 401);
    check_flows(&server, &mut stays, long, 8);
}

#[test]
fn sets_of_keys_may_be_in_a_file() {
    let issuer = Issuer::new();
    let path = issuer.file("set.json");
    fs::write(&path, issuer.set(&["rs", "ed"])).unwrap();
    let server = Server::start_with(&format!("{MODE}auth_jwt.keys = {path:?}\n"));
    let signed = |algorithm: &str, key: &str| {
        json!({ "alg": algorithm, "key": key,
        "header": { "kid": key } })
    };
    let tokens = issuer.sign(&[signed("RS256", "rs"), signed("EdDSA", "ed")]);
    check_good(&server, &tokens[0]);
    assert_eq!(get(&server, &[("JWT", &tokens[1])]), 200);
    // Another one is there by the next request that needs it.
    fs::write(&path, issuer.set(&["es2"])).unwrap();
    let token = &issuer.sign(&[named("es2")])[0];
    assert_eq!(get(&server, &[("JWT", token)]), 200);
    assert_eq!(get(&server, &[("JWT", &tokens[0])]), 401);
}

#[test]
fn files_of_keys_are_read_again_by_a_reload() {
    let issuer = Issuer::new();
    let server = start(&issuer, &["ES256"]);
    let by = |key: &str| json!({ "alg": "ES256", "key": key });
    let tokens = issuer.sign(&[by("es"), by("es2")]);
    check_good(&server, &tokens[0]);
    let mut open = stream(&server, &tokens[0]);
    fs::copy(issuer.file("es2.pem"), issuer.file("keys.pem")).unwrap();
    server.signal(Signal::HUP);
    check_ends(&mut open);
    assert_eq!(get(&server, &[("JWT", &tokens[0])]), 401);
    check_good(&server, &tokens[1]);
    // A file that is no good changes nothing.
    fs::write(issuer.file("keys.pem"), "no key").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_line("auth_jwt.key_file: ");
    check_good(&server, &tokens[1]);
}

/// With these settings the server does not start, and says so in one sentence with this part.
#[track_caller]
fn check_refusal(settings: &str, part: &str) {
    let server =
        Server::prepare(&format!("auth.mode = \"users\"\nauth.providers = [\"jwt\"]\n{settings}"));
    let (status, output) = server.run_to_end();
    assert!(!status.success() && output.contains(part), "no {part:?} in:\n{output}");
    assert!(!output.contains("hush"), "a secret is shown:\n{output}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    check_refusal("", "jwt takes a key");
    let secret = "auth_jwt.secret = \"hush hush hush hush hush hush hush hush\"\n";
    let shared = "auth_jwt.algorithms = [\"HS256\"]\n";
    check_refusal(secret, "auth_jwt.secret is for HS256");
    check_refusal(&format!("auth_jwt.keys = \"https://a.example/\"\n{shared}"), "takes a secret");
    let short = format!("auth_jwt.secret = \"hush hush hush hush hush hush h\"\n{shared}");
    check_refusal(&short, "expected 32 bytes or more");
    let both = format!("{secret}{shared}auth_jwt.key_file = \"keys.pem\"\n");
    check_refusal(&both, "expected RS256, ES256 or EdDSA");
    check_refusal("auth_jwt.key_file = \"none.pem\"\n", "auth_jwt.key_file: cannot read");
    check_refusal("auth_jwt.keys = \"none.json\"\n", "auth_jwt.keys: none.json cannot be used");
    check_refusal("auth_jwt.keys = \"ftp://a.example/\"\n", "auth_jwt.keys: the URL begins");
    check_refusal("auth_jwt.keys = \"https://hush:hush@a.example/\"\n", "has a user in it");
}
