//! What a token endpoint's answer says, in whatever shape it says it.

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

/// How long before its request the access token that did not come was over.
const LONG_AGO: Duration = Duration::from_secs(60);

/// Reads the complete answer of a token endpoint (RFC 6749 sections 5.1 and 5.2), in whatever shape it comes.
///
/// `asked` is when the request began: what lifetimes are anchored at. `heard` is what the wall clock shows now: what a
/// date in `Retry-After` is compared with where the answer has no `Date`.
///
/// Pure, and linear in the size of the answer. Whoever receives it bounds that.
///
/// A refresh token that arrived must not be lost, because its predecessor is spent: so everything about an answer that
/// can be doubtful, and is not the token itself, is read with forbearance.
///
/// | what arrives | what it is taken for |
/// |---|---|
/// | any 2xx with a usable `access_token` | tokens, whatever else is in it, `error` included |
/// | a 2xx without one, and with an error or nothing | refused, with that status |
/// | a 2xx with a `refresh_token`, no usable `access_token` and no error | tokens whose access token is over already: see below |
/// | any other status | refused |
/// | JSON, form-encoded, with a byte order mark, under any `Content-Type` | what it is by its first character |
/// | JSON that breaks off or is damaged | tokens if both tokens had come by then; else refused, because the refresh token may have been in the rest |
/// | JSON with something after it | the first value |
/// | a member twice | the last that can be read |
/// | no `token_type`, or one that is not `DPoP` | Bearer (Slack says `bot` and `user`, and means it) |
/// | `expires_in` as number, string or float | seconds; zero and less than zero mean *unknown* ([`Validity`]) |
/// | no readable `expires_in` | a JWT's `exp`, where the access token is one; else *unknown* |
/// | no `refresh_token`, or an empty one | the old one stays (RFC 6749 section 6) |
/// | no `scope`, or an empty one | granted is what was granted |
/// | `scope` with commas and no spaces, or as an array | several scopes |
/// | no access token but one in `authed_user` | Slack's user token |
///
/// **A refresh token without an access token.** The engine knows no such thing: its tokens have an access token. To report
/// a refusal would put the *old* refresh token in doubt, and the policy might present it again, which the server
/// would take for theft, while the new one is thrown away. So it is reported as tokens with an empty access token whose
/// lifetime ended before it began. The engine stores the pair, hands such a token to nobody (it is
/// [`ExpiredOnArrival`](tokenkeeper_actors::values::Reason::ExpiredOnArrival)), and after a pause refreshes with the new
/// refresh token.
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
    // By the server's own clock, if it shows it.
    let date = headers.get(header::DATE).and_then(|date| retry_after::date(date.to_str().ok()?));
    retry_after::longest(headers.get_all(header::RETRY_AFTER), date.unwrap_or(heard))
}

/// The tokens that came, if they did.
fn tokens(members: &mut Members, asked: Moment) -> Option<Tokens> {
    // Of an answer that broke off, the access token that belongs to the refresh token may have been in the rest.
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
        // Had it broken off before the refresh token, the old one would be taken for the living one.
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
