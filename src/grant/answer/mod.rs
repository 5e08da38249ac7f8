//! Reads a token endpoint's answer, in any of the known formats.

mod json;
mod jwt;
mod members;

use std::time::Duration;

use http::{HeaderMap, Response, header};
use tokenkeeper_actors::law::profile::{Evidence, Refused, Tokens};
use tokenkeeper_actors::values::{AccessToken, Moment, Validity, WallTime};

use self::members::Members;
use super::retry_after;
use crate::http::Body;

/// How long before the request the missing access token is dated as expired.
const LONG_AGO: Duration = Duration::from_secs(60);

/// Reads the complete answer of a token endpoint (RFC 6749 sections 5.1 and 5.2), in any of the formats below.
///
/// `asked` is the time at which the request began. It anchors lifetimes. `heard` is the current wall-clock time. A date
/// in `Retry-After` is compared with it if the answer has no `Date`.
///
/// Pure, and linear in the size of the answer. The caller bounds that size.
///
/// A refresh token that arrived must not be lost, because its predecessor is spent. Everything in an answer except the
/// tokens themselves is therefore read leniently.
///
/// | received | interpretation |
/// |---|---|
/// | any 2xx with a usable `access_token` | tokens, regardless of other members, `error` included |
/// | a 2xx without one, and with an error or nothing | refused, with that status |
/// | a 2xx with a `refresh_token`, no usable `access_token` and no error | tokens with an expired access token (see below) |
/// | any other status | refused |
/// | JSON, form-encoded, with a byte order mark, under any `Content-Type` | the format that the first character indicates |
/// | truncated or damaged JSON | tokens if both tokens precede the damage; else refused, because the refresh token may have been in the rest |
/// | JSON followed by other text | the first value |
/// | a repeated member | the last readable one |
/// | no `token_type`, or one that is not `DPoP` | Bearer (Slack sends `bot` and `user` for Bearer) |
/// | `expires_in` as number, string or float | seconds; zero and less than zero mean *unknown* ([`Validity`]) |
/// | no readable `expires_in` | a JWT's `exp`, where the access token is one; else *unknown* |
/// | no `refresh_token`, or an empty one | the old one stays (RFC 6749 section 6) |
/// | no `scope`, or an empty one | the granted scopes stay |
/// | `scope` with commas and no spaces, or as an array | several scopes |
/// | no access token but one in `authed_user` | Slack's user token |
///
/// **A refresh token without an access token.** The engine's tokens always have an access token. Reporting a refusal
/// would put the *old* refresh token in doubt. The policy might present it again, which the server would take for
/// theft, and the new one would be lost. The answer is therefore reported as tokens with an empty access token whose
/// lifetime ended before it began. The engine stores the pair, never returns such a token to a caller (it is
/// [`ExpiredOnArrival`](tokenkeeper_actors::values::Reason::ExpiredOnArrival)), and after a pause refreshes with the
/// new refresh token.
pub fn read(answer: &Response<Body>, asked: Moment, heard: WallTime) -> Evidence {
    let mut members = Members::of(answer.body().as_bytes());
    if answer.status().is_success()
        && let Some(tokens) = tokens(&mut members, asked)
    {
        return Evidence::Tokens(Box::new(tokens));
    }
    let status = answer.status().as_u16();
    Evidence::Refused(Refused { status, error: members.word(), retry_after: throttle(answer.headers(), heard) })
}

fn throttle(headers: &HeaderMap, heard: WallTime) -> Option<Duration> {
    // Uses the server's own clock if the answer has a `Date`.
    let date = headers.get(header::DATE).and_then(|date| retry_after::date(date.to_str().ok()?));
    retry_after::longest(headers.get_all(header::RETRY_AFTER), date.unwrap_or(heard))
}

/// The tokens of the answer, if it has any.
fn tokens(members: &mut Members, asked: Moment) -> Option<Tokens> {
    // In a truncated answer, the access token that belongs to the refresh token may have been in the missing part.
    if members.access.is_none()
        && members.whole
        && let Some(user) = members.authed_user.take_if(|user| user.access.is_some())
    {
        let refresh = members.refresh.take();
        *members = Members { whole: true, ..*user };
        members.refresh = members.refresh.take().or(refresh);
    }
    let refresh = members.refresh.take();
    let (access, validity) = match members.access.take() {
        // If the answer was truncated before the refresh token, the old one would be taken for the current one.
        Some(access) if members.whole || refresh.is_some() => {
            let lifetime = members.lifetime.or_else(|| jwt::lifetime_hint(access.expose(), asked.wall));
            (access, Validity::new(asked, lifetime))
        }
        None if members.whole && refresh.is_some() && !members.is_refusal() => {
            (AccessToken::new(""), Validity::new(before(asked), Some(Duration::from_millis(1))))
        }
        _ => return None,
    };
    let granted = members.scopes.take();
    Some(Tokens { access, kind: members.kind, validity, refresh, granted, subject: None, binding: None })
}

fn before(asked: Moment) -> Moment {
    let span = u64::try_from(LONG_AGO.as_millis()).unwrap_or(u64::MAX);
    Moment {
        wall: WallTime::from_millis(asked.wall.as_millis().saturating_sub(span)),
        elapsed: asked.elapsed.before(LONG_AGO),
        ..asked
    }
}

#[cfg(test)]
mod tests;
