//! The page that ends a sign-in in the browser.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Response, StatusCode, header};
use sha2::{Digest, Sha256};

use super::body::PageBody;
use crate::{LoginReason, SignInError};

/// The end of a sign-in, as the person's browser shows it. The page contains no text of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The session is signed in.
    SignedIn,
    /// The person declined, or the server declined in the person's name.
    Declined,
    /// The answer does not belong to the sign-in that waits, or cannot be read.
    Mismatched,
    /// The sign-in had ended before the answer came.
    Expired,
    /// The answer came again after the sign-in had succeeded, for example because the page was reloaded.
    AlreadyDone,
    /// The sign-in failed in another way. The program shows the reason.
    Failed,
}

impl Outcome {
    /// The outcome to show for the result of [`complete_login`](crate::AuthSession::complete_login).
    pub fn of(result: Result<(), SignInError>) -> Self {
        match result.map_err(|error| error.reason()) {
            Ok(()) => Self::SignedIn,
            Err(LoginReason::Denied) => Self::Declined,
            Err(LoginReason::Forged | LoginReason::WrongIssuer) => Self::Mismatched,
            Err(
                LoginReason::UnknownLogin | LoginReason::TimedOut | LoginReason::Cancelled | LoginReason::LoggedOut,
            ) => Self::Expired,
            Err(_) => Self::Failed,
        }
    }

    /// The outcome to show for the same answer when it comes again.
    pub(super) fn again(self) -> Self {
        match self {
            Self::SignedIn => Self::AlreadyDone,
            other => other,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::SignedIn | Self::Declined | Self::AlreadyDone => StatusCode::OK,
            Self::Mismatched => StatusCode::BAD_REQUEST,
            Self::Expired => StatusCode::GONE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The colour's name, the sign, the heading and the text.
    fn words(self) -> (&'static str, &'static str, &'static str, &'static str) {
        let (tick, cross, mark) = ("m7 12.5 3.4 3.4L17 9", "m8.5 8.5 7 7m0-7-7 7", "M12 7v6m0 3.6v.1");
        match self {
            Self::SignedIn => {
                ("good", tick, "You are signed in", "You can close this tab and go back to the program that opened it.")
            }
            Self::AlreadyDone => (
                "good",
                tick,
                "You are already signed in",
                "This sign-in was completed a moment ago. You can close this tab.",
            ),
            Self::Declined => (
                "calm",
                cross,
                "Access was declined",
                "Nothing was changed. To allow access, start the sign-in again in the program.",
            ),
            Self::Mismatched => (
                "bad",
                mark,
                "This answer does not match",
                "It does not belong to the sign-in that is waiting, and was not used. Go back to the program, and use only the \
                 page that it opens or shows.",
            ),
            Self::Expired => (
                "calm",
                mark,
                "This sign-in has ended",
                "It expired, was cancelled, or was answered before. Start it again in the program.",
            ),
            Self::Failed => (
                "bad",
                mark,
                "The sign-in was not completed",
                "Go back to the program. It shows the reason, and what to do.",
            ),
        }
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--text:light-dark(#1d2129,#e8eaed);--soft:light-dark(#5b6472,#a3acb9);\
--page:light-dark(#f4f5f7,#14161a);--card:light-dark(#fff,#1e2127);--edge:light-dark(#e2e5ea,#2d323b);\
--good:light-dark(#15803d,#4ade80);--bad:light-dark(#b42318,#f97066);--calm:light-dark(#475467,#98a2b3)}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:24px;background:var(--page);color:var(--text);\
font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}\
main{width:100%;max-width:440px;padding:40px 36px;text-align:center;background:var(--card);\
border:1px solid var(--edge);border-radius:16px;box-shadow:0 8px 30px light-dark(#1018280f,#0006)}\
svg{display:block;width:56px;height:56px;margin:0 auto 20px;fill:none;stroke:currentColor;stroke-width:1.6;\
stroke-linecap:round;stroke-linejoin:round}\
.good{color:var(--good)}.bad{color:var(--bad)}.calm{color:var(--calm)}\
h1{margin:0 0 8px;font-size:22px;line-height:1.3;font-weight:600;text-wrap:balance}\
p{margin:0;color:var(--soft);text-wrap:balance}";

/// Removes the answer from the address bar and from the history of the tab.
const SCRIPT: &str = "history.replaceState(null,'',location.pathname)";

/// The content security policy. The style and the script are allowed by their hashes, and everything else is forbidden,
/// including a request for an icon.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The page of an outcome.
pub(super) fn page(outcome: Outcome) -> Response<PageBody> {
    let (colour, sign, heading, text) = outcome.words();
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{heading}\
         </title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<svg class=\"{colour}\" viewBox=\"0 0 24 24\" \
         aria-hidden=\"true\"><circle cx=\"12\" cy=\"12\" r=\"10\"/><path d=\"{sign}\"/></svg>\n<h1>{heading}</h1>\n<p>{text}\
         </p>\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    );
    let mut response = bare(outcome.status());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    *response.body_mut() = PageBody::new(html);
    response
}

/// A response without a body, with the headers of every response.
pub(super) fn bare(status: StatusCode) -> Response<PageBody> {
    let mut response = Response::new(PageBody::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Outcome; 6] = [
        Outcome::SignedIn,
        Outcome::Declined,
        Outcome::Mismatched,
        Outcome::Expired,
        Outcome::AlreadyDone,
        Outcome::Failed,
    ];

    #[test]
    fn the_policy_allows_exactly_the_style_and_the_script() {
        let policy = POLICY.to_str().unwrap();
        for text in [STYLE, SCRIPT] {
            assert!(policy.contains(&STANDARD.encode(Sha256::digest(text.as_bytes()))), "{policy}");
            assert!(!text.contains("</"), "an end tag would end the element early");
        }
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
    }

    #[test]
    fn each_outcome_has_words_of_its_own() {
        let headings: std::collections::BTreeSet<_> = ALL.iter().map(|outcome| outcome.words().2).collect();
        assert_eq!(headings.len(), ALL.len());
        for outcome in ALL {
            assert!(page(outcome).headers().contains_key(header::CONTENT_SECURITY_POLICY));
        }
    }

    #[test]
    fn each_reason_has_the_page_that_fits() {
        let of = |reason| Outcome::of(Err(SignInError::new(reason)));
        assert_eq!(Outcome::of(Ok(())), Outcome::SignedIn);
        assert_eq!(of(LoginReason::Denied), Outcome::Declined);
        assert_eq!(of(LoginReason::WrongIssuer), Outcome::Mismatched);
        assert_eq!(of(LoginReason::Forged), Outcome::Mismatched);
        assert_eq!(of(LoginReason::UnknownLogin), Outcome::Expired);
        assert_eq!(of(LoginReason::Lost), Outcome::Failed);
        assert_eq!(Outcome::SignedIn.again(), Outcome::AlreadyDone);
        assert_eq!(Outcome::Declined.again(), Outcome::Declined);
    }
}
