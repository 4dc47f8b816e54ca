//! Settings from all their places: what is accepted, what is refused, and in which words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser};
use fanal::cli::{Cli, Command, ServerArgs};
use fanal::config::{self, Config, Loaded, Origin, Problems, Source};

#[path = "config/blocks.rs"]
mod blocks;
#[path = "config/kinds.rs"]
mod kinds;
#[path = "config/relations.rs"]
mod relations;

type Variables<'a> = &'a [(&'a str, &'a str)];

/// Lays a file, variables and flags over each other and compares what comes out: either one line
/// per problem, or one line per value that is not a default, with its origin.
#[track_caller]
fn check(file: &str, env: Variables, flags: &[&str], expected: &[&str]) {
    let outcome = match resolve(file, env, flags) {
        Ok(loaded) => given_lines(&loaded),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    };
    assert_eq!(outcome, expected, "\ngot:\n{}\n", outcome.join("\n"));
}

#[track_caller]
fn check_file(file: &str, expected: &[&str]) {
    check(file, &[], &[], expected);
}

#[track_caller]
fn check_env(name: &str, value: &str, expected: &str) {
    check("", &[(name, value)], &[], &[expected]);
}

#[track_caller]
fn check_set(setting: &str, expected: &str) {
    check("", &[], &["--set", setting], &[expected]);
}

/// Every value of a kind is tried through `--set`; `expected` follows the shown value.
#[track_caller]
fn check_refused(key: &str, values: &[&str], expected: &str) {
    for value in values {
        let lines = match resolve("", &[], &["--set", &format!("{key}={value}")]) {
            Ok(_) => panic!("{key} = {value} was accepted"),
            Err(problems) => problems.to_string(),
        };
        assert!(lines.starts_with(&format!("--set: {key} ")), "{lines}");
        assert!(lines.ends_with(&format!(": expected {expected}")), "{lines}");
        assert_eq!(lines.lines().count(), 1, "{lines}");
    }
}

#[track_caller]
fn check_accepted(key: &str, values: &[&str]) {
    for value in values {
        let result = resolve("", &[], &["--set", &format!("{key}={value}")]);
        assert!(result.is_ok(), "{key} = {value}: {}", result.unwrap_err());
    }
}

fn resolve(file: &str, env: Variables, flags: &[&str]) -> Result<Loaded, Problems> {
    let source = Source { path: PathBuf::from("fanal.toml"), text: file.to_owned() };
    config::resolve(Some(&source), &server_args(flags), variables(env))
}

#[track_caller]
fn good(file: &str) -> Config {
    resolve(file, &[], &[]).expect("good").config
}

fn server_args(flags: &[&str]) -> ServerArgs {
    let words = ["fanal"].iter().chain(flags);
    Cli::try_parse_from(words).map(|cli| cli.server).map_err(|error| error.to_string()).unwrap()
}

fn variables(env: Variables) -> impl Iterator<Item = (String, String)> {
    env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

/// The lines of `print-config` that are no defaults, each with its section in front.
fn given_lines(loaded: &Loaded) -> Vec<String> {
    let mut section = String::new();
    let mut lines = Vec::new();
    for line in config::print(loaded, false).lines() {
        match line.split_once("  #") {
            Some((_, origin)) if origin.trim() == "default" => {}
            Some((setting, origin)) => {
                lines.push(format!("{section}.{} # {}", setting.trim(), origin.trim()));
            }
            None => line.trim_matches(['[', ']']).clone_into(&mut section),
        }
    }
    lines
}

fn committed_example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    fs::read_to_string(path).unwrap()
}

/// The example with the # removed in front of each value; comments have a space behind theirs.
fn uncommented_example() -> String {
    let lines = config::example();
    let lines = lines.lines().map(|line| match line.strip_prefix('#') {
        Some(value) if !value.starts_with(' ') => value,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

// ---- the table of keys agrees with everything that is made from it

#[test]
fn the_committed_example_is_what_the_code_says() {
    // To renew it: WRITE_EXAMPLE=1 cargo test --test config
    if std::env::var_os("WRITE_EXAMPLE").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
        fs::write(path, config::example()).unwrap();
    }
    assert!(config::example() == committed_example(), "config.example.toml is out of date");
}

#[test]
fn the_example_as_it_is_gives_the_defaults() {
    check_file(&config::example(), &[]);
}

#[test]
fn the_example_uncommented_gives_the_defaults_and_names_every_key() {
    let loaded = resolve(&uncommented_example(), &[], &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    let given: Vec<&str> = loaded.origins.given().map(|(key, _)| key).collect();
    let mut expected: Vec<&str> = config::key_names().filter(|key| !BLOCKS.contains(key)).collect();
    expected.sort_unstable();
    assert_eq!(given, expected);
}

/// Keys that are written in blocks.
const BLOCKS: [&str; 4] = ["auth.users", "auth.rules", "auth.limits", "preload.resources"];

#[test]
fn the_blocks_of_the_example_are_good() {
    let text = config::example().replace("#     ", "");
    let config = good(&text);
    let users = config.auth.users.iter().map(|user| user.name.as_str());
    assert_eq!(users.collect::<Vec<_>>(), ["ann", "bob"]);
    let paths = config.preload.resources.iter().map(|declared| declared.path.as_str());
    let expected = ["live", "user/{user}/model", "wall/brightness", "metrics"];
    assert_eq!(paths.collect::<Vec<_>>(), expected);
}

#[test]
fn every_key_can_be_set_to_its_default_from_the_environment_and_by_flag() {
    let defaults = resolve("", &[], &[]).unwrap();
    let mut section = String::new();
    for line in config::print(&defaults, false).lines() {
        let Some((name, value)) = line.split_once(" = ") else {
            line.trim_matches(['[', ']']).clone_into(&mut section);
            continue;
        };
        let (value, _) = value.split_once("  #").unwrap();
        let key = format!("{section}.{name}");
        if BLOCKS.contains(&&*key) {
            continue;
        }
        let variable = format!("FANAL_{}", key.replace('.', "_").to_uppercase());
        let plain = value.trim().trim_matches(['[', ']']).replace('"', "");
        let setting = format!("{key}={}", value.trim());
        let from_env = resolve("", &[(&variable, &plain)], &[]).unwrap();
        let from_flag = resolve("", &[], &["--set", &setting]).unwrap();
        for loaded in [from_env, from_flag] {
            assert_eq!(loaded.config, Config::default(), "{key}");
            assert_ne!(loaded.origins.get(&key), &Origin::Default, "{key}");
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = Config::default();
    assert_eq!(config.server.bind.to_string(), "127.0.0.1");
    assert_eq!(config.server.port, 3000);
    assert_eq!(config.server.routes, ["/", "/websocket"]);
    assert_eq!(config.websocket.pong_timeout, Duration::from_secs(35));
    assert_eq!(config.stream.buffer, 16);
    assert_eq!(config.limits.values_bytes_max, 2_147_483_648);
    assert_eq!(config.store.directory, Path::new("./data"));
    assert_eq!(config.snapshot.interval, Duration::from_secs(1));
}

// ---- layers

#[test]
fn each_layer_wins_over_the_one_below() {
    let file = "[server]\nport = 1";
    let env: Variables = &[("FANAL_SERVER_PORT", "2")];
    check("", &[], &[], &[]);
    check(file, &[], &[], &["server.port = 1 # fanal.toml:2"]);
    check(file, env, &[], &["server.port = 2 # FANAL_SERVER_PORT"]);
    check(file, env, &["--port", "3"], &["server.port = 3 # --port"]);
    check(file, env, &["--port", "3", "--set", "server.port=4"], &["server.port = 4 # --set"]);
    check("", &[], &["--set=server.port=4", "--set=server.port=5"], &["server.port = 5 # --set"]);
}

#[test]
fn layers_that_touch_different_keys_are_all_heard() {
    check(
        "[stream]\nbuffer = 3\n\n[log]\nformat = \"json\"",
        &[("FANAL_SERVER_BACKLOG", "9"), ("PATH", "/bin"), ("OTHER_SERVER_PORT", "x")],
        &["--bind", "::1"],
        &[
            "server.bind = \"::1\" # --bind",
            "server.backlog = 9 # FANAL_SERVER_BACKLOG",
            "stream.buffer = 3 # fanal.toml:2",
            "log.format = \"json\" # fanal.toml:5",
        ],
    );
}

#[test]
fn all_layers_report_their_problems_together() {
    check(
        "[server]\nport = 70000\nprot = 1\n[stream]\nbuffer = 0",
        &[("FANAL_SERVER_WORKERS", "65"), ("FANAL_SERVER_PROT", "1")],
        &["--port", "-1", "--set", "x.y=1", "--set", "link.buffer=0"],
        &[
            "fanal.toml:2: server.port = 70000: expected a number from 0 to 65535",
            "fanal.toml:3: server.prot: unknown key, did you mean server.port?",
            "fanal.toml:5: stream.buffer = 0: expected a number from 1 to 65536",
            "FANAL_SERVER_PROT: unknown environment variable, did you mean FANAL_SERVER_PORT?",
            "FANAL_SERVER_WORKERS: server.workers = 65: expected a number from 1 to 64",
            "--port: server.port = -1: expected a number from 0 to 65535",
            "--set: x.y: unknown key, expected a key of one of [server], [socket], \
             [websocket], [tcp], [unix], [admin], [tls], [session], \
             [stream], [outbox], [mailbox], [resource], [link], [limits], [store], [snapshot], \
             [shutdown], [statistics], [tunables], [log], \
             [preload], [auth], [auth_jwt], [auth_http], [auth_sql], [auth_mtls]",
            "--set: link.buffer = 0: expected a number from 1 to 65536",
        ],
    );
}

#[test]
fn a_faulty_value_is_reported_even_if_a_later_layer_hides_it() {
    check(
        "[server]\nport = \"x\"",
        &[],
        &["--port", "1"],
        &["fanal.toml:2: server.port = \"x\": expected a number from 0 to 65535"],
    );
}

// ---- the environment

#[test]
fn variables_are_read_by_the_kind_of_their_key() {
    check_env("FANAL_SERVER_PORT", "4000", "server.port = 4000 # FANAL_SERVER_PORT");
    check_env("FANAL_AUTH_INSECURE", "true", "auth.insecure = true # FANAL_AUTH_INSECURE");
    check_env(
        "FANAL_SNAPSHOT_INTERVAL",
        "200ms",
        "snapshot.interval = \"200ms\" # FANAL_SNAPSHOT_INTERVAL",
    );
    check_env("FANAL_STORE_DIRECTORY", "123", "store.directory = \"123\" # FANAL_STORE_DIRECTORY");
    check_env(
        "FANAL_SERVER_TRUSTED_PROXIES",
        "10.0.0.0/8, 192.168.0.1",
        "server.trusted_proxies = [\"10.0.0.0/8\", \"192.168.0.1/32\"] \
         # FANAL_SERVER_TRUSTED_PROXIES",
    );
    check_env(
        "FANAL_SERVER_ROUTES",
        "/,/live",
        "server.routes = [\"/\", \"/live\"] # FANAL_SERVER_ROUTES",
    );
    check(
        "[server]\nallowed_origins = [\"https://a.b\"]",
        &[("FANAL_SERVER_ALLOWED_ORIGINS", "")],
        &[],
        &["server.allowed_origins = [] # FANAL_SERVER_ALLOWED_ORIGINS"],
    );
}

#[test]
fn faulty_variables_are_named() {
    check_env(
        "FANAL_SERVER_PORT",
        "http",
        "FANAL_SERVER_PORT: server.port = http: expected a number from 0 to 65535",
    );
    check_env(
        "FANAL_SERVER_PORT",
        "",
        "FANAL_SERVER_PORT: server.port = \"\": expected a number from 0 to 65535",
    );
    check_env(
        "FANAL_AUTH_INSECURE",
        "yes",
        "FANAL_AUTH_INSECURE: auth.insecure = yes: expected true or false",
    );
    check_env(
        "FANAL_SERVER_PORT",
        "1\n2\u{1b}[31m",
        "FANAL_SERVER_PORT: server.port = \"1\\n2\\u001B[31m\": \
         expected a number from 0 to 65535",
    );
}

#[test]
fn unknown_variables_are_refused_without_their_value() {
    for (name, meant) in [
        ("FANAL_PORT", "FANAL_SERVER_PORT"),
        ("FANAL_SERVR_PORT", "FANAL_SERVER_PORT"),
        ("FANAL_SERVER_MAX_CONNECTIONS", "FANAL_SERVER_CONNECTIONS_MAX"),
        ("FANAL_STREAM_BUFER", "FANAL_STREAM_BUFFER"),
        ("FANAL_LOGLEVEL", "FANAL_LOG_LEVEL"),
    ] {
        let line = format!("{name}: unknown environment variable, did you mean {meant}?");
        check_env(name, "s3cret", &line);
    }
    check_env(
        "FANAL_QQQ",
        "s3cret",
        "FANAL_QQQ: unknown environment variable, expected FANAL_SECTION_KEY such as \
         FANAL_SERVER_PORT",
    );
    check_env(
        "FANAL_AUTH_USERS",
        "s3cret",
        "FANAL_AUTH_USERS: auth.users: can only be set in the file, as one block that starts with \
         [[auth.users]] for each user",
    );
}

#[test]
fn the_token_of_the_clients_is_no_setting() {
    check("", &[("FANAL_TOKEN", "s3cret")], &[], &[]);
}

// ---- flags

#[test]
fn flags_set_their_keys() {
    check("", &[], &["--bind", "127.0.0.2"], &["server.bind = \"127.0.0.2\" # --bind"]);
    check("", &[], &["--data", "/srv"], &["store.directory = \"/srv\" # --data"]);
    check("", &[], &["--data", ""], &["--data: store.directory = \"\": expected a path in quotes"]);
    check("", &[], &["--log-level", "debug"], &["log.level = \"debug\" # --log-level"]);
    check(
        "",
        &[],
        &["--bind", "localhost"],
        &["--bind: server.bind = \"localhost\": expected an IP address such as 127.0.0.1, \
             0.0.0.0 or ::1"],
    );
}

#[test]
fn set_takes_toml_and_bare_words() {
    check_set("log.format=json", "log.format = \"json\" # --set");
    check_set("log.format=\"json\"", "log.format = \"json\" # --set");
    check_set("log.format = 'json'", "log.format = \"json\" # --set");
    check_set("server.port=0x10", "server.port = 16 # --set");
    check_set("server.connections_max=1_000", "server.connections_max = 1000 # --set");
    check_set("server.bind=127.0.0.3", "server.bind = \"127.0.0.3\" # --set");
    check_set("store.directory=./a b", "store.directory = \"./a b\" # --set");
    check_set("server.routes=[\"/a\", \"/b\"]", "server.routes = [\"/a\", \"/b\"] # --set");
    check_set("server.routes=/a", "server.routes = [\"/a\"] # --set");
    check_set("log.level=info,a=debug", "log.level = \"info,a=debug\" # --set");
}

#[test]
fn set_explains_itself() {
    check_set("server.port", "--set: server.port: expected KEY=VALUE such as server.port=4000");
    check_set(
        "auth.users:s3cret",
        "--set: auth.users: expected KEY=VALUE such as server.port=4000",
    );
    check_set("", "--set: \"\": expected KEY=VALUE such as server.port=4000");
    check_set("sync=interval", "--set: sync: unknown key, did you mean store.sync?");
    check_set(
        "auth.users=[{name='a', token='s3cret'}]",
        "--set: auth.users: can only be set in the file, as one block that starts with \
         [[auth.users]] for each user",
    );
    check_set(
        "server.port=\"4000\"",
        "--set: server.port = \"4000\": expected a number from 0 to 65535",
    );
}

// ---- the file

#[test]
fn unknown_names_in_the_file_get_a_suggestion() {
    for (file, expected) in [
        ("[server]\nprot = 1", "2: server.prot: unknown key, did you mean server.port?"),
        ("[server]\nPort = 1", "2: server.Port: unknown key, did you mean server.port?"),
        ("port = 1", "1: port: unknown key, did you mean server.port?"),
        ("server.prot = 1", "1: server.prot: unknown key, did you mean server.port?"),
        ("[sever]\nport = 1", "1: [sever]: unknown section, did you mean [server]?"),
        ("[[user]]", "1: [user]: unknown section, did you mean [[auth.users]]?"),
        (
            "[server]\nmax_connections = 1",
            "2: server.max_connections: unknown key, did you mean server.connections_max?",
        ),
        (
            "[log]\nx = 1",
            "2: log.x: unknown key, known in [log] are level, format, summary_interval",
        ),
        (
            "[log]\n\"a\\nb\" = 1",
            "2: \"log.a\\nb\": unknown key, known in [log] are level, format, summary_interval",
        ),
    ] {
        check_file(file, &[&format!("fanal.toml:{expected}")]);
    }
}

#[test]
fn wrong_types_in_the_file_are_shown_as_they_were_found() {
    let expected = "expected a number from 0 to 65535";
    for (written, shown) in [
        ("70000", "70000"),
        ("-1", "-1"),
        ("99999999999999999999999", "99999999999999999999999"),
        ("80.5", "80.5"),
        ("true", "true"),
        ("\"80\"", "\"80\""),
        ("[80]", "[80]"),
        ("{ a = 1 }", "a table"),
        ("2026-01-01", "2026-01-01"),
        ("nan", "nan"),
    ] {
        let file = format!("# comment\r\n\r\n[server]\r\nport = {written}\r\n");
        check_file(&file, &[&format!("fanal.toml:4: server.port = {shown}: {expected}")]);
    }
}

#[test]
fn a_long_value_is_cut_in_messages() {
    let file = format!("[log]\nformat = \"{}\"", "ä".repeat(10_000));
    let shown = format!("\"{}...", "ä".repeat(59));
    let line = format!("fanal.toml:2: log.format = {shown}: expected one of \"text\", \"json\"");
    check_file(&file, &[&line]);
}

#[test]
fn each_faulty_item_of_a_list_is_named_with_its_line() {
    check_file(
        "[server]\nroutes = [\n  \"/\",\n  \"live\",\n  7,\n]",
        &[
            "fanal.toml:4: server.routes has \"live\": expected a list of one or more URL paths \
             that start with \"/\", or \"*\" for every path",
            "fanal.toml:5: server.routes has 7: expected a list of one or more URL paths that \
             start with \"/\", or \"*\" for every path",
        ],
    );
}

#[test]
fn sections_and_keys_are_not_confused() {
    check_file("server = 3", &["fanal.toml:1: server: expected a section, written [server]"]);
    check_file("[[log]]", &["fanal.toml:1: log: expected a section, written [log]"]);
    check_file(
        "[server.port]\nx = 1",
        &["fanal.toml:1: server.port = a table: expected a number from 0 to 65535"],
    );
}

#[test]
fn what_is_no_toml_is_reported_line_by_line_without_echoes() {
    check_file(
        "[server]\nport = \nbind = 127.0.0.1\nworkers = 0\n[stream\nbuffer = 1",
        &[
            "fanal.toml:2: not valid TOML: string values must be quoted, expected literal string",
            "fanal.toml:3: not valid TOML: invalid float, expected nothing",
            "fanal.toml:4: server.workers = 0: expected a number from 1 to 64",
            "fanal.toml:5: not valid TOML: unclosed table, expected `]`",
        ],
    );
    check_file("[server]\nport = 1\nport = 2", &["fanal.toml:3: not valid TOML: duplicate key"]);
    check_file("[log]\n[log]", &["fanal.toml:2: not valid TOML: duplicate key"]);
}

#[test]
fn no_beginning_of_a_file_panics_or_gives_a_broken_message() {
    let users = "\n[[auth.users]]\nname = \"a\"\ntoken = \"s3cret\"\nadmin = true\n";
    let text = uncommented_example() + users;
    let lines: String =
        text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    for end in 0..lines.len() {
        if let Err(problems) = resolve(&lines[..end], &[], &[]) {
            let text = problems.to_string();
            assert!(!problems.0.is_empty() && !text.contains("s3cret"), "{text}");
            assert!(text.lines().all(|line| line.starts_with("fanal.toml:")), "{text}");
        }
    }
}

#[test]
fn deep_nesting_is_refused_without_exhausting_the_stack() {
    let deep = "[".repeat(200_000);
    assert!(resolve(&format!("[log]\nlevel = {deep}"), &[], &[]).is_err());
    assert!(resolve("", &[], &["--set", &format!("log.level={deep}")]).is_err());
    assert!(resolve(&format!("{}x = 1", "a.".repeat(200_000)), &[], &[]).is_err());
}

// ---- reading files, printing, the command line

#[test]
fn the_named_file_is_read_and_must_exist() {
    let folder = std::env::temp_dir().join(format!("fanal-config-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("my.toml");
    let load = |text: &[u8], flags: &[&str]| {
        fs::write(&file, text).unwrap();
        let mut args = server_args(flags);
        args.config = Some(file.clone());
        config::load(&args, variables(&[]))
    };

    let loaded = load(b"[server]\nport = 1", &[]).unwrap();
    assert_eq!((loaded.config.server.port, loaded.file.as_ref()), (1, Some(&file)));
    let origin = Origin::File { path: file.clone(), line: 2 };
    assert_eq!(loaded.origins.get("server.port"), &origin);

    let text = load(b"[log]\n# \xff\n", &[]).unwrap_err().to_string();
    assert_eq!(text, format!("{}:2: not UTF-8 text, as TOML must be", file.display()));

    fs::remove_dir_all(&folder).unwrap();
    let args = ServerArgs { config: Some(file.clone()), ..server_args(&["--port=x"]) };
    let problems = config::load(&args, variables(&[])).unwrap_err().to_string();
    let (first, second) = problems.split_once('\n').unwrap();
    assert!(first.starts_with(&format!("{}: cannot be read: ", file.display())), "{first}");
    assert_eq!(second, "--port: server.port = x: expected a number from 0 to 65535");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let flags = ["--set=store.directory=a\"b\\c\u{7}", "--port=7", "--set=server.routes=/,/x"];
    let loaded = resolve("", &[], &flags).unwrap();
    let again = good(&config::print(&loaded, false));
    assert_eq!(again, loaded.config);
}

#[test]
fn comments_are_aligned_and_colour_is_only_added_on_request() {
    let loaded = resolve("[session]\nstreams_max = 7", &[], &[]).unwrap();
    let plain = config::print(&loaded, false);
    let section = "[session]\nrequests_max = 64               # default\n\
                   requests_bytes_max = 4194304    # default\n\
                   streams_max = 7                 # fanal.toml:2\n";
    assert!(plain.contains(section), "{plain}");
    assert!(!plain.contains('\u{1b}'));
    assert!(config::print(&loaded, true).contains('\u{1b}'));
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
    let parse = |words: &[&str]| Cli::try_parse_from(words).map_err(|error| error.to_string());

    assert!(parse(&["fanal"]).unwrap().command.is_none());
    match parse(&["fanal", "check-config", "--config", "x.toml"]).unwrap().command {
        Some(Command::CheckConfig(args)) => assert_eq!(args.config, Some(PathBuf::from("x.toml"))),
        _ => panic!("not check-config"),
    }
    match parse(&["fanal", "demo", "--user", "ann"]).unwrap().command {
        Some(Command::Demo(args)) => {
            assert_eq!(args.connect.url, None);
            assert_eq!((args.path.as_str(), args.rate), ("user/demo/model", 60));
            assert_eq!(args.connect.user.as_deref(), Some("ann"));
            assert_eq!(args.seconds, None);
        }
        _ => panic!("not demo"),
    }
    match parse(&["fanal", "watch", "a/b", "--frames", "3"]).unwrap().command {
        Some(Command::Watch(args)) => {
            assert_eq!((args.path.as_str(), args.frames), ("a/b", Some(3)));
        }
        _ => panic!("not watch"),
    }
    assert!(parse(&["fanal", "watch"]).is_err());
    assert!(parse(&["fanal", "demo", "--rate", "0"]).is_err());
    assert!(parse(&["fanal", "--port", "1", "check-config"]).is_err());
}
