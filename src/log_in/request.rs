//! The request to sign a person in.

use std::time::Duration;

use tokenkeeper_actors::law::login::LoginWish;
use tokenkeeper_actors::law::session::LoginCause;

use crate::{LoginMethod, Scopes};

/// The port of the default redirect address without a listener. It is unassigned, and no browser blocks it. Most systems let
/// only an administrator listen there, so the browser shows an error page, and the person copies the address from it.
const UNSERVED_PORT: u16 = 4;

/// The default wait for the person. It is a little longer than the lifetime of a prompt (10 min), so that the expiry of the
/// prompt is reported.
const TIMEOUT: Duration = Duration::from_secs(615);

/// The way in which a person is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Way {
    /// A listener on loopback, or a pasted address. The pasted address is the only way without the feature `loopback`, with
    /// a [redirect address](LogIn::redirect_to) of the host, or on a machine without loopback.
    #[default]
    Best,
    /// A listener on loopback only.
    #[cfg(feature = "loopback")]
    Loopback,
    /// The pasted address or code, for example over SSH or in a container.
    Paste,
    /// A code that the person enters on another device (RFC 8628).
    Device,
}

/// A request to sign a person in, for [`AuthSession::log_in`](crate::AuthSession::log_in).
///
/// ```
/// use tokenkeeper::{LogIn, Scopes, Way};
///
/// let request = LogIn::new().scopes(Scopes::new(["files:read"])).way(Way::Paste).again();
/// # let _ = request;
/// ```
#[derive(Clone, Debug)]
pub struct LogIn {
    pub(super) scopes: Scopes,
    pub(super) way: Way,
    pub(super) port: Option<u16>,
    #[cfg(feature = "loopback")]
    pub(super) preferred_port: Option<u16>,
    pub(super) redirect: Option<String>,
    pub(super) again: bool,
    pub(super) same_subject: bool,
    pub(super) timeout: Duration,
}

impl Default for LogIn {
    fn default() -> Self {
        Self {
            scopes: Scopes::default(),
            way: Way::default(),
            port: None,
            #[cfg(feature = "loopback")]
            preferred_port: None,
            redirect: None,
            again: false,
            same_subject: true,
            timeout: TIMEOUT,
        }
    }
}

impl LogIn {
    /// A request in the way [`Way::Best`], for the scopes that the server proposes. If a person is signed in already, the login
    /// must be of the same person.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for these scopes, in place of those of the session.
    #[must_use]
    pub fn scopes(self, scopes: Scopes) -> Self {
        Self { scopes, ..self }
    }

    /// Asks in this way ([`Way::Best`]).
    #[must_use]
    pub fn way(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// Requires this port for the redirect address, for a client that is registered with it. By default any port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Uses this port if it is free, for example that of an earlier login.
    #[cfg(feature = "loopback")]
    #[must_use]
    pub fn preferred_port(self, port: u16) -> Self {
        Self { preferred_port: Some(port), ..self }
    }

    /// Uses this redirect address without a listener, for example a page of the host that shows the address to copy. Default:
    /// `http://127.0.0.1:4/callback`, which no program serves.
    #[must_use]
    pub fn redirect_to(self, uri: impl Into<String>) -> Self {
        Self { redirect: Some(uri.into()), ..self }
    }

    /// Signs in even if the session is signed in already. Its tokens are served until the new ones are stored.
    #[must_use]
    pub fn again(self) -> Self {
        Self { again: true, ..self }
    }

    /// Lets another person than the one who is signed in replace the session.
    #[must_use]
    pub fn allow_another_subject(self) -> Self {
        Self { same_subject: false, ..self }
    }

    /// Bounds the wait for a request to show, and that for the person. Default: 10 min and 15 s for each. A prompt itself lives
    /// 10 min ([`LoginLimits`](crate::LoginLimits)). The wait for the redemption of an answer is not bounded by it.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Whether the host has chosen the redirect address or its port.
    pub(super) fn names_port(&self) -> bool {
        #[cfg(feature = "loopback")]
        let is_preferred = self.preferred_port.is_some();
        #[cfg(not(feature = "loopback"))]
        let is_preferred = false;
        is_preferred || self.port.is_some() || self.redirect.is_some()
    }

    /// The redirect address without a listener.
    pub(super) fn unserved_redirect(&self) -> String {
        match &self.redirect {
            Some(uri) => uri.clone(),
            None => format!("http://127.0.0.1:{}/callback", self.port.unwrap_or(UNSERVED_PORT)),
        }
    }

    pub(super) fn wish(&self, method: LoginMethod) -> LoginWish {
        LoginWish { scopes: self.scopes.clone(), method, same_subject: self.same_subject, extends: false }
    }

    pub(super) fn cause(&self) -> LoginCause {
        match self.again {
            true => LoginCause::Again,
            false => LoginCause::Person,
        }
    }
}
