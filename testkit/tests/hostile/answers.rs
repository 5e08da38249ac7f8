//! Complete answers in any format, and the assignment of faults to requests.

use std::time::Duration;

use tokenkeeper_testkit::hostile::{Announced, Fault, HostileAs, RetryAfter, When};

use crate::client::{VERSIONS, Version, call, client, header, json, refresh, refresh_with, word};

#[tokio::test]
async fn a_status_says_whatever_it_is_told_to() {
    for version in VERSIONS {
        for (when, rotations) in [(When::Before, 0), (When::After, 1)] {
            let server = HostileAs::start().await.unwrap();
            let (http, grant) = (client(version), server.grant());
            server.next(when, Fault::status(503).error("temporarily_unavailable").retry_after(RetryAfter::Seconds(7)));
            let answer = refresh(&http, &grant).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (503, "7"));
            assert_eq!(word(&json(answer).await, "error"), "temporarily_unavailable");
            let counts = server.counts();
            assert_eq!((counts.token_requests, counts.rotations, counts.token_answers[&503]), (1, rotations, 1));
            assert!(counts.refusals.is_empty());
        }
    }
}

#[tokio::test]
async fn bodies_are_json_html_or_nothing() {
    let server = HostileAs::start().await.unwrap();
    let (http, grant) = (client(Version::One), server.grant());
    server.next(When::Before, Fault::status(502).html());
    let html = refresh(&http, &grant).send().await.unwrap();
    assert_eq!((html.status().as_u16(), header(&html, "content-type")), (502, "text/html"));
    assert!(html.text().await.unwrap().starts_with("<html>"));
    server.next(When::Before, Fault::status(429).retry_after(RetryAfter::Text("soon".into())));
    let empty = refresh(&http, &grant).send().await.unwrap();
    assert_eq!((empty.status().as_u16(), header(&empty, "retry-after")), (429, "soon"));
    assert!(empty.headers().get("content-type").is_none());
    assert_eq!(empty.bytes().await.unwrap().len(), 0);
    server.next(When::Before, Fault::status(503).retry_after(RetryAfter::Date(Duration::from_secs(86_400))));
    let dated = refresh(&http, &grant).send().await.unwrap();
    let date = httpdate::parse_http_date(dated.headers()["retry-after"].to_str().unwrap()).unwrap();
    let ahead = date.duration_since(std::time::SystemTime::now()).unwrap();
    assert!(ahead > Duration::from_secs(80_000) && ahead <= Duration::from_secs(86_400), "{ahead:?}");
    server.next(When::Before, Fault::garbage());
    let garbage = refresh(&http, &grant).send().await.unwrap();
    assert_eq!(header(&garbage, "content-type"), "application/json");
    assert!(serde_json::from_slice::<serde_json::Value>(&garbage.bytes().await.unwrap()).is_err());
    assert_eq!(server.counts().rotations, 0);
}

#[tokio::test]
async fn a_template_carries_the_real_new_tokens() {
    let shapes = [
        (
            "application/json",
            r#"{"access_token":"{access_token}","refresh_token":"{refresh_token}","expires_in":"{expires_in}"}"#,
        ),
        (
            "application/x-www-form-urlencoded",
            "access_token={access_token}&refresh_token={refresh_token}&scope={scope}",
        ),
        (
            "text/plain",
            r#"{"error":"invalid_scope","access_token":"{access_token}","refresh_token":"{refresh_token}"}"#,
        ),
    ];
    for version in VERSIONS {
        for (content_type, template) in shapes {
            let server = HostileAs::start().await.unwrap();
            let (http, grant) = (client(version), server.grant());
            server.next(When::After, Fault::body(content_type, template));
            let answer = refresh(&http, &grant).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, content_type));
            let text = answer.text().await.unwrap();
            let token = |kind: &str| {
                let from = text.find(kind).unwrap();
                text[from..].split(['"', '&']).next().unwrap().to_owned()
            };
            assert_eq!(call(&http, &server, &token("at-")).await.status(), 200, "{text}");
            assert_eq!(refresh_with(&http, &grant, &token("rt-")).send().await.unwrap().status(), 200, "{text}");
            assert!(!text.contains("_token}"), "{text}");
        }
    }
}

#[tokio::test]
async fn before_the_work_a_template_has_no_tokens() {
    let server = HostileAs::start().await.unwrap();
    server.next(When::Before, Fault::body("text/plain", "[{access_token}{refresh_token}{expires_in}{scope}] {origin}"));
    let answer = refresh(&client(Version::One), &server.grant()).send().await.unwrap().text().await.unwrap();
    assert_eq!(answer, format!("[] {}", server.issuer()));
    assert_eq!(server.counts().rotations, 0);
}

#[tokio::test]
async fn the_real_answer_can_come_with_another_status_or_header() {
    let server = HostileAs::start().await.unwrap();
    let (http, grant) = (client(Version::One), server.grant());
    server.next(When::After, Fault::pass().with_status(500).header("x-new", "{refresh_token}"));
    let answer = refresh(&http, &grant).send().await.unwrap();
    assert_eq!(answer.status(), 500);
    let header = answer.headers()["x-new"].to_str().unwrap().to_owned();
    assert_eq!(word(&json(answer).await, "refresh_token"), header);
    server.rules(|rules| rules.announced = Announced::Lie(-1));
    assert_eq!(json(refresh_with(&http, &grant, &header).send().await.unwrap()).await["expires_in"], -1);
}

#[tokio::test]
async fn a_redirect_tells_who_followed_it() {
    let server = HostileAs::start().await.unwrap();
    server.next_n(2, When::Before, Fault::redirect());
    let grant = server.grant();
    let careful = refresh(&client(Version::One), &grant).send().await.unwrap();
    assert_eq!(careful.status(), 307);
    assert_eq!(server.counts().redirects_followed, 0);
    let careless = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(refresh(&careless, &grant).send().await.unwrap().status(), 400);
    let counts = server.counts();
    assert_eq!((counts.redirects_followed, counts.token_requests, counts.rotations), (1, 2, 0));
}

#[tokio::test]
async fn a_dpop_nonce_is_asked_for() {
    let server = HostileAs::start().await.unwrap();
    server.next(When::Before, Fault::dpop_nonce("n-1"));
    let answer = refresh(&client(Version::One), &server.grant()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "dpop-nonce")), (400, "n-1"));
    assert_eq!(word(&json(answer).await, "error"), "use_dpop_nonce");
    assert_eq!(server.counts().rotations, 0);
}

#[tokio::test]
async fn faults_are_met_first_come_first_served() {
    let server = HostileAs::start().await.unwrap();
    let (http, grant) = (client(Version::One), server.grant());
    server.always(When::Before, Fault::status(504));
    server.next(When::Before, Fault::status(501));
    server.next_n(2, When::Before, Fault::status(502));
    server.next(When::Before, Fault::pass());
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(refresh(&http, &grant).send().await.unwrap().status().as_u16());
    }
    assert_eq!(seen, [501, 502, 502, 200, 504, 504]);
    server.next(When::Before, Fault::status(501));
    server.calm();
    assert_eq!(refresh(&http, &grant).send().await.unwrap().status(), 400);
    let counts = server.counts();
    assert_eq!((counts.token_requests, counts.faults, counts.rotations, counts.replays), (7, 5, 1, 1));
}

#[tokio::test]
async fn a_good_token_is_refused_as_often_as_told() {
    for version in VERSIONS {
        let server = HostileAs::start().await.unwrap();
        let (http, grant) = (client(version), server.grant());
        server.next_at_resource(2, When::Before, Fault::challenge());
        for status in [401, 401, 200] {
            let answer = call(&http, &server, grant.access_token.expose()).await;
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401);
        }
        let counts = server.counts();
        assert_eq!((counts.resource_requests, counts.resource_answers[&401], counts.resource_answers[&200]), (3, 2, 1));
        assert_eq!((counts.token_requests, counts.chains_alive), (0, 1));
    }
}

#[tokio::test]
async fn the_revocation_endpoint_has_faults_of_its_own() {
    let server = HostileAs::start().await.unwrap();
    let (http, grant) = (client(Version::One), server.grant());
    server.next_revocation(1, When::Before, Fault::status(503));
    let body = format!("token={}&client_id={}", grant.refresh_token.expose(), grant.binding.client.id);
    for (status, alive) in [(503, true), (200, false)] {
        let answer = crate::client::form(http.post(server.revocation_endpoint()), &body).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), server.is_alive(grant.chain)), (status, alive));
    }
}
