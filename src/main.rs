//! `fanal`: the server, and the commands around it.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::FromArgMatches;
use fanal::cli::{self, AuthCommand, Cli, Command};
use fanal::{app, config, snapshot};

fn main() -> ExitCode {
    let cli = match Cli::from_arg_matches(&cli::command().get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let outcome = match &cli.command {
        Some(Command::CheckConfig(args)) => return cli::check_config::run(args),
        Some(Command::PrintConfig(args)) => return cli::print_config::run(args),
        Some(Command::Demo(args)) => cli::demo::run(args),
        Some(Command::Watch(args)) => cli::watch::run(args),
        Some(Command::Snapshot(command)) => return snapshot::run(command),
        Some(Command::Reload(args)) => return cli::reload::run(args),
        Some(Command::Auth(AuthCommand::Explain(args))) => return cli::auth::run(args),
        Some(Command::Token(command)) => return cli::token::run(command),
        Some(Command::Talk(talk)) => cli::talk::run(talk),
        Some(Command::Operate(operation)) => return cli::operate::run(operation),
        Some(Command::Completions { shell }) => cli::manual::completions(*shell),
        Some(Command::Man { directory }) => cli::manual::man(directory.as_deref()),
        None => match config::load(&cli.server, cli::environment()) {
            Ok(loaded) => app::run(&loaded, &cli.server),
            Err(problems) => return cli::check_config::fail(&problems),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            if !text.is_empty() {
                let _ = writeln!(io::stderr(), "fanal: {text}");
            }
            ExitCode::from(cli::code(&error))
        }
    }
}
