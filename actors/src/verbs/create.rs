//! CREATE: make a resource with the value nil, and its parents.
//!
//! 201 if it was made; 400 if there is something already, a resource is in the way, or the path is
//! the root; 507 if the limits leave no room.

use super::Leaf;
use crate::protocol::{Path, Refusal, Rnum};
use crate::state::{NotMade, Tree};

/// Makes the resource that `make` returns, `None` if there is no room for its value.
///
/// # Errors
/// See the module's text.
pub fn apply<L: Leaf>(
    tree: &mut Tree<L>,
    path: &Path,
    nodes_max: usize,
    make: impl FnOnce() -> Option<L>,
) -> Result<(), Refusal> {
    tree.check_room(path, nodes_max).map_err(refusal)?;
    let leaf = make().ok_or_else(super::put::no_room)?;
    tree.make_leaf(path, leaf, nodes_max).map_err(refusal)
}

/// The refusal for something that was not made.
pub fn refusal(reason: NotMade) -> Refusal {
    match reason {
        NotMade::Exists => Refusal::new(Rnum::BadRequest, "there is something here already"),
        NotMade::BelowLeaf => Refusal::new(
            Rnum::BadRequest,
            "a resource is in the way; only directories have something below them",
        ),
        NotMade::TooMany => Refusal::new(
            Rnum::InsufficientStorage,
            "the broker has all the resources and directories that it may have (limits.nodes_max)",
        ),
    }
}
