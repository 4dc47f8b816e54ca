//! `fanal snapshot`: what is saved, to be looked at, carried elsewhere, or brought in.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use fanal_actors::ports::Store;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{ExportArgs, ImportArgs, ServerArgs, SnapshotCommand, check_config, environment};
use crate::config::{self, Config};
use crate::logging;
use crate::store::{FileStore, Image, Inspected, inspect, read_file, write_file};

/// Conflicts of an import that are shown.
const CONFLICTS_SHOWN: usize = 20;

/// Runs one of the commands; exits with 2 if the configuration is wrong, with 1 if it failed.
pub fn run(command: &SnapshotCommand) -> ExitCode {
    let args = match command {
        SnapshotCommand::Info(args) | SnapshotCommand::Verify(args) => args,
        SnapshotCommand::Export(ExportArgs { server, .. })
        | SnapshotCommand::Import(ImportArgs { server, .. }) => server,
    };
    let config = match load(args) {
        Ok(config) => config,
        Err(code) => return code,
    };
    logging::start(&config.log);
    let path = config.snapshot.path;
    let outcome = match command {
        SnapshotCommand::Info(_) => info(path),
        SnapshotCommand::Verify(_) => verify(path),
        SnapshotCommand::Export(args) => export(path, args),
        SnapshotCommand::Import(args) => import(path, args),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "fanal: {error:#}");
        ExitCode::FAILURE
    })
}

fn load(args: &ServerArgs) -> Result<Config, ExitCode> {
    match config::load(args, environment()) {
        Ok(loaded) => Ok(loaded.config),
        Err(problems) => Err(check_config::fail(&problems)),
    }
}

fn info(path: PathBuf) -> anyhow::Result<ExitCode> {
    let snapshot = path.display().to_string();
    let inspected = looking(path)?;
    let counts = inspected.image.counts();
    let mut text = String::new();
    for (name, value) in [
        ("snapshot", snapshot),
        ("last change", inspected.image.sequence().to_string()),
        ("directories", counts.directories.to_string()),
        ("resources", counts.resources.to_string()),
        ("links", counts.links.to_string()),
        ("values", format!("{} bytes", counts.value_bytes)),
    ] {
        text.push_str(&format!("{name:<12} {value}\n"));
    }
    text.push_str(&files(&inspected));
    say(&text);
    Ok(ExitCode::SUCCESS)
}

fn verify(path: PathBuf) -> anyhow::Result<ExitCode> {
    let inspected = looking(path)?;
    let bad = inspected.files.iter().filter(|file| !file.is_good).count();
    let mut text = files(&inspected);
    text.push_str(&match (inspected.files.len(), bad) {
        (0, _) => "nothing is saved here\n".to_owned(),
        (count, 0) => format!("all {count} files are good\n"),
        (count, bad) => {
            format!("{bad} of {count} files are not good; the server sets such a file aside\n")
        }
    });
    say(&text);
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line for each file, in columns.
fn files(inspected: &Inspected) -> String {
    let name = |path: &PathBuf| {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let files = &inspected.files;
    let width = files.iter().map(|file| name(&file.path).chars().count()).max().unwrap_or(0);
    let digits = files.iter().map(|file| file.bytes.to_string().len()).max().unwrap_or(0);
    let mut text = String::new();
    for file in files {
        let state = if file.is_good { "good" } else { "BAD " };
        text.push_str(&format!(
            "{state}  {:<width$}  {:>digits$} bytes  {}\n",
            name(&file.path),
            file.bytes,
            file.what
        ));
    }
    text
}

fn export(path: PathBuf, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let inspected = looking(path)?;
    if inspected.files.is_empty() {
        bail!("nothing is saved there yet; is it the right --data or --config?");
    }
    for file in inspected.files.iter().filter(|file| !file.is_good) {
        let _ = writeln!(io::stderr(), "fanal: {}: {}", file.path.display(), file.what);
    }
    let counts = inspected.image.counts();
    let total = counts.directories + counts.resources + counts.links;
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {eta}") {
        bar.set_style(style);
    }
    let shown = bar.clone();
    write_file(&args.file, &inspected.image, move || shown.inc(1))?;
    bar.finish_and_clear();
    say(&format!(
        "wrote {} resources, {} directories and {} links to {}\n",
        counts.resources,
        counts.directories,
        counts.links,
        args.file.display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn import(path: PathBuf, args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let incoming = while_shown("reading", || read_file(&args.file))?;
    let mut store = None;
    let current = if args.dry_run {
        inspect(path).map_or_else(|_| Image::default(), |inspected| inspected.image)
    } else {
        let opened = FileStore::open(path)?;
        let loaded = while_shown("loading", || opened.load())?;
        store = Some(opened);
        Image::new(loaded.items, loaded.sequence, loaded.changes)
    };
    let removed = current.counts();
    let mut image = if args.replace { Image::empty(current.sequence()) } else { current };
    let merged = image.merge(incoming);
    if !merged.conflicts.is_empty() {
        for conflict in merged.conflicts.iter().take(CONFLICTS_SHOWN) {
            let _ = writeln!(io::stderr(), "fanal: {conflict}");
        }
        bail!(
            "nothing was imported, conflicts: {}; --replace throws away what is there before",
            merged.conflicts.len()
        );
    }
    if let Some(store) = store {
        // Twice, so that the snapshot before the newest has it too.
        for _ in 0..2 {
            while_shown("saving", || store.save(&mut || image.snapshot()))?;
        }
    }
    let mut text = String::new();
    if args.dry_run {
        text.push_str("nothing is done, this is what would be:\n");
    }
    if args.replace {
        text.push_str(&format!(
            "thrown away before: resources {}, directories {}, links {}\n",
            removed.resources, removed.directories, removed.links
        ));
    }
    text.push_str(&format!(
        "made {}, changed {}, there already {}\n",
        merged.made, merged.changed, merged.same
    ));
    say(&text);
    Ok(ExitCode::SUCCESS)
}

fn looking(path: PathBuf) -> anyhow::Result<Inspected> {
    Ok(while_shown("reading", || inspect(path))?)
}

/// Shows on a terminal that something goes on.
fn while_shown<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(100));
    let outcome = work();
    spinner.finish_and_clear();
    outcome
}

/// Who closed the pipe does not want to know.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
