//! Randomness for the drivers of the state machines, which draw no random numbers themselves.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::values::{FlightId, Jitter, Nonce};

use super::{NoRandomness, draw};

/// Generates jitter, flight identifiers and nonces. Clones share one stream, in any thread and without a lock.
///
/// Jitter comes from a fast pseudorandom stream that is seeded once and is not secret. Flight identifiers and nonces come
/// from the operating system each time, so that neither a fork nor a restored snapshot of a machine repeats them. If the
/// system fails later, flight identifiers and nonces come from the stream and from 128 bits that were drawn at the start.
#[derive(Clone)]
pub struct Entropy(Arc<Generator>);

struct Generator {
    stream: AtomicU64,
    /// The 128 bits from which identifiers are made while the operating system gives no randomness.
    reserve: u128,
    seeded: bool,
}

impl Entropy {
    /// Makes a generator that uses the operating system.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`], if the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        let (stream, reserve) = (u64::from_le_bytes(draw()?), u128::from_le_bytes(draw()?));
        Ok(Self(Arc::new(Generator { stream: AtomicU64::new(stream), reserve, seeded: false })))
    }

    /// Makes a generator that repeats its values for the same `seed`, for tests only. Two processes with the same seed
    /// would give their flights the same identifiers.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Generator { stream: AtomicU64::new(seed), reserve: 0, seeded: true }))
    }

    /// Returns the jitter of one event.
    pub fn jitter(&self) -> Jitter {
        Jitter::new((self.next() >> 48) as u16)
    }

    /// Returns 128 bits as the base of one session's flight identifiers.
    pub fn flight_base(&self) -> FlightId {
        FlightId(self.identifier())
    }

    /// Returns 128 bits that no other call returns, in any process.
    pub fn identifier(&self) -> u128 {
        let spare = || self.0.reserve ^ (u128::from(self.next()) << 64 | u128::from(self.next()));
        self.system().map_or_else(spare, u128::from_le_bytes)
    }

    /// Returns a nonce. It is never zero, because zero stands for tokens that the store has.
    pub fn nonce(&self) -> Nonce {
        Nonce(self.system().map_or_else(|| self.next(), u64::from_le_bytes).max(1))
    }

    fn system<const N: usize>(&self) -> Option<[u8; N]> {
        if self.0.seeded { None } else { draw().ok() }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014). Its state is a counter, so one atomic addition is enough to share it.
    fn next(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.stream.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entropy").field("seeded", &self.0.seeded).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        let entropy = Entropy::seeded(1_234_567);
        assert_eq!(entropy.next(), 6_457_827_717_110_365_317);
        assert_eq!(entropy.next(), 3_203_168_211_198_807_973);
        assert_eq!(entropy.next(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn the_same_seed_repeats_its_values() {
        let draw = |entropy: Entropy| (entropy.jitter(), entropy.flight_base(), entropy.nonce(), entropy.jitter());
        assert_eq!(draw(Entropy::seeded(7)), draw(Entropy::seeded(7)));
        assert_ne!(draw(Entropy::seeded(7)), draw(Entropy::seeded(8)));
    }

    #[test]
    fn clones_share_one_stream() {
        let (entropy, alone) = (Entropy::seeded(7), Entropy::seeded(7));
        let shared = [entropy.clone().next(), entropy.next()];
        assert_eq!(shared, [alone.next(), alone.next()]);
    }

    #[test]
    fn jitter_covers_its_range_evenly() {
        let entropy = Entropy::seeded(1);
        let mut quarters = [0; 4];
        for _ in 0..4_000 {
            let place = entropy.jitter().of(Duration::from_millis(4_000)).as_millis() / 1_000;
            quarters[usize::try_from(place).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|count| (800..1_200).contains(count)), "{quarters:?}");
    }

    #[test]
    fn identifiers_and_nonces_do_not_repeat_in_any_generator() {
        for pair in [[Entropy::new().unwrap(), Entropy::new().unwrap()], [Entropy::seeded(1), Entropy::seeded(2)]] {
            let flights: BTreeSet<_> = (0..1_000).map(|n| pair[n % 2].flight_base()).collect();
            let nonces: BTreeSet<_> = (0..1_000).map(|n| pair[n % 2].nonce().0).collect();
            assert_eq!((flights.len(), nonces.len()), (1_000, 1_000));
            assert!(!nonces.contains(&0));
        }
    }

    #[test]
    fn all_bits_of_an_identifier_vary() {
        for entropy in [Entropy::new().unwrap(), Entropy::seeded(1)] {
            let (mut ones, mut zeros) = (0, 0);
            for _ in 0..200 {
                let FlightId(bits) = entropy.flight_base();
                ones |= bits;
                zeros |= !bits;
            }
            assert_eq!((ones, zeros), (u128::MAX, u128::MAX));
        }
    }

    #[test]
    fn debug_output_reveals_no_future_value() {
        let entropy = Entropy::new().unwrap();
        assert_eq!(format!("{entropy:?}"), "Entropy { seeded: false, .. }");
    }
}
