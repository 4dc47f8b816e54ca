//! MKDIR: make a directory, and its parents.
//!
//! 201 if it was made; 400 if there is something already, a resource is in the way, or the path is
//! the root; 507 if the limits leave no room.

use super::{Leaf, create};
use crate::protocol::{Path, Refusal};
use crate::state::Tree;

/// Makes this directory.
///
/// # Errors
/// See the module's text.
pub fn apply<L: Leaf>(tree: &mut Tree<L>, path: &Path, nodes_max: usize) -> Result<(), Refusal> {
    tree.make_directory(path, nodes_max).map_err(create::refusal)
}
