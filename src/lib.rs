//! The server around the broker: configuration, doors, store, command line.
//!
//! `main` is the program; everything that it does is in [`app`] and [`cli`]. The map of the whole
//! is ARCHITECTURE.md.

mod accounts;
mod admin;
pub mod app;
mod auth;
pub mod cli;
mod clock;
pub mod config;
mod control;
mod descriptors;
pub mod doors;
mod embed;
mod files;
mod inherited;
mod lag;
mod logging;
mod metrics;
mod preload;
mod reload;
mod service;
pub mod snapshot;
mod sparing;
mod statistics;
mod stopping;
pub mod store;
mod summary;
mod ticks;
mod tls;
mod tunables;

pub use embed::{Embedded, embed};
