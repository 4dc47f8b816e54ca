//! `fanal check-config`: says whether the server would accept its configuration.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::{self, DEFAULT_FILE, Loaded, Problems};

use super::ServerArgs;

const EXIT_PROBLEMS: u8 = 2;

/// Checks everything and reports on standard output if it is good, else on standard error.
pub fn run(args: &ServerArgs) -> ExitCode {
    match config::load(args, super::environment()) {
        Ok(loaded) => {
            // Who closed the pipe does not want to know.
            let _ = writeln!(io::stdout(), "{}", summary(&loaded));
            ExitCode::SUCCESS
        }
        Err(problems) => fail(&problems),
    }
}

/// Reports problems in the way all commands do and gives the exit code for them.
pub fn fail(problems: &Problems) -> ExitCode {
    let count = match problems.0.len() {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let _ = writeln!(io::stderr(), "{problems}\n{count} in the configuration");
    ExitCode::from(EXIT_PROBLEMS)
}

fn summary(loaded: &Loaded) -> String {
    let given = loaded.origins.given().count();
    let keys = config::key_names().count();
    let source = match &loaded.file {
        Some(file) => format!("{}: read", file.display()),
        None => format!("no file: there is no ./{DEFAULT_FILE}"),
    };
    format!("{source}; the configuration is good, {given} of {keys} keys are set")
}
