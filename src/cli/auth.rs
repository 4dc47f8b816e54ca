//! `fanal auth explain`: why something is allowed or not, from a running server by its control
//! socket or from the configuration.

use std::io::{self, Write};
use std::process::ExitCode;

use super::{ExplainArgs, ServerArgs, check_config, environment};
use crate::auth::{Answer, Authority, Question, Surroundings, explain};
use crate::config::{self, Config};
use crate::control;

/// What is not allowed ends with this, so that scripts can ask.
const EXIT_DENIED: u8 = 3;

/// Says what a user may do, and which provider and rule decide.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let question = Question {
        user: args.user.clone(),
        roles: (!args.role.is_empty()).then(|| args.role.clone()),
        verb: args.verb.to_ascii_uppercase(),
        path: args.path.clone(),
        source: args.source.clone(),
    };
    match load(&args.server).map(|config| ask(&config, &question)) {
        Err(code) => code,
        Ok(Err(error)) => fail(&format!("{error:#}")),
        Ok(Ok((answer, from))) => {
            show(&question, &answer, from);
            if answer.allowed { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DENIED) }
        }
    }
}

fn load(args: &ServerArgs) -> Result<Config, ExitCode> {
    match config::load(args, environment()) {
        Ok(loaded) => Ok(loaded.config),
        Err(problems) => Err(check_config::fail(&problems)),
    }
}

fn fail(text: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "fanal: {text}");
    ExitCode::FAILURE
}

/// The answer of the running server, or of the configuration if none runs.
fn ask(config: &Config, question: &Question) -> anyhow::Result<(Answer, &'static str)> {
    if let Some(answer) = control::explain_by(&config.store.directory, question)? {
        return Ok((answer, "the running server"));
    }
    // Providers that ask others do so in the background, which is given no time here.
    let answer = actix_web::rt::System::new().block_on(async {
        let surroundings = Surroundings::new(actix::Arbiter::new().handle());
        let (authority, policy) = Authority::new(config, surroundings)?;
        explain(question, &authority, &policy).map_err(anyhow::Error::msg)
    })?;
    Ok((answer, "the configuration, for no server runs"))
}

fn show(question: &Question, answer: &Answer, from: &str) {
    let who = if answer.user.is_empty() { "nobody" } else { &answer.user };
    let provider = match &answer.provider {
        Some(provider) => format!("known to {provider}"),
        None if question.roles.is_some() => "roles as given".to_owned(),
        None => "not known by name to any provider: as a user without roles".to_owned(),
    };
    let roles = if answer.roles.is_empty() { "none".to_owned() } else { answer.roles.join(", ") };
    let verdict = if answer.allowed { "allowed" } else { "denied" };
    let mut text = format!("{verdict}: {} {} for {who}\n", question.verb, question.path);
    for (name, value) in [
        ("because", &answer.reason),
        ("user", &provider),
        ("roles", &roles),
        ("asked", &from.into()),
    ] {
        text.push_str(&format!("  {name:<8} {}\n", value.escape_debug()));
    }
    let _ = io::stdout().write_all(text.replace("\\\"", "\"").replace("\\'", "'").as_bytes());
}
