//! UNLINK: end the link from the resource whose path is the payload to the one at PATH.
//!
//! 200 when nothing more passes; 404 if there is no such link or resource; 400 if the payload is no
//! array of strings.

use super::{Leaf, link};
use crate::protocol::{Path, Refusal, Rnum};
use crate::state::{LinkGraph, Tree};

/// Ends the link, and returns its source if that has no other link.
///
/// # Errors
/// See the module's text.
pub fn apply<L: Leaf>(
    tree: &Tree<L>,
    graph: &mut LinkGraph,
    destination: &Path,
    source: &Path,
) -> Result<Option<L>, Refusal> {
    let (source, destination) = link::ends(tree, destination, source)?;
    if graph.remove(source.number(), destination.number()) {
        Ok(Some(source).filter(|source| !graph.has_destinations(source.number())))
    } else {
        Err(Refusal::new(Rnum::NotFound, "there is no such link"))
    }
}
