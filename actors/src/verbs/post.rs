//! POST: write the value of a resource, making it and its parents if missing.
//!
//! 201 if it was made; 200 if it was there (the original adds a warning to that, which no client
//! needs: recorded scenario `post-update-warns`); 404 where a directory is, or a resource is in
//! the way; 507 if the limits leave no room.

use super::{Leaf, create, put};
use crate::protocol::{Path, Refusal, Rnum};
use crate::state::{Found, Tree};

/// Makes the resource that `make` returns, `None` if there is no room for its value. A resource
/// that is there already is written as by PUT, which is not done here.
///
/// # Errors
/// See the module's text.
pub fn apply<L: Leaf>(
    tree: &mut Tree<L>,
    path: &Path,
    nodes_max: usize,
    make: impl FnOnce() -> Option<L>,
) -> Result<(), Refusal> {
    match tree.find(path.names()) {
        Found::Directory(_) => {
            Err(Refusal::new(Rnum::NotFound, "there is a directory here; POST writes resources"))
        }
        Found::BelowLeaf => Err(Refusal::new(
            Rnum::NotFound,
            "a resource is in the way; only directories have something below them",
        )),
        Found::Missing | Found::Leaf(_) => {
            tree.check_room(path, nodes_max).map_err(create::refusal)?;
            let leaf = make().ok_or_else(put::no_room)?;
            tree.make_leaf(path, leaf, nodes_max).map_err(create::refusal)
        }
    }
}
