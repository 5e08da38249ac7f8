//! The `exp` of a JWT access token, a lifetime hint where the server gave none. No other claim is read.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokenkeeper_actors::values::WallTime;
use zeroize::Zeroizing;

use super::json;
use super::members::seconds;

/// The maximum length of claims that are parsed, encoded.
const CLAIMS_MOST: usize = 16 * 1024;

/// The lifetime of `token` from `asked` on, if it is a JWT with an `exp`. Returns `None` if `exp` has passed by this
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
