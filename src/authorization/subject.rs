//! The person who signed in, from the ID token of a token response (OpenID Connect Core section 3.1.3.3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokenkeeper_actors::values::record::Subject;
use zeroize::Zeroizing;

use crate::grant::MAX_ID_TOKEN;

/// The maximum length of a subject (OpenID Connect Core section 2), in bytes.
const MAX_SUBJECT: usize = 255;

/// The member of a token endpoint's answer that is read here.
#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    id_token: Option<std::borrow::Cow<'a, str>>,
}

/// The claims of an ID token that are read here.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    /// Microsoft's tenant.
    tid: Option<String>,
}

impl Claims {
    /// Whether `issuer` issued the token.
    fn are_of(&self, issuer: &str) -> bool {
        self.iss == issuer || self.tid.as_deref().is_some_and(|tenant| self.iss == of_tenant(issuer, tenant))
    }
}

/// Microsoft's issuer for one tenant, if `issuer` is that for several. The ID tokens of such an issuer name the tenant's
/// (learn.microsoft.com, ID token claims reference). Any other issuer stays as it is.
fn of_tenant(issuer: &str, tenant: &str) -> String {
    let is_tenant = tenant.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let host = MICROSOFT.iter().find_map(|host| Some((host, issuer.strip_prefix(host)?))).filter(|_| is_tenant);
    let shared = host.and_then(|(host, path)| {
        let end = SEVERAL_TENANTS.iter().find_map(|name| path.strip_prefix(name)?.strip_prefix('/'))?;
        Some(format!("{host}{tenant}/{end}"))
    });
    shared.unwrap_or_else(|| issuer.to_owned())
}

/// The origins of Microsoft's issuers.
const MICROSOFT: [&str; 3] = [
    "https://login.microsoftonline.com/",
    "https://login.microsoftonline.us/",
    "https://login.partner.microsoftonline.cn/",
];

/// The names that stand for several tenants in the URL of an issuer.
const SEVERAL_TENANTS: [&str; 4] = ["common", "consumers", "organizations", "{tenantid}"];

/// Returns the subject of the ID token in a token endpoint's `answer`. `None` if there is no ID token that can be read, or if
/// `issuer` did not issue it.
///
/// The signature is not verified, because the answer came from the token endpoint itself over TLS, or from this machine (OpenID
/// Connect Core section 3.1.3.7, item 6). The subject is shown to the person, and compared with later subjects of the same
/// session. It authorizes nothing, so neither the audience nor the expiry is checked.
pub(super) fn of_answer(answer: &[u8], issuer: &str) -> Option<Subject> {
    let token = serde_json::from_slice::<Response<'_>>(answer).ok()?.id_token?;
    if token.len() > MAX_ID_TOKEN {
        return None;
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    // Some servers pad the parts of a token.
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    let (is_own, sub) = (claims.are_of(issuer), claims.sub);
    let is_valid = !sub.is_empty() && sub.len() <= MAX_SUBJECT && !sub.chars().any(char::is_control);
    (is_own && is_valid).then_some(Subject(sub))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(claims: &str) -> Vec<u8> {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        format!(r#"{{"access_token":"at","id_token":"{token}"}}"#).into_bytes()
    }

    #[test]
    fn the_subject_of_the_issuer_is_read() {
        let read = |claims: &str| of_answer(&answer(claims), "https://as.example.com").map(|Subject(subject)| subject);
        assert_eq!(read(r#"{"iss":"https://as.example.com","sub":"ann"}"#), Some("ann".to_owned()));
        for other in [
            r#"{"iss":"https://evil.example","sub":"ann"}"#,
            r#"{"iss":"https://as.example.com/","sub":"ann"}"#,
            r#"{"iss":"https://as.example.com","sub":""}"#,
            r#"{"iss":"https://as.example.com","sub":"a\nb"}"#,
            r#"{"iss":"https://as.example.com"}"#,
            "not JSON",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
        let long = format!(r#"{{"iss":"https://as.example.com","sub":"{}"}}"#, "x".repeat(256));
        assert_eq!(read(&long), None);
    }

    #[test]
    fn microsofts_issuer_of_several_tenants_names_the_tenant_in_its_tokens() {
        let read = |issuer: &str, claims: &str| of_answer(&answer(claims), issuer).is_some();
        let tenants =
            r#"{"iss":"https://login.microsoftonline.com/9188040d-6c67/v2.0","tid":"9188040d-6c67","sub":"ann"}"#;
        for name in ["organizations", "common", "consumers", "{tenantid}", "9188040d-6c67"] {
            assert!(read(&format!("https://login.microsoftonline.com/{name}/v2.0"), tenants), "{name}");
        }
        for other in [
            "https://login.microsoftonline.com/another-tenant/v2.0",
            "https://login.microsoftonline.com/organizations/v1.0",
            "https://login.microsoftonline.us/organizations/v2.0",
            "https://login.microsoftonline.com.evil.example/organizations/v2.0",
            "https://as.example.com/organizations/v2.0",
        ] {
            assert!(!read(other, tenants), "{other}");
        }
        let organizations = "https://login.microsoftonline.com/organizations/v2.0";
        for claims in [
            r#"{"iss":"https://login.microsoftonline.com/one/v2.0","tid":"another","sub":"ann"}"#,
            r#"{"iss":"https://login.microsoftonline.com/one/v2.0","sub":"ann"}"#,
            r#"{"iss":"https://login.microsoftonline.com/a/../b/v2.0","tid":"a/../b","sub":"ann"}"#,
        ] {
            assert!(!read(organizations, claims), "{claims}");
        }
    }

    #[test]
    fn an_answer_without_a_readable_id_token_names_no_subject() {
        for answer in [r#"{"access_token":"at"}"#, r#"{"id_token":7}"#, r#"{"id_token":"a.b"}"#, "", "[]"] {
            assert_eq!(of_answer(answer.as_bytes(), "https://as.example.com"), None, "{answer}");
        }
    }
}
