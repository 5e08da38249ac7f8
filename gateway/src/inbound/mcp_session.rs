//! MCP sessions, each of which belongs to one subject.
//!
//! The identifier that a client gets is that of the server behind the layer, signed together with issuer, resource and subject.
//! A client that sends the identifier of another person's session is answered as if there were no such session. The binding
//! outlives every token of the person, and takes no memory.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use subtle::ConstantTimeEq;

use crate::seal::{Seal, Use};

/// The header with the identifier of an MCP session.
const HEADER: HeaderName = HeaderName::from_static("mcp-session-id");

/// The subject that an MCP session belongs to, at one resource.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) issuer: String,
    pub(super) resource: String,
    pub(super) subject: String,
}

impl Owner {
    /// Replaces the signed identifier in a request by the server's own. A request without an identifier stays as it is. Returns
    /// `false` if the identifier was not signed for this owner, or if there are several.
    pub(super) fn unwrap(&self, seal: &Seal, headers: &mut HeaderMap) -> bool {
        let mut values = headers.get_all(&HEADER).iter();
        let Some(value) = values.next() else { return true };
        let alone = values.next().is_none();
        let id = value.to_str().ok().filter(|_| alone).and_then(|text| self.read(seal, text));
        match id.and_then(|id| HeaderValue::from_str(id).ok()) {
            Some(id) => headers.insert(HEADER, id).is_some(),
            None => false,
        }
    }

    /// Replaces the server's identifier in an answer by the signed one for the client.
    pub(super) fn wrap(&self, seal: &Seal, headers: &mut HeaderMap) {
        let Some(Ok(id)) = headers.get(&HEADER).map(HeaderValue::to_str) else { return };
        let tag = URL_SAFE_NO_PAD.encode(seal.digest(Use::McpSession, &self.parts(id)));
        if let Ok(value) = HeaderValue::from_str(&format!("{id}.{tag}")) {
            headers.insert(HEADER, value);
        }
    }

    /// The server's own identifier. `None` if `text` was not signed for this owner.
    fn read<'a>(&self, seal: &Seal, text: &'a str) -> Option<&'a str> {
        let (id, tag) = text.rsplit_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let parts = self.parts(id);
        seal.digests(Use::McpSession, &parts).any(|right| bool::from(right.as_slice().ct_eq(&tag))).then_some(id)
    }

    /// The texts over which the MAC of an identifier is computed.
    fn parts<'a>(&'a self, id: &'a str) -> [&'a str; 4] {
        [&self.issuer, &self.resource, &self.subject, id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::GatewayKey;

    fn owner(subject: &str) -> Owner {
        let (issuer, resource) = ("https://gateway.example".to_owned(), "https://gateway.example/mcp".to_owned());
        Owner { issuer, resource, subject: subject.to_owned() }
    }

    #[test]
    fn a_session_belongs_to_its_subject_and_outlives_the_key() {
        let seal = Seal::new(GatewayKey::new([1; 32]), Vec::new());
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("a.b-7"));
        owner("ann").wrap(&seal, &mut headers);
        let next = Seal::new(GatewayKey::new([2; 32]), vec![GatewayKey::new([1; 32])]);
        let mut own = headers.clone();
        assert!(owner("ann").unwrap(&next, &mut own));
        assert_eq!(own.get(&HEADER).unwrap(), "a.b-7");
        let mut other = headers.clone();
        assert!(!owner("bob").unwrap(&seal, &mut other));
        headers.append(HEADER, HeaderValue::from_static("x"));
        assert!(!owner("ann").unwrap(&seal, &mut headers), "two identifiers are none");
        let mut bare = HeaderMap::new();
        bare.insert(HEADER, HeaderValue::from_static("a.b-7"));
        assert!(!owner("ann").unwrap(&seal, &mut bare), "the server's own identifier is none of the client's");
        assert!(owner("ann").unwrap(&seal, &mut HeaderMap::new()));
    }
}
