//! Logging: a line for people or an object for machines, on standard error.

use std::io::Write;

use crate::config::{Log, LogFormat};

/// Sets the logger of the process up. Colours are used on a terminal only.
pub fn start(log: &Log) {
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&log.level);
    // The framework tells each worker and each client that breaks HTTP, some of it as an error; a
    // stranger could fill the log with it.
    builder.filter_module("actix_server", log::LevelFilter::Warn);
    builder.filter_module("actix_http", log::LevelFilter::Off);
    match log.format {
        LogFormat::Text => {
            builder.format_timestamp_millis().format_target(false);
        }
        LogFormat::Json => {
            builder.format(|out, record| {
                let line = serde_json::json!({
                    "time": out.timestamp_millis().to_string(),
                    "level": record.level().as_str().to_lowercase(),
                    "target": record.target(),
                    "message": record.args().to_string(),
                });
                writeln!(out, "{line}")
            });
        }
    }
    // A second server in one process, as in tests, keeps the first one's logger.
    let _already_set = builder.try_init();
}
