//! The content of the gateway's tokens and codes, which are texts that the gateway has signed.

use serde::{Deserialize, Serialize};
use tokenkeeper::engine::values::WallTime;

use crate::seal::{Seal, Use};

/// The prefixes of tokens, by which scanners of leaked secrets find them.
const ACCESS: &str = "tkga_";
const REFRESH: &str = "tkgr_";
const CODE: &str = "tkgc_";

/// The identifier of a family of tokens, 128 random bits. It is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FamilyId(pub u128);

impl FamilyId {
    /// The authorization code that begins the family.
    pub(crate) fn code(self, seal: &Seal) -> String {
        [CODE, &seal.sign(Use::Code, &self.0.to_le_bytes())].concat()
    }

    /// The family of a code. `None` if this gateway has not signed the text as a code.
    pub(crate) fn of_code(seal: &Seal, code: &str) -> Option<Self> {
        let bytes = seal.verify(Use::Code, code.strip_prefix(CODE)?)?;
        Some(Self(u128::from_le_bytes(bytes.try_into().ok()?)))
    }
}

/// A refresh token. It consists of its family and its number in the family. The first one has the number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) family: FamilyId,
    pub(crate) number: u32,
}

impl RefreshToken {
    pub(crate) fn text(self, seal: &Seal) -> String {
        let bytes = [&self.family.0.to_le_bytes()[..], &self.number.to_le_bytes()].concat();
        [REFRESH, &seal.sign(Use::Refresh, &bytes)].concat()
    }

    pub(crate) fn read(seal: &Seal, text: &str) -> Option<Self> {
        let bytes = seal.verify(Use::Refresh, text.strip_prefix(REFRESH)?)?;
        let (family, number) = bytes.split_first_chunk()?;
        Some(Self {
            family: FamilyId(u128::from_le_bytes(*family)),
            number: u32::from_le_bytes(number.try_into().ok()?),
        })
    }
}

/// An access token. It consists of its family, the number of the refresh token that was issued with it, and its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccessToken {
    pub(crate) family: FamilyId,
    pub(crate) number: u32,
    pub(crate) expires: WallTime,
}

impl AccessToken {
    pub(crate) fn text(self, seal: &Seal) -> String {
        let (number, expires) = (self.number.to_le_bytes(), self.expires.as_millis().to_le_bytes());
        let bytes = [&self.family.0.to_le_bytes()[..], &number, &expires].concat();
        [ACCESS, &seal.sign(Use::Access, &bytes)].concat()
    }

    pub(crate) fn read(seal: &Seal, text: &str) -> Option<Self> {
        let bytes = seal.verify(Use::Access, text.strip_prefix(ACCESS)?)?;
        let (family, rest) = bytes.split_first_chunk()?;
        let (number, expires) = rest.split_first_chunk()?;
        Some(Self {
            family: FamilyId(u128::from_le_bytes(*family)),
            number: u32::from_le_bytes(*number),
            expires: WallTime::from_millis(u64::from_le_bytes(expires.try_into().ok()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::GatewayKey;

    #[test]
    fn tokens_read_back_as_their_own_kind_alone() {
        let seal = Seal::new(GatewayKey::new([1; 32]), Vec::new());
        let family = FamilyId(77);
        let refresh = RefreshToken { family, number: 3 };
        let access = AccessToken { family, number: 3, expires: WallTime::from_millis(1 << 40) };
        let (code, refreshing, calling) = (family.code(&seal), refresh.text(&seal), access.text(&seal));
        assert_eq!(FamilyId::of_code(&seal, &code), Some(family));
        assert_eq!(RefreshToken::read(&seal, &refreshing), Some(refresh));
        assert_eq!(AccessToken::read(&seal, &calling), Some(access));
        for other in [&code, &refreshing] {
            assert_eq!(AccessToken::read(&seal, other), None);
            assert_eq!(AccessToken::read(&seal, &[ACCESS, &other[5..]].concat()), None, "a prefix changes no kind");
        }
        assert_eq!(RefreshToken::read(&seal, &[REFRESH, &calling[5..]].concat()), None);
        assert_eq!(FamilyId::of_code(&seal, &[CODE, &refreshing[5..]].concat()), None);
    }
}
