//! The lifetime that a JWT access token names in its claims `exp` and `iat`. No other claim is read.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokenkeeper_actors::values::WallTime;
use zeroize::Zeroizing;

use super::json;
use crate::grant::time;

/// The maximum length of the encoded claims that are parsed, in bytes.
const MAX_CLAIMS: usize = 16 * 1024;

/// The smallest number that counts as milliseconds since 1970.
const MILLIS: f64 = 1e11;

/// The lifetimes that a JWT names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct JwtLifetimes {
    /// From `iat` to `exp`. Both are times of the server's clock, so an error of that clock does not matter.
    pub(super) whole: Option<Duration>,
    /// From now to `exp`, and at most `whole`. If `exp` has passed already, it is `whole`. No server issues an expired
    /// token, so one of the two clocks is wrong.
    pub(super) left: Option<Duration>,
}

/// The lifetimes of `token` at `now`, if it is a JWT with an `exp`.
pub(super) fn lifetimes(token: &str, now: WallTime) -> JwtLifetimes {
    let Some((exp, iat)) = times(token) else { return JwtLifetimes::default() };
    let whole = iat.map(|iat| exp.saturating_sub(iat)).filter(|span| !span.is_zero());
    let left = Some(exp.saturating_sub(Duration::from_millis(now.as_millis()))).filter(|span| !span.is_zero());
    JwtLifetimes { whole, left: left.map_or(whole, |left| Some(whole.map_or(left, |whole| left.min(whole)))) }
}

/// The claims `exp` and `iat`, since 1970.
fn times(token: &str) -> Option<(Duration, Option<Duration>)> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    if claims.len() > MAX_CLAIMS {
        return None;
    }
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
    let (mut exp, mut iat) = (None, None);
    let whole = json::read_object(std::str::from_utf8(&claims).ok()?, |name, value| match name {
        "exp" => exp = since_1970(value.plain()),
        "iat" => iat = since_1970(value.plain()),
        _ => {}
    });
    exp.filter(|_| whole).map(|exp| (exp, iat))
}

/// The time since 1970 that a claim states, in seconds or in milliseconds.
fn since_1970(text: &str) -> Option<Duration> {
    let number = time::number(text).filter(|number| *number > 0.0)?;
    // A number too large for a span becomes the longest one.
    let seconds = if (MILLIS..1e14).contains(&number) { number / 1e3 } else { number };
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
