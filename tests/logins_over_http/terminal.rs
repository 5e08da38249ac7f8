//! Text of servers in errors and log lines.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use tokenkeeper::discovery::Challenge;
use tokenkeeper::{LoginCause, LoginReason, SignInError};
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Consent, Endpoint, Flaw, LoginServer};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::rig::*;

/// Collects every event and span of one thread as text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {field}={value}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut Line(&mut self.0.lock().unwrap()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Line(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = self.0.lock().unwrap();
        text.push('\n');
        text.push_str(event.metadata().target());
        event.record(&mut Line(&mut text));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Whether the text could act on a terminal, or deceive a reader.
fn acts(text: &str) -> bool {
    let is_bad = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    text.contains(is_bad)
}

/// The text of an error wherever a host might print it.
fn texts(reason: LoginReason) -> String {
    format!("{reason} {} {:?}", reason.advice(), SignInError::new(reason))
}

#[tokio::test]
async fn text_of_servers_acts_on_no_terminal() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let server = || LoginServer::builder().flaw(Flaw::TerminalEscapes).without_par();
    let mut shown = String::new();
    let cases: [(Option<Flaw>, Consent, Option<Endpoint>); 7] = [
        (None, Consent::Allow, None),
        (None, Consent::Deny, None),
        (None, Consent::Fails("server_error"), None),
        (Some(Flaw::RegistrationRefused), Consent::Allow, None),
        (None, Consent::Allow, Some(Endpoint::Token)),
        (None, Consent::Allow, Some(Endpoint::ServerMetadata)),
        (None, Consent::Allow, Some(Endpoint::Registration)),
    ];
    for (flaw, consent, endpoint) in cases {
        let server = flaw.map_or(server(), |flaw| server().flaw(flaw)).consents(consent);
        let scene = Scene::new(server).await;
        if let Some(endpoint) = endpoint {
            let bad = "bad\u{1b}]0;owned\u{7}\u{202e}";
            scene.server.next_at(endpoint, 9, When::Before, Fault::status(400).error(bad));
        }
        let end = scene.log_in(LoginCause::Person).await;
        // Metadata of OpenID Connect is there, too.
        let is_sound = endpoint.is_none_or(|endpoint| endpoint == Endpoint::ServerMetadata);
        assert_eq!(end.is_ok(), flaw.is_none() && consent == Consent::Allow && is_sound, "{end:?}");
        if let Err(reason) = end {
            shown.push_str(&texts(reason));
        }
        if let Ok(lease) = scene.session.token().await {
            shown.push_str(&format!("{lease:?}"));
        }
        shown.push_str(&format!("{:?}", scene.session.state()));
        if let Some(record) = scene.record().await {
            shown.push_str(&format!("{record:?}"));
        }
    }
    let logged = lines.0.lock().unwrap().clone();
    assert!(logged.contains("tokenkeeper::discovery"), "the log was captured");
    for text in [&shown, &logged] {
        assert!(!acts(text), "{text:?}");
    }
}

/// The secrets of a login are in no line either.
#[tokio::test]
async fn no_secret_is_in_a_line() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let scene = Scene::new(LoginServer::builder()).await;
    let asked = begin(&scene.session, wish(&[]), LoginCause::Person).await.unwrap();
    let visit = open(&asked.url).await;
    deliver(&scene.session, visit.callback.as_deref().unwrap()).await.unwrap();
    let first = token(&scene.session).await;
    let second = renewed(&scene.session).await;
    scene.session.logout().await.unwrap();
    let code = visit.query("code").unwrap();
    let state = visit.query("state").unwrap();
    let refresh = scene.place.wire.only(&scene.server.hostile().token_endpoint(), "refresh_token=");
    let refresh = refresh.split("refresh_token=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let logged = lines.0.lock().unwrap().clone();
    for secret in [&first, &second, &code, &state, &refresh] {
        assert!(!logged.contains(secret.as_str()), "{secret}");
    }
}

#[test]
fn a_challenge_is_shown_without_its_effects() {
    let mut headers = http::HeaderMap::new();
    let value = http::HeaderValue::from_bytes("Bearer error=\"x\u{202e}\u{9b}2Jowned\"".as_bytes()).unwrap();
    headers.append(http::header::WWW_AUTHENTICATE, value);
    let text = format!("{0} {0:?}", Challenge::parse(&headers)[0]);
    assert!(!text.contains(['\u{202e}', '\u{9b}', '\u{1b}']), "{text:?}");
}
