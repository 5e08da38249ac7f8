//! Arbitrary metadata documents, read as those of a resource and of an authorization server.
//!
//! Only a document that names what was asked for is read, and each URL in it may receive secrets within the reach.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenkeeper::ResourceUri;
use tokenkeeper::discovery::{read_authorization_server, read_protected_resource};
use tokenkeeper::grant::may_receive_secrets;
use tokenkeeper::http::Reach;
use url::Url;

const RESOURCE: &str = "https://a.example/mcp";
const ISSUER: &str = "https://as.example";

fuzz_target!(|input: &[u8]| {
    let resource = ResourceUri::parse(RESOURCE).unwrap();
    if let Ok(document) = read_protected_resource(input, &resource) {
        assert_eq!(ResourceUri::parse(&document.resource).as_ref(), Ok(&resource));
        assert!(document.authorization_servers.len() <= 16);
        assert!(document.scopes.is_none_or(|scopes| (1..=256).contains(&scopes.iter().count())));
    }
    let document_url = Url::parse("https://as.example/.well-known/oauth-authorization-server").unwrap();
    for reach in [Reach::Public, Reach::PublicOrLoopback, Reach::Any] {
        let Ok(server) = read_authorization_server(input, ISSUER, &document_url, reach) else { continue };
        assert_eq!(server.issuer, ISSUER);
        let endpoints = [
            Some(&server.token_endpoint),
            server.authorization_endpoint.as_ref(),
            server.registration_endpoint.as_ref(),
            server.revocation_endpoint.as_ref(),
            server.pushed_endpoint.as_ref(),
            server.device_endpoint.as_ref(),
        ];
        for endpoint in endpoints.into_iter().flatten() {
            assert!(may_receive_secrets(endpoint));
            reach.permits(&Url::parse(endpoint).unwrap()).unwrap();
        }
    }
});
