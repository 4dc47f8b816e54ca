//! `fanal print-config`: shows every value and where it came from.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::config;

use super::{ServerArgs, check_config};

/// Prints the configuration in effect, or everything that is wrong with it.
pub fn run(args: &ServerArgs) -> ExitCode {
    match config::load(args, super::environment()) {
        Ok(loaded) => {
            let mut output = io::stdout();
            let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let text = config::print(&loaded, output.is_terminal() && !unwanted);
            // Who closed the pipe, as `head` does, has seen enough.
            let _ = output.write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(problems) => check_config::fail(&problems),
    }
}
