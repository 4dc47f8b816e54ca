//! The tree of names: directories, and leaves of any kind.
//!
//! The maps are persistent (`imbl`), so that a clone costs nothing and stays as it is: LIST and
//! snapshots read a clone at leisure while the directory goes on changing the tree. Nothing here
//! recurses over a client's names.

use imbl::OrdMap;

use crate::protocol::{Name, Path};

/// What is under a name.
#[derive(Clone, Debug)]
pub enum Node<L> {
    /// An inner node.
    Directory(Directory<L>),
    /// A leaf.
    Leaf(L),
}

/// An inner node: names and what is under them, in the order of their bytes.
#[derive(Clone, Debug)]
pub struct Directory<L> {
    entries: OrdMap<Name, Node<L>>,
}

impl<L> Default for Directory<L> {
    fn default() -> Self {
        Directory { entries: OrdMap::new() }
    }
}

impl<L: Clone> Directory<L> {
    /// Names directly in this directory.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The names and what is under them.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Node<L>)> {
        self.entries.iter()
    }

    /// The first name after `previous`, or the first of all.
    fn after(&self, previous: Option<&Name>) -> Option<(Name, Node<L>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let next = match previous {
            None => self.entries.get_min().map(|(name, node)| (name, node)),
            Some(name) => self.entries.range((Excluded(name.clone()), Unbounded)).next(),
        };
        next.map(|(name, node)| (name.clone(), node.clone()))
    }
}

/// What a path leads to.
#[derive(Debug)]
pub enum Found<'t, L> {
    /// A directory; the root is one.
    Directory(&'t Directory<L>),
    /// A leaf.
    Leaf(&'t L),
    /// Nothing, but the way to it is free.
    Missing,
    /// Nothing, and a leaf is in the way.
    BelowLeaf,
}

/// Why a node was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMade {
    /// There is something already.
    Exists,
    /// A leaf is in the way.
    BelowLeaf,
    /// There are as many nodes as there may be.
    TooMany,
}

/// A tree of directories and leaves.
#[derive(Clone, Debug)]
pub struct Tree<L> {
    root: Directory<L>,
    nodes: usize,
    leaves: usize,
}

impl<L: Clone> Default for Tree<L> {
    fn default() -> Self {
        Tree { root: Directory::default(), nodes: 0, leaves: 0 }
    }
}

impl<L: Clone> Tree<L> {
    /// Directories and leaves, without the root.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Leaves alone.
    pub fn leaf_count(&self) -> usize {
        self.leaves
    }

    /// What this path leads to.
    pub fn find(&self, names: &[Name]) -> Found<'_, L> {
        let mut directory = &self.root;
        for (position, name) in names.iter().enumerate() {
            match directory.entries.get(name) {
                None => return Found::Missing,
                Some(Node::Directory(inner)) => directory = inner,
                Some(Node::Leaf(leaf)) if position + 1 == names.len() => return Found::Leaf(leaf),
                Some(Node::Leaf(_)) => return Found::BelowLeaf,
            }
        }
        Found::Directory(directory)
    }

    /// Makes a leaf, and the directories on the way to it.
    ///
    /// # Errors
    /// If there is something already, or the tree would have more than `nodes_max` nodes; the tree
    /// is then as it was.
    pub fn make_leaf(&mut self, path: &Path, leaf: L, nodes_max: usize) -> Result<(), NotMade> {
        self.make(path, Node::Leaf(leaf), nodes_max)
    }

    /// Makes a directory, and the directories on the way to it.
    ///
    /// # Errors
    /// As [`Tree::make_leaf`].
    pub fn make_directory(&mut self, path: &Path, nodes_max: usize) -> Result<(), NotMade> {
        self.make(path, Node::Directory(Directory::default()), nodes_max)
    }

    fn make(&mut self, path: &Path, node: Node<L>, nodes_max: usize) -> Result<(), NotMade> {
        let Some((last, way)) = path.names().split_last() else { return Err(NotMade::Exists) };
        let more = self.check_room(path, nodes_max)?;
        let mut directory = &mut self.root;
        for name in way {
            let inner = directory
                .entries
                .entry(name.clone())
                .or_insert_with(|| Node::Directory(Directory::default()));
            match inner {
                Node::Directory(inner) => directory = inner,
                Node::Leaf(_) => return Err(NotMade::BelowLeaf),
            }
        }
        self.leaves += usize::from(matches!(node, Node::Leaf(_)));
        directory.entries.insert(last.clone(), node);
        self.nodes += more;
        Ok(())
    }

    /// How many nodes would be made on this path.
    ///
    /// # Errors
    /// As [`Tree::make_leaf`].
    pub fn check_room(&self, path: &Path, nodes_max: usize) -> Result<usize, NotMade> {
        let more = self.nodes_to_make(path.names())?;
        if self.nodes.saturating_add(more) > nodes_max {
            return Err(NotMade::TooMany);
        }
        Ok(more)
    }

    /// How many nodes are missing on this path.
    fn nodes_to_make(&self, names: &[Name]) -> Result<usize, NotMade> {
        let mut directory = &self.root;
        for (position, name) in names.iter().enumerate() {
            match directory.entries.get(name) {
                None => return Ok(names.len() - position),
                Some(Node::Directory(inner)) => directory = inner,
                Some(Node::Leaf(_)) if position + 1 == names.len() => return Err(NotMade::Exists),
                Some(Node::Leaf(_)) => return Err(NotMade::BelowLeaf),
            }
        }
        Err(NotMade::Exists)
    }

    /// Takes a node, with all below it, out of the tree. The root is never taken. What went is
    /// still counted until [`Tree::uncount`].
    pub fn remove(&mut self, path: &Path) -> Option<Node<L>> {
        let (last, way) = path.names().split_last()?;
        if !matches!(self.find(path.names()), Found::Directory(_) | Found::Leaf(_)) {
            return None;
        }
        let mut directory = &mut self.root;
        for name in way {
            match directory.entries.get_mut(name) {
                Some(Node::Directory(inner)) => directory = inner,
                _ => return None,
            }
        }
        directory.entries.remove(last)
    }

    /// Forgets so many nodes that have been removed, and how many of them were leaves.
    pub fn uncount(&mut self, nodes: usize, leaves: usize) {
        self.nodes = self.nodes.saturating_sub(nodes);
        self.leaves = self.leaves.saturating_sub(leaves);
    }

    /// All leaves, without the ways to them.
    pub fn leaves(&self) -> impl Iterator<Item = &L> {
        let mut open = vec![self.root.entries.iter()];
        std::iter::from_fn(move || {
            loop {
                match open.last_mut()?.next() {
                    None => drop(open.pop()),
                    Some((_, Node::Leaf(leaf))) => return Some(leaf),
                    Some((_, Node::Directory(inner))) => open.push(inner.entries.iter()),
                }
            }
        })
    }

    /// All nodes but the root, each after the directory that it is in.
    pub fn walk(&self) -> Walk<L> {
        Walk::of(self.root.clone())
    }
}

/// Walks over the nodes of a tree, each after the directory that it is in. It owns a clone, so that
/// the tree may change meanwhile.
pub struct Walk<L> {
    /// The directories that the walk is in, and the last name that it saw in each.
    open: Vec<(Directory<L>, Option<Name>)>,
}

impl<L: Clone> Walk<L> {
    fn of(directory: Directory<L>) -> Self {
        Walk { open: vec![(directory, None)] }
    }
}

impl<L: Clone> Iterator for Walk<L> {
    /// The path and the node.
    type Item = (Path, Node<L>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (directory, last) = self.open.last_mut()?;
            let Some((name, node)) = directory.after(last.as_ref()) else {
                self.open.pop();
                continue;
            };
            *last = Some(name);
            let path = Path::new(self.open.iter().filter_map(|(_, name)| name.clone()));
            if let Node::Directory(inner) = &node {
                self.open.push((inner.clone(), None));
            }
            return Some((path, node));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::new(text.split('/').filter(|name| !name.is_empty()))
    }

    fn listing(tree: &Tree<u8>) -> String {
        let show = |(path, node): (Path, Node<u8>)| match node {
            Node::Directory(_) => format!("{path}/"),
            Node::Leaf(leaf) => format!("{path}={leaf}"),
        };
        tree.walk().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn leaves_and_directories_are_made_with_their_parents() {
        let mut tree = Tree::default();
        assert_eq!(tree.make_leaf(&path("a/b/c"), 1, 99), Ok(()));
        assert_eq!(tree.make_directory(&path("a/d"), 99), Ok(()));
        assert_eq!(tree.make_leaf(&path("a/d/e"), 2, 99), Ok(()));
        assert_eq!(listing(&tree), "a/ a/b/ a/b/c=1 a/d/ a/d/e=2");
        assert_eq!(tree.leaves().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(tree.nodes(), 5);
    }

    #[test]
    fn what_exists_or_is_below_a_leaf_is_not_made() {
        let mut tree = Tree::default();
        tree.make_leaf(&path("a/b"), 1, 99).unwrap();
        for (at, reason) in [
            ("a/b", NotMade::Exists),
            ("a", NotMade::Exists),
            ("", NotMade::Exists),
            ("a/b/c", NotMade::BelowLeaf),
            ("a/b/c/d", NotMade::BelowLeaf),
        ] {
            assert_eq!(tree.make_leaf(&path(at), 2, 99), Err(reason), "{at}");
            assert_eq!(tree.make_directory(&path(at), 99), Err(reason), "{at}");
        }
        assert_eq!(tree.make_leaf(&path("x/y"), 1, 3), Err(NotMade::TooMany));
        assert_eq!(listing(&tree), "a/ a/b=1");
    }

    #[test]
    fn a_directory_goes_with_all_below_it_and_its_parent_stays() {
        let mut tree = Tree::default();
        for (at, leaf) in [("a/b/c", 1), ("a/b/d/e", 2), ("a/f", 3)] {
            tree.make_leaf(&path(at), leaf, 99).unwrap();
        }
        let before = tree.clone();
        assert!(tree.remove(&path("a/b")).is_some());
        tree.uncount(4, 2);
        assert_eq!((listing(&tree), tree.nodes()), ("a/ a/f=3".into(), 2));
        assert!(tree.remove(&path("a/f")).is_some());
        tree.uncount(1, 1);
        assert_eq!((listing(&tree), tree.nodes(), tree.leaf_count()), ("a/".into(), 1, 0));
        for at in ["", "a/x", "x", "a/b/c"] {
            assert!(tree.remove(&path(at)).is_none(), "{at}");
        }
        assert_eq!((before.nodes(), before.leaf_count()), (6, 3));
        assert_eq!(listing(&before), "a/ a/b/ a/b/c=1 a/b/d/ a/b/d/e=2 a/f=3");
    }

    #[test]
    fn a_path_leads_to_a_leaf_a_directory_or_nothing() {
        let mut tree = Tree::default();
        tree.make_leaf(&path("a/b"), 7, 99).unwrap();
        assert!(matches!(tree.find(path("a/b").names()), Found::Leaf(7)));
        assert!(matches!(tree.find(path("a").names()), Found::Directory(d) if d.len() == 1));
        assert!(matches!(tree.find(path("").names()), Found::Directory(_)));
        assert!(matches!(tree.find(path("a/c").names()), Found::Missing));
        assert!(matches!(tree.find(path("c/d").names()), Found::Missing));
        assert!(matches!(tree.find(path("a/b/c").names()), Found::BelowLeaf));
    }
}
