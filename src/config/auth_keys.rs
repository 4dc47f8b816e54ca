//! The keys of the configuration about who may do what; see `keys.rs`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::auth_limits::LimitBlock;
use super::auth_rules::RuleBlock;
use super::choices::{AuthMode, AuthPreset, Secret, User};
use super::keys::{DAY, HOUR, TEN_MINUTES, TICK};
use super::kind::{Kind, count, time};
use super::show::Show;
use super::table::{Key, Section, duration, key_sections};

/// Who may know users.
const PROVIDERS: &[&str] = &["users", "jwt", "http", "sql", "tree", "mtls"];

key_sections! {
    /// Who may read and write.
    auth: Auth {
        /// `allow_all` lets everybody do everything, `allow_none` refuses every request, `users`
        /// lets in who proves to be a user, who then may do what the rules below say.
        mode: AuthMode = AuthMode::AllowAll, Kind::Choice(&["allow_all", "allow_none", "users"]);

        /// Permits `auth.mode = "allow_all"` on an address that other machines can reach.
        insecure: bool = false, Kind::Flag;

        /// Who knows the users, the first one asked first: `users` are those below and in
        /// `auth.users_file`, `jwt` `http` `sql` and `mtls` have sections of their own, `tree` are
        /// those that are written to `$fanal/auth/users` in the broker itself.
        providers: Vec<String> = vec!["users".to_owned()], Kind::Words(PROVIDERS);

        /// A file of users as `fanal token new` writes it; empty for none.
        users_file: PathBuf = PathBuf::new(), Kind::OptionalPath;

        /// The role of those who may do everything, whatever the rules say; empty for no such role.
        admin_role: String = "admin".to_owned(), Kind::Text;

        /// The roles of who gives no credentials at all; empty to refuse such requests with 401.
        anonymous_roles: Vec<String> = Vec::new(), Kind::Texts;

        /// Rules that are there before those below: `lighthouse` are the original server's (read
        /// `live` and each user's `model` and `input`, write the own two, the role `deploy` does
        /// everything below `metrics`), `none` are none.
        preset: AuthPreset = AuthPreset::Lighthouse, Kind::Choice(&["lighthouse", "none"]);

        /// Whether a LIST that is allowed shows every name below, as the original does, or only
        /// those that the user may GET or LIST.
        list_all: bool = true, Kind::Flag;

        /// How long the first request with good credentials may take before the connection is
        /// closed with 1008; 0s for any time.
        #[serde(deserialize_with = "duration")]
        first_request_timeout: Duration = Duration::from_secs(60), time(Duration::ZERO, DAY);

        /// How often it is looked whether credentials have expired, and whether this file or the
        /// file of users has changed; 0s for never, and then only `fanal reload` and SIGHUP reload.
        #[serde(deserialize_with = "duration")]
        recheck_interval: Duration = Duration::from_secs(5), time(Duration::ZERO, HOUR);

        /// How many different wrong credentials of one address are judged at once before it has to
        /// wait, for longer each time; one is forgotten each second. 0 for any number.
        failures_max: u32 = 100, count(0, 1_000_000);

        /// How long an address with more wrong credentials waits at most between two tries.
        #[serde(deserialize_with = "duration")]
        failures_wait_max: Duration = Duration::from_secs(30), time(TICK, HOUR);

        /// The cookie whose value is a token, for browsers that are logged in elsewhere; empty for
        /// none. It needs `server.allowed_origins`, or any page could use it.
        cookie: String = String::new(), Kind::Text;

        /// What is made for each user in `auth.users_file` and for each that the providers `http`
        /// and `sql` tell of, who also delete it with the user; `{user}` stands for the name.
        user_paths: Vec<String> = vec![
            "user/{user}/model".to_owned(), "user/{user}/input".to_owned(),
        ], Kind::Patterns;

        /// The users, each with a name, a token, roles, and `admin = true` if it has the admin
        /// role; they are given in the file only, where a token is safe from the process list.
        users: Vec<User> = Vec::new(), Kind::Users;

        /// What users may do and may not. A rule gives rights with `allow` or takes them with
        /// `deny`: verbs, or READ WRITE CREATE DELETE LIST LINK ADMIN for several. It is for the
        /// given `roles` and `users`, or without both for every user. `paths` are patterns. What no
        /// rule allows is denied, and what one denies is denied whatever others allow.
        rules: Vec<RuleBlock> = Vec::new(), Kind::Rules;

        /// How much each user of some roles may have and do; of several blocks that fit a user the
        /// largest number counts, and what none bounds is bounded by the other sections only.
        limits: Vec<LimitBlock> = Vec::new(), Kind::Quotas;
    }

    /// JSON Web Tokens (RFC 7519), with the provider `jwt`.
    auth_jwt: AuthJwt {
        /// The secret with which HS256 tokens are signed, 32 bytes or more; empty for none.
        secret: Secret = Secret::default(), Kind::Secret;

        /// A file with the public key of RS256, ES256 or EdDSA tokens in PEM; empty for none.
        key_file: PathBuf = PathBuf::new(), Kind::OptionalPath;

        /// A set of such keys (JWKS, RFC 7517): a file, or an https or http URL; empty for none.
        keys: String = String::new(), Kind::Text;

        /// How tokens may be signed.
        algorithms: Vec<String> = vec![
            "RS256".to_owned(), "ES256".to_owned(), "EdDSA".to_owned(),
        ], Kind::Words(&["HS256", "RS256", "ES256", "EdDSA"]);

        /// Who has to have issued a token (`iss`); empty for anybody who has the key.
        issuer: String = String::new(), Kind::Text;

        /// Whom a token has to be for (`aud`); empty for tokens that say nothing about that.
        audience: String = String::new(), Kind::Text;

        /// How far the clocks of issuer and server may be apart.
        #[serde(deserialize_with = "duration")]
        leeway: Duration = Duration::from_secs(30), time(Duration::ZERO, TEN_MINUTES);

        /// The claim with the name of the user; dots lead into inner objects.
        user_claim: String = "sub".to_owned(), Kind::Text;

        /// The claim with the roles, a list or a text with blanks in between; empty for none.
        roles_claim: String = "roles".to_owned(), Kind::Text;

        /// How often keys are fetched again; keys that are missing are looked for at once, but not
        /// more often than each 10 seconds.
        #[serde(deserialize_with = "duration")]
        refresh_interval: Duration = TEN_MINUTES, time(Duration::from_secs(10), DAY);
    }

    /// A service that knows the users, with the provider `http`.
    auth_http: AuthHttp {
        /// Where it is: `GET {url}/{user}` with the token in the Authorization header is answered
        /// with lines of JSON, as Project Lighthouse's heimdall does; empty for none.
        url: String = String::new(), Kind::Text;

        /// Where it tells of all users, as lines of JSON; empty for nowhere.
        users_url: String = String::new(), Kind::Text;

        /// The token for `users_url`, sent in the Authorization header; empty for none.
        token: Secret = Secret::default(), Kind::Secret;

        /// How long it may take to answer, and to send a line or a sign of life after that.
        #[serde(deserialize_with = "duration")]
        timeout: Duration = Duration::from_secs(10), time(TICK, HOUR);

        /// How long a refusal is remembered, at least for the moment in which it is told.
        #[serde(deserialize_with = "duration")]
        refusal_time: Duration = Duration::from_secs(5), time(Duration::ZERO, HOUR);

        /// How long what it says of a user is held open after the last use.
        #[serde(deserialize_with = "duration")]
        idle_timeout: Duration = Duration::from_secs(300), time(TICK, DAY);

        /// How long is waited at most between two tries; the first wait is a hundredth of it.
        #[serde(deserialize_with = "duration")]
        retry_wait_max: Duration = Duration::from_secs(30), time(TICK, HOUR);

        /// How many users are remembered, and apart from them how many refusals.
        users_max: usize = 10_000, count(1, 1_000_000);
    }

    /// A PostgreSQL database that knows the users, with the provider `sql`.
    auth_sql: AuthSql {
        /// Where it is, such as `postgresql://fanal@db.example.org/campus`; empty for nowhere.
        url: Secret = Secret::default(), Kind::Secret;

        /// The password, if it is not in `url`.
        password: Secret = Secret::default(), Kind::Secret;

        /// What is asked: rows of a name, the token or `sha256:` and its hash in hexadecimal,
        /// the roles as an array of texts, and the time at which it expires or null.
        query: String = "select name, token, roles, expires from users".to_owned(), Kind::Text;

        /// How often it is asked.
        #[serde(deserialize_with = "duration")]
        interval: Duration = Duration::from_secs(10), time(TICK, HOUR);

        /// How long it may take to answer.
        #[serde(deserialize_with = "duration")]
        timeout: Duration = Duration::from_secs(10), time(TICK, HOUR);

        /// How many users there may be; a longer answer is an error, and nothing changes.
        users_max: usize = 100_000, count(1, 10_000_000);
    }

    /// Client certificates, with the provider `mtls`.
    auth_mtls: AuthMtls {
        /// A file with the certificates of who may issue client certificates, in PEM; empty for
        /// none.
        authorities: PathBuf = PathBuf::new(), Kind::OptionalPath;

        /// Whether a client without a certificate cannot connect at all.
        required: bool = false, Kind::Flag;

        /// The roles of who has a certificate.
        roles: Vec<String> = Vec::new(), Kind::Texts;
    }
}
