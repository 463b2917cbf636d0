//! Failed verifies per peer: a table of fixed size, whatever the number of peers.
//!
//! Two peers may fall into one place of a row, hardly ever in both rows: a peer is over its limit only where both say so.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use crate::core::{guess::Guesses, network::peer_network};

const PLACES: usize = 1 << 12;

pub struct GuessLimit {
    /// Failures a minute.
    limit: u32,
    rows: [Row; 2],
    origin: Instant,
}

struct Row {
    places: Box<[AtomicU64]>,
    /// Nobody knows who shares a place with whom.
    seed: RandomState,
}

impl GuessLimit {
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            rows: [Row::new(), Row::new()],
            origin: Instant::now(),
        }
    }

    /// Counts a failure of this peer, or tells in how many milliseconds one would be within the limit again.
    pub fn failed(&self, peer: IpAddr) -> Result<(), u64> {
        let now_ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.failed_at(peer, now_ms)
    }

    fn failed_at(&self, peer: IpAddr, now_ms: u64) -> Result<(), u64> {
        let network = peer_network(peer);
        let places = self.rows.each_ref().map(|row| row.place(network));
        let wait = |place: &AtomicU64| {
            Guesses::from_word(place.load(Relaxed))
                .at(now_ms)
                .wait_ms(now_ms, self.limit)
        };
        match places.iter().map(|place| wait(place)).min() {
            Some(wait_ms) if wait_ms > 0 => Err(wait_ms),
            _ => {
                let one_more = |word| Guesses::from_word(word).at(now_ms).with_one_more().word();
                for place in places {
                    place.update(Relaxed, Relaxed, one_more);
                }
                Ok(())
            }
        }
    }
}

impl Row {
    fn new() -> Self {
        Self {
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            seed: RandomState::new(),
        }
    }

    fn place(&self, network: IpAddr) -> &AtomicU64 {
        let hash = self.seed.hash_one(network);
        let number = usize::try_from(hash % PLACES as u64).expect("there are few places");
        &self.places[number]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(guesses: &GuessLimit, peer: &str) -> usize {
        let peer = peer.parse().unwrap();
        (0..20).filter(|_| guesses.failed_at(peer, 1000).is_ok()).count()
    }

    #[test]
    fn each_peer_has_its_own_limit() {
        let guesses = GuessLimit::new(5);
        assert_eq!(passed(&guesses, "192.0.2.1"), 5);
        assert_eq!(passed(&guesses, "192.0.2.1"), 0);
        assert_eq!(passed(&guesses, "192.0.2.2"), 5);
    }

    #[test]
    fn all_addresses_of_one_network_are_one_peer() {
        let guesses = GuessLimit::new(5);
        assert_eq!(passed(&guesses, "2001:db8::1"), 5);
        assert_eq!(passed(&guesses, "2001:db8::ffff:1"), 0);
        assert_eq!(passed(&guesses, "2001:db8:0:1::1"), 5);
        assert_eq!(passed(&guesses, "192.0.2.1"), 5);
        assert_eq!(passed(&guesses, "::ffff:192.0.2.1"), 0);
    }

    #[test]
    fn a_flood_from_everywhere_leaves_almost_everybody_their_share() {
        let guesses = GuessLimit::new(5);
        let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        for n in 0..500 {
            for _ in 0..20 {
                let _ = guesses.failed_at(address(n), 1000);
            }
        }
        let refused = (1000..2000)
            .filter(|n| guesses.failed_at(address(*n), 1000).is_err())
            .count();
        assert!(refused < 50, "{refused} of 1000 bystanders");
    }
}
