//! What values must be in relation to each other. Each is right on its own by now.

use std::collections::BTreeSet;
use std::net::IpAddr;

use actix_web::http::Uri;

use super::choices::AuthMode;
use super::keys::Config;
use super::preload::{Declared, USER_PLACEHOLDER};
use super::problem::{About, Origin, Origins, Problem};
use super::table;

/// The shortest secret that signs tokens, in bytes: as long as what it makes.
const SECRET_BYTES_MIN: usize = 32;

/// Everything that does not go together.
pub(super) fn check(
    config: &Config,
    origins: &Origins,
    doubtful: &BTreeSet<&'static str>,
) -> Vec<Problem> {
    let judge = Judge { config, origins, doubtful, problems: Vec::new() };
    let judge = judge.open_doors().proxies().tls().users().cookie().user_paths().jwt().mtls();
    judge.http().sql().preload().problems
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

    /// Nobody else is heard.
    fn proxies(self) -> Self {
        let server = &self.config.server;
        self.complain(
            server.proxy_protocol && server.trusted_proxies.is_empty(),
            &["server.proxy_protocol", "server.trusted_proxies"],
            "only listed proxies may say whose a connection is: expected server.trusted_proxies \
             with the addresses of yours, such as [\"10.0.0.1\"]",
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
        let auth = &self.config.auth;
        let only_these = auth.providers.iter().all(|name| name == "users");
        let none = auth.users.is_empty() && auth.users_file.as_os_str().is_empty();
        let nobody = auth.anonymous_roles.is_empty();
        let wrong = auth.mode == AuthMode::Users && only_these && none && nobody;
        self.complain(
            wrong,
            &["auth.mode", "auth.users"],
            "there are no users, so nobody could do anything: expected at least one block \
             [[auth.users]] with name and token in the file, auth.users_file, another provider in \
             auth.providers, or another auth.mode",
        )
    }

    /// A browser sends cookies for whatever page asks.
    fn cookie(self) -> Self {
        let wrong =
            !self.config.auth.cookie.is_empty() && self.config.server.allowed_origins.is_empty();
        self.complain(
            wrong,
            &["auth.cookie", "server.allowed_origins"],
            "any page in a browser could act as who is logged in there: expected \
             server.allowed_origins as well, the pages that may",
        )
    }

    /// What is made for each user is another place for each.
    fn user_paths(self) -> Self {
        let is_place = |path: &String| {
            path.split('/').any(|name| name == USER_PLACEHOLDER) && !path.contains('*')
        };
        let wrong = !self.config.auth.user_paths.iter().all(is_place);
        self.complain(
            wrong,
            &["auth.user_paths"],
            "expected paths in which one name is {user} and none is a wildcard",
        )
    }

    /// Tokens take keys, and each key is for some algorithms.
    fn jwt(self) -> Self {
        let jwt = &self.config.auth_jwt;
        let used = self.has_provider("jwt");
        let secret = jwt.secret.reveal();
        let has_secret = used && !secret.is_empty();
        let has_keys = used && !(jwt.key_file.as_os_str().is_empty() && jwt.keys.is_empty());
        let shared = jwt.algorithms.iter().any(|name| name == "HS256");
        let public = jwt.algorithms.iter().any(|name| name != "HS256");
        self.complain(
            used && !has_secret && !has_keys,
            &["auth.providers", "auth_jwt.secret", "auth_jwt.key_file", "auth_jwt.keys"],
            "jwt takes a key: expected auth_jwt.secret, auth_jwt.key_file or auth_jwt.keys",
        )
        .complain(
            has_secret && secret.len() < SECRET_BYTES_MIN,
            &["auth_jwt.secret"],
            "it can be found by trying: expected 32 bytes or more, such as those of `openssl rand \
             -hex 32`",
        )
        .complain(
            has_secret && !shared,
            &["auth_jwt.algorithms", "auth_jwt.secret"],
            "auth_jwt.secret is for HS256: expected HS256 here as well, or no secret",
        )
        .complain(
            used && shared && !has_secret,
            &["auth_jwt.algorithms", "auth_jwt.secret"],
            "HS256 takes a secret: expected auth_jwt.secret as well, or a list without HS256",
        )
        .complain(
            has_keys && !public,
            &["auth_jwt.algorithms", "auth_jwt.key_file", "auth_jwt.keys"],
            "auth_jwt.key_file and auth_jwt.keys have public keys: expected RS256, ES256 or EdDSA \
             here as well, or no such keys",
        )
    }

    /// Certificates of clients take one of the server, and somebody who issues them.
    fn mtls(self) -> Self {
        let is_empty = |path: &std::path::Path| path.as_os_str().is_empty();
        let none = is_empty(&self.config.auth_mtls.authorities);
        let bare = is_empty(&self.config.tls.certificate);
        let used = self.has_provider("mtls");
        let required = self.config.auth_mtls.required;
        self.complain(
            used && none,
            &["auth.providers", "auth_mtls.authorities"],
            "mtls takes auth_mtls.authorities as well, a file with the certificates of who may \
             issue those of clients",
        )
        .complain(
            used && bare,
            &["auth.providers", "tls.certificate"],
            "mtls takes tls.certificate and tls.key as well, for only TLS carries certificates",
        )
        .complain(
            required && none,
            &["auth_mtls.required", "auth_mtls.authorities"],
            "expected auth_mtls.authorities as well, or no certificate could be good",
        )
        .complain(
            !none && bare,
            &["auth_mtls.authorities", "tls.certificate"],
            "expected tls.certificate and tls.key as well, for only TLS carries certificates",
        )
    }

    /// Whether a provider is asked.
    fn has_provider(&self, name: &str) -> bool {
        let auth = &self.config.auth;
        auth.mode == AuthMode::Users && auth.providers.iter().any(|provider| provider == name)
    }

    /// A service is asked at a URL, to which the name of a user is added.
    fn http(self) -> Self {
        let (auth, http) = (&self.config.auth, &self.config.auth_http);
        let used = auth.mode == AuthMode::Users && auth.providers.iter().any(|name| name == "http");
        let no_url = used && (!is_web_url(&http.url) || http.url.contains('?'));
        let no_users_url = used && !http.users_url.is_empty() && !is_web_url(&http.users_url);
        self.complain(
            no_url,
            &["auth_http.url", "auth.providers"],
            "the provider \"http\" in auth.providers asks a service there: expected an https or \
             http URL such as \"https://example.org/authenticate\", without user, ? and #",
        )
        .complain(
            no_users_url,
            &["auth_http.users_url", "auth.providers"],
            "expected an https or http URL such as \"https://example.org/users\", without user \
             and #, or \"\" for none",
        )
    }

    /// A database has an address.
    fn sql(self) -> Self {
        let nowhere = self.has_provider("sql") && self.config.auth_sql.url.reveal().is_empty();
        self.complain(
            nowhere,
            &["auth_sql.url", "auth.providers"],
            "the provider sql does not know where its database is: expected a URL such as \
             postgresql://fanal@db.example.org/campus, or auth.providers without sql",
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
        if let Some(key) = dotted.first().and_then(|name| table::find(name)) {
            let found = (key.show)(self.config);
            let sentence = format!("{} = {found}: {sentence}", key.dotted);
            self.problems.push(Problem::at(About::Value, origin, sentence));
        }
        self
    }
}

/// Whether a text is a URL of the web that has nothing in it but a place.
fn is_web_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let Some(authority) = uri.authority() else { return false };
    let host = authority.host();
    // Besides the host there may be a port, but no user.
    let is_place = authority.as_str() == host || authority.port_u16().is_some();
    // A fragment would be cut off without a word.
    matches!(uri.scheme_str(), Some("http" | "https"))
        && !host.is_empty()
        && is_place
        && !text.contains(['@', '#'])
}

#[cfg(test)]
mod tests {
    use super::is_web_url;

    #[test]
    fn a_url_of_the_web_is_only_a_place() {
        for url in [
            "http://127.0.0.1:1234",
            "https://example.org/api/internal/authenticate",
            "https://[::1]/x/",
            "HTTPS://example.org/users?all=1",
        ] {
            assert!(is_web_url(url), "{url}");
        }
        for url in [
            "",
            "example.org",
            "example.org/x",
            "/x",
            "ftp://example.org",
            "ws://example.org",
            "http://",
            "http:///x",
            "http://ann:secret@example.org",
            "https://example.org/#x",
            "https://exa mple.org",
            "https://example.org:port",
        ] {
            assert!(!is_web_url(url), "{url}");
        }
    }
}
