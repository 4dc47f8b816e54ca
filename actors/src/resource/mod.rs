//! Resources: an entry in the tree for each, and an actor for those that are written.

mod actor;
mod away;
mod entry;
mod letters;
mod look;

pub use entry::{Busy, Entry};
pub use look::Activity;
