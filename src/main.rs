//! `fanal`: the server, and the commands around it.

use std::process::ExitCode;

use clap::Parser;
use fanal::cli::{self, AuthCommand, Cli, Command};
use fanal::{app, config, snapshot};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Some(Command::CheckConfig(args)) => return cli::check_config::run(args),
        Some(Command::PrintConfig(args)) => return cli::print_config::run(args),
        Some(Command::Demo(args)) => cli::demo::run(args),
        Some(Command::Watch(args)) => cli::watch::run(args),
        Some(Command::Snapshot(command)) => return snapshot::run(command),
        Some(Command::Reload(args)) => return cli::reload::run(args),
        Some(Command::Auth(AuthCommand::Explain(args))) => return cli::auth::run(args),
        Some(Command::Token(command)) => return cli::token::run(command),
        Some(Command::Operate(operation)) => return cli::operate::run(operation),
        None => match config::load(&cli.server, cli::environment()) {
            Ok(loaded) => app::run(&loaded, &cli.server),
            Err(problems) => return cli::check_config::fail(&problems),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanal: {error:#}");
            ExitCode::FAILURE
        }
    }
}
