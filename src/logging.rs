//! Logging: a line for people or an object for machines, on standard error.

use std::io::Write;
use std::sync::OnceLock;

use env_logger::fmt::Formatter;
use env_logger::{Builder, Logger};
use log::kv::{self, Key, Value, VisitSource};
use log::{LevelFilter, Metadata, Record};
use parking_lot::RwLock;

use crate::config::{Log, LogFormat};

/// The logger of the process, from the start of the server on.
static LIVE: OnceLock<Live> = OnceLock::new();

/// A logger whose level may be changed while it is used.
struct Live {
    now: RwLock<(String, Logger)>,
    format: LogFormat,
}

impl log::Log for Live {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.now.read().1.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.now.read().1.log(record);
    }

    fn flush(&self) {
        self.now.read().1.flush();
    }
}

/// Sets the logger of the process up. Colours are used on a terminal only. A second server in one
/// process, as in tests, keeps the first one's logger.
pub fn start(log: &Log) {
    let live = LIVE.get_or_init(|| {
        let now = (log.level.clone(), build(&log.level, log.format));
        Live { now: RwLock::new(now), format: log.format }
    });
    // An application in which the server runs may have one already.
    if log::set_logger(live).is_ok() {
        log::set_max_level(live.now.read().1.filter());
    }
}

/// The least important messages that are shown, as `log.level` has it; `None` if the logger is not
/// ours.
pub fn level() -> Option<String> {
    LIVE.get().map(|live| live.now.read().0.clone())
}

/// Changes them until the next start; `false` if the logger is not ours. The text is one that
/// `log.level` takes.
pub fn set_level(level: &str) -> bool {
    let Some(live) = LIVE.get() else { return false };
    let logger = build(level, live.format);
    let filter = logger.filter();
    *live.now.write() = (level.to_owned(), logger);
    log::set_max_level(filter);
    true
}

fn build(level: &str, format: LogFormat) -> Logger {
    let mut builder = Builder::new();
    builder.parse_filters(level);
    // The framework tells each worker and each client that breaks HTTP, some of it as an error; a
    // stranger could fill the log with it.
    builder.filter_module("actix_server", LevelFilter::Warn);
    builder.filter_module("actix_http", LevelFilter::Off);
    match format {
        // What has a key is in the text already.
        LogFormat::Text => {
            builder.format_timestamp_millis().format_target(false);
        }
        LogFormat::Json => {
            builder.format(write_json);
        }
    }
    builder.build()
}

fn write_json(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let mut fields = Fields(serde_json::Map::new());
    let mut put = |name: &str, value: String| fields.0.insert(name.to_owned(), value.into());
    put("time", out.timestamp_millis().to_string());
    put("level", record.level().as_str().to_lowercase());
    put("target", record.target().to_owned());
    put("message", record.args().to_string());
    // Nothing here can fail.
    let _ = record.key_values().visit(&mut fields);
    writeln!(out, "{}", serde_json::Value::Object(fields.0))
}

/// The fields of a line.
struct Fields(serde_json::Map<String, serde_json::Value>);

impl<'v> VisitSource<'v> for Fields {
    fn visit_pair(&mut self, key: Key<'v>, value: Value<'v>) -> Result<(), kv::Error> {
        let value = match value.to_u64() {
            Some(number) => number.into(),
            None => value.to_string().into(),
        };
        self.0.insert(key.as_str().to_owned(), value);
        Ok(())
    }
}
