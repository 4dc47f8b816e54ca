//! Tunables: settings that are changed while the server runs, by a resource below `$fanal/config`,
//! the API or `fanal tune`. They are on disk before that is answered, and take effect at once where
//! they can.

mod live;
mod resources;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

pub use live::{Effect, Targets, door_settings, effect, settings};
pub use resources::{offer, withdraw};

use crate::cli::{ServerArgs, environment};
use crate::config::{self, Config, Loaded, Origin, TunableKey, tunable_keys, tunables_path};
use crate::files;

/// The settings of a running server. Clones are the same.
#[derive(Clone)]
pub struct Tunables(Arc<Inner>);

struct Inner {
    args: ServerArgs,
    /// The configuration with which the server was started.
    started: Config,
    targets: Targets,
    /// Whoever holds it changes settings: it reads them, sees whether they are good, takes them.
    changing: Mutex<()>,
    /// Never held for long.
    state: Mutex<State>,
    /// Rises with each change.
    changes: watch::Sender<u64>,
}

struct State {
    /// The configuration as it is now; what takes effect at the next start only is in it as well.
    loaded: Loaded,
}

/// A tunable as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Which.
    pub key: TunableName,
    /// Its value as TOML.
    pub value: String,
    /// Where that comes from.
    pub origin: String,
    /// When another value takes effect.
    pub effect: Effect,
    /// The value in effect, if that is another one until the next start.
    pub in_effect: Option<String>,
    /// What it is.
    pub description: String,
}

/// The name of a tunable, such as `stream.buffer`.
pub type TunableName = &'static str;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The tunable.
    pub key: TunableName,
    /// Its value now, as TOML.
    pub value: String,
    /// When it takes effect.
    pub effect: Effect,
    /// What is to be known besides.
    pub remark: Option<String>,
}

/// Why nothing was done, as a sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such tunable.
    Unknown(String),
    /// The value is no good.
    Invalid(String),
    /// Something else sets it, which wins.
    Held(String),
    /// The file cannot be written.
    Failed(String),
}

impl Refused {
    /// The sentence.
    pub fn text(&self) -> &str {
        let (Self::Unknown(text) | Self::Invalid(text) | Self::Held(text) | Self::Failed(text)) =
            self;
        text
    }
}

/// A value that is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// As `--set` takes it: TOML, or text without quotes.
    Typed(String),
    /// A text.
    Text(String),
    /// What the configuration says without it.
    Unset,
}

impl Tunables {
    /// Those of a server that was started with these flags and this configuration.
    pub fn new(args: &ServerArgs, loaded: &Loaded, targets: Targets) -> Self {
        let state = State { loaded: loaded.clone() };
        Tunables(Arc::new(Inner {
            args: args.clone(),
            started: loaded.config.clone(),
            targets,
            changing: Mutex::new(()),
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
        }))
    }

    /// A number that rises with each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// `shutdown.drain` as it is now.
    pub fn drain(&self) -> Duration {
        self.0.state.lock().loaded.config.shutdown.drain
    }

    /// Reads the configuration with everything in it as it would be read at a start, and takes what
    /// takes effect before the next one if `accept` accepts all of it; also tells which keys
    /// changed and have.
    ///
    /// # Errors
    /// All problems, or what `accept` says; nothing has changed then.
    pub fn reload(
        &self,
        accept: impl FnOnce(&Config) -> Result<(), String>,
    ) -> Result<(Config, Vec<&'static str>), String> {
        let _changing = self.0.changing.lock();
        // Those that are known, and not what lies where the new configuration has its data: that is
        // for the next start.
        let tuned = self.0.state.lock().loaded.tuned.clone();
        let loaded = config::load_with(&self.0.args, environment(), Some(&tuned))
            .map_err(|problems| problems.to_string())?;
        accept(&loaded.config)?;
        let config = loaded.config.clone();
        Ok((config, self.exchange(loaded)))
    }

    fn exchange(&self, loaded: Loaded) -> Vec<&'static str> {
        let mut state = self.0.state.lock();
        let mut changed = config::changed_keys(&state.loaded.config, &loaded.config);
        live::apply(&changed, &loaded.config, &self.0.targets);
        *state = State { loaded };
        changed.retain(|key| effect(key) != Effect::NextStart);
        self.0.changes.send_modify(|number| *number = number.wrapping_add(1));
        changed
    }

    /// All of them.
    pub fn list(&self) -> Vec<View> {
        let state = self.0.state.lock();
        tunable_keys().map(|key| self.view(&state, key)).collect()
    }

    fn view(&self, state: &State, key: TunableKey) -> View {
        let value = key.value(&state.loaded.config);
        let started = key.value(&self.0.started);
        let effect = effect(key.dotted());
        let in_effect = (effect == Effect::NextStart && started != value).then_some(started);
        let is_kept_here = state.loaded.tuned.has(key) && tunables_path(&self.0.started).is_none();
        let origin = if is_kept_here {
            "until the server stops".to_owned()
        } else {
            state.loaded.origins.get(key.dotted()).to_string()
        };
        View { key: key.dotted(), value, origin, effect, in_effect, description: key.description() }
    }

    /// Changes one, durably.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn change(&self, name: &str, wish: &Wish) -> Result<Done, Refused> {
        let key = TunableKey::find(name).ok_or_else(|| {
            let shown: String = name.chars().take(100).collect();
            Refused::Unknown(format!("{shown:?} is no setting that can be changed while it runs"))
        })?;
        let value = match wish {
            Wish::Typed(text) => Some(key.read(text)),
            Wish::Text(text) => Some(key.read_text(text)),
            Wish::Unset => None,
        };
        let value = value.transpose().map_err(Refused::Invalid)?;
        let _changing = self.0.changing.lock();
        // The configuration file as it was last taken: who changes one thing here does not want to
        // have half an edit of it go live.
        let before = self.0.state.lock().loaded.clone();
        let origin = before.origins.get(key.dotted());
        if matches!(origin, Origin::Environment { .. } | Origin::Flag { .. }) {
            let key = key.dotted();
            let text = format!("{key} is set by {origin}, which wins over what is changed here");
            return Err(Refused::Held(text));
        }
        let tuned = before.tuned.with(key, value);
        let loaded = before
            .with_tuned(&self.0.args, environment(), &tuned)
            .map_err(|problems| Refused::Invalid(problems.to_string().replace('\n', "; ")))?;
        let file = tunables_path(&self.0.started);
        if let Some(file) = &file {
            files::replace(file, &tuned.to_text()).map_err(|error| {
                let text = format!("{} cannot be written: {error}", file.display());
                log::error!("{} stays as it is: {text}", key.dotted());
                Refused::Failed(text)
            })?;
        }
        let value = key.value(&loaded.config);
        let effect = effect(key.dotted());
        self.exchange(loaded);
        log::info!("{} is {value} now (effect: {})", key.dotted(), effect.text());
        let remark = remark(effect, file.is_some()).map(str::to_owned);
        Ok(Done { key: key.dotted(), value, effect, remark })
    }
}

/// What is to be known of a change.
fn remark(effect: Effect, is_kept: bool) -> Option<&'static str> {
    match (effect, is_kept) {
        (Effect::Now, true) => None,
        (Effect::Now, false) => Some("kept until the server stops (store.engine = memory)"),
        (Effect::NewConnections, true) => Some("for connections that are opened from now on"),
        (Effect::NewConnections, false) => Some(
            "for connections that are opened from now on; kept until the server stops \
             (store.engine = memory)",
        ),
        (Effect::NextStart, true) => Some("takes effect at the next start of the server"),
        (Effect::NextStart, false) => Some(
            "has no effect: it would count from the next start of the server, and is kept until it \
             stops (store.engine = memory)",
        ),
    }
}
