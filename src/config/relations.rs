//! What values must be in relation to each other. Each is right on its own by now.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::choices::AuthMode;
use super::keys::{self, Config};
use super::preload::Declared;
use super::problem::{About, Origin, Origins, Problem};

/// Everything that does not go together.
pub(super) fn check(
    config: &Config,
    origins: &Origins,
    doubtful: &BTreeSet<&'static str>,
) -> Vec<Problem> {
    let judge = Judge { config, origins, doubtful, problems: Vec::new() };
    judge.open_doors().tls().users().preload().problems
}

struct Judge<'a> {
    config: &'a Config,
    origins: &'a Origins,
    doubtful: &'a BTreeSet<&'static str>,
    problems: Vec<Problem>,
}

impl Judge<'_> {
    /// A server that trusts everybody must not be reachable by everybody, unless that is meant.
    fn open_doors(self) -> Self {
        let (server, tcp) = (&self.config.server, &self.config.tcp);
        self.open_door("server.bind", server.bind, true).open_door(
            "tcp.bind",
            tcp.bind,
            tcp.enabled,
        )
    }

    fn open_door(self, key: &'static str, bind: IpAddr, enabled: bool) -> Self {
        let auth = &self.config.auth;
        // `::ffff:127.0.0.1` is loopback too, in the clothes of IPv6.
        let reachable = enabled && !bind.to_canonical().is_loopback();
        let open = auth.mode == AuthMode::AllowAll && !auth.insecure && reachable;
        self.complain(
            open,
            &[key, "auth.mode", "auth.insecure"],
            "with auth.mode = \"allow_all\" everybody who reaches this address could read and \
             write everything: expected a loopback address such as 127.0.0.1 or auth.mode = \
             \"users\", or auth.insecure = true if that is meant",
        )
    }

    /// Encryption takes both files.
    fn tls(self) -> Self {
        let tls = &self.config.tls;
        let has = |path: &std::path::Path| !path.as_os_str().is_empty();
        let (no_key, no_certificate) =
            (has(&tls.certificate) && !has(&tls.key), has(&tls.key) && !has(&tls.certificate));
        self.complain(
            no_key,
            &["tls.certificate", "tls.key"],
            "expected tls.key as well, the file with the private key of this certificate",
        )
        .complain(
            no_certificate,
            &["tls.key", "tls.certificate"],
            "expected tls.certificate as well, the file with the certificate of this key",
        )
    }

    fn users(self) -> Self {
        let wrong = self.config.auth.mode == AuthMode::Users && self.config.auth.users.is_empty();
        self.complain(
            wrong,
            &["auth.mode", "auth.users"],
            "there are no users, so nobody could do anything: expected at least one block \
             [[auth.users]] with name and token in the file, or another auth.mode",
        )
    }

    /// A place for each user takes users, whose names are names.
    fn preload(self) -> Self {
        let users = &self.config.auth.users;
        let per_user = self.config.preload.resources.iter().any(Declared::is_per_user);
        let no_users = per_user && users.is_empty();
        let slashes = per_user && users.iter().any(|user| user.name.contains('/'));
        self.complain(
            no_users,
            &["preload.resources", "auth.users"],
            "there are no users to take the place of {user}: expected at least one block \
             [[auth.users]], or a path without {user}",
        )
        .complain(
            slashes,
            &["preload.resources", "auth.users"],
            "a user whose name has a slash cannot take the place of {user}: expected names without",
        )
    }

    /// The first key is the one to blame, at its place or, if nobody set it, at that of another.
    fn complain(mut self, wrong: bool, dotted: &[&'static str], sentence: &str) -> Self {
        if !wrong || dotted.iter().any(|name| self.doubtful.contains(name)) {
            return self;
        }
        let origin = dotted
            .iter()
            .map(|name| self.origins.get(name))
            .find(|origin| **origin != Origin::Default)
            .unwrap_or(&Origin::Default);
        if let Some(key) = dotted.first().and_then(|name| keys::find(name)) {
            let found = (key.show)(self.config);
            let sentence = format!("{} = {found}: {sentence}", key.dotted);
            self.problems.push(Problem::at(About::Value, origin, sentence));
        }
        self
    }
}
