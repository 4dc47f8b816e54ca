//! What is written in blocks: users, rules, limits, and what is declared.

use super::*;

// ---- users

#[test]
fn users_are_read_and_their_tokens_hidden() {
    let file = "[auth]\nmode = \"users\"\n\n[[auth.users]]\nname = \"ann\"\ntoken = \"s3cret\"\n\
                admin = true\n\n[[auth.users]]\nname = \"bob\"\ntoken = \"s3cret2\"";
    check_file(
        file,
        &[
            "auth.mode = \"users\" # fanal.toml:2",
            "auth.users.name = \"ann\" # fanal.toml:4",
            "auth.users.token = \"***\" # fanal.toml:4",
            "auth.users.admin = true # fanal.toml:4",
            "auth.users.name = \"bob\" # fanal.toml:9",
            "auth.users.token = \"***\" # fanal.toml:9",
            "auth.users.admin = false # fanal.toml:9",
        ],
    );
    let config = good(file);
    assert_eq!(config.auth.users[0].token, "s3cret");
    assert!(config.auth.users[0].admin && !config.auth.users[1].admin);
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn everything_wrong_with_users_is_said_without_a_token() {
    check_file(
        "[[auth.users]]\nname = \"ann\"\ntoken = \"\"\ntokn = \"s3cret\"\n[[auth.users]]\n\
         name = \"ann\"\ntoken = 5\n[[auth.users]]\nadmin = \"yes\"\n[[auth.users]]\nname = \"\"\n\
         token = \"s3cret\"\nfriends = []",
        &[
            "fanal.toml:3: auth.users.token = \"\": expected a text in quotes that is not empty",
            "fanal.toml:4: auth.users.tokn: unknown key, did you mean token?",
            "fanal.toml:6: auth.users.name = \"ann\": already given on line 2, expected each name \
             only once",
            "fanal.toml:7: auth.users.token = ***: expected a text in quotes that is not empty",
            "fanal.toml:8: auth.users: this user has no name, which each needs",
            "fanal.toml:8: auth.users: this user has no token, which each needs",
            "fanal.toml:9: auth.users.admin = \"yes\": expected true or false",
            "fanal.toml:11: auth.users.name = \"\": expected a name in quotes that is not empty",
            "fanal.toml:13: auth.users.friends: unknown key, known are name, token, \
             token_sha256, password_argon2, roles, expires, admin",
        ],
    );
    let expected = "expected one block that starts with [[auth.users]] for each user";
    check_file("[auth]\nusers = \"s3cret\"", &[&format!("fanal.toml:2: auth.users: {expected}")]);
    check_file("[auth.users]\nname = \"ann\"", &[&format!("fanal.toml:1: auth.users: {expected}")]);
    check_file("[auth]\nusers = [\"s3cret\"]", &[&format!("fanal.toml:2: auth.users: {expected}")]);
    check_file(
        "[[auth.users]]\nname = \"ann\"\ntoken = s3cret",
        &["fanal.toml:3: not valid TOML: string values must be quoted, expected literal string"],
    );
}

// ---- rules and limits

#[test]
fn rules_and_limits_are_blocks_whose_every_fault_has_its_place() {
    let rights = "expected a list of verbs or READ, WRITE, CREATE, DELETE, LIST, LINK, ADMIN";
    let paths =
        "expected a list of one or more resource paths such as \"user/{user}/*\" or \"live/**\"";
    for (fields, fault) in [
        (
            "allow = [\"READ\"]",
            "1: auth.rules: this rule has no paths, which each needs".to_owned(),
        ),
        (
            "paths = [\"a\"]",
            "1: auth.rules: this rule gives and takes nothing, expected allow or deny".to_owned(),
        ),
        (
            "allow = [\"READ\"]\ndeny = [\"PUT\"]\npaths = [\"a\"]",
            "1: auth.rules: expected allow or deny, not both".to_owned(),
        ),
        ("allow = [\"read\"]", format!("2: auth.rules.allow = [\"read\"]: {rights}")),
        ("deny = []", format!("2: auth.rules.deny = []: {rights}")),
        ("deny = \"READ\"", format!("2: auth.rules.deny = \"READ\": {rights}")),
        ("paths = [\"/a\"]", format!("2: auth.rules.paths = [\"/a\"]: {paths}")),
        ("paths = [\"a*\"]", format!("2: auth.rules.paths = [\"a*\"]: {paths}")),
        ("paths = [\"x{user}\"]", format!("2: auth.rules.paths = [\"x{{user}}\"]: {paths}")),
        (
            "roles = [\"\"]",
            "2: auth.rules.roles = [\"\"]: expected a list of one or more roles".into(),
        ),
        ("users = 1", "2: auth.rules.users = 1: expected a list of one or more users".into()),
        (
            "name = \"\"",
            "2: auth.rules.name = \"\": expected a name in quotes that is not empty".into(),
        ),
        ("pats = [\"a\"]", "2: auth.rules.pats: unknown key, did you mean paths?".into()),
    ] {
        check_file(&format!("[[auth.rules]]\n{fields}"), &[&format!("fanal.toml:{fault}")]);
    }
    let number = "expected a number from 0 to 4294967295";
    for (fields, fault) in [
        ("", "1: auth.limits: this block bounds nothing, expected at least one number".to_owned()),
        ("streams = -1", format!("2: auth.limits.streams = -1: {number}")),
        ("streams = 4294967296", format!("2: auth.limits.streams = 4294967296: {number}")),
        (
            "requests_per_second = 0",
            "2: auth.limits.requests_per_second = 0: expected a number from 1 to 4294967295".into(),
        ),
        ("stream = 1", "2: auth.limits.stream: unknown key, did you mean streams?".into()),
    ] {
        check_file(&format!("[[auth.limits]]\n{fields}"), &[&format!("fanal.toml:{fault}")]);
    }
}

#[test]
fn what_users_have_to_do_with_each_other_is_judged() {
    check_file(
        "[auth]\ncookie = \"session\"",
        &["fanal.toml:2: auth.cookie = \"session\": any page in a browser could act as who is \
           logged in there: expected server.allowed_origins as well, the pages that may"],
    );
    check_file(
        "[server]\nproxy_protocol = true",
        &["fanal.toml:2: server.proxy_protocol = true: only listed proxies may say whose a \
           connection is: expected server.trusted_proxies with the addresses of yours, such as \
           [\"10.0.0.1\"]"],
    );
    good("[server]\nproxy_protocol = true\ntrusted_proxies = [\"10.0.0.1\"]");
    good("[auth]\ncookie = \"c\"\n[server]\nallowed_origins = [\"http://a.example\"]");
    for path in ["live", "user/*", "user/{user}/**"] {
        let rest = "expected paths in which one name is {user} and none is a wildcard";
        check_file(
            &format!("[auth]\nuser_paths = [\"{path}\"]"),
            &[&format!("fanal.toml:2: auth.user_paths = [\"{path}\"]: {rest}")],
        );
    }
    good("[auth]\nmode = \"users\"\nusers_file = \"users.toml\"");
    good("[auth]\nmode = \"users\"\nanonymous_roles = [\"public\"]");
}

#[test]
fn secrets_are_never_shown() {
    let file = "[auth_jwt]\nsecret = \"topsecret\"\n[auth_sql]\n\
                url = \"postgresql://u:topsecret@h/d\"\n\
                [auth_http]\ntoken = \"topsecret\"\n";
    let loaded = resolve(file, &[("FANAL_AUTH_SQL_PASSWORD", "topsecret")], &[]).unwrap();
    let printed = config::print(&loaded, false);
    assert!(printed.contains("secret = \"***\"") && !printed.contains("topsecret"), "{printed}");
    assert!(!format!("{:?}", loaded.config).contains("topsecret"));
    let faults = resolve("[auth_jwt]\nsecret = [\"topsecret\"]", &[], &[]).unwrap_err();
    assert!(!faults.to_string().contains("topsecret"), "{faults}");
}

// ---- preload

#[test]
fn what_is_declared_is_read_and_shown() {
    check_file(
        "[[preload.resources]]\npath = \"a/b\"\nvalue = { x = [1, 2.5, \"t\"] }\n\
         source = \"live\"\n[[preload.resources]]\npath = \"d\"\ndirectory = true\n\
         [[preload.resources]]\npath = \"z\"\nzero_bytes = 0x10",
        &[
            "preload.resources.path = \"a/b\" # fanal.toml:1",
            "preload.resources.value = { x = [1, 2.5, \"t\"] } # fanal.toml:1",
            "preload.resources.source = \"live\" # fanal.toml:1",
            "preload.resources.path = \"d\" # fanal.toml:5",
            "preload.resources.directory = true # fanal.toml:5",
            "preload.resources.path = \"z\" # fanal.toml:8",
            "preload.resources.zero_bytes = 16 # fanal.toml:8",
        ],
    );
}

#[test]
fn everything_wrong_with_what_is_declared_is_said() {
    let path = "expected names separated by single slashes, such as \"live\" or \
                \"user/{user}/model\"";
    for (block, expected) in [
        ("", "1: preload.resources: this block has no path, which each needs".to_owned()),
        ("path = \"\"", format!("2: preload.resources.path = \"\": {path}")),
        ("path = \"/a\"", format!("2: preload.resources.path = \"/a\": {path}")),
        ("path = \"a//b\"", format!("2: preload.resources.path = \"a//b\": {path}")),
        ("path = \"{usr}\"", format!("2: preload.resources.path = \"{{usr}}\": {path}")),
        ("path = 5", format!("2: preload.resources.path = 5: {path}")),
        ("path = \"a\"\nsource = \"b/\"", format!("3: preload.resources.source = \"b/\": {path}")),
        (
            "path = \"a\"\nsorce = \"b\"",
            "3: preload.resources.sorce: unknown key, did you mean source?".to_owned(),
        ),
        (
            "path = \"a\"\ndirectory = 1",
            "3: preload.resources.directory = 1: expected true or false".to_owned(),
        ),
        (
            "path = \"a\"\nzero_bytes = 0",
            "3: preload.resources.zero_bytes = 0: expected a number of bytes from 1 to 16777216"
                .to_owned(),
        ),
        (
            "path = \"a\"\nclass = \"x\"",
            "3: preload.resources.class = \"x\": expected one of \"state\", \"live\", \"event\""
                .to_owned(),
        ),
        (
            "path = \"a\"\nvalue = 1\nzero_bytes = 1",
            "1: preload.resources: expected value or zero_bytes, not both".to_owned(),
        ),
        (
            "path = \"a\"\ndirectory = true\nvalue = 1",
            "1: preload.resources: a directory has no class or value and follows nothing, expected \
             directory = true with nothing but path"
                .to_owned(),
        ),
    ] {
        check_file(
            &format!("[[preload.resources]]\n{block}"),
            &[&format!("fanal.toml:{expected}")],
        );
    }
    let blocks = "expected one block that starts with [[preload.resources]] for each resource";
    for file in ["[preload]\nresources = 1", "[preload]\nresources = [1]"] {
        check_file(file, &[&format!("fanal.toml:2: preload.resources: {blocks}")]);
    }
    check_set(
        "preload.resources=[]",
        "--set: preload.resources: can only be set in the file, as one block that starts with \
         [[preload.resources]] for each resource",
    );
}

#[test]
fn a_place_for_each_user_takes_users() {
    let declared = "[[preload.resources]]\npath = \"user/{user}\"\n";
    let line = |rest: &str| {
        format!("fanal.toml:1: preload.resources = [{{ path = \"user/{{user}}\" }}]: {rest}")
    };
    let none = "there are no users to take the place of {user}: expected at least one block \
                [[auth.users]], or a path without {user}";
    check_file(declared, &[&line(none)]);
    let user = |name: &str| format!("[[auth.users]]\nname = \"{name}\"\ntoken = \"t\"\n");
    assert!(resolve(&(declared.to_owned() + &user("ann")), &[], &[]).is_ok());
    let slash = "a user whose name has a slash cannot take the place of {user}: expected names \
                 without";
    check_file(&(declared.to_owned() + &user("a/b")), &[&line(slash)]);
}
