//! A JWT access token's `exp`: a hint at its lifetime where the server gave none. Nothing else in it is read.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokenkeeper_actors::values::WallTime;
use zeroize::Zeroizing;

use super::json;
use super::members::seconds;

/// The longest claims that are looked at, encoded.
const CLAIMS_MOST: usize = 16 * 1024;

/// How long `token` lives from `asked` on, if it is a JWT that says so; `None` where its `exp` has passed by this
/// machine's clock, because one of the two clocks is then wrong.
pub(super) fn lifetime_hint(token: &str, asked: WallTime) -> Option<Duration> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    if claims.len() > CLAIMS_MOST {
        return None;
    }
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
    let exp = seconds(json::member(&claims, "exp")?)?;
    Some(exp.saturating_sub(Duration::from_millis(asked.as_millis()))).filter(|lifetime| !lifetime.is_zero())
}
