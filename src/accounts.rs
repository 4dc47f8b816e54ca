//! Users and groups of the machine, by name or number.

use anyhow::Context;

/// The number of a user; `None` for an empty text.
///
/// # Errors
/// If there is no such user.
pub fn user(text: &str) -> anyhow::Result<Option<u32>> {
    number(text, |name| uzers::get_user_by_name(name).map(|user| user.uid()))
        .with_context(|| format!("unix.owner: this machine has no user {text:?}"))
}

/// The number of a group; `None` for an empty text.
///
/// # Errors
/// If there is no such group.
pub fn group(text: &str) -> anyhow::Result<Option<u32>> {
    number(text, |name| uzers::get_group_by_name(name).map(|group| group.gid()))
        .with_context(|| format!("unix.group: this machine has no group {text:?}"))
}

/// `None` if there is nobody of that name.
fn number(text: &str, find: impl FnOnce(&str) -> Option<u32>) -> Option<Option<u32>> {
    if text.is_empty() {
        return Some(None);
    }
    text.parse().ok().or_else(|| find(text)).map(Some)
}
