//! File descriptors: a connection takes one, and the usual limit of a process is 1024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are needed besides those of connections: files, listeners, timers.
const OTHERS: u64 = 64;

/// Raises the limit of this process as far as it may, and warns if it is too low for so many
/// connections of clients, and so many to a service that knows users.
pub fn prepare(connections_max: usize, users_max: usize) {
    let wanted = (connections_max as u64).saturating_add(users_max as u64).saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No limit is written as `None`.
    let (Some(now), hard) = (current, maximum.unwrap_or(u64::MAX)) else { return };
    if now >= wanted {
        return;
    }
    let raised = wanted.min(hard);
    let limit = Rlimit { current: Some(raised), maximum };
    let reached = if setrlimit(Resource::Nofile, limit).is_ok() { raised } else { now };
    if reached < wanted {
        let and_users = match users_max {
            0 => String::new(),
            users_max => format!(" with auth_http.users_max = {users_max}"),
        };
        log::warn!(
            "this process may open {reached} files, server.connections_max = {connections_max}\
             {and_users} needs {wanted}; raise the limit (ulimit -n, LimitNOFILE=) or lower the key"
        );
    }
}
