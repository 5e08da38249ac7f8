use serde_json::json;

use super::*;
use crate::issuers::providers::Providers;

fn read(change: impl FnOnce(&mut Value)) -> Result<UserMapping, UserMappingError> {
    let mut mapping = json!({
        "requests": [{ "name": "me", "at": { "url": "https://api.example.com/me" } }],
        "fields": { "subject": ["/me/id"] },
    });
    change(&mut mapping);
    UserMapping::from_json(&mapping.to_string())
}

#[test]
fn every_built_in_mapping_is_one_and_belongs_to_a_known_provider() {
    assert_eq!(UserMapping::openid().check(), Ok(()));
    let with_own = |name: &str| UserMapping::of_provider(name).map(|mapping| mapping.check());
    let providers = Providers::builtin();
    let names = providers.iter().map(|(name, _)| name.as_str());
    let own: Vec<_> = names.filter(|name| with_own(name) == Some(Ok(()))).collect();
    let expected = [
        "asana",
        "atlassian",
        "auth0",
        "entra",
        "github",
        "google",
        "keycloak",
        "linear",
        "notion-api",
        "okta",
        "salesforce",
        "sentry",
        "slack",
        "supabase",
        "zoho",
    ];
    assert_eq!(own, expected);
    // Each provider with an API is described, or is known not to be.
    for (name, facts) in providers.iter().filter(|(_, facts)| !facts.api.is_empty()) {
        let is_described = UserMapping::of_provider(name.as_str()).is_some();
        assert_ne!(is_described, UserMapping::is_impossible_at(name.as_str()), "{name}");
        let names_a_url = UserMapping::of_provider(name.as_str()).is_some_and(|mapping| mapping.names_a_url());
        assert!(!names_a_url || facts.endpoints.token.is_some(), "{name}: whose tokens are the vendor's?");
    }
    assert_eq!(UserMapping::of_provider("unknown"), None);
}

#[test]
fn the_json_form_has_defaults_and_no_unknown_members() {
    let mapping = read(|_| {}).unwrap();
    let request = &mapping.requests[0];
    assert_eq!((request.openid, request.optional, mapping.access_token), (false, false, false));
    assert!(!request.is_openid() && UserMapping::openid().requests[0].is_openid());
    let unknown: [fn(&mut Value); 5] = [
        |mapping| mapping["request"] = json!([]),
        |mapping| mapping["requests"][0]["urls"] = json!([]),
        |mapping| mapping["fields"]["mail"] = json!([]),
        |mapping| mapping["requests"][0]["at"] = json!("introspection"),
        |mapping| mapping["fields"]["email"] = json!([{ "list": "/a", "only": {}, "pointer": "/b", "where": 1 }]),
    ];
    for change in unknown {
        assert!(matches!(read(change), Err(UserMappingError::Unreadable(_))));
    }
}

#[test]
fn a_mapping_that_cannot_be_used_says_why() {
    type Change = fn(&mut Value);
    let cases: [(Change, UserMappingError); 11] = [
        (|mapping| mapping["requests"] = json!([]), UserMappingError::Empty),
        (|mapping| mapping["fields"]["subject"] = json!([]), UserMappingError::NoSubject),
        (|mapping| mapping["requests"][0]["name"] = json!("access_token"), UserMappingError::Name),
        (
            |mapping| {
                let request = mapping["requests"][0].clone();
                mapping["requests"].as_array_mut().unwrap().push(request);
            },
            UserMappingError::Name,
        ),
        (
            |mapping| mapping["requests"][0]["at"] = json!({ "url": "http://api.example.com" }),
            UserMappingError::Address,
        ),
        (|mapping| mapping["requests"][0]["at"] = json!({ "url": "https://u:p@a.example" }), UserMappingError::Address),
        (|mapping| mapping["requests"][0]["at"] = json!({ "token_host": "//evil.example" }), UserMappingError::Address),
        (|mapping| mapping["requests"][0]["at"] = json!({ "token_host": "@evil.example" }), UserMappingError::Address),
        (|mapping| mapping["requests"][0]["headers"] = json!({ "Authorization": "x" }), UserMappingError::Header),
        (|mapping| mapping["requests"][0]["headers"] = json!({ "X": "a\r\nb" }), UserMappingError::Header),
        (|mapping| mapping["fields"]["name"] = json!(["me/name"]), UserMappingError::Pointer),
    ];
    for (change, expected) in cases {
        assert_eq!(read(change), Err(expected));
    }
    assert!(read(|mapping| mapping["requests"][0]["at"] = json!({ "token_host": "/userinfo" })).is_ok());
}

#[test]
fn a_pick_follows_its_pointer_and_nothing_else() {
    let document = json!({ "a": [{ "b~/c": 1 }, { "b~/c": 2 }], "": { "": 3 }, "*": 4 });
    let values = |pointer: &str| {
        let found = UserPick::pointer(pointer);
        found.values(&document).into_iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(values("/a/1/b~0~1c"), [json!(2)]);
    assert_eq!(values("/a/*/b~0~1c"), [json!(1), json!(2)]);
    assert_eq!(values("//"), [json!(3)]);
    for none in ["/a/2", "/b", "/a/x", "/a/0/b~0~1c/*"] {
        assert!(values(none).is_empty(), "{none}");
    }
}
