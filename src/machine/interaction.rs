//! The page that a person has to open before the token endpoint issues tokens (`interaction_required`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokenkeeper_actors::law::profile::{Evidence, Profile};
use tokenkeeper_actors::values::{LoginUrl, Moment, ServerIdentity};
use url::Url;

use super::judge::SIGN_ON_WORDS;
use crate::grant::{answer_for, may_receive_secrets};
use crate::http::Body;

/// The maximum length of the address, in bytes.
const MAX_URL: usize = 2 * 1024;

/// The maximum number of sessions whose pages are remembered. The next answer of the server names a forgotten page again.
const MAX_SESSIONS: usize = 1024;

/// The members of an error in which servers name the page. No specification defines such a member.
#[derive(Deserialize)]
struct Named {
    interaction_uri: Option<String>,
    interaction_url: Option<String>,
    consent_uri: Option<String>,
    consent_url: Option<String>,
    authorization_uri: Option<String>,
    authorization_url: Option<String>,
    #[serde(rename = "authorizationUrl")]
    authorization_url_in_camel_case: Option<String>,
}

/// The pages of the sessions whose last token request was refused with a page.
#[derive(Debug, Default)]
pub(super) struct Interactions(Mutex<BTreeMap<ServerIdentity, Arc<LoginUrl>>>);

impl Interactions {
    /// Remembers the page of an answer to a request of `identity`, and forgets the one before it.
    pub(super) fn note(&self, identity: &ServerIdentity, answer: &http::Response<Body>) {
        let page = page(answer);
        let mut all = self.all();
        match page {
            Some(page) => {
                if all.len() >= MAX_SESSIONS && !all.contains_key(identity) {
                    all.clear();
                }
                all.insert(identity.clone(), Arc::new(page));
            }
            None => drop(all.remove(identity)),
        }
    }

    /// The page of the last answer to a request of `identity`.
    pub(super) fn of(&self, identity: &ServerIdentity) -> Option<Arc<LoginUrl>> {
        self.all().get(identity).cloned()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ServerIdentity, Arc<LoginUrl>>> {
        // A map is consistent between two statements, so a panic of another thread does no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page that an answer names, if the server wants a person to act. The page must be an exact `https` URL in printable
/// ASCII, because a terminal acts on other characters.
fn page(answer: &http::Response<Body>) -> Option<LoginUrl> {
    let Evidence::Refused(refused) = answer_for(&Profile::default(), answer, Moment::default(), Moment::default().wall)
    else {
        return None;
    };
    if !refused.error.as_deref().is_some_and(|word| SIGN_ON_WORDS.contains(&word)) {
        return None;
    }
    let named: Named = serde_json::from_slice(answer.body().as_bytes()).ok()?;
    let all = [
        named.interaction_uri,
        named.interaction_url,
        named.consent_uri,
        named.consent_url,
        named.authorization_uri,
        named.authorization_url,
        named.authorization_url_in_camel_case,
    ];
    let url = all.into_iter().flatten().next()?;
    let is_exact = url.len() <= MAX_URL && url.is_ascii() && may_receive_secrets(&url);
    let url = Url::parse(&url).ok().filter(|url| is_exact && url.scheme() == "https")?;
    Some(LoginUrl::new(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(status: u16, body: &str) -> Option<String> {
        let mut answer = http::Response::new(Body::new(body));
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
        page(&answer).map(|url| url.as_str().to_owned())
    }

    #[test]
    fn the_page_of_an_answer_that_wants_a_person_is_read() {
        let page = "https://idp.example.com/consent?ticket=1";
        for member in ["interaction_uri", "interaction_url", "consent_url", "authorization_url", "authorizationUrl"] {
            let body = format!(r#"{{"error":"interaction_required","{member}":"{page}"}}"#);
            assert_eq!(named(400, &body).as_deref(), Some(page), "{member}");
            assert_eq!(named(401, &body).as_deref(), Some(page), "{member}");
        }
        assert!(named(400, &format!(r#"{{"error":"consent_required","consent_uri":"{page}"}}"#)).is_some());
    }

    #[test]
    fn no_other_address_is_a_page() {
        for url in [
            "http://idp.example.com/consent",
            "http://127.0.0.1/consent",
            "javascript:alert(1)",
            "https://user:password@idp.example.com/",
            "https://idp.example.com/\\u001b[2J",
            "https://idp.example.com/\\n",
            "https://idp.example.com/\\u202e",
            "",
        ] {
            assert_eq!(
                named(400, &format!(r#"{{"error":"interaction_required","interaction_uri":"{url}"}}"#)),
                None,
                "{url}"
            );
        }
        let long = format!("https://idp.example.com/{}", "x".repeat(MAX_URL));
        assert_eq!(named(400, &format!(r#"{{"error":"interaction_required","interaction_uri":"{long}"}}"#)), None);
        for body in [
            r#"{"error":"invalid_grant","interaction_uri":"https://idp.example.com/"}"#,
            r#"{"error":"interaction_required","error_uri":"https://idp.example.com/"}"#,
            r#"{"access_token":"at","interaction_uri":"https://idp.example.com/"}"#,
            "no JSON",
        ] {
            assert_eq!(named(400, body), None, "{body}");
        }
    }
}
