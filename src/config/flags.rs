//! The flags of the server as they are typed.
//!
//! They stay text here: only when all layers are laid over each other are they checked, so that
//! one mistake does not hide another.

use std::path::PathBuf;

use clap::Args;

/// The flags that set up the server.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerArgs {
    /// Read this configuration file instead of ./fanal.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Listen on this IP address, such as 0.0.0.0 for all networks [setting: server.bind]
    #[arg(long, value_name = "ADDR", allow_hyphen_values = true)]
    pub bind: Option<String>,

    /// Listen on this TCP port; 0 takes any free one [setting: server.port]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub port: Option<String>,

    /// Keep the state in this directory [setting: store.directory]
    #[arg(long, value_name = "PATH")]
    pub data: Option<String>,

    /// Refuse to start on a damaged store [setting: store.strict]
    #[arg(long)]
    pub strict: bool,

    /// Show log messages from this level up: error, warn, info, debug or trace [setting: log.level]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Set any key but the users, as in --set stream.buffer=32; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}
