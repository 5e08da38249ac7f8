//! The values of a login that a person is asked for. A host passes them to the login attempt and gets them from it.

mod reason;

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::time::WallTime;

pub use reason::{LoginReason, SignInError};

/// The key of a pending login, a digest of its `state` parameter (RFC 6749 section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginKey(pub [u8; 32]);

/// The answer that a person's browser brought back, as the query of a URL or as pasted text. Only the
/// [login source](crate::ports::login::LoginSource) reads it.
#[derive(Clone)]
pub struct Callback {
    /// The key of the login that it answers. The host computes it from the `state` parameter.
    pub key: LoginKey,
    answer: SecretString,
    browser: Option<BrowserBinding>,
}

impl Callback {
    /// The answer to the login of `key`. It contains the authorization code, so it is kept as a secret.
    pub fn new(key: LoginKey, answer: impl Into<String>) -> Self {
        Self { key, answer: SecretString::from(answer.into()), browser: None }
    }

    /// The same answer, which came in the browser that holds this secret. A login that was begun in a browser
    /// ([`LoginMethod::Hosted`]) can only be completed there.
    #[must_use]
    pub fn in_browser(self, browser: BrowserBinding) -> Self {
        Self { browser: Some(browser), ..self }
    }

    /// The browser in which the answer came, if the host named it.
    pub fn browser(&self) -> Option<BrowserBinding> {
        self.browser
    }

    /// The answer itself, for the login source.
    pub fn expose(&self) -> &str {
        self.answer.expose_secret()
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Ties a login to the browser in which it was begun, by a digest of a secret that the host keeps there, such as its
/// own cookie. Without it, an attacker could send a person the answer to the attacker's own login, and the person would
/// work in the attacker's account.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BrowserBinding([u8; 32]);

impl BrowserBinding {
    /// The binding to the browser that holds `secret`. The secret has at least 128 random bits, and is new for each login or
    /// each session of the browser.
    pub fn new(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// The digest, for the login source.
    pub fn digest(&self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Debug for BrowserBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowserBinding(…)")
    }
}

/// An address that a person opens to sign in. It contains the `state` of the login, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginUrl(String);

impl LoginUrl {
    /// Wraps an address that the login source has checked.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The address, to be opened or shown as a whole.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LoginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginUrl(…)")
    }
}

/// A prompt, which is the request to a person to sign in, for the host to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginOffer {
    /// The way in which the person is asked.
    pub prompt: OfferedPrompt,
    /// The time at which the prompt expires, by the wall clock.
    pub expires: WallTime,
}

/// The ways in which a person is asked. `Debug` shows neither addresses nor codes.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OfferedPrompt {
    /// An authorization page. Its answer arrives as a [`Callback`].
    Browser {
        /// The page.
        url: LoginUrl,
    },
    /// A page where the person enters a code (RFC 8628). The login attempt polls the server for the answer.
    Device {
        /// The page.
        url: LoginUrl,
        /// The page with the code filled in, if the server offers it.
        complete: Option<LoginUrl>,
        /// The code.
        user_code: String,
        /// The pause between two polls.
        interval: Duration,
    },
}

impl fmt::Debug for OfferedPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Browser { .. } => "Browser(…)",
            Self::Device { .. } => "Device(…)",
        })
    }
}

/// The way in which a login attempt is to ask the person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoginMethod {
    /// By an authorization page that redirects to this address.
    Redirect(String),
    /// By an authorization page that redirects to one of the host's own routes, in the browser in which the login was begun.
    Hosted {
        /// The address of the route.
        redirect: String,
        /// The browser.
        browser: BrowserBinding,
    },
    /// By a code that the person enters on another device (RFC 8628).
    Device,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_and_addresses_show_no_secret() {
        let callback = Callback::new(LoginKey([7; 32]), "code=secret&state=s");
        assert_eq!(callback.expose(), "code=secret&state=s");
        assert!(!format!("{callback:?}").contains("secret"));
        let url = LoginUrl::new("https://as.example/authorize?state=secret");
        assert!(!format!("{url:?}").contains("secret") && url.as_str().contains("secret"));
        let (user_code, interval) = ("SECRET-CODE".to_owned(), Duration::from_secs(5));
        let prompt = OfferedPrompt::Device { url, complete: None, user_code, interval };
        assert_eq!(format!("{prompt:?}"), "Device(…)");
    }
}
