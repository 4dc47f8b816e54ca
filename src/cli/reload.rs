//! `fanal reload`: has a running server read anew who may do what, by its control socket.

use std::io::{self, Write};
use std::process::ExitCode;

use super::{ServerArgs, check_config, environment};
use crate::{config, control};

/// Has a running server read anew who may do what.
pub fn run(args: &ServerArgs) -> ExitCode {
    let config = match config::load(args, environment()) {
        Ok(loaded) => loaded.config,
        Err(problems) => return check_config::fail(&problems),
    };
    match control::reload(&config.store.directory) {
        Ok(Some(Ok(done))) => {
            let _ = writeln!(io::stdout(), "{done}");
            ExitCode::SUCCESS
        }
        Ok(Some(Err(problems))) => {
            fail(&format!("{problems}\nnothing has changed; mend it and reload again"))
        }
        Ok(None) => fail(&format!(
            "no server runs on {}; --data or --config name the one that is meant",
            config.store.directory.display()
        )),
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn fail(text: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "fanal: {text}");
    ExitCode::FAILURE
}
