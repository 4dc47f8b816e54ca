//! Who may do what, over real sockets: users and their secrets, rules, changes while streams are
//! open, and how much each may have.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and say themselves when a token ends"
)]

mod support;

#[path = "auth/commands.rs"]
mod commands;
#[path = "auth/connections.rs"]
mod connections;
#[path = "auth/limits.rs"]
mod limits;
#[path = "auth/live.rs"]
mod live;
#[path = "auth/passwords.rs"]
mod passwords;
#[path = "auth/rules.rs"]
mod rules;

use support::{Client, Server, nil};

/// Users of most tests: an admin, two students and a guest without a role. Further settings follow.
const USERS: &str = "\
auth.mode = \"users\"
auth.users = [\
    { name = \"root\", token = \"root-token\", admin = true }, \
    { name = \"ann\", token = \"ann-token\", roles = [\"student\"] }, \
    { name = \"bob\", token = \"bob-token\", roles = [\"student\"] }, \
    { name = \"guest\", token = \"guest-token\" }]
auth.recheck_interval = \"50ms\"
";

/// A server with these users and further settings.
fn server(settings: &str) -> Server {
    Server::start_with(&format!("{USERS}{settings}"))
}

/// A client of one of the users above.
fn client(server: &Server, user: &str) -> Client {
    server.client_as(user, &format!("{user}-token"))
}

/// Makes resources as the admin.
fn make(server: &Server, paths: &[&[&str]]) {
    let mut root = client(server, "root");
    for path in paths {
        root.expect("CREATE", path, nil(), 201);
    }
}
