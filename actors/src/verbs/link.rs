//! LINK: make the resource at PATH follow the resource whose path is the payload.
//!
//! 200 when later updates of the source go on to the destination (its current value is not
//! copied); 200 with a warning if the link is there already; 404 if either is no resource; 409 if
//! values would come back to where they came from; 400 if the payload is no array of strings; 507
//! if there are as many links as there may be.

use std::sync::Arc;

use super::Leaf;
use crate::protocol::{Path, Refusal, Rnum};
use crate::state::{Found, LinkGraph, LinkRefused, LinkRing, Tree};

/// A link that was made; the source has yet to be told of it.
pub struct Linked<L> {
    /// Where values come from.
    pub source: L,
    /// Where they go.
    pub destination: L,
    /// The ring that carries them.
    pub ring: Arc<LinkRing>,
}

/// Makes the link; `None` if it is there already.
///
/// # Errors
/// See the module's text.
pub fn apply<L: Leaf>(
    tree: &Tree<L>,
    graph: &mut LinkGraph,
    destination: &Path,
    source: &Path,
    links_max: usize,
) -> Result<Option<Linked<L>>, Refusal> {
    let (from, to) = ends(tree, destination, source)?;
    match graph.add((from.number(), source), (to.number(), destination), links_max) {
        Ok(ring) => Ok(Some(Linked { source: from, destination: to, ring })),
        Err(LinkRefused::Exists) => Ok(None),
        Err(LinkRefused::Cycle) => Err(Refusal::new(
            Rnum::Conflict,
            "this link would close a cycle: the source already follows the destination, \
             or is the destination",
        )),
        Err(LinkRefused::TooMany) => Err(Refusal::new(
            Rnum::InsufficientStorage,
            "the broker has all the links that it may have (link.links_max)",
        )),
    }
}

/// The resources at both ends of a link, as (source, destination).
///
/// # Errors
/// 404 if either is no resource.
pub fn ends<L: Leaf>(tree: &Tree<L>, destination: &Path, source: &Path) -> Result<(L, L), Refusal> {
    let Found::Leaf(destination) = tree.find(destination.names()) else {
        return Err(Refusal::new(Rnum::NotFound, "there is no resource at PATH, the destination"));
    };
    let Found::Leaf(source) = tree.find(source.names()) else {
        return Err(Refusal::new(Rnum::NotFound, "there is no resource at PAYL, the source"));
    };
    Ok((source.clone(), destination.clone()))
}
