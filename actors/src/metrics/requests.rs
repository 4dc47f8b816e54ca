//! Answers by verb and code, which is the most of what is counted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::lanes::{LANES, lane};
use crate::protocol::{Rnum, Verb};

/// Every verb, and one place for what asked for none that there is.
pub(super) const VERBS: usize = Verb::ALL.len() + 1;
const CODES: usize = Rnum::ALL.len();

/// How many requests were answered how.
#[derive(Debug)]
pub struct Requests {
    /// One for each lane; [`Lanes`](super::Lanes) of each pair would be ten times the memory.
    lanes: Box<[Lane]>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane([[AtomicU64; CODES]; VERBS]);

impl Default for Requests {
    fn default() -> Self {
        Requests { lanes: (0..LANES).map(|_| Lane::default()).collect() }
    }
}

/// The place of a verb.
pub(super) fn row(verb: Option<Verb>) -> usize {
    verb.map_or(VERBS - 1, |verb| verb as usize)
}

impl Requests {
    /// Adds so many requests for a verb that were answered so.
    pub fn add(&self, verb: Option<Verb>, rnum: Rnum, count: u64) {
        let place = self.lanes.get(lane()).and_then(|Lane(rows)| rows.get(row(verb)));
        if let Some(place) = place.and_then(|codes| codes.get(rnum as usize)) {
            place.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Verbs, codes and how many requests there were of each pair.
    pub fn all(&self) -> impl Iterator<Item = (Option<Verb>, Rnum, u64)> {
        let verbs = Verb::ALL.into_iter().map(Some).chain([None]);
        verbs.flat_map(move |verb| {
            Rnum::ALL.into_iter().map(move |rnum| (verb, rnum, self.get(verb, rnum)))
        })
    }

    fn get(&self, verb: Option<Verb>, rnum: Rnum) -> u64 {
        let in_lane = |Lane(rows): &Lane| {
            let count = rows.get(row(verb))?.get(rnum as usize)?;
            Some(count.load(Ordering::Relaxed))
        };
        self.lanes.iter().filter_map(in_lane).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_verb_and_code_has_a_place_of_its_own() {
        let requests = Requests::default();
        let verbs = || Verb::ALL.into_iter().map(Some).chain([None]);
        let mut count = 0;
        for verb in verbs() {
            for rnum in Rnum::ALL {
                count += 1;
                requests.add(verb, rnum, count);
            }
        }
        let seen: Vec<u64> = requests.all().map(|(_, _, count)| count).collect();
        assert_eq!(seen, (1..=count).collect::<Vec<_>>());
        assert_eq!(seen.len(), VERBS * CODES);
    }
}
