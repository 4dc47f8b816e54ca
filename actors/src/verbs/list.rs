//! LIST: name what is below a directory.
//!
//! 200 with a map from names to nil for a resource and to a map for a directory, all levels deep;
//! with `NONRECURSIVE: true` in META what is in inner directories is left out and each is an empty
//! map. What the user may not see is left out. 404 where there is no directory; 507 if the listing
//! would be longer than it may be.

use super::Leaf;
use crate::access::View;
use crate::protocol::{NIL, Name, Path, Refusal, Rnum, Value, write_map_header, write_string};
use crate::state::{Directory, Found, Node, Tree};

/// Writes the listing as one MessagePack map of at most `bytes_max` bytes, of what `view` shows if
/// there is one.
///
/// # Errors
/// See the module's text.
pub fn apply<L: Leaf>(
    tree: &Tree<L>,
    path: &Path,
    non_recursive: bool,
    view: Option<&View>,
    bytes_max: usize,
) -> Result<Value, Refusal> {
    let Found::Directory(root) = tree.find(path.names()) else {
        return Err(Refusal::new(Rnum::NotFound, "there is no directory here"));
    };
    let mut out = Vec::new();
    match view {
        None => write_all(root, non_recursive, bytes_max, &mut out)?,
        Some(view) => Seen { view, non_recursive, bytes_max }.write(root, path, &mut out)?,
    }
    Ok(Value::copy_from(&out))
}

fn write_all<L: Leaf>(
    root: &Directory<L>,
    non_recursive: bool,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    write_map_header(root.len(), out);
    let mut open: Vec<Box<dyn Iterator<Item = _> + '_>> = vec![Box::new(root.iter())];
    while let Some(entries) = open.last_mut() {
        let Some((name, node)) = entries.next() else {
            open.pop();
            continue;
        };
        write_string(name, out);
        match node {
            Node::Leaf(_) => out.push(NIL),
            Node::Directory(inner) => {
                write_map_header(if non_recursive { 0 } else { inner.len() }, out);
                if !non_recursive {
                    open.push(Box::new(inner.iter()));
                }
            }
        }
        check_size(out, bytes_max)?;
    }
    Ok(())
}

/// Writes what a view shows: names that are shown themselves, and directories on the way to them.
struct Seen<'v> {
    view: &'v View,
    non_recursive: bool,
    bytes_max: usize,
}

/// A directory that is being written, within those around it.
struct Level<'t, L> {
    entries: Box<dyn Iterator<Item = (&'t Name, &'t Node<L>)> + 't>,
    /// Where its name begins, and its header, in what is written.
    start: usize,
    header: usize,
    /// Names in it that were written.
    count: u32,
    /// It is there even if nothing in it is.
    shown: bool,
}

impl Seen<'_> {
    fn write<L: Leaf>(
        &self,
        root: &Directory<L>,
        path: &Path,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let mut names = path.names().to_vec();
        let mut open = vec![Level::begin(root, 0, true, out)];
        while let Some(level) = open.last_mut() {
            let Some((name, node)) = level.entries.next() else {
                let Some(level) = open.pop() else { break };
                let written = level.end(out);
                names.pop();
                if let Some(around) = open.last_mut().filter(|_| written) {
                    around.count += 1;
                }
                continue;
            };
            names.push(name.clone());
            let here = Path::new(names.iter().cloned());
            let shown = self.view.shows(&here);
            let start = out.len();
            match node {
                Node::Directory(inner) if !self.non_recursive => {
                    write_string(name, out);
                    if shown && self.view.shows_all_below(&here) {
                        write_all(inner, false, self.bytes_max, out)?;
                        level.count += 1;
                    } else {
                        open.push(Level::begin(inner, start, shown, out));
                        check_size(out, self.bytes_max)?;
                        continue;
                    }
                }
                Node::Directory(inner) if shown || self.shows_any_below(inner, &here) => {
                    write_string(name, out);
                    write_map_header(0, out);
                    level.count += 1;
                }
                Node::Leaf(_) if shown => {
                    write_string(name, out);
                    out.push(NIL);
                    level.count += 1;
                }
                Node::Directory(_) | Node::Leaf(_) => {}
            }
            names.pop();
            check_size(out, self.bytes_max)?;
        }
        Ok(())
    }

    /// Whether anything below this directory is shown.
    fn shows_any_below<L: Leaf>(&self, directory: &Directory<L>, path: &Path) -> bool {
        let mut open = vec![(directory, path.clone())];
        while let Some((directory, path)) = open.pop() {
            for (name, node) in directory.iter() {
                let here = Path::new(path.names().iter().chain([name]).cloned());
                if self.view.shows(&here) {
                    return true;
                }
                if let Node::Directory(inner) = node {
                    open.push((inner, here));
                }
            }
        }
        false
    }
}

impl<'t, L: Leaf> Level<'t, L> {
    fn begin(directory: &'t Directory<L>, start: usize, shown: bool, out: &mut Vec<u8>) -> Self {
        let header = out.len();
        out.extend_from_slice(&EMPTY_MAP_32);
        Level { entries: Box::new(directory.iter()), start, header, count: 0, shown }
    }

    /// Says how many names there are, or takes the directory back; returns whether it is there.
    fn end(self, out: &mut Vec<u8>) -> bool {
        if self.count == 0 && !self.shown {
            out.truncate(self.start);
            return false;
        }
        let place = self.header + 1..self.header + EMPTY_MAP_32.len();
        if let Some(place) = out.get_mut(place) {
            place.copy_from_slice(&self.count.to_be_bytes());
        }
        true
    }
}

/// A map whose size is filled in once it is known (MessagePack's map 32).
const EMPTY_MAP_32: [u8; 5] = [0xdf, 0, 0, 0, 0];

fn check_size(out: &[u8], bytes_max: usize) -> Result<(), Refusal> {
    if out.len() <= bytes_max {
        return Ok(());
    }
    Err(Refusal::new(
        Rnum::InsufficientStorage,
        "the listing is longer than limits.list_bytes_max; list a directory further down, \
         or one level with META NONRECURSIVE true",
    ))
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
        let seen = apply(&tree, &path(at), non_recursive, None, 17);
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
        let seen = apply(&tree, &path(""), false, None, 17).map_err(|refusal| refusal.rnum);
        assert_eq!(seen, Err(Rnum::InsufficientStorage));
        assert!(apply(&tree, &path(""), true, None, 17).is_ok());
    }
}
