//! Inner parts of the doors, for `benches` only: nothing here is kept stable.

pub use super::frames::Frames;
pub use super::framing::{Framing, Incoming};
