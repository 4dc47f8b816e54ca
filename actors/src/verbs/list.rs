//! LIST: name what is below a directory.
//!
//! 200 with a map from names to nil for a resource and to a map for a directory, all levels deep;
//! with `NONRECURSIVE: true` in META what is in inner directories is left out and each is an empty
//! map. 404 where there is no directory; 507 if the listing would be longer than it may be.

use super::Leaf;
use crate::protocol::{NIL, Path, Refusal, Rnum, Value, write_map_header, write_string};
use crate::state::{Directory, Found, Node, Tree};

/// Writes the listing as one MessagePack map of at most `bytes_max` bytes.
///
/// # Errors
/// See the module's text.
pub fn apply<L: Leaf>(
    tree: &Tree<L>,
    path: &Path,
    non_recursive: bool,
    bytes_max: usize,
) -> Result<Value, Refusal> {
    let Found::Directory(root) = tree.find(path.names()) else {
        return Err(Refusal::new(Rnum::NotFound, "there is no directory here"));
    };
    let mut out = Vec::new();
    write_map_header(root.len(), &mut out);
    let mut open: Vec<Box<dyn Iterator<Item = _> + '_>> = vec![Box::new(root.iter())];
    while let Some(entries) = open.last_mut() {
        let Some((name, node)) = entries.next() else {
            open.pop();
            continue;
        };
        write_string(name, &mut out);
        match node {
            Node::Leaf(_) => out.push(NIL),
            Node::Directory(inner) => {
                let inner: &Directory<L> = inner;
                write_map_header(if non_recursive { 0 } else { inner.len() }, &mut out);
                if !non_recursive {
                    open.push(Box::new(inner.iter()));
                }
            }
        }
        if out.len() > bytes_max {
            return Err(Refusal::new(
                Rnum::InsufficientStorage,
                "the listing is longer than limits.list_bytes_max; list a directory further down, \
                 or one level with META NONRECURSIVE true",
            ));
        }
    }
    Ok(Value::copy_from(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Nothing;

    impl Leaf for Nothing {
        fn number(&self) -> u64 {
            0
        }
    }

    fn path(text: &str) -> Path {
        Path::new(text.split('/').filter(|name| !name.is_empty()))
    }

    #[track_caller]
    fn check(at: &str, non_recursive: bool, expected: Result<&[u8], Rnum>) {
        let mut tree = Tree::default();
        tree.make_leaf(&path("a/b/c"), Nothing, 99).unwrap();
        tree.make_directory(&path("d"), 99).unwrap();
        let seen = apply(&tree, &path(at), non_recursive, 17);
        let seen = seen.as_ref().map(Value::as_bytes).map_err(|refusal| refusal.rnum);
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_listing_is_nested_maps_with_nil_for_resources() {
        check("", false, Ok(b"\x82\xa1a\x81\xa1b\x81\xa1c\xc0\xa1d\x80"));
        check("", true, Ok(b"\x82\xa1a\x80\xa1d\x80"));
        check("a/b", false, Ok(b"\x81\xa1c\xc0"));
        check("d", false, Ok(b"\x80"));
        check("a/b/c", false, Err(Rnum::NotFound));
        check("x", false, Err(Rnum::NotFound));
        check("a/b/c/d", false, Err(Rnum::NotFound));
    }

    #[test]
    fn a_listing_over_the_limit_is_refused() {
        let mut tree = Tree::default();
        tree.make_leaf(&path("0123456789/0123456789"), Nothing, 99).unwrap();
        let seen = apply(&tree, &path(""), false, 17).map_err(|refusal| refusal.rnum);
        assert_eq!(seen, Err(Rnum::InsufficientStorage));
        assert!(apply(&tree, &path(""), true, 17).is_ok());
    }
}
