//! The request to register, the registered terms, and refusals.

use std::time::Duration;

use http::header;
use serde_json::{Value, json};
use tokenkeeper_actors::law::profile::NotSent;
use tokenkeeper_actors::values::WallTime;
use tokenkeeper_actors::values::issuer::{ApplicationType, RegistrationOrigin};
use tokenkeeper_actors::values::record::ClientAuth;

use super::rig::{ISSUER, NAME, NOW, REDIRECT, Rig, Server, answer, confirmed, raw, refusal, work};
use crate::http::{HttpError, MaybeSent, Reach};
use crate::registration::{Clients, DynamicClient, RegistrationError, Unfit};
use crate::{LoginReason, Scopes};

/// The error of a login at a server that confirms with these members changed. `null` removes a member.
async fn terms(changes: Value) -> (Rig, Result<super::super::Registered, RegistrationError>) {
    let http = Server::new(move |asked, number| {
        let mut client = confirmed(asked, number);
        for (name, value) in changes.as_object().unwrap() {
            client[name] = value.clone();
        }
        client.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        answer(201, client)
    });
    let rig = Rig::new(Clients::default(), &http);
    let outcome = rig.client().await;
    (rig, outcome)
}

#[tokio::test(start_paused = true)]
async fn the_request_is_a_bounded_json_post_within_reach() {
    let http = Server::willing();
    let rig =
        Rig::new(Clients::default().dynamic(DynamicClient::named("Our Host").scope(Scopes::new(["a", "b"]))), &http);
    let registered = rig.client().await.unwrap();
    let [asked] = http.asked().try_into().unwrap();
    assert_eq!((asked.method.as_str(), asked.url.as_str()), ("POST", "https://as.example.com/register"));
    assert_eq!((asked.reach, asked.max_answer), (Reach::Public, 64 * 1024));
    assert_eq!((asked.content_type.unwrap(), asked.authorization), ("application/json".parse().unwrap(), None));
    assert_eq!(
        asked.body,
        json!({
            "client_name": "Our Host", "application_type": "native", "redirect_uris": [REDIRECT], "scope": "a b",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        })
    );
    assert_eq!((registered.client.id.as_str(), registered.client.auth), ("client-0", ClientAuth::None));
    assert_eq!((registered.redirect_uri.as_deref(), registered.is_reused), (Some(REDIRECT), false));
    let stored = rig.stored(NAME).await.unwrap();
    assert_eq!((stored.client, stored.origin), (registered.client, RegistrationOrigin::Dynamic));
    assert_eq!((stored.application_type, stored.redirect_uris), (Some(ApplicationType::Native), vec![REDIRECT.into()]));
    assert_eq!((stored.registered_at, stored.registered_by), (WallTime::from_millis(NOW), Some(work())));
    assert_eq!((stored.scopes, stored.suspect_since), (Some(Scopes::new(["a", "b"])), None));
}

#[tokio::test(start_paused = true)]
async fn hosted_and_device_logins_register_apart() {
    let http = Server::willing();
    let rig = Rig::new(Clients::default(), &http);
    let loopback = rig.client().await.unwrap();
    let hosted = rig.client_at(Some("https://host.example.com/cb")).await.unwrap();
    let device = rig.client_at(None).await.unwrap();
    assert_eq!(
        [&loopback, &hosted, &device].map(|client| client.client.id.as_str()),
        ["client-0", "client-1", "client-2"]
    );
    assert_eq!(device.redirect_uri, None);
    let types = http.asked().into_iter().map(|asked| asked.body["application_type"].clone());
    assert_eq!(types.collect::<Vec<_>>(), ["native", "web", "native"]);
    assert_eq!(http.asked()[2].body["grant_types"][0], "urn:ietf:params:oauth:grant-type:device_code");
    for (name, id) in [
        (NAME, "client-0"),
        ("hosted https://host.example.com/cb https://mcp.example.com/mcp", "client-1"),
        ("device https://mcp.example.com/mcp", "client-2"),
    ] {
        assert_eq!(rig.stored(name).await.unwrap().client.id, id);
    }
}

#[tokio::test(start_paused = true)]
async fn the_returned_terms_are_used() {
    let all = json!({
        "token_endpoint_auth_method": "client_secret_post", "client_secret": "s3cret",
        "client_secret_expires_at": 1_798_761_600, "scope": "read", "grant_types": ["authorization_code"],
        "redirect_uris": ["http://127.0.0.1:22/callback", "http://localhost:5000/callback", REDIRECT], "application_type": "web",
        "registration_access_token": "rat", "registration_client_uri": "https://as.example.com/register/1",
    });
    let (rig, outcome) = terms(all).await;
    let client = outcome.unwrap().client;
    assert_eq!((client.auth, client.secret.as_ref().map(|secret| secret.expose())), (ClientAuth::Post, Some("s3cret")));
    assert_eq!(client.secret_expires_at, Some(WallTime::from_millis(1_798_761_600_000)));
    let stored = rig.stored(NAME).await.unwrap();
    assert_eq!(
        (&stored.client, stored.grant_types.as_slice()),
        (&client, ["authorization_code".to_owned()].as_slice())
    );
    assert_eq!((stored.scopes, stored.application_type), (Some(Scopes::new(["read"])), Some(ApplicationType::Web)));
    // An address that the server made up is dropped.
    assert_eq!(stored.redirect_uris, ["http://localhost:5000/callback", REDIRECT]);
    let management = stored.management.unwrap();
    assert_eq!((management.uri.as_str(), management.token.expose()), ("https://as.example.com/register/1", "rat"));
}

#[tokio::test(start_paused = true)]
async fn the_method_follows_from_the_answer() {
    for (changes, expected) in [
        (json!({"token_endpoint_auth_method": "client_secret_basic", "client_secret": "s"}), Ok(ClientAuth::Basic)),
        // The server sent a secret unasked and without a method. RFC 7591 has a default for that.
        (json!({"token_endpoint_auth_method": null, "client_secret": "s"}), Ok(ClientAuth::Basic)),
        (json!({"token_endpoint_auth_method": null}), Ok(ClientAuth::None)),
        (json!({"token_endpoint_auth_method": "none", "client_secret": "s"}), Ok(ClientAuth::None)),
        (json!({"token_endpoint_auth_method": "client_secret_basic"}), Err(Unfit::Secret)),
        (json!({"token_endpoint_auth_method": "client_secret_post", "client_secret": ""}), Err(Unfit::Secret)),
        (json!({"token_endpoint_auth_method": "private_key_jwt"}), Err(Unfit::Method)),
    ] {
        let (rig, outcome) = terms(changes.clone()).await;
        let method = outcome.map(|registered| (registered.client.auth, registered.client.secret.is_some()));
        let expected = expected.map(|auth| (auth, auth != ClientAuth::None)).map_err(RegistrationError::Unfit);
        assert_eq!(method, expected, "{changes}");
        assert_eq!(rig.stored(NAME).await.is_some(), expected.is_ok(), "{changes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_sign_in_is_an_error_and_not_stored() {
    for (changes, unfit) in [
        (json!({"redirect_uris": []}), Unfit::Redirect),
        (json!({"redirect_uris": ["http://127.0.0.1:5001/callback"]}), Unfit::Redirect),
        (json!({"redirect_uris": ["http://localhost:5000/callback"]}), Unfit::Redirect),
        (json!({"grant_types": ["client_credentials"]}), Unfit::GrantType),
    ] {
        let (rig, outcome) = terms(changes.clone()).await;
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.clone(), error.reason()),
            (RegistrationError::Unfit(unfit), LoginReason::RegistrationRefused)
        );
        assert_eq!(rig.stored(NAME).await, None, "{changes}");
    }
    // Lists that are absent confirm the request.
    let (rig, outcome) = terms(json!({"redirect_uris": null, "grant_types": null})).await;
    assert_eq!(outcome.unwrap().redirect_uri.as_deref(), Some(REDIRECT));
    assert_eq!(rig.stored(NAME).await.unwrap().redirect_uris, [REDIRECT]);
}

#[tokio::test(start_paused = true)]
async fn a_management_address_that_must_not_be_used_is_dropped() {
    for uri in
        ["http://as.example.com/register/1", "javascript:alert(1)", "http://127.0.0.1/register/1", "https://u:p@as/1"]
    {
        let (rig, outcome) = terms(json!({"registration_access_token": "rat", "registration_client_uri": uri})).await;
        outcome.unwrap();
        assert_eq!(rig.stored(NAME).await.unwrap().management, None, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_loopback_address_is_registered_in_its_other_form() {
    let http = Server::new(|asked, number| match asked.body["redirect_uris"][0].as_str() {
        Some("http://localhost:5000/callback") => answer(201, confirmed(asked, number)),
        _ => refusal("invalid_redirect_uri"),
    });
    let rig = Rig::new(Clients::default(), &http);
    let named = rig.client().await.unwrap();
    assert_eq!((named.redirect_uri.as_deref(), http.count()), (Some("http://localhost:5000/callback"), 2));
    // The registration is used again, and the listener binds its port.
    let again = rig.client().await.unwrap();
    assert_eq!((again.redirect_uri, again.is_reused, http.count()), (named.redirect_uri.clone(), true, 2));
    assert_eq!(rig.registrar.registered_redirects(&work(), None).await, ["http://localhost:5000/callback"]);
    // The other way round.
    let http = Server::new(|asked, number| match asked.body["redirect_uris"][0].as_str() {
        Some(REDIRECT) => answer(201, confirmed(asked, number)),
        _ => refusal("invalid_redirect_uri"),
    });
    let literal = Rig::new(Clients::default(), &http).client_at(Some("http://localhost:5000/callback")).await.unwrap();
    assert_eq!((literal.redirect_uri.as_deref(), http.count()), (Some(REDIRECT), 2));
}

#[tokio::test(start_paused = true)]
async fn refused_requests_are_repeated_with_less_and_at_most_three_are_made() {
    let full = Clients::default()
        .dynamic(DynamicClient::named("Our Host").client_uri("https://h.example").scope(Scopes::new(["a"])));
    let http = Server::new(|_, _| refusal("invalid_client_metadata"));
    let error = Rig::new(full.clone(), &http).client().await.unwrap_err();
    let refused = RegistrationError::Refused {
        status: 400,
        error: Some("invalid_client_metadata".into()),
        description: Some("not so".into()),
    };
    assert_eq!((error.clone(), error.reason()), (refused, LoginReason::RegistrationRefused));
    let asked = http.asked();
    let types: Vec<_> = asked.iter().map(|asked| asked.body["application_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["native", "native", "web"]);
    assert_eq!(asked[0].body["client_uri"], "https://h.example");
    assert!(asked[1..].iter().all(|asked| asked.body.get("client_uri").is_none() && asked.body.get("scope").is_none()));

    // A server that refuses every request.
    let http = Server::new(|_, number| match number {
        1 => refusal("invalid_redirect_uri"),
        _ => refusal("invalid_client_metadata"),
    });
    Rig::new(full.clone(), &http).client().await.unwrap_err();
    assert_eq!(http.count(), 3);

    // A registration after a refusal has the digest of the settings, so that it is used again.
    let http = Server::new(|asked, number| match number {
        0 => refusal("invalid_client_metadata"),
        _ => answer(201, confirmed(asked, number)),
    });
    let rig = Rig::new(full, &http);
    assert_eq!(rig.client().await.unwrap().client, rig.client().await.unwrap().client);
    assert_eq!(http.count(), 2);

    for error in ["invalid_software_statement", "unapproved_software_statement", "access_denied"] {
        let http = Server::new(move |_, _| refusal(error));
        Rig::new(Clients::default(), &http).client().await.unwrap_err();
        assert_eq!(http.count(), 1, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_and_troubles_have_their_reasons() {
    let cases = [
        (401, "{}", LoginReason::RegistrationRefused),
        (403, "<html>", LoginReason::RegistrationRefused),
        (404, "", LoginReason::RegistrationRefused),
        // A redirect is not followed.
        (302, "", LoginReason::RegistrationRefused),
        (429, "{}", LoginReason::ServerTrouble),
        (500, r#"{"error":"invalid_client_metadata"}"#, LoginReason::ServerTrouble),
        (503, "", LoginReason::ServerTrouble),
        (201, "", LoginReason::ServerTrouble),
        (200, "{}", LoginReason::ServerTrouble),
        (201, r#"{"client_id":"a"#, LoginReason::ServerTrouble),
    ];
    for (status, body, reason) in cases {
        let http = Server::new(move |_, _| {
            let mut answer = raw(status, body);
            let headers = answer.as_mut().unwrap().headers_mut();
            headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
            headers.insert(header::LOCATION, "https://elsewhere.example/register".parse().unwrap());
            answer
        });
        let rig = Rig::new(Clients::default(), &http);
        let error = rig.client().await.unwrap_err();
        assert_eq!((error.reason(), http.count()), (reason, 1), "{status} {body}");
        let pause = matches!(status, 429 | 500 | 503).then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after(), pause, "{status}");
        assert_eq!(rig.stored(NAME).await, None);
    }
    for (fault, reason) in [
        (HttpError::NotSent(NotSent::Unreachable), LoginReason::Unreachable),
        (HttpError::NotSent(NotSent::Untrusted), LoginReason::Unreachable),
        // The name resolves to a private address.
        (HttpError::NotSent(NotSent::Forbidden), LoginReason::UnsafeAddress),
        (HttpError::MaybeSent(MaybeSent::TimedOut), LoginReason::ServerTrouble),
        (HttpError::MaybeSent(MaybeSent::Broken), LoginReason::ServerTrouble),
        (HttpError::MaybeSent(MaybeSent::TooLarge), LoginReason::ServerTrouble),
    ] {
        let http = Server::new(move |_, _| Err(fault));
        let error = Rig::new(Clients::default(), &http).client().await.unwrap_err();
        assert_eq!((error.reason(), http.count()), (reason, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_endpoint_out_of_reach_is_never_asked() {
    let http = Server::willing();
    let mut rig = Rig::new(Clients::default(), &http);
    for endpoint in
        ["http://as.example.com/register", "http://127.0.0.1:9/register", "ftp://as.example.com/", "https://u@as/"]
    {
        rig.metadata.registration_endpoint = Some(endpoint.to_owned());
        let error = rig.client().await.unwrap_err();
        assert_eq!((error.clone(), error.reason()), (RegistrationError::UnsafeAddress, LoginReason::UnsafeAddress));
    }
    assert_eq!(http.count(), 0);
    rig.metadata.registration_endpoint = Some("http://127.0.0.1:9/register".to_owned());
    rig.reaching(&work(), Some(REDIRECT), Reach::PublicOrLoopback).await.unwrap();
    assert_eq!((http.count(), http.asked()[0].reach), (1, Reach::PublicOrLoopback));
}

#[tokio::test(start_paused = true)]
async fn the_method_is_chosen_from_ours_and_theirs() {
    for (listed, sent) in [
        (Some(vec!["client_secret_post", "client_secret_basic"]), Some("client_secret_basic")),
        (Some(vec!["private_key_jwt", "client_secret_post"]), Some("client_secret_post")),
        (None, Some("client_secret_basic")),
        (Some(vec!["private_key_jwt"]), None),
    ] {
        let http = Server::new(|asked, number| {
            let mut client = confirmed(asked, number);
            client["client_secret"] = json!("s");
            answer(201, client)
        });
        let mut rig = Rig::new(Clients::default(), &http);
        rig.metadata.auth_methods = listed.map(|words| words.into_iter().map(str::to_owned).collect());
        let outcome = rig.client().await;
        match sent {
            Some(word) => {
                outcome.unwrap();
                assert_eq!(http.asked()[0].body["token_endpoint_auth_method"], word);
            }
            None => {
                let error = outcome.unwrap_err();
                assert!(matches!(error, RegistrationError::NoSharedMethod { .. }), "{error}");
                assert_eq!(http.count(), 0);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_output_shows_a_secret_or_a_terminal_escape() {
    let secret = json!({
        "token_endpoint_auth_method": "client_secret_basic", "client_secret": "s3cret-1",
        "registration_access_token": "s3cret-2", "registration_client_uri": format!("{ISSUER}/register/1"),
    });
    let (rig, outcome) = terms(secret).await;
    let shown = format!("{outcome:?} {:?} {:?}", rig.registrar, rig.stored(NAME).await);
    assert!(!shown.contains("s3cret"), "{shown}");

    let http = Server::new(|_, _| {
        answer(
            400,
            json!({"error": "invalid\u{1b}[31m", "error_description": format!("a\u{1b}[2J\u{202e}b\r\nc {}", "x".repeat(5_000))}),
        )
    });
    let error = Rig::new(Clients::default(), &http).client().await.unwrap_err();
    let RegistrationError::Refused { error: None, description: Some(description), .. } = &error else {
        panic!("{error:?}")
    };
    assert!(description.starts_with("a [2J b c xxx") && description.chars().count() == 200, "{description}");
    let shown = error.to_string();
    assert!(shown.chars().all(|c| !c.is_control() && c != '\u{202e}') && shown.len() < 500, "{shown}");
}
