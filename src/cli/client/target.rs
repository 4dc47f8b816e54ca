//! Which server is meant and who one is there: from flags, the environment or a profile.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::Deserialize;

use super::failure::{Failure, Kind};
use super::printable;

/// Where a server is if nothing says otherwise.
pub const URL: &str = "ws://127.0.0.1:3000/websocket";
const USER: &str = "demo";
const TOKEN: &str = "demo";

/// What the help of each of these commands says.
pub const HELP: &str = "\
The server and the user are, each for itself, what a flag says; else what the profile named by \
--profile says; else the environment: FANAL_URL, FANAL_USER, FANAL_TOKEN; else the profile that \
FANAL_PROFILE names, or `default`; else ws://127.0.0.1:3000/websocket, demo and demo. A token is \
given by --token-file, FANAL_TOKEN or a profile, and so is in no list of processes.

Profiles are tables of ~/.config/fanal/profiles.toml (or of --profiles, FANAL_PROFILES):
  [wall]
  url = \"wss://wall.example/websocket\"
  user = \"ann\"
  token_file = \"wall.token\"    # beside this file; or token = \"...\"; ca, cert, key for TLS";

/// Which server is meant, and who one is there.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct Connect {
    /// The server: ws://, wss:// or tcp://HOST:PORT, or unix:///PATH [env: FANAL_URL]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// The user to act as [env: FANAL_USER]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Read the token of that user from this file [env: FANAL_TOKEN is the token itself]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Take what flags do not say from this profile [env: FANAL_PROFILE]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,

    /// Read profiles from this file [env: FANAL_PROFILES]
    #[arg(long, value_name = "FILE")]
    pub profiles: Option<PathBuf>,

    /// Believe the authorities in this PEM file instead of those of the machine (wss)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Show this certificate to the server, in PEM form (wss)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// The private key of that certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// A server, and who one is there. It has no `Debug`, which would show the token.
#[derive(Clone, Default)]
pub struct Target {
    /// Where the server is.
    pub url: String,
    /// The user.
    pub user: String,
    /// Its token.
    pub token: String,
    /// The authorities that are believed instead of those of the machine.
    pub ca: Option<PathBuf>,
    /// The certificate that the server is shown.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// A table of the file of profiles.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: Option<String>,
    user: Option<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Connect {
    /// What flags, environment and profile say together.
    ///
    /// # Errors
    /// If a file cannot be read or a profile is not there.
    pub fn target(&self) -> Result<Target> {
        self.resolve(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn resolve(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Target> {
        let named = self.profile.clone();
        let wanted = named.clone().or_else(|| variable("FANAL_PROFILE"));
        let file = self.profiles.clone().or_else(|| variable("FANAL_PROFILES").map(PathBuf::from));
        let profile = profile(file, wanted.as_deref(), &variable)?;
        let (first, last) = match named {
            Some(_) => (profile, Profile::default()),
            None => (Profile::default(), profile),
        };
        let token = match &self.token_file {
            Some(file) => Some(read_token(file)?),
            None => match first.own_token()? {
                Some(token) => Some(token),
                None => match variable("FANAL_TOKEN") {
                    Some(token) => Some(token),
                    None => last.own_token()?,
                },
            },
        };
        let one = |flag: &Option<String>, first: Option<String>, name, last, usual: &str| {
            let given = flag.clone().or(first).or_else(|| variable(name)).or(last);
            given.unwrap_or_else(|| usual.to_owned())
        };
        let (first_cert, first_key) = (first.cert, first.key);
        Ok(Target {
            url: one(&self.url, first.url, "FANAL_URL", last.url, URL),
            user: one(&self.user, first.user, "FANAL_USER", last.user, USER),
            token: token.unwrap_or_else(|| TOKEN.to_owned()),
            ca: self.ca.clone().or(first.ca).or(last.ca),
            cert: self.cert.clone().or(first_cert).or(last.cert),
            key: self.key.clone().or(first_key).or(last.key),
        })
    }
}

impl Profile {
    /// The same with relative paths as beside the file that they stand in.
    fn beside(self, file: &Path) -> Self {
        let folder = file.parent().unwrap_or(Path::new(""));
        let join = |path: Option<PathBuf>| path.map(|path| folder.join(path));
        Profile {
            token_file: join(self.token_file),
            ca: join(self.ca),
            cert: join(self.cert),
            key: join(self.key),
            ..self
        }
    }

    fn own_token(&self) -> Result<Option<String>> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(Some(token.clone())),
            (None, Some(file)) => read_token(file).map(Some),
            (None, None) => Ok(None),
        }
    }
}

fn usage(text: String) -> anyhow::Error {
    Failure::error(Kind::Usage, text)
}

fn read_token(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file)
        .map_err(|error| usage(format!("the token file {}: {error}", file.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The profile that is wanted; without a wish `default`, if there is one.
fn profile(
    file: Option<PathBuf>,
    wanted: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Profile> {
    let is_named = file.is_some();
    let Some(file) = file.or_else(|| usual_file(variable)) else {
        return match wanted {
            None => Ok(Profile::default()),
            Some(name) => Err(usage(format!(
                "profile {name:?}: no home directory is known; --profiles names the file"
            ))),
        };
    };
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && wanted.is_none() && !is_named => {
            return Ok(Profile::default());
        }
        Err(error) => return Err(usage(format!("profiles of {}: {error}", file.display()))),
    };
    let mut profiles = read(&file, &text)?;
    let name = wanted.unwrap_or("default");
    match profiles.remove(name) {
        Some(profile) => {
            warn_of_others(&file, &profile);
            Ok(profile.beside(&file))
        }
        None if wanted.is_none() => Ok(Profile::default()),
        None => {
            let known: Vec<String> = profiles.into_keys().map(|name| printable(&name)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(usage(format!("{}: no profile {name:?}; there are: {known}", file.display())))
        }
    }
}

fn read(file: &Path, text: &str) -> Result<BTreeMap<String, Profile>> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let line = text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        usage(format!("{}:{line}: {}", file.display(), error.message()))
    })
}

fn usual_file(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folder = match variable("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(variable("HOME")?).join(".config"),
    };
    Some(folder.join("fanal").join("profiles.toml"))
}

/// Says so if a token lies open.
fn warn_of_others(file: &Path, profile: &Profile) {
    let mode = fs::metadata(file).map_or(0, |data| data.permissions().mode());
    if profile.token.is_some() && mode & 0o077 != 0 && io::stderr().is_terminal() {
        eprintln!(
            "fanal: {} has a token in it and others may read it; chmod 600 {}",
            file.display(),
            file.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILES: &str = "\
[default]
user = \"dora\"
[wall]
url = \"wss://wall/websocket\"
user = \"wanda\"
token = \"wall-token\"
ca = \"/ca.pem\"
";

    /// What is resolved: URL, user and token.
    #[track_caller]
    fn check(connect: &Connect, variables: &[(&str, &str)], expected: [&str; 3]) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("fanal")).unwrap();
        fs::write(folder.path().join("fanal/profiles.toml"), PROFILES).unwrap();
        let target = connect.resolve(|name| match name {
            "XDG_CONFIG_HOME" => Some(folder.path().display().to_string()),
            name => {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        });
        let target = target.unwrap();
        assert_eq!([&*target.url, &*target.user, &*target.token], expected);
    }

    #[test]
    fn flags_win_over_a_named_profile_over_the_environment_over_another_profile() {
        let none = Connect::default();
        let flags = Connect {
            url: Some("tcp://a".to_owned()),
            user: Some("fiona".to_owned()),
            ..none.clone()
        };
        let named = Connect { profile: Some("wall".to_owned()), ..none.clone() };
        let environment =
            [("FANAL_URL", "ws://env/"), ("FANAL_USER", "emil"), ("FANAL_TOKEN", "env-token")];
        let wall = ["wss://wall/websocket", "wanda", "wall-token"];
        check(&none, &[], [URL, "dora", "demo"]);
        check(&none, &environment, ["ws://env/", "emil", "env-token"]);
        check(&none, &[("FANAL_PROFILE", "wall")], wall);
        check(
            &none,
            &[("FANAL_PROFILE", "wall"), ("FANAL_USER", "emil")],
            ["wss://wall/websocket", "emil", "wall-token"],
        );
        check(&named, &environment, wall);
        let both = Connect { profile: named.profile.clone(), ..flags.clone() };
        check(&flags, &environment, ["tcp://a", "fiona", "env-token"]);
        check(&both, &environment, ["tcp://a", "fiona", "wall-token"]);
    }

    #[track_caller]
    fn check_refused(text: &str, wanted: Option<&str>, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profiles.toml");
        fs::write(&file, text).unwrap();
        let connect = Connect {
            profiles: Some(file),
            profile: wanted.map(str::to_owned),
            ..Connect::default()
        };
        let error = connect.resolve(|_| None).err().unwrap();
        assert!(error.to_string().contains(expected), "{text}: {error}");
        assert_eq!(super::super::failure::code(&error), 2);
    }

    #[test]
    fn what_is_wrong_with_profiles_is_said_with_its_line() {
        check_refused(
            "[a]\nurl = \"x\"\ncolour = 1\n",
            Some("a"),
            "profiles.toml:3: unknown field",
        );
        check_refused("[a]\nurl = 1\n", None, "profiles.toml:2: invalid type");
        check_refused("[a\n", None, "profiles.toml:1: ");
        check_refused("[a]\n[b]\n", Some("c"), "no profile \"c\"; there are: a, b");
        check_refused("", Some("c"), "there are: none");
        check_refused("[a]\ntoken_file = \"/nowhere\"\n", Some("a"), "the token file /nowhere: ");
    }

    #[test]
    fn a_named_file_must_be_there_and_the_usual_one_need_not() {
        let nowhere = PathBuf::from("/nowhere/profiles.toml");
        let connect = Connect { profiles: Some(nowhere), ..Connect::default() };
        assert!(connect.resolve(|_| None).is_err());
        let usual = |name: &str| (name == "HOME").then(|| "/nowhere".to_owned());
        assert_eq!(Connect::default().resolve(usual).unwrap().user, "demo");
        let wanted = Connect { profile: Some("a".to_owned()), ..Connect::default() };
        assert!(wanted.resolve(usual).is_err());
        assert!(wanted.resolve(|_| None).is_err());
    }
}
