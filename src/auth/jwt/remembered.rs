//! Remembered: tokens that were found good, until they expire or the keys change. A token is asked
//! about again whenever anything changes, and a look here costs a hash instead of a signature.

use std::collections::HashMap;
use std::time::SystemTime;

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

use crate::auth::provider::Proof;

/// Tokens that are remembered.
const TOKENS_MAX: usize = 10_000;

/// Good tokens by their hash.
#[derive(Default)]
pub struct Remembered(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// The keys by which they are good.
    generation: u64,
    proofs: HashMap<Hash, Proof>,
}

/// SHA-256 of a token: who reads the memory of the server finds no tokens here.
type Hash = [u8; 32];

fn hash(token: &str) -> Option<Hash> {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().ok()
}

impl Remembered {
    /// What a token proves, if that is known and still true now.
    pub fn find(&self, token: &str, now: SystemTime) -> Option<Proof> {
        let hash = hash(token)?;
        let known = self.0.lock();
        known.proofs.get(&hash).filter(|proof| is_good(proof, now)).cloned()
    }

    /// Remembers what a token proves by the keys of this generation.
    pub fn add(&self, token: &str, proof: Proof, generation: u64, now: SystemTime) {
        let Some(hash) = hash(token) else { return };
        let mut known = self.0.lock();
        if known.generation != generation {
            // The keys have changed since it was checked.
            return;
        }
        if known.proofs.len() >= TOKENS_MAX && !known.proofs.contains_key(&hash) {
            known.proofs.retain(|_, proof| is_good(proof, now));
            if known.proofs.len() >= TOKENS_MAX {
                // Any half: those that are in use are found good again.
                let mut stays = false;
                known.proofs.retain(|_, _| {
                    stays = !stays;
                    stays
                });
            }
        }
        known.proofs.insert(hash, proof);
    }

    /// Forgets all: there are other keys now.
    pub fn forget(&self, generation: u64) {
        let mut known = self.0.lock();
        *known = Known { generation, proofs: HashMap::new() };
    }
}

fn is_good(proof: &Proof, now: SystemTime) -> bool {
    proof.expires.is_some_and(|expires| expires > now)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn proof(expires: u64) -> Proof {
        Proof { user: "ann".to_owned(), roles: Vec::new(), expires: Some(at(expires)) }
    }

    #[test]
    fn a_token_is_known_until_it_expires_or_the_keys_change() {
        let remembered = Remembered::default();
        remembered.add("a", proof(10), 0, at(1));
        assert_eq!(remembered.find("a", at(9)), Some(proof(10)));
        assert_eq!((remembered.find("a", at(10)), remembered.find("b", at(1))), (None, None));
        remembered.forget(1);
        assert_eq!(remembered.find("a", at(1)), None);
        remembered.add("a", proof(10), 0, at(1));
        assert_eq!(remembered.find("a", at(1)), None, "it was checked by keys of before");
        remembered.add("a", proof(10), 1, at(1));
        assert!(remembered.find("a", at(1)).is_some());
    }

    #[test]
    fn the_number_of_tokens_is_bounded_and_expired_ones_go_first() {
        let remembered = Remembered::default();
        let count = || remembered.0.lock().proofs.len();
        for number in 0..TOKENS_MAX {
            remembered.add(&number.to_string(), proof(if number < 10 { 5 } else { 100 }), 0, at(1));
        }
        remembered.add("one more", proof(100), 0, at(6));
        assert_eq!(count(), TOKENS_MAX - 10 + 1);
        for number in 0..TOKENS_MAX {
            remembered.add(&format!("again {number}"), proof(100), 0, at(6));
            assert!(count() <= TOKENS_MAX);
        }
        assert!(remembered.find(&format!("again {}", TOKENS_MAX - 1), at(6)).is_some());
    }
}
