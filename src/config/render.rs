//! The two texts that are written from the table of keys: the example file and `print-config`.

// Writing to a string cannot fail, which is why the results are dropped.
use std::fmt::Write;

use super::Loaded;
use super::auth_limits::LimitBlock;
use super::auth_rules::RuleBlock;
use super::choices::User;
use super::keys::Config;
use super::kind::Kind;
use super::preload::Declared;
use super::problem::Origin;
use super::table::{Key, sections};

/// Beyond this width a value does not push the comments of its neighbours to the right.
const ALIGNED_WIDTH_MAX: usize = 48;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

const EXAMPLE_HEAD: &str = "\
# The configuration of Fanal: every key, what it means, what it accepts, and its default.
#
# Every value is commented out and is the default; remove the # in front of a line to change it.
# Copy this file to fanal.toml, which is read from the working directory, or name it with --config.
#
# Settings come from four places, and later ones win: these defaults, the file, environment
# variables (server.port is FANAL_SERVER_PORT; lists are separated by commas) and flags
# (--port 4000, or --set server.port=4000 for any key).
#
# `fanal check-config` reports everything that is wrong; `fanal print-config` shows each value
# with the place it came from.
";

const EXAMPLE_USERS: &str = "\
#     [[auth.users]]
#     name = \"ann\"
#     token = \"a long random secret\"
#     admin = true
#
#     [[auth.users]]
#     name = \"bob\"
#     token_sha256 = \"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\"
#     roles = [\"student\"]
#     expires = \"2027-03-31T23:59:59Z\"
";

const EXAMPLE_RULES: &str = "\
#     [[auth.rules]]
#     name = \"students see all models\"
#     roles = [\"student\"]
#     allow = [\"READ\", \"LIST\"]
#     paths = [\"user/*/model\", \"live\"]
#
#     [[auth.rules]]
#     roles = [\"student\"]
#     allow = [\"WRITE\"]
#     paths = [\"user/{user}/*\"]
#
#     [[auth.rules]]
#     users = [\"mallory\"]
#     deny = [\"ADMIN\"]
#     paths = [\"**\"]
";

const EXAMPLE_LIMITS: &str = "\
#     [[auth.limits]]
#     roles = [\"student\"]
#     connections = 10
#     streams = 100
#     requests_per_second = 200
#     bytes_per_second = 1000000
#     resources = 20
#     value_bytes = 4096
#     message_bytes = 8192
";

const EXAMPLE_PRELOAD: &str = "\
#     [[preload.resources]]
#     path = \"live\"
#     source = \"user/ann/model\"
#
#     [[preload.resources]]
#     path = \"user/{user}/model\"
#     zero_bytes = 1176
#
#     [[preload.resources]]
#     path = \"wall/brightness\"
#     value = 80
#
#     [[preload.resources]]
#     path = \"metrics\"
#     directory = true
";

/// The text of `config.example.toml`.
pub fn example() -> String {
    let defaults = Config::default();
    let mut text = EXAMPLE_HEAD.to_owned();
    for section in sections() {
        text.push('\n');
        push_comment(&mut text, section.description);
        let _ = writeln!(text, "[{}]", section.name);
        for key in section.keys {
            text.push('\n');
            push_comment(&mut text, key.description);
            let blocks = match key.kind {
                Kind::Users => Some(EXAMPLE_USERS),
                Kind::Preload => Some(EXAMPLE_PRELOAD),
                Kind::Rules => Some(EXAMPLE_RULES),
                Kind::Quotas => Some(EXAMPLE_LIMITS),
                _ => None,
            };
            if let Some(blocks) = blocks {
                text.push_str(blocks);
                continue;
            }
            let _ = writeln!(text, "# Expected: {}", key.kind.expected());
            let _ = writeln!(text, "#{} = {}", key.name, (key.show)(&defaults));
        }
    }
    text
}

/// The values in effect as TOML, each with its origin in a comment; tokens are hidden.
pub fn print(loaded: &Loaded, colour: bool) -> String {
    let mut text = String::new();
    for section in sections() {
        if !text.is_empty() {
            text.push('\n');
        }
        let header = format!("[{}]", section.name);
        text.push_str(&paint(&header, BOLD, colour));
        text.push('\n');
        let has_blocks = |key: &Key| !blocks(key, &loaded.config).is_empty();
        let lines = section.keys.iter().filter(|key| !has_blocks(key)).map(|key| {
            let line = format!("{} = {}", key.name, (key.show)(&loaded.config));
            (line, loaded.origins.get(key.dotted))
        });
        push_lines(&mut text, &lines.collect::<Vec<_>>(), colour);
        for key in section.keys {
            push_blocks(&mut text, key, loaded, colour);
        }
    }
    text
}

fn push_blocks(text: &mut String, key: &Key, loaded: &Loaded, colour: bool) {
    for (index, fields) in blocks(key, &loaded.config).into_iter().enumerate() {
        text.push('\n');
        text.push_str(&paint(&format!("[[{}]]", key.dotted), BOLD, colour));
        text.push('\n');
        let origin = loaded.origins.block(key.dotted, index);
        let lines: Vec<_> = fields.into_iter().map(|field| (field, origin)).collect();
        push_lines(text, &lines, colour);
    }
}

/// The fields of each block of a key that is written in blocks.
fn blocks(key: &Key, config: &Config) -> Vec<Vec<String>> {
    match key.kind {
        Kind::Users => config.auth.users.iter().map(User::fields).collect(),
        Kind::Rules => config.auth.rules.iter().map(RuleBlock::fields).collect(),
        Kind::Quotas => config.auth.limits.iter().map(LimitBlock::fields).collect(),
        Kind::Preload => config.preload.resources.iter().map(Declared::fields).collect(),
        _ => Vec::new(),
    }
}

fn push_lines(text: &mut String, lines: &[(String, &Origin)], colour: bool) {
    let widths = lines.iter().map(|(line, _)| line.chars().count());
    let width = widths.filter(|width| *width <= ALIGNED_WIDTH_MAX).max().unwrap_or(0);
    for (line, origin) in lines {
        let tint = if **origin == Origin::Default { DIM } else { GREEN };
        let comment = paint(&format!("# {origin}"), tint, colour);
        let _ = writeln!(text, "{line:width$}  {comment}");
    }
}

fn push_comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(text, "# {}", line.trim());
    }
}

fn paint(text: &str, tint: &str, colour: bool) -> String {
    if colour { format!("{tint}{text}{PLAIN}") } else { text.to_owned() }
}
