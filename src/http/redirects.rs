//! The redirects that a host's own client may follow with a session's token.

use reqwest::redirect::{Attempt, Policy};
use tokenkeeper_actors::values::ResourceUri;
use url::Url;

/// The maximum number of redirects that are followed for one request.
const MAX_REDIRECTS: usize = 5;

/// The redirect policy of a host's own reqwest client, whose requests to `resource` carry tokens.
///
/// It follows a redirect with status 307 or 308 if both URLs are the resource or below it ([`ResourceUri::covers`]), and at
/// most five for one request. At any other redirect it stops, and the request gets the redirect itself as its answer. The
/// host decides what to do about its `Location`. Requests to another resource need a session of that resource.
///
/// reqwest's own policy must not be used, because it carries the token to other paths of the origin (law 13), and every other
/// header to other origins. It also turns a POST into a GET after 301, 302 and 303 (RFC 9110 section 15.4), so that the
/// message of an MCP client is lost.
///
/// ```
/// use tokenkeeper::ResourceUri;
/// use tokenkeeper::http::redirects;
///
/// let resource = ResourceUri::parse("https://mcp.example.com/mcp")?;
/// let builder = reqwest::Client::builder().redirect(redirects(&resource));
/// # let _ = builder;
/// # Ok::<(), tokenkeeper::ResourceError>(())
/// ```
///
/// A client that serves several resources uses [`Policy::none`].
pub fn redirects(resource: &ResourceUri) -> Policy {
    let resource = resource.clone();
    Policy::custom(move |attempt| if may_follow(&resource, &attempt) { attempt.follow() } else { attempt.stop() })
}

/// Whether a redirect is followed. `attempt.url()` is the URL that the next request would be sent to, with dot segments
/// resolved.
fn may_follow(resource: &ResourceUri, attempt: &Attempt<'_>) -> bool {
    let keeps_the_request = matches!(attempt.status().as_u16(), 307 | 308);
    // `previous` begins with the URL of the request itself. Each redirect must start at the resource, because a shared client
    // may also send requests of other resources.
    let stays = |from: &Url| resource.covers(from.as_str()) && resource.covers(attempt.url().as_str());
    keeps_the_request && attempt.previous().len() <= MAX_REDIRECTS && attempt.previous().last().is_some_and(stays)
}
