//! The names of the members of a token endpoint's answer, in all known spellings.

use super::lifetime::Member;

/// The longest known name, without its separators, in bytes.
const MAX_NAME: usize = 24;

/// A known name, or the kind of an unknown one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    AccessToken,
    RefreshToken,
    TokenType,
    Scope,
    Lifetime(Member),
    /// `authed_user` (Slack).
    AuthedUser,
    /// An object with the actual answer in it.
    Envelope,
    /// `error`, as a code or an object.
    Error,
    /// A list of errors, or an object with details of one.
    Errors,
    /// A code of the provider's own.
    ErrorCode,
    /// `code`, which may be a status too.
    Code,
    /// A kind of error.
    ErrorType,
    /// `type` or `name`, which may be about something other than an error.
    Type,
    /// A text for people, or a status.
    Text,
    /// The request's member that an error is about.
    Field,
    /// Whether the request succeeded.
    Success,
    RetryAfter,
    /// Another name. Its value may be an envelope with tokens, but error codes inside are ignored.
    Unknown,
}

/// Whether a name is spelled as the standard has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Standard,
    Other,
}

impl Name {
    /// The known name that `name` is a spelling of. `expiresIn`, `ExpiresIn` and `expires-in` are spellings of
    /// `expires_in`.
    pub(super) fn of(name: &str) -> Option<(Self, Spelling)> {
        let mut letters = [0_u8; MAX_NAME];
        let mut length = 0;
        for byte in name.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b'@')) {
            *letters.get_mut(length)? = byte.to_ascii_lowercase();
            length += 1;
        }
        let known = Self::of_letters(&letters[..length])?;
        let standard = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let standard = standard && (!matches!(known, Name::AccessToken | Name::RefreshToken) || name.contains('_'));
        Some((known, if standard { Spelling::Standard } else { Spelling::Other }))
    }

    fn of_letters(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"accesstoken" => Name::AccessToken,
            b"refreshtoken" => Name::RefreshToken,
            b"tokentype" => Name::TokenType,
            b"scope" | b"scopes" => Name::Scope,
            b"expiresin" | b"expirein" | b"accesstokenexpiresin" => Name::Lifetime(Member::Seconds),
            b"expiresinsec" | b"expiresinsecs" | b"expiresinseconds" => Name::Lifetime(Member::ExactSeconds),
            b"expiresinms" | b"expiresinmillis" => Name::Lifetime(Member::Millis),
            b"expires"
            | b"expiresat"
            | b"expireson"
            | b"expiry"
            | b"expiration"
            | b"expirationtime"
            | b"accesstokenexpiresat" => Name::Lifetime(Member::Expiry),
            b"autheduser" => Name::AuthedUser,
            b"body" | b"data" | b"result" | b"response" | b"payload" | b"fault" => Name::Envelope,
            b"error" | b"err" => Name::Error,
            b"errors" | b"detail" | b"details" | b"errordetail" | b"errordetails" | b"meta" => Name::Errors,
            b"errorcode" | b"errcode" | b"errorid" => Name::ErrorCode,
            b"code" | b"suberror" => Name::Code,
            b"errortype" | b"errorname" => Name::ErrorType,
            b"type" | b"name" | b"exception" => Name::Type,
            b"status" | b"reason" | b"title" | b"message" | b"msg" | b"errormessage" | b"errormsg" | b"errmsg"
            | b"errordescription" | b"description" | b"faultstring" | b"errorsummary" => Name::Text,
            b"field" | b"param" | b"parameter" => Name::Field,
            b"ok" | b"success" => Name::Success,
            b"retryafter" | b"retrydelay" => Name::RetryAfter,
            _ => return None,
        })
    }

    /// Whether a value under this name describes the error of the answer.
    pub(super) fn holds_errors(self) -> bool {
        matches!(
            self,
            Name::Error | Name::Errors | Name::ErrorCode | Name::Code | Name::ErrorType | Name::Type | Name::Text
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_in_many_spellings() {
        for name in ["accessToken", "AccessToken", "access-token", "ACCESS_TOKEN", "accesstoken"] {
            assert_eq!(Name::of(name), Some((Name::AccessToken, Spelling::Other)), "{name}");
        }
        assert_eq!(Name::of("access_token"), Some((Name::AccessToken, Spelling::Standard)));
        assert_eq!(Name::of("__type"), Some((Name::Type, Spelling::Standard)));
        assert_eq!(Name::of("errorType"), Some((Name::ErrorType, Spelling::Other)));
    }

    #[test]
    fn neighbours_are_other_names() {
        for name in [
            "",
            "ext_expires_in",
            "refresh_token_expires_in",
            "refresh_expires_in",
            "x_refresh_token_expires_in",
            "id_token",
            "access_tokens",
            "accéss_token",
            "access token",
            &"a".repeat(1_000_000),
        ] {
            assert_eq!(Name::of(name), None, "{name:.40}");
        }
    }
}
