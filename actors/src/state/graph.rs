//! The link graph: which resource follows which, without cycles.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::link::LinkRing;
use crate::protocol::Path;

/// Why a link is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRefused {
    /// It is there already.
    Exists,
    /// Values would come back to where they came from.
    Cycle,
    /// There are as many links as there may be.
    TooMany,
}

/// One end of a link: a resource by its number, which no other ever has, and its path.
pub type End<'a> = (u64, &'a Path);

struct Made {
    ring: Arc<LinkRing>,
    source: Path,
    destination: Path,
}

/// Links between resources, by the resources' numbers.
#[derive(Default)]
pub struct LinkGraph {
    /// For each source its destinations, with the link to each.
    destinations: HashMap<u64, HashMap<u64, Made>>,
    /// For each destination its sources.
    sources: HashMap<u64, HashSet<u64>>,
    links: usize,
}

impl LinkGraph {
    /// Whether values of this resource go on to others.
    pub fn has_destinations(&self, resource: u64) -> bool {
        self.destinations.contains_key(&resource)
    }

    /// Whether this resource is an end of any link.
    pub fn contains(&self, resource: u64) -> bool {
        self.has_destinations(resource) || self.sources.contains_key(&resource)
    }

    /// Every link as (source, destination).
    pub fn pairs(&self) -> impl Iterator<Item = (&Path, &Path)> {
        let links = self.destinations.values().flat_map(HashMap::values);
        links.map(|link| (&link.source, &link.destination))
    }

    /// Adds a link.
    ///
    /// # Errors
    /// If it is there, would close a cycle, or would be more than `links_max`.
    pub fn add(
        &mut self,
        (source, source_path): End<'_>,
        (destination, destination_path): End<'_>,
        links_max: usize,
    ) -> Result<Arc<LinkRing>, LinkRefused> {
        if self.destinations.get(&source).is_some_and(|links| links.contains_key(&destination)) {
            return Err(LinkRefused::Exists);
        }
        if self.reaches(destination, source) {
            return Err(LinkRefused::Cycle);
        }
        if self.links >= links_max {
            return Err(LinkRefused::TooMany);
        }
        let ring = Arc::new(LinkRing::default());
        let made = Made {
            ring: Arc::clone(&ring),
            source: source_path.clone(),
            destination: destination_path.clone(),
        };
        self.destinations.entry(source).or_default().insert(destination, made);
        self.sources.entry(destination).or_default().insert(source);
        self.links += 1;
        Ok(ring)
    }

    /// How many there are.
    pub fn links(&self) -> usize {
        self.links
    }

    /// Ends a link; `false` if there is none.
    pub fn remove(&mut self, source: u64, destination: u64) -> bool {
        let Some(links) = self.destinations.get_mut(&source) else { return false };
        let Some(link) = links.remove(&destination) else { return false };
        if links.is_empty() {
            self.destinations.remove(&source);
        }
        if let Some(sources) = self.sources.get_mut(&destination) {
            sources.remove(&source);
            if sources.is_empty() {
                self.sources.remove(&destination);
            }
        }
        link.ring.close();
        self.links -= 1;
        true
    }

    /// Ends every link from or to a resource.
    pub fn remove_all(&mut self, resource: u64) {
        let destinations: Vec<u64> =
            self.destinations.get(&resource).map_or_else(Vec::new, |d| d.keys().copied().collect());
        for destination in destinations {
            self.remove(resource, destination);
        }
        let sources: Vec<u64> =
            self.sources.get(&resource).map_or_else(Vec::new, |s| s.iter().copied().collect());
        for source in sources {
            self.remove(source, resource);
        }
    }

    /// Whether values of `from` arrive at `to`; every resource reaches itself.
    fn reaches(&self, from: u64, to: u64) -> bool {
        let mut seen = HashSet::from([from]);
        let mut open = vec![from];
        while let Some(resource) = open.pop() {
            if resource == to {
                return true;
            }
            for destination in self.destinations.get(&resource).into_iter().flat_map(HashMap::keys)
            {
                if seen.insert(*destination) {
                    open.push(*destination);
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(
        graph: &mut LinkGraph,
        source: u64,
        destination: u64,
        links_max: usize,
    ) -> Result<Arc<LinkRing>, LinkRefused> {
        let path = |number: u64| Path::new([number.to_string()]);
        graph.add((source, &path(source)), (destination, &path(destination)), links_max)
    }

    #[test]
    fn cycles_of_any_length_are_refused_and_leave_the_graph_as_it_was() {
        let mut graph = LinkGraph::default();
        assert_eq!(add(&mut graph, 1, 1, 10).err(), Some(LinkRefused::Cycle));
        for node in 1..6 {
            assert!(add(&mut graph, node, node + 1, 10).is_ok());
        }
        assert_eq!(add(&mut graph, 6, 1, 10).err(), Some(LinkRefused::Cycle));
        assert_eq!(add(&mut graph, 3, 2, 10).err(), Some(LinkRefused::Cycle));
        assert_eq!(add(&mut graph, 1, 2, 10).err(), Some(LinkRefused::Exists));
        assert!(add(&mut graph, 1, 6, 10).is_ok(), "a diamond is no cycle");
        assert!(graph.remove(3, 4));
        assert!(add(&mut graph, 6, 1, 10).is_err());
        assert!(graph.remove(1, 6));
        assert!(
            add(&mut graph, 6, 1, 10).is_ok(),
            "the way is open once the links between are gone"
        );
    }

    #[test]
    fn a_resource_that_goes_takes_its_links_with_it() {
        let mut graph = LinkGraph::default();
        let into = add(&mut graph, 1, 2, 10).unwrap();
        let out_of = add(&mut graph, 2, 3, 10).unwrap();
        let other = add(&mut graph, 1, 3, 10).unwrap();
        graph.remove_all(2);
        assert!(into.is_closed() && out_of.is_closed() && !other.is_closed());
        assert_eq!(graph.pairs().collect::<Vec<_>>(), [(&Path::new(["1"]), &Path::new(["3"]))]);
        assert!(!graph.remove(1, 2));
        assert_eq!(graph.links, 1);
    }

    #[test]
    fn the_number_of_links_is_bounded() {
        let mut graph = LinkGraph::default();
        assert!(add(&mut graph, 1, 2, 1).is_ok());
        assert_eq!(add(&mut graph, 1, 3, 1).err(), Some(LinkRefused::TooMany));
    }
}
