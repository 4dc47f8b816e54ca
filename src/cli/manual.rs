//! `fanal completions` and `fanal man`: what a shell and a reader of manuals want, from the same
//! definition as `--help`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

use super::watch::forgive_closed_output;

/// Prints what completes commands in this shell.
///
/// # Errors
/// If it cannot be printed.
pub fn completions(shell: Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "fanal", &mut text);
    forgive_closed_output(io::stdout().write_all(&text).map_err(Into::into))
}

/// Prints the first page of the manual, or writes all of them.
///
/// # Errors
/// If they cannot be written.
pub fn man(directory: Option<&Path>) -> Result<()> {
    let command = super::command();
    let Some(directory) = directory else {
        let text = page(command)?;
        return forgive_closed_output(io::stdout().write_all(&text).map_err(Into::into));
    };
    let cannot = || format!("cannot write into {}", directory.display());
    fs::create_dir_all(directory).with_context(cannot)?;
    clap_mangen::generate_to(command, directory).with_context(cannot)?;
    let count = fs::read_dir(directory).with_context(cannot)?.count();
    forgive_closed_output(
        writeln!(io::stdout(), "{count} pages in {}", directory.display()).map_err(Into::into),
    )
}

fn page(command: Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(text)
}
