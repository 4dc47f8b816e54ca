//! DELETE: remove a resource, or a directory with all below it.
//!
//! 200 when it is gone and every stream of what went has its last frame waiting or sent; the parent
//! directory stays, links from or to what went end. 404 where there is nothing, and for the root,
//! which is never removed (a refused DELETE has no effect: recorded scenario
//! `delete-root-stops-streams`).

use super::Leaf;
use crate::protocol::{Path, Refusal, Rnum};
use crate::state::{Node, Tree};

/// Takes what is at this path out of the tree.
///
/// # Errors
/// See the module's text.
pub fn apply<L: Leaf>(tree: &mut Tree<L>, path: &Path) -> Result<Node<L>, Refusal> {
    tree.remove(path).ok_or_else(|| {
        let reason = if path.is_root() {
            "the root cannot be deleted; delete what is in it"
        } else {
            "there is nothing here"
        };
        Refusal::new(Rnum::NotFound, reason)
    })
}

/// The resources that went with this node, and the number of nodes that went. Takes its time for a
/// large directory, so it is apart from `apply`, which runs under the lock of the tree.
pub fn what_went<L: Leaf>(node: &Node<L>) -> (Vec<L>, usize) {
    let mut leaves = Vec::new();
    let mut nodes = 0;
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        nodes += 1;
        match node {
            Node::Leaf(leaf) => leaves.push(leaf.clone()),
            Node::Directory(directory) => open.extend(directory.iter().map(|(_, node)| node)),
        }
    }
    (leaves, nodes)
}
