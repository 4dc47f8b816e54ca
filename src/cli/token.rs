//! `fanal token`: makes, lists and revokes tokens in a file of users.
//!
//! The file keeps the hash of a token; the token itself is printed once and nowhere else. The file
//! is replaced as a whole, so a server never reads half of it, and what people wrote into it stays.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, SaltString};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::{ServerArgs, TokenArgs, TokenCommand, check_config, environment};
use crate::auth::secrets;
use crate::clock::Clock;
use crate::{config, files};

/// Random bytes of a token: nobody can try enough of them.
const TOKEN_BYTES: usize = 32;

/// Lets people and programs that look for leaked secrets recognise one.
const TOKEN_PREFIX: &str = "fanal_";

const USERS: &str = "users";

/// Runs one of the commands.
pub fn run(command: &TokenCommand) -> ExitCode {
    let (file, server) = match command {
        TokenCommand::New(TokenArgs { file, server, .. })
        | TokenCommand::List { file, server }
        | TokenCommand::Revoke { file, server, .. } => (file, server),
    };
    let file = match place(file.as_deref(), server) {
        Ok(file) => file,
        Err(code) => return code,
    };
    let outcome = match command {
        TokenCommand::New(args) => make(&file, args),
        TokenCommand::List { .. } => list(&file),
        TokenCommand::Revoke { user, .. } => revoke(&file, user),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn fail(text: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "fanal: {text}");
    ExitCode::FAILURE
}

/// The file that is meant: the one that is named, or that of the configuration.
fn place(named: Option<&Path>, server: &ServerArgs) -> Result<PathBuf, ExitCode> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    match config::load(server, environment()) {
        Err(problems) => Err(check_config::fail(&problems)),
        Ok(loaded) if loaded.config.auth.users_file.as_os_str().is_empty() => Err(fail(
            "which file of users? Name it with --file, or with auth.users_file in the \
             configuration",
        )),
        Ok(loaded) => Ok(loaded.config.auth.users_file),
    }
}

fn make(file: &Path, args: &TokenArgs) -> anyhow::Result<()> {
    ensure!(!args.user.is_empty(), "a user has a name that is not empty");
    ensure!(!args.user.contains('/'), "a user whose name has a slash has no place in the tree");
    let expires = args.expires.as_deref().map(when).transpose()?;
    let mut document = read(file)?;
    let users = users(&mut document)?;
    let found = users.iter().position(|user| is_named(user, &args.user));
    if found.is_some() && !args.replace {
        bail!("{} has {:?} already; --replace takes the old token away", file.display(), args.user);
    }
    let (proof, hash, secret) = if args.password {
        let password = ask_for_password()?;
        ("password_argon2", argon2(&password)?, None)
    } else {
        let token = random_token()?;
        ("token_sha256", secrets::to_hex(&secrets::sha256(&token)), Some(token))
    };
    let mut user = found.and_then(|index| users.get(index).cloned()).unwrap_or_default();
    for field in ["token", "token_sha256", "password_argon2"] {
        user.remove(field);
    }
    user.insert("name", value(&args.user));
    user.insert(proof, value(hash));
    if !args.role.is_empty() {
        user.insert("roles", value(args.role.iter().collect::<toml_edit::Array>()));
    }
    if let Some(expires) = expires {
        user.insert("expires", value(expires));
    }
    match found.and_then(|index| users.get_mut(index)) {
        Some(place) => *place = user,
        None => users.push(user),
    }
    write(file, &document.to_string())?;
    if let Some(token) = secret {
        // The token alone on standard output, so that a script can take it.
        writeln!(io::stdout(), "{token}")?;
        say(&format!(
            "the token of {} is shown this once only; {} has its hash",
            args.user,
            file.display()
        ));
    } else {
        say(&format!("{} has the hash of the password of {}", file.display(), args.user));
    }
    Ok(())
}

fn list(file: &Path) -> anyhow::Result<()> {
    let mut document = read(file)?;
    let text = |user: &Table, name: &str| {
        user.get(name).and_then(Item::as_str).unwrap_or_default().to_owned()
    };
    let mut rows = vec![["user", "proof", "roles", "expires"].map(str::to_owned)];
    for user in users(&mut document)?.iter() {
        let proof = if user.contains_key("password_argon2") { "password" } else { "token" };
        let mut roles: Vec<&str> = user
            .get("roles")
            .and_then(Item::as_array)
            .map(|roles| roles.iter().filter_map(|role| role.as_str()).collect())
            .unwrap_or_default();
        if user.get("admin").and_then(Item::as_bool) == Some(true) {
            roles.push("(admin)");
        }
        let expires = match text(user, "expires") {
            never if never.is_empty() => "never".to_owned(),
            expires => expires,
        };
        rows.push([text(user, "name"), proof.to_owned(), roles.join(" "), expires]);
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (first, second, third) = (width(0), width(1), width(2));
    for [user, proof, roles, expires] in &rows {
        let line = format!("{user:<first$}  {proof:<second$}  {roles:<third$}  {expires}");
        writeln!(io::stdout(), "{}", line.trim_end())?;
    }
    Ok(())
}

fn revoke(file: &Path, name: &str) -> anyhow::Result<()> {
    let mut document = read(file)?;
    let users = users(&mut document)?;
    let before = users.len();
    users.retain(|user| !is_named(user, name));
    ensure!(users.len() < before, "{} has no user {name:?}", file.display());
    write(file, &document.to_string())?;
    say(&format!("{name} is no user of {} any more", file.display()));
    Ok(())
}

/// A word to the person, which is not what the command is for.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn is_named(user: &Table, name: &str) -> bool {
    user.get("name").and_then(Item::as_str) == Some(name)
}

fn users(document: &mut DocumentMut) -> anyhow::Result<&mut ArrayOfTables> {
    document
        .entry(USERS)
        .or_insert(Item::ArrayOfTables(ArrayOfTables::new()))
        .as_array_of_tables_mut()
        .context("users is not what it should be: expected blocks that start with [[users]]")
}

fn read(file: &Path) -> anyhow::Result<DocumentMut> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
    };
    text.parse().with_context(|| format!("{} is no good TOML", file.display()))
}

/// Replaces the file as a whole, keeping its mode if it has one.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    files::replace(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// When a token ends: a time, or a duration from now on.
fn when(text: &str) -> anyhow::Result<String> {
    let end = match humantime::parse_duration(text) {
        Ok(duration) => Clock::wall().checked_add(duration),
        Err(_) => humantime::parse_rfc3339_weak(text).ok(),
    };
    let Some(end) = end else {
        bail!("--expires: expected a duration such as 30d or a time such as 2027-03-31T23:59:59Z");
    };
    ensure!(end > Clock::wall() + Duration::from_secs(1), "--expires: that time is over");
    Ok(humantime::format_rfc3339_seconds(end).to_string())
}

fn random_token() -> anyhow::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    random(&mut bytes)?;
    Ok(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

fn random(bytes: &mut [u8]) -> anyhow::Result<()> {
    getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("no random bytes to be had: {error}"))
}

fn argon2(password: &str) -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    random(&mut bytes)?;
    let salt = SaltString::encode_b64(&bytes).map_err(|error| anyhow::anyhow!("{error}"))?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|error| anyhow::anyhow!("{error}"))?.to_string())
}

/// Reads the password from standard input, where neither the process list nor the shell's history
/// has it. On a terminal it is not shown.
fn ask_for_password() -> anyhow::Result<String> {
    let password = if io::stdin().is_terminal() {
        rpassword::prompt_password("password: ").context("cannot read a password")?
    } else {
        let mut line = String::new();
        io::stdin().read_line(&mut line).context("cannot read a password")?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    ensure!(password.chars().count() >= 8, "a password has at least 8 characters");
    Ok(password)
}
