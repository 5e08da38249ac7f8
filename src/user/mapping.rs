//! The mapping, which states as data where a provider describes the person who is signed in.

mod builtin;
mod pick;
mod refusal;

use std::collections::BTreeMap;

use ::http::{HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::grant::may_receive_secrets;

pub use pick::{UserElement, UserPick};
pub use refusal::{UserRefusal, UserRefusalMeaning};

/// Where a provider describes the person who is signed in, and the meaning of the claims.
///
/// The answers of all requests are put into one document, under the requests' names. The claims of a token are a member of it,
/// too. The fields are then picked from the document.
///
/// ```
/// use tokenkeeper::user::UserMapping;
///
/// let mapping = UserMapping::from_json(
///     r#"{
///         "requests": [
///             { "name": "me", "at": { "url": "https://api.example.com/me" } },
///             { "name": "teams", "at": { "url": "https://api.example.com/me/teams" }, "optional": true }
///         ],
///         "fields": {
///             "subject": ["/me/id"],
///             "name": ["/me/display_name", "/me/login"],
///             "email": [{ "list": "/me/emails", "only": { "primary": true }, "pointer": "/address" }],
///             "groups": ["/teams/*/slug"]
///         }
///     }"#,
/// )?;
/// assert_eq!(mapping.requests.len(), 2);
/// # Ok::<(), tokenkeeper::user::UserMappingError>(())
/// ```
///
/// # Safety
///
/// A mapping names the places that the session's access token is sent to, so only the host may provide it, and never a
/// server (law 13).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UserMapping {
    /// The requests, in their order. May be empty if the claims of the access token suffice.
    #[serde(default)]
    pub requests: Vec<UserRequest>,
    /// Whether the claims of the access token are read, as the member `access_token`. A token that is no JWT has none. Default
    /// no. The issuer sent the token to this process over TLS, and the signature is not verified.
    #[serde(default)]
    pub access_token: bool,
    /// The fields.
    pub fields: UserFields,
}

/// One request for the person who is signed in. It carries the session's access token, and a proof of possession if the token is
/// bound to a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UserRequest {
    /// The member of the document that holds the answer. It must not be `access_token` or `id_token`.
    pub name: String,
    /// The address.
    pub at: UserPlace,
    /// Whether the answer is that of a userinfo endpoint, whose `sub` must be the session's subject (OpenID Connect Core section
    /// 5.3.2). Always so at [`UserPlace::Userinfo`]. Default no.
    #[serde(default)]
    pub openid: bool,
    /// Whether the answer may be missing. A refusal of such a request causes no refresh. Trouble that may pass, such as a
    /// status 503 or a rate limit, fails the whole fetch in any case. Default no.
    #[serde(default)]
    pub optional: bool,
    /// Further headers, such as `Accept` or the version of an API. Headers that HTTP or the token needs are not allowed.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The JSON body of a POST, for example a GraphQL query. Without one it is a GET.
    #[serde(default)]
    pub body: Option<Value>,
    /// How the provider reports an error with status 200, if it does.
    #[serde(default)]
    pub envelope: Option<UserEnvelope>,
    /// The refusals whose status means something else than usual at this provider.
    #[serde(default)]
    pub refusals: Vec<UserRefusal>,
}

/// The address of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UserPlace {
    /// The `userinfo_endpoint` of the issuer's metadata.
    Userinfo,
    /// This URL. `https`, or `http` on loopback.
    Url(String),
    /// This path at the origin of the session's token endpoint, for providers whose organisations have hosts of their own. It
    /// begins with one slash.
    TokenHost(String),
}

/// How a provider reports an error with status 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UserEnvelope {
    /// The member that is `true` in a successful answer. An answer without it is an error.
    pub ok: String,
    /// The member that holds the error code.
    pub error: String,
    /// The codes that mean the same as a 401.
    pub unauthorized: Vec<String>,
    /// The codes for a missing scope.
    #[serde(default)]
    pub forbidden: Vec<String>,
    /// The codes with which the provider asks for a pause.
    #[serde(default)]
    pub throttled: Vec<String>,
}

/// The fields of a person. If a field has several places, the first that has a value counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UserFields {
    /// The identifier, a string or a number. It must be there.
    pub subject: Vec<UserPick>,
    /// The name for display.
    #[serde(default)]
    pub name: Vec<UserPick>,
    /// The e-mail address.
    #[serde(default)]
    pub email: Vec<UserPick>,
    /// Whether the e-mail address is verified, as `true` or `"true"`.
    #[serde(default)]
    pub email_verified: Vec<UserPick>,
    /// Groups and roles. The values at all places are joined, and each name is kept once. A string is one name and is not
    /// split.
    #[serde(default)]
    pub groups: Vec<UserPick>,
    /// Places at which the provider states that it has not listed all groups. Any value there but `false` and `null` states it.
    #[serde(default)]
    pub more_groups: Vec<UserPick>,
}

/// The reason why a mapping cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserMappingError {
    /// The text is not the JSON form of a mapping.
    #[error("the mapping cannot be read: {0}")]
    Unreadable(String),
    /// It has neither requests nor claims of the access token.
    #[error("the mapping asks for nothing: give it a request, or set access_token")]
    Empty,
    /// It has no place for the subject.
    #[error("the mapping has no place for the subject: give the field `subject` one")]
    NoSubject,
    /// Two requests have one name, or a name is that of a token's claims.
    #[error("each request of the mapping needs a name of its own, other than access_token and id_token")]
    Name,
    /// A URL may not receive a token, or a path does not begin with one slash.
    #[error(
        "an address of the mapping must be an exact https URL (or http on loopback), or a path that begins with one slash"
    )]
    Address,
    /// A header cannot be sent, or must not be set because HTTP or the token needs it.
    #[error(
        "a header of the mapping is none that a mapping may set: leave out Authorization, DPoP, Cookie, Host and the like"
    )]
    Header,
    /// A refusal has a status that is none of an error, or no text.
    #[error("a refusal of the mapping needs a status from 400 to 599, and a text that tells it from others")]
    Refusal,
    /// A pointer is not one of RFC 6901.
    #[error("a pointer of the mapping is no JSON pointer (RFC 6901): it begins with a slash")]
    Pointer,
}

/// The headers that a mapping may not set.
const RESERVED: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::ACCEPT_ENCODING,
    header::PROXY_AUTHORIZATION,
    crate::proof::PROOF,
];

/// The members of the document that no request brings.
pub(crate) const ACCESS_TOKEN: &str = "access_token";
pub(crate) const ID_TOKEN: &str = "id_token";

impl UserMapping {
    /// Reads the JSON form.
    ///
    /// # Errors
    ///
    /// [`UserMappingError`]. A member that is not known is an error.
    pub fn from_json(text: &str) -> Result<Self, UserMappingError> {
        let mapping: Self =
            serde_json::from_str(text).map_err(|error| UserMappingError::Unreadable(error.to_string()))?;
        mapping.check()?;
        Ok(mapping)
    }

    /// Whether a request goes to a URL, which belongs to one provider alone.
    pub(crate) fn names_a_url(&self) -> bool {
        self.requests.iter().any(|request| matches!(request.at, UserPlace::Url(_)))
    }

    /// Checks that the mapping can be used.
    ///
    /// # Errors
    ///
    /// The first [`UserMappingError`].
    pub fn check(&self) -> Result<(), UserMappingError> {
        if self.requests.is_empty() && !self.access_token {
            return Err(UserMappingError::Empty);
        }
        if self.fields.subject.is_empty() {
            return Err(UserMappingError::NoSubject);
        }
        for (index, request) in self.requests.iter().enumerate() {
            let name = request.name.as_str();
            let is_taken = self.requests.iter().take(index).any(|earlier| earlier.name == name);
            if name.is_empty() || is_taken || matches!(name, ACCESS_TOKEN | ID_TOKEN) {
                return Err(UserMappingError::Name);
            }
            request.at.check()?;
            request.further_headers()?;
            if !request.refusals.iter().all(UserRefusal::is_well_formed) {
                return Err(UserMappingError::Refusal);
            }
        }
        let UserFields { subject, name, email, email_verified, groups, more_groups } = &self.fields;
        let all = [subject, name, email, email_verified, groups, more_groups];
        if all.into_iter().flatten().all(UserPick::is_well_formed) { Ok(()) } else { Err(UserMappingError::Pointer) }
    }
}

impl UserPlace {
    fn check(&self) -> Result<(), UserMappingError> {
        let is_good = match self {
            Self::Userinfo => true,
            Self::Url(url) => may_receive_secrets(url),
            Self::TokenHost(path) => {
                path.starts_with('/') && may_receive_secrets(&["https://host.example", path].concat())
            }
        };
        // A path with two slashes at its start would name another host.
        if is_good && !matches!(self, Self::TokenHost(path) if path.starts_with("//")) {
            Ok(())
        } else {
            Err(UserMappingError::Address)
        }
    }
}

impl UserRequest {
    /// Whether the answer names the session's subject.
    pub(crate) fn is_openid(&self) -> bool {
        self.openid || self.at == UserPlace::Userinfo
    }

    /// The headers that the mapping adds.
    pub(crate) fn further_headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, UserMappingError> {
        let read = |(name, value): (&String, &String)| {
            let name = HeaderName::try_from(name.as_str()).ok().filter(|name| !RESERVED.contains(name));
            name.zip(HeaderValue::try_from(value.as_str()).ok()).ok_or(UserMappingError::Header)
        };
        self.headers.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests;
