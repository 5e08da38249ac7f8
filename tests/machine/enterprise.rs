//! Enterprise-managed authorization: the ID token, its exchange, and the order in which things are renewed.

use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::engine::ports::store::{ClaimAnswer, ClaimEnding, ClaimScope, TokenStore};
use tokenkeeper::engine::values::FlightId;

use super::host::{Host, token, try_token};
use super::server::{BEARER, EXCHANGE, Fault, REFRESH};
use super::{jwt, within};

/// The IdP's refreshes, the exchanges, and the grants at servers.
fn spent(host: &Host) -> (usize, usize, usize) {
    (host.server.count(REFRESH), host.server.count(EXCHANGE), host.server.count(BEARER))
}

#[tokio::test]
async fn an_id_token_becomes_an_access_token() {
    let host = Host::new().await;
    host.signed_on().await;
    let session = host.session(3, &host.enterprise().scopes(["tools:read"]));
    assert!(token(&session).await.is_ok());
    assert_eq!(spent(&host), (0, 1, 1));
    let [exchange, grant] = &host.server.requests()[..] else { panic!("two requests") };
    let wanted = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:id-jag"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("audience", &host.server.issuer(3)),
        ("resource", &host.server.resource(3)),
        ("scope", "tools:read"),
        ("client_id", "desktop"),
    ];
    assert_eq!(exchange.path, "/idp/token");
    for (name, value) in wanted {
        assert_eq!(exchange.form[name], value);
    }
    assert_eq!((grant.path.as_str(), grant.form["assertion"].as_str()), ("/as/3/token", "id-jag-2"));
    assert_eq!(grant.authorization, Some(jwt::basic("app", "app-secret")));
    assert_eq!(grant.form["resource"], host.server.resource(3));

    let host = host.restarted().await;
    host.expire();
    assert!(token(&host.auth.session(host.spec(3))).await.is_ok(), "the record has all that is needed");
    assert_eq!((spent(&host), host.server.replays()), ((1, 2, 2), 0));
}

#[tokio::test]
async fn an_id_jag_is_used_once() {
    let host = Host::new().await;
    host.signed_on().await;
    let session = host.session(0, &host.enterprise());
    host.server.next(BEARER, [Fault::CloseAfter, Fault::CloseBefore, Fault::Refuse(503, "unavailable", None)]);
    assert!(token(&session).await.is_ok());
    assert_eq!(spent(&host), (0, 4, 4), "each grant has an exchange of its own");
    let assertions: std::collections::BTreeSet<_> =
        host.server.requests().iter().filter_map(|request| request.form.get("assertion").cloned()).collect();
    assert_eq!((assertions.len(), host.server.replays()), (4, 0));
}

#[tokio::test]
async fn a_denial_of_the_policy_is_an_error_of_its_own() {
    for place in [EXCHANGE, BEARER] {
        let host = Host::new().await;
        host.signed_on().await;
        host.server.next(place, [Fault::Refuse(403, "access_denied", None)]);
        let session = host.session(0, &host.enterprise());
        let error = token(&session).await.unwrap_err();
        assert_eq!(error.reason(), Reason::PolicyDenied, "{place}");
        assert!(error.to_string().contains("administrator"), "{error}");
        assert!(!error.is_login_required() && !error.is_transient(), "no browser opens");
        assert_eq!((host.server.count(REFRESH), host.server.count(place)), (0, 1), "it is not repeated");
    }
}

#[tokio::test]
async fn a_person_signs_on_again_where_the_provider_wants_it() {
    for word in ["insufficient_user_authentication", "interaction_required"] {
        let host = Host::new().await;
        host.signed_on().await;
        host.server.next(EXCHANGE, [Fault::Refuse(400, word, None)]);
        let session = host.session(0, &host.enterprise());
        let error = token(&session).await.unwrap_err();
        assert_eq!(error.reason(), Reason::SignOnRequired, "{word}");
        assert!(!error.is_login_required(), "a login at the server would not help");
        assert_eq!(spent(&host), (0, 1, 0));
        assert!(token(&session).await.is_ok(), "after the sign-on");
    }
}

#[tokio::test]
async fn a_refused_id_token_is_renewed_once() {
    let host = Host::new().await;
    host.signed_on().await;
    host.server.refuse_id_tokens();
    let session = host.session(0, &host.enterprise());
    assert!(token(&session).await.is_ok());
    assert_eq!(spent(&host), (1, 2, 1));
    assert_eq!(host.server.replays(), 0);

    // The provider refuses every ID token from now on, also one that was refreshed for that reason.
    host.server.next(EXCHANGE, (0..8).map(|_| Fault::Refuse(400, "invalid_grant", None)));
    host.expire();
    let error = token(&session).await.unwrap_err();
    assert_eq!(error.reason(), Reason::SignOnRequired);
    assert_eq!((spent(&host), host.server.replays()), ((3, 4, 1), 0));
}

#[tokio::test]
async fn an_ended_sign_on_ends_nothing_at_the_server() {
    let host = Host::new().await;
    let idp = host.signed_on().await;
    let session = host.session(0, &host.enterprise());
    assert!(token(&session).await.is_ok());
    host.server.end_chain();
    host.expire();
    let error = token(&session).await.unwrap_err();
    assert_eq!(error.reason(), Reason::SignOnRequired);
    assert_eq!(try_token(&idp).await.unwrap_err().reason(), Reason::GrantEnded);
    assert_eq!(spent(&host), (1, 1, 1), "nothing is exchanged");
    assert!(host.grant(session.identity()).await.parked.is_none());
}

#[tokio::test]
async fn a_session_without_a_sign_on_asks_for_one() {
    let host = Host::new().await;
    let session = host.session(0, &host.enterprise());
    assert_eq!(try_token(&session).await.unwrap_err().reason(), Reason::SignOnRequired);
    host.signed_on().await;
    assert!(token(&session).await.is_ok());
}

#[tokio::test]
async fn a_refresh_without_an_id_token_keeps_the_new_refresh_token() {
    let host = Host::new().await;
    let idp = host.signed_on().await;
    host.expire();
    host.server.next(REFRESH, [Fault::WithoutIdToken]);
    let session = host.session(0, &host.enterprise());
    // Callers at the provider's session get no ID token from this refresh.
    assert_eq!(try_token(&session).await.unwrap_err().reason(), Reason::ExpiredOnArrival);
    let held = host.record(idp.identity()).await;
    assert!(held.held().is_some_and(|held| held.mark.is_none() && held.credential.token().expose() != "rt-0"));
    assert!(token(&session).await.is_ok());
    assert_eq!((host.server.count(REFRESH), host.server.replays()), (2, 0));
}

#[tokio::test]
async fn the_id_token_is_obtained_before_the_claim() {
    let host = Host::new().await;
    let idp = host.signed_on().await;
    let session = host.session(0, &host.enterprise());
    assert!(token(&session).await.is_ok());
    host.expire();
    host.server.hold(REFRESH);
    let caller = tokio::spawn({
        let session = session.clone();
        async move { token(&session).await }
    });
    host.server.until(REFRESH, 1).await;
    let claim = async |identity, by| {
        let record = host.record(identity).await;
        host.store.claim(identity, ClaimScope::Spend(record.epoch), FlightId(by), Duration::from_secs(1)).await.unwrap()
    };
    let ClaimAnswer::Granted(granted) = claim(session.identity(), 1).await else {
        panic!("the server's claim is held")
    };
    assert_eq!(claim(idp.identity(), 2).await, ClaimAnswer::Contended, "the provider's is");
    host.store.end_claim(session.identity(), &granted, ClaimEnding::Released).await.unwrap();
    host.server.release();
    assert!(within("a caller", caller).await.unwrap().is_ok());
    assert_eq!((spent(&host), host.server.replays()), ((1, 2, 2), 0));
}

#[tokio::test]
async fn a_throttle_of_the_provider_is_none_of_the_servers() {
    let host = Host::new().await;
    host.signed_on().await;
    host.server.next(EXCHANGE, [Fault::Refuse(429, "slow_down", Some("3600"))]);
    let first = host.session(0, &host.enterprise());
    let error = try_token(&first).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Throttled);
    assert!(error.retry_after().is_some_and(|pause| pause > Duration::from_secs(60)));
    // Another session at the same authorization server is not held back.
    let resource = host.server.resource(0);
    let other = tokenkeeper::SessionSpec::mcp(&resource).unwrap().account("other").unwrap();
    let other = host.auth.session(other.renewal(host.enterprise().plan()));
    assert!(token(&other).await.is_ok());
}
