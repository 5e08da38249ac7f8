//! Reads the parameters of queries and forms.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use url::form_urlencoded;

/// The parameters of a query or a form. Each occurs once (RFC 6749 section 3.1), and an empty one counts as absent. There is
/// no `Debug`, because tokens and secrets are among them.
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads a query. `None` if a parameter occurs twice.
    pub(super) fn of_query(query: &str) -> Option<Self> {
        Self::read(query.as_bytes())
    }

    /// Reads a form. `None` if the body is no form, or a parameter occurs twice.
    pub(super) fn of_form(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded").then(|| Self::read(body))?
    }

    fn read(text: &[u8]) -> Option<Self> {
        let mut params = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            if params.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self(params))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The words of a parameter that is a list with spaces, such as `scope`.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        self.get(name).unwrap_or_default().split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_comes_twice_is_not_read() {
        assert!(Params::of_query("a=1&b=2&a=3").is_none());
        assert!(Params::of_query("redirect_uri=x&redirect%5Furi=y").is_none(), "also in another spelling");
        let params = Params::of_query("a=1&b=&scope=x++y").unwrap();
        assert_eq!((params.get("a"), params.get("b"), params.get("c")), (Some("1"), None, None));
        assert_eq!(params.words("scope"), ["x", "y"]);
    }
}
