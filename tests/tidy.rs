//! House rules that neither rustc nor clippy knows, kept by reading the sources.
//!
//! Each rule is a function from a file to findings and is tried on bad examples in `examples`. A
//! finding says where, what, and what would be right. Comments, strings and test code are blanked
//! out before the rules about code look (see `source`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

#[path = "tidy/examples.rs"]
mod examples;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use source::{Finding, Source, is_word, named_paths, named_rooms};

/// Lines of a source file without its tests.
const FILE_LINES_MAX: usize = 500;
const LINE_CHARS_MAX: usize = 100;

const PURE: &[&str] =
    &["protocol", "state", "access", "ports", "settings", "counters", "metrics", "verbs"];

const ACTOR_ROOMS_MAY_USE: &[&str] = &[
    "protocol",
    "state",
    "access",
    "ports",
    "settings",
    "counters",
    "metrics",
    "verbs",
    "guard",
    "context",
    "inspect",
    "events",
    "shared",
    "directory",
    "resource",
    "session",
    "supervisor",
    "periodic",
    "tunable",
    "unsaved",
];

const EVERYTHING: &[&str] = &["*"];

/// Who may use whom: a crate's sources, a room in them, and the rooms that it may name.
const ROOMS: &[(&str, &str, &[&str])] = &[
    ("actors/src", "protocol", &[]),
    ("actors/src", "tunable", &[]),
    ("actors/src", "periodic", &[]),
    ("actors/src", "metrics", &["protocol"]),
    ("actors/src", "counters", &["metrics"]),
    ("actors/src", "state", &["protocol", "tunable"]),
    ("actors/src", "access", &["protocol"]),
    ("actors/src", "ports", &["protocol", "access"]),
    ("actors/src", "settings", &["protocol", "state", "tunable"]),
    ("actors/src", "guard", &["counters"]),
    ("actors/src", "context", &[]),
    ("actors/src", "verbs", &["protocol", "state", "access", "ports", "settings", "counters"]),
    ("actors/src", "shared", ACTOR_ROOMS_MAY_USE),
    ("actors/src", "events", &["access"]),
    ("actors/src", "inspect", &["access", "protocol", "resource", "shared", "state"]),
    ("actors/src", "directory", ACTOR_ROOMS_MAY_USE),
    ("actors/src", "resource", ACTOR_ROOMS_MAY_USE),
    ("actors/src", "session", ACTOR_ROOMS_MAY_USE),
    ("actors/src", "supervisor", ACTOR_ROOMS_MAY_USE),
    ("actors/src", "unsaved", ACTOR_ROOMS_MAY_USE),
    ("actors/src", "broker", ACTOR_ROOMS_MAY_USE),
    ("actors/src", "lib", EVERYTHING),
    ("src", "accounts", &[]),
    ("src", "clock", &[]),
    ("src", "config", &[]),
    ("src", "descriptors", &[]),
    ("src", "files", &[]),
    ("src", "inherited", &[]),
    ("src", "logging", &["config"]),
    ("src", "lag", &["clock"]),
    ("src", "metrics", &["auth", "clock", "lag", "store"]),
    ("src", "doors", &["config", "clock", "lag", "sparing"]),
    ("src", "auth", &["config", "clock", "sparing"]),
    ("src", "preload", &["config"]),
    ("src", "store", &["config", "clock"]),
    (
        "src",
        "admin",
        &[
            "config", "clock", "auth", "logging", "metrics", "reload", "stopping", "store",
            "tunables",
        ],
    ),
    ("src", "cli", &["config", "app", "auth", "clock", "control", "admin", "files"]),
    ("src", "control", &["store", "auth", "reload"]),
    ("src", "reload", &["config", "auth", "cli", "clock", "tls", "tunables"]),
    ("src", "service", &[]),
    ("src", "sparing", &["clock"]),
    ("src", "statistics", &["clock", "ticks"]),
    ("src", "stopping", &["reload"]),
    ("src", "tls", &["clock", "config"]),
    ("src", "summary", &["statistics", "ticks"]),
    ("src", "ticks", &[]),
    ("src", "tunables", &["config", "cli", "doors", "files", "logging"]),
    ("src", "snapshot", &["config", "cli", "control", "logging", "store"]),
    ("src", "app", EVERYTHING),
    ("src", "embed", EVERYTHING),
    ("src", "lib", EVERYTHING),
    ("src", "main", EVERYTHING),
];

/// What the broker without a world does not name, and what the pure rooms in it do not name.
const WORLD: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::os",
    "std::time::SystemTime",
    "tokio::fs",
    "tokio::net",
    "tokio::process",
    "actix_web",
];
const RUNTIME: &[&str] = &["actix", "actix_rt", "tokio", "futures", "futures_util"];

const PANICS: &[&str] = &[
    ".unwrap()",
    ".unwrap_err()",
    ".expect(",
    ".expect_err(",
    "panic!",
    "unreachable!",
    "todo!",
    "unimplemented!",
    "dbg!",
];

/// Written apart, so that this file is not a finding of its own rule.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

#[test]
fn rooms_import_only_what_they_may() {
    report(sources(&["actors/src", "src"]).iter().flat_map(imports));
}

#[test]
fn the_broker_names_nothing_of_the_world() {
    report(sources(&["actors/src"]).iter().flat_map(world));
}

#[test]
fn nothing_outside_tests_panics() {
    report(sources(&["actors/src", "src"]).iter().flat_map(panics));
}

#[test]
fn files_are_short_enough_to_read() {
    report(sources(&["actors/src", "src"]).iter().flat_map(length));
}

#[test]
fn lines_fit_the_page() {
    report(sources(RUST).iter().flat_map(width));
}

#[test]
fn every_file_says_what_it_is() {
    report(sources(RUST).iter().flat_map(module_doc));
}

#[test]
fn nothing_is_left_for_later() {
    report(sources(RUST).iter().flat_map(unfinished));
}

#[test]
fn no_file_names_a_path_of_a_machine() {
    let places = machine_places();
    let files = tracked_files();
    report(files.iter().flat_map(|(path, text)| machine_paths(path, text, &places)));
}

#[test]
fn documents_name_files_that_exist() {
    report(documents().iter().flat_map(|(path, text)| dead_names(path, text)));
}

#[test]
fn documents_name_commands_that_exist() {
    let known = |command: &str| {
        let mut fanal = Command::new(env!("CARGO_BIN_EXE_fanal"));
        fanal.args([command, "--help"]).output().is_ok_and(|output| output.status.success())
    };
    report(documents().iter().flat_map(|(path, text)| unknown_commands(path, text, &known)));
}

// ---------------------------------------------------------------------------------------------
// The rules
// ---------------------------------------------------------------------------------------------

fn imports(source: &Source) -> Vec<Finding> {
    let Some((root, room)) = source.room() else { return Vec::new() };
    let Some((_, _, may)) = ROOMS.iter().find(|(r, name, _)| *r == root && *name == room) else {
        return vec![source.finding(1, format!("`{room}` is a new room: enter it in ROOMS"))];
    };
    if *may == EVERYTHING {
        return Vec::new();
    }
    let allowed = if may.is_empty() { "nothing".to_owned() } else { may.join(", ") };
    named_rooms(source)
        .into_iter()
        .filter(|(_, used)| used != room && !may.contains(&used.as_str()))
        .map(|(line, used)| {
            let says = format!("`{room}` uses `{used}`; of this crate it may use {allowed}");
            source.finding(line, says)
        })
        .collect()
}

fn world(source: &Source) -> Vec<Finding> {
    let pure = source.room().is_some_and(|(_, room)| PURE.contains(&room));
    let mut findings = Vec::new();
    for (line, path) in named_paths(source) {
        let starts = |name: &&&str| path == **name || path.starts_with(&format!("{name}::"));
        if let Some(name) = WORLD.iter().find(starts) {
            let says = format!("`{name}` is the world's: ask for it through `ports`");
            findings.push(source.finding(line, says));
        } else if let Some(name) = RUNTIME.iter().find(starts).filter(|_| pure) {
            let says = format!("`{name}` in a pure room: leave it to the actors");
            findings.push(source.finding(line, says));
        }
    }
    findings
}

fn panics(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, code) in source.code_outside_tests() {
        for word in PANICS {
            let at_word = |(at, _): (usize, &str)| {
                word.starts_with('.') || !code[..at].ends_with(|c: char| is_word(c))
            };
            if code.match_indices(word).any(at_word) {
                let says = format!("`{word}` may panic: return an error or handle the other case");
                findings.push(source.finding(line, says));
            }
        }
    }
    findings
}

fn length(source: &Source) -> Vec<Finding> {
    let lines = source.code_outside_tests().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let says = format!("{lines} lines without tests: split it, {FILE_LINES_MAX} are the limit");
    vec![source.finding(FILE_LINES_MAX, says)]
}

fn width(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        let comment = line.trim_start().trim_start_matches(['/', '!']).trim();
        let breakable = comment.contains(' ') || !line.trim_start().starts_with("//");
        let chars = line.chars().count();
        if chars > LINE_CHARS_MAX && breakable {
            let says = format!("{chars} columns: break the line, {LINE_CHARS_MAX} are the limit");
            findings.push(source.finding(number, says));
        }
    }
    findings
}

fn module_doc(source: &Source) -> Vec<Finding> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![source.finding(1, "begin the file with `//!`: what it is, why, what it is not".to_owned())]
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        if let Some(word) = UNFINISHED.iter().find(|word| line.contains(**word)) {
            findings.push(source.finding(number, format!("`{word}`: do it, or open an issue")));
        }
    }
    findings
}

/// Absolute paths below a home or beside this checkout.
fn machine_paths(path: &str, text: &str, places: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for place in places {
            let starts_here = |(at, _): (usize, &str)| {
                !line[..at].ends_with(|c: char| is_word(c) || "./~-}".contains(c))
            };
            if line.match_indices(place.as_str()).any(starts_here) {
                let says = format!("`{place}` is a path of one machine: make it relative");
                findings.push(Finding { place: format!("{path}:{number}"), says });
            }
        }
    }
    findings
}

fn dead_names(path: &str, text: &str) -> Vec<Finding> {
    const ROOTS: &[&str] =
        &["actors/", "src/", "tests/", "scripts/", "docs/", "fuzz/", "benches/", "examples/"];
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    let mut check = |line: usize, name: &str, target: PathBuf| {
        let place = format!("{path}:{line}");
        let says = match fs::metadata(root().join(&target)) {
            Err(_) => format!("`{name}` does not exist: name what does"),
            Ok(file) if target.parent() == Some(Path::new("scripts")) && !is_executable(&file) => {
                format!("`{name}` cannot be run: chmod +x")
            }
            Ok(_) => return,
        };
        findings.push(Finding { place, says });
    };
    for (line, code) in code_in(text) {
        for word in code.split(|c: char| c.is_whitespace() || "()[]\"',;:#=".contains(c)) {
            let name = word.trim_start_matches("./").trim_end_matches('.');
            let concrete = !name.contains(['*', '{', '<', '$', '…']);
            if concrete && ROOTS.iter().any(|root| name.starts_with(root)) {
                check(line, name, PathBuf::from(name));
            }
        }
    }
    for (number, line) in (1..).zip(text.lines()) {
        for link in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            if !link.is_empty() && !link.contains(':') {
                check(number, link, folder.join(link));
            }
        }
    }
    findings
}

fn unknown_commands(path: &str, text: &str, known: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    const STARTS: &[&str] = &["fanal ", "target/release/fanal ", "cargo run --release -- "];
    let mut findings = Vec::new();
    for (line, code) in code_in(text) {
        let code = code.trim().trim_start_matches("$ ");
        let rest = STARTS.iter().find_map(|start| code.strip_prefix(start));
        let command = rest.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
        let is_command = command.starts_with(|c: char| c.is_ascii_lowercase());
        if is_command && !known(command) {
            let says = format!("`fanal {command}` is not a command: see fanal --help");
            findings.push(Finding { place: format!("{path}:{line}"), says });
        }
    }
    findings
}

// ---------------------------------------------------------------------------------------------
// Files
// ---------------------------------------------------------------------------------------------

/// Folders with Rust in them.
const RUST: &[&str] = &["actors", "src", "tests", "benches", "examples", "fuzz/fuzz_targets"];

fn report(findings: impl Iterator<Item = Finding>) {
    let lines: BTreeSet<String> =
        findings.map(|finding| format!("{}: {}", finding.place, finding.says)).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.into_iter().collect::<Vec<_>>().join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below these folders, with the files that are test modules marked as such.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("it lies below the root");
                let text = fs::read_to_string(&path).expect("a source is UTF-8");
                sources.push(Source::new(name.to_str().expect("names are UTF-8"), text));
            }
        }
    }
    let modules: Vec<String> =
        sources.iter().flat_map(|source| source.test_modules.clone()).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        if modules.iter().any(|m| stem == m || stem.starts_with(&format!("{m}/"))) {
            source.test_lines.fill(true);
        }
    }
    sources
}

/// Path and text of what git tracks or would; nothing outside a checkout, where nothing is tracked.
fn tracked_files() -> Vec<(String, String)> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let Ok(output) = git.output() else { return Vec::new() };
    let names = String::from_utf8(output.stdout).expect("names are UTF-8");
    let read = |name: &str| Some((name.to_owned(), fs::read_to_string(root().join(name)).ok()?));
    names.split('\0').filter_map(read).collect()
}

/// Homes, where this checkout lies, and the folder around it unless that is everybody's.
fn machine_places() -> Vec<String> {
    let mut places = ["home", "root", "Users"].map(|home| format!("/{home}/")).to_vec();
    places.push(root().display().to_string());
    let around = root().parent().unwrap_or(root());
    let shared = ["/", "/tmp", "/home", "/opt", "/srv", "/usr/src", "/var/tmp", "/mnt", "/builds"];
    if !shared.iter().any(|folder| Path::new(folder) == around) {
        places.push(format!("{}/", around.display()));
    }
    places
}

fn documents() -> Vec<(String, String)> {
    let mut names: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(String::from).into();
    for entry in fs::read_dir(root().join("docs")).into_iter().flatten().flatten() {
        names.push(format!("docs/{}", entry.file_name().to_string_lossy()));
    }
    names.retain(|name| name.ends_with(".md"));
    let read = |name: String| {
        let text = fs::read_to_string(root().join(&name)).unwrap_or_else(|_| panic!("no {name}"));
        (name, text)
    };
    names.into_iter().map(read).collect()
}

/// Fenced lines and `spans` of a Markdown text, with their line numbers.
fn code_in(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push((number, line));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|span| (number, span)));
        }
    }
    found
}

fn is_executable(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.permissions().mode() & 0o111 != 0
}
