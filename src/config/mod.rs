//! The configuration room: where settings come from, what they may be, and what is wrong with them.
//!
//! Five layers are laid over each other, and later ones win: the defaults in `keys.rs`, a TOML
//! file, what was changed while the server ran, environment variables, flags. Every value keeps the
//! place it came from. All problems of all layers are reported together, so that one look is enough
//! to mend them.
//!
//! Nothing here acts on the world: the only touch is reading the file that [`load`] is told of, and
//! that of the tunables in the directory that it names.

mod auth_keys;
mod auth_limits;
mod auth_rules;
mod auth_users;
mod blocks;
mod choices;
mod draft;
mod file;
mod flags;
mod keys;
mod kind;
mod layers;
mod preload;
mod problem;
mod relations;
mod render;
mod show;
mod suggest;
mod table;
mod tunable;

use std::path::PathBuf;

pub use auth_keys::{Auth, AuthHttp, AuthJwt, AuthMtls, AuthSql};
pub use auth_limits::LimitBlock;
pub use auth_rules::RuleBlock;
pub use choices::{
    AuthMode, AuthPreset, LogFormat, Secret, StoreEngine, StoreSync, TlsVersion, User,
};
pub use file::{DEFAULT_FILE, Source};
pub use flags::ServerArgs;
pub use keys::{
    Admin, Config, Limits, Link, Log, Mailbox, Outbox, Preload, Resource, Server, Session,
    Shutdown, Snapshot, Socket, Statistics, Store, Stream, Tcp, Tls, Unix, Websocket,
};
pub use kind::is_log_filter;
pub use preload::{Declared, DeclaredClass, USER_PLACEHOLDER};
pub use problem::{Origin, Origins, Problem, Problems};
pub use render::{example, print};
pub use tunable::{
    TunableKey, Tuned, all as tunable_keys, ensure_readable as ensure_tunables_readable,
    path as tunables_path,
};

use draft::Draft;

/// A configuration in which everything is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where each of them came from.
    pub origins: Origins,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// What was changed while the server ran, whether or not something else wins over it.
    pub tuned: Tuned,
    source: Option<Source>,
}

impl Loaded {
    /// The same file, read no second time, with other values for tunables.
    ///
    /// # Errors
    /// All problems of all layers at once.
    pub fn with_tuned(
        &self,
        args: &ServerArgs,
        env: impl Iterator<Item = (String, String)>,
        tuned: &Tuned,
    ) -> Result<Loaded, Problems> {
        let tunables = tuned.as_source(&self.config);
        finish(Draft::default(), [self.source.as_ref(), Some(&tunables)], args, env)
    }
}

/// Reads the file that the flags name, or the default one, and the tunables in the directory that
/// is then known, and lays everything over each other.
///
/// # Errors
/// All problems of all layers at once.
pub fn load(
    args: &ServerArgs,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    load_with(args, env, None)
}

/// The same with these values for tunables instead of those in their file.
///
/// # Errors
/// All problems of all layers at once.
pub fn load_with(
    args: &ServerArgs,
    env: impl Iterator<Item = (String, String)>,
    tuned: Option<&Tuned>,
) -> Result<Loaded, Problems> {
    let env: Vec<(String, String)> = env.collect();
    let mut draft = Draft::default();
    let source = match file::find(args.config.as_deref()) {
        Ok(source) => source,
        Err(problem) => {
            draft.report_incomplete(problem);
            None
        }
    };
    let sources = [source.as_ref(), None];
    let loaded = finish(draft, sources, args, env.clone().into_iter())?;
    let tunables = match tuned {
        Some(tuned) => Some(tuned.as_source(&loaded.config)),
        None => tunable::read(&loaded.config).map_err(|problem| Problems(vec![problem]))?,
    };
    match tunables {
        None => Ok(loaded),
        Some(tunables) => {
            let sources = [source.as_ref(), Some(&tunables)];
            finish(Draft::default(), sources, args, env.into_iter())
        }
    }
}

/// The same as [`load`] for a file whose text is already here; touches nothing outside.
///
/// # Errors
/// All problems of all layers at once.
pub fn resolve(
    source: Option<&Source>,
    args: &ServerArgs,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    finish(Draft::default(), [source, None], args, env)
}

/// The names of all keys in the order of the example file, such as `server.port`.
pub fn key_names() -> impl Iterator<Item = &'static str> {
    table::all().map(|key| key.dotted)
}

/// The names of the keys in which two configurations differ. What is secret is compared too.
pub fn changed_keys(one: &Config, other: &Config) -> Vec<&'static str> {
    let secrets = [
        ("auth.users", one.auth.users != other.auth.users),
        ("auth_jwt.secret", one.auth_jwt.secret != other.auth_jwt.secret),
        ("auth_http.token", one.auth_http.token != other.auth_http.token),
        ("auth_sql.url", one.auth_sql.url != other.auth_sql.url),
        ("auth_sql.password", one.auth_sql.password != other.auth_sql.password),
    ];
    let is_other = |key: &table::Key| (key.show)(one) != (key.show)(other);
    let is_secret = |key: &table::Key| secrets.contains(&(key.dotted, true));
    table::all().filter(|key| is_other(key) || is_secret(key)).map(|key| key.dotted).collect()
}

fn finish(
    mut draft: Draft,
    [source, tunables]: [Option<&Source>; 2],
    args: &ServerArgs,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    for source in [source, tunables].into_iter().flatten() {
        file::apply(source, &mut draft);
    }
    if let Some(tunables) = tunables {
        tunable::refuse_others(&tunables.path, &mut draft);
    }
    layers::apply_environment(env, &mut draft);
    layers::apply_flags(args, &mut draft);
    let (config, origins) = draft.finish()?;
    let file = source.map(|source| source.path.clone());
    let tuned = tunables.map(Tuned::read).unwrap_or_default();
    Ok(Loaded { config, origins, file, tuned, source: source.cloned() })
}
