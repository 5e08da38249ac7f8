//! The form of a token request at one provider, where it differs from the standard.

use crate::grant::BodyFormat;

/// Deviations of a token endpoint from the standard. All fields are plain data; the default is the standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// How parameters are written. Default: form-encoded.
    pub body: BodyFormat,
    /// Whether a refresh sends `scope`. Default: it does not.
    pub scope: ScopeOnRefresh,
}

/// Whether a refresh sends `scope`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeOnRefresh {
    /// Sends no `scope`. The granted scopes stay granted (RFC 6749 section 6).
    #[default]
    Omit,
    /// Sends the granted scopes, or the requested ones where the server never named the granted ones (Entra ID).
    Granted,
}
