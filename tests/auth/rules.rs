//! Rules: what a user may do over the wire.

use super::support::{Server, array, int, nil};
use super::{client, make, server};

const RULES: &str = r#"
auth.preset = "none"
auth.list_all = false
auth.rules = [
    { allow = ["READ", "LIST"], paths = ["public/**", "user/*/model"] },
    { roles = ["student"], allow = ["WRITE", "CREATE", "DELETE"], paths = ["user/{user}/**"] },
    { roles = ["student"], allow = ["READ", "LIST", "LINK"], paths = ["user/{user}/**"] },
    { roles = ["student"], deny = ["DELETE"], paths = ["user/*/keep"] },
    { users = ["guest"], deny = ["READ"], paths = ["public/secret"] },
]
"#;

fn rules() -> Server {
    let server = server(RULES);
    make(
        &server,
        &[
            &["public", "news"],
            &["public", "secret"],
            &["user", "ann", "model"],
            &["user", "ann", "deep", "keep"],
            &["user", "ann", "keep"],
            &["user", "bob", "model"],
            &["user", "bob", "input"],
            &["hidden", "x"],
        ],
    );
    server
}

#[test]
fn each_user_may_do_what_the_rules_say_and_nothing_else() {
    let server = rules();
    let rows: &[(&str, &str, &[&str], i64)] = &[
        ("ann", "GET", &["public", "news"], 200),
        ("ann", "GET", &["public", "secret"], 200),
        ("guest", "GET", &["public", "news"], 200),
        ("guest", "GET", &["public", "secret"], 403),
        ("guest", "STREAM", &["public", "secret"], 403),
        ("ann", "PUT", &["public", "news"], 403),
        ("ann", "PUT", &["user", "ann", "model"], 200),
        ("ann", "PUT", &["user", "bob", "model"], 403),
        ("ann", "GET", &["user", "bob", "model"], 200),
        ("ann", "GET", &["user", "bob", "input"], 403),
        ("guest", "PUT", &["user", "guest", "model"], 403),
        ("ann", "POST", &["user", "ann", "new"], 201),
        ("ann", "POST", &["user", "bob", "new"], 403),
        ("ann", "CREATE", &["user", "ann", "made"], 201),
        ("ann", "MKDIR", &["user", "ann", "folder"], 201),
        ("ann", "DELETE", &["user", "ann", "made"], 200),
        ("ann", "DELETE", &["user", "bob", "model"], 403),
        // It would go along.
        ("ann", "DELETE", &["user", "ann"], 403),
        ("ann", "DELETE", &["user", "ann", "keep"], 403),
        // The rule says `user/*/keep` and means that level only.
        ("ann", "DELETE", &["user", "ann", "deep"], 200),
        ("ann", "LIST", &[], 403),
        ("ann", "LIST", &["hidden"], 403),
        ("ann", "UNHEARD", &["public", "news"], 403),
        ("root", "UNHEARD", &["public", "news"], 405),
        // A stranger is told the same of what is there and what is not.
        ("guest", "GET", &["hidden", "x"], 403),
        ("guest", "GET", &["hidden", "nothing"], 403),
        ("root", "GET", &["hidden", "nothing"], 404),
        ("root", "DELETE", &["user", "ann", "keep"], 200),
    ];
    for (user, verb, path, rnum) in rows {
        client(&server, user).expect(verb, path, int(1), *rnum);
    }
}

#[test]
fn credentials_are_good_or_answered_401_whatever_is_asked() {
    let server = rules();
    for (user, token) in
        [("ann", "wrong"), ("ann", ""), ("", "wrong"), ("nobody", "ann-token"), ("", "")]
    {
        let mut stranger = server.client_as(user, token);
        for path in [&["public", "news"][..], &["nothing"], &[]] {
            let answer = stranger.expect("GET", path, nil(), 401);
            assert_eq!(answer.warnings, [] as [&str; 0]);
        }
        stranger.expect("UNHEARD", &["public", "news"], nil(), 401);
    }
    // A token that is good is not good without its user.
    server.client_as("", "ann-token").expect("PUT", &["user", "ann", "model"], int(1), 401);
}

#[test]
fn a_link_takes_writing_at_its_destination_and_reading_at_its_source() {
    let server = rules();
    let mut ann = client(&server, "ann");
    let own = ["user", "ann", "model"];
    ann.expect("LINK", &own, array(&["user", "bob", "model"]), 200);
    ann.expect("UNLINK", &own, array(&["user", "bob", "model"]), 200);
    ann.expect("LINK", &own, array(&["user", "bob", "input"]), 403);
    ann.expect("LINK", &own, array(&["hidden", "nothing"]), 403);
    ann.expect("LINK", &["user", "bob", "model"], array(&own), 403);
    ann.expect("LINK", &["public", "news"], array(&own), 403);
    ann.expect("LINK", &own, nil(), 400);
}

/// What a listing has, as text.
fn listing(server: &Server, user: &str, path: &[&str]) -> String {
    client(server, user).expect("LIST", path, nil(), 200).value().to_string()
}

#[test]
fn a_listing_shows_what_the_user_may_see() {
    let server = rules();
    assert_eq!(listing(&server, "guest", &["public"]), r#"{"news": nil, "secret": nil}"#);
    assert_eq!(
        listing(&server, "ann", &["user", "ann"]),
        r#"{"deep": {"keep": nil}, "keep": nil, "model": nil}"#
    );
    let all = listing(&server, "root", &[]);
    for name in ["hidden", "input", "deep"] {
        assert!(all.contains(name), "{all}");
    }
    // Who may list the root sees the way to what it may see, and nothing beside it.
    let more = RULES.replace(
        "auth.rules = [",
        "auth.rules = [\n    { users = [\"guest\"], allow = [\"LIST\"], paths = [\"$fanal\"] },",
    );
    let mut server = server;
    server.configure(&format!("{}{more}", super::USERS));
    server.restart();
    client(&server, "guest").expect("LIST", &[], nil(), 403);
    let root = more.replace("[\"$fanal\"]", "[\"user\", \"public\"]");
    server.configure(&format!("{}{root}", super::USERS));
    server.restart();
    assert_eq!(
        listing(&server, "guest", &["user"]),
        r#"{"ann": {"model": nil}, "bob": {"model": nil}}"#
    );
}

#[test]
fn a_listing_shows_every_name_if_that_is_wanted_but_what_belongs_to_the_broker() {
    let server = server("auth.preset = \"lighthouse\"\n");
    make(&server, &[&["user", "ann", "secret"], &["$fanal", "auth", "users", "zoe"]]);
    assert_eq!(listing(&server, "guest", &[]), r#"{"user": {"ann": {"secret": nil}}}"#);
    assert!(listing(&server, "root", &[]).contains("zoe"));
    let mut guest = client(&server, "guest");
    for verb in ["GET", "PUT", "LIST", "STREAM", "CREATE", "DELETE"] {
        guest.expect(verb, &["$fanal", "auth", "users", "zoe"], nil(), 403);
    }
    let open = Server::start();
    let mut anybody = open.client();
    anybody.expect("CREATE", &["$fanal", "auth", "users", "eve"], nil(), 403);
    anybody.expect("CREATE", &["a"], nil(), 201);
}

#[test]
fn who_gives_no_credentials_gets_what_is_given_to_its_role() {
    let server = server(
        "auth.anonymous_roles = [\"public\"]\nauth.preset = \"none\"\n\
         auth.rules = [{ roles = [\"public\"], allow = [\"READ\"], paths = [\"live\"] }, \
         { allow = [\"READ\"], paths = [\"inside\"] }]\n",
    );
    make(&server, &[&["live"], &["inside"]]);
    let mut nobody = server.client_as("", "");
    nobody.expect("GET", &["live"], nil(), 200);
    nobody.expect("PUT", &["live"], int(1), 403);
    nobody.expect("GET", &["inside"], nil(), 403);
    // Wrong credentials are not the same as none.
    server.client_as("", "wrong").expect("GET", &["live"], nil(), 401);
    client(&server, "ann").expect("GET", &["inside"], nil(), 200);
    client(&server, "ann").expect("GET", &["live"], nil(), 403);
}

#[test]
fn one_connection_may_carry_several_users() {
    use super::support::Request;
    let server = rules();
    let mut connection = client(&server, "ann");
    for round in 0..20 {
        for (user, path, rnum) in [
            ("ann", ["user", "ann", "model"], 200),
            ("bob", ["user", "ann", "model"], 403),
            ("bob", ["user", "bob", "model"], 200),
            ("ann", ["user", "bob", "model"], 403),
        ] {
            let request = Request::new("PUT", &path).user(user, &format!("{user}-token"));
            connection.send_request(&request.reid(int(round)).payl(int(round)));
            assert_eq!(connection.next_answer().rnum, rnum, "{user} {path:?}");
        }
    }
}
