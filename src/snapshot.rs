//! `fanal snapshot`: what is saved, to be looked at, carried elsewhere, or brought in.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use fanal_actors::ports::StoreError;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{ExportArgs, ImportArgs, ServerArgs, SnapshotCommand, check_config, environment};
use crate::config::{self, Config, StoreEngine};
use crate::control;
use crate::logging;
use crate::store::{
    EmbeddedSettings, EmbeddedStore, FileStore, Image, Inspected, SNAPSHOT_FILE, inspect,
    inspect_embedded, read_file, write_file,
};

const NOTHING_SAVED: &str =
    "nothing is saved with store.engine = \"memory\": name another engine in the configuration";

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
    let outcome = match command {
        SnapshotCommand::Info(_) => info(&config),
        SnapshotCommand::Verify(_) => verify(&config),
        SnapshotCommand::Export(args) => export(&config, args),
        SnapshotCommand::Import(args) => import(&config, args),
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

fn info(config: &Config) -> anyhow::Result<ExitCode> {
    let inspected = looking(config)?;
    let counts = inspected.image.counts();
    let mut text = String::new();
    for (name, value) in [
        ("directory", config.store.directory.display().to_string()),
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

fn verify(config: &Config) -> anyhow::Result<ExitCode> {
    let inspected = looking(config)?;
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

fn export(config: &Config, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let inspected = looking(config)?;
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

fn import(config: &Config, args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let incoming = while_shown("reading", || read_file(&args.file))?;
    let mut store = None;
    let current = if args.dry_run {
        looking(config).map_or_else(|_| Image::default(), |inspected| inspected.image)
    } else {
        let opened = Opened::open(config)?;
        let image = while_shown("loading", || opened.image())?;
        store = Some(opened);
        image
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
        while_shown("saving", || store.replace(&image))?;
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

/// A store that an import changes.
enum Opened {
    Embedded(EmbeddedStore),
    File(Box<FileStore>),
}

impl Opened {
    fn open(config: &Config) -> anyhow::Result<Self> {
        Ok(match config.store.engine {
            StoreEngine::Embedded => {
                // What is damaged is to be looked at before something is put in its place.
                let settings = EmbeddedSettings { strict: true, ..config.into() };
                Opened::Embedded(EmbeddedStore::open(settings)?)
            }
            StoreEngine::File => {
                Opened::File(Box::new(FileStore::open(config.store.directory.join(SNAPSHOT_FILE))?))
            }
            StoreEngine::Memory => bail!(NOTHING_SAVED),
        })
    }

    fn image(&self) -> Result<Image, StoreError> {
        match self {
            Opened::Embedded(store) => Image::of(store),
            Opened::File(store) => Image::of(&**store),
        }
    }

    fn replace(&self, image: &Image) -> Result<(), StoreError> {
        match self {
            Opened::Embedded(store) => store.replace(|| image.snapshot()).map(drop),
            Opened::File(store) => {
                // Twice, so that the snapshot before the newest has it too.
                store.save_whole(&mut || image.snapshot())?;
                store.save_whole(&mut || image.snapshot()).map(drop)
            }
        }
    }
}

fn looking(config: &Config) -> anyhow::Result<Inspected> {
    let directory = &config.store.directory;
    match config.store.engine {
        StoreEngine::Memory => bail!(NOTHING_SAVED),
        StoreEngine::File => Ok(while_shown("reading", || inspect(directory.join(SNAPSHOT_FILE)))?),
        StoreEngine::Embedded => {
            let live = while_shown("asking the server", || control::take_snapshot(directory))?;
            let settings = EmbeddedSettings::from(config);
            Ok(while_shown("reading", || inspect_embedded(settings, live.as_deref()))?)
        }
    }
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
