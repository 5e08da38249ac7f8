//! Token values that are easy to find in a log, tell a reader which token they are, and differ between servers.

use super::TokenId;

/// Draws from a fixed stream (SplitMix64). A test server needs no secrets, only tokens that do not collide.
pub(super) struct Names(u64);

impl Names {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns for example `rt-3.17-9e3779b97f4a7c15`, which holds the kind, the chain and ordinal, and 64 bits of the
    /// stream.
    pub(super) fn draw(&mut self, kind: &str, token_id: Option<TokenId>) -> String {
        let word = self.next();
        match token_id {
            Some(TokenId { chain, ordinal }) => format!("{kind}-{chain}.{ordinal}-{word:016x}"),
            None => format!("{kind}-{word:016x}"),
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
