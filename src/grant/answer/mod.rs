//! Reads a token endpoint's answer, in any of the known formats.

mod json;
mod jwt;
mod lifetime;
mod members;
mod names;
mod words;

use std::time::Duration;

use http::Response;
use tokenkeeper_actors::law::profile::{Evidence, Profile, Refused, Tokens};
use tokenkeeper_actors::values::{AccessToken, Moment, Validity, WallTime};

pub(super) use self::lifetime::LONGEST;
use self::members::Members;
pub use self::members::split_scopes;
use super::retry_after;
use crate::http::Body;
use crate::issuers::providers::default_profile;

/// The time between the beginning of the request and the earlier beginning of the lifetime of an empty access token, which
/// stands for a missing one and has expired.
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
/// | truncated or damaged JSON | tokens if both tokens precede the damage; else refused, because the refresh token may have been in the rest. A member counts if it is complete |
/// | JSON followed by other text, or with text that is not UTF-8 | the first value |
/// | a repeated member | the last readable one |
/// | `accessToken`, `AccessToken` and the like, in a complete answer | the standard's member, if that is absent |
/// | no `access_token` and no error, but exactly one object inside with an `access_token` (Withings) | the tokens of that object |
/// | no access token but one in `authed_user` | Slack's user token |
/// | no `token_type`, or one that is not `DPoP` | Bearer (Slack sends `bot` and `user` for Bearer) |
/// | an `access_token` that is blank or has characters outside printable ASCII (RFC 6749 appendix A.12) | none |
/// | no `refresh_token`, or an empty one | the old one stays (RFC 6749 section 6) |
/// | no `scope`, or an empty one | the granted scopes stay |
/// | `scope` with commas and no spaces, or as an array | several scopes |
///
/// **Lifetimes** are bounded, because servers write seconds, milliseconds, dates and "for ever" under the same names.
///
/// | received | lifetime |
/// |---|---|
/// | `expires_in` as number, string, float or `3600s` | seconds; zero and less than zero mean *unknown* ([`Validity`]) |
/// | `expires_in_sec`, `expires_in_ms` (Zoho) | that span, in preference to `expires_in` |
/// | `expires`, `expires_at`, `expires_on` as seconds or milliseconds since 1970, or as a date of HTTP or ISO 8601 | the time until then, by the server's `Date`, if there is no `expires_in` |
/// | more than a week | the shortest that any member names |
/// | `expires_in` that is whole minutes as milliseconds (at most a day) and more than a week but not whole days as seconds | milliseconds, if no other member names a lifetime |
/// | more than 90 days | 90 days |
/// | a JWT as access token | no more than from its `iat` to its `exp`; without any of the above, until its `exp` |
/// | none of these | *unknown* |
///
/// **The error code** may stand in `error`, as text, object or list; in `code`, `type`, `error_code`, `errorType` and
/// the like; in `errors` and `detail`; in `status`, `reason`, `title`, `message` and the description; in an object
/// under `data`, `body`, `result`, `response` or `fault`; or in the headers `x-sb-error-code`, `x-amzn-errortype` and
/// `WWW-Authenticate`. One code is reported. A code that the profile knows is preferred, in any spelling
/// (`InvalidGrantException`). Texts are compared with the profile's codes, as a whole and up to the first colon or full
/// stop, and are not repeated otherwise.
///
/// **A refresh token without an access token.** The engine's tokens always have an access token. Reporting a refusal
/// would put the *old* refresh token in doubt. The policy might present it again, which the server would take for
/// theft, and the new one would be lost. The answer is therefore reported as tokens with an empty access token whose
/// lifetime ended before it began. The engine stores the pair, never returns such a token to a caller (it is
/// [`ExpiredOnArrival`](tokenkeeper_actors::values::Reason::ExpiredOnArrival)), and after a pause refreshes with the
/// new refresh token.
///
/// The reported error code is one that [`default_profile`] knows, if the answer has one.
pub fn read(answer: &Response<Body>, asked: Moment, heard: WallTime) -> Evidence {
    read_for(&default_profile(), answer, asked, heard)
}

/// [`read`], for an issuer with this `profile`. The reported error code is one that the profile knows, if the answer
/// has one.
pub(crate) fn read_for(profile: &Profile, answer: &Response<Body>, asked: Moment, heard: WallTime) -> Evidence {
    let mut members = Members::of(answer.body().as_bytes());
    let (status, headers) = (answer.status(), answer.headers());
    if status.is_success() {
        members = members.unwrap();
        let now = retry_after::server_time(headers).unwrap_or(asked.wall);
        if let Some(tokens) = tokens(&mut members, asked, now) {
            return Evidence::Tokens(Box::new(tokens));
        }
    }
    let mut words = members.words;
    words.add_headers(headers);
    Evidence::Refused(Refused {
        status: status.as_u16(),
        error: words.choose(profile),
        retry_after: retry_after::of_answer(status, headers, members.retry_after, heard),
    })
}

/// Whether the answer names a token type that is not understood, in any of the formats. A token of such a type must not be
/// used (RFC 6749 section 7.1). A refresh ignores this, because the type of the token before was understood.
pub(crate) fn is_of_unknown_type(answer: &Response<Body>) -> bool {
    Members::of(answer.body().as_bytes()).unwrap().is_of_unknown_type
}

/// The time until the `exp` of a JWT, by the clock of this machine. It is an expiry hint, and no claim is verified.
pub(crate) fn jwt_lifetime(token: &str, now: WallTime) -> Option<Duration> {
    jwt::lifetimes(token, now).left
}

/// The tokens of the answer, if it has any. `now` is the server's time.
fn tokens(members: &mut Members, asked: Moment, now: WallTime) -> Option<Tokens> {
    let refresh = members.refresh.take();
    let (access, validity) = match members.access.take() {
        // A truncated answer without a refresh token brings no tokens. The new refresh token may be in the missing part,
        // and the old one would be taken for the current one.
        Some(access) if members.whole || refresh.is_some() => {
            let lifetime = members.lifetimes.lifetime(access.expose(), now);
            (access, Validity::new(asked, lifetime))
        }
        None if members.whole && refresh.is_some() && !members.is_refusal => {
            (AccessToken::new(""), expired_before(asked))
        }
        _ => return None,
    };
    let (kind, granted) = (members.kind.unwrap_or_default(), members.scopes.take());
    Some(Tokens { access, kind, validity, refresh, granted, subject: None, binding: None })
}

/// The validity of the empty access token that stands for a missing one.
pub(crate) fn expired_before(asked: Moment) -> Validity {
    Validity::new(before(asked), Some(Duration::from_millis(1)))
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
