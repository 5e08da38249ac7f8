//! Logins by a code that a person enters on another device (RFC 8628).

use serde_json::json;
use tokenkeeper::{AuthSession, LogIn, LoggedIn, LoginReason, OfferedPrompt, SessionSpec, Way};

use crate::authority::Authority;
use crate::host::{Host, Logging, end, log_in};
use crate::person::Person;

/// All three poll at the same time, because the rig names no interval, and the first poll is then after five seconds.
#[tokio::test]
async fn a_code_is_approved_by_a_person_or_at_once_or_denied() {
    let Some(authority) = Authority::shared().await else { return };
    let host = Host::new(&authority).await;
    let (denied, denied_code) = begin(&account(&host, &authority, "denied")).await;
    let (approved, approved_code) = begin(&host.session).await;
    assert_ne!(denied_code, approved_code);
    authority.tell("/approve-device", &json!({ "user_code": denied_code, "deny": true }));
    authority.tell("/approve-device", &json!({ "user_code": approved_code }));
    authority.tell("/config", &json!({ "autoDevice": true }));
    let at_once = account(&host, &authority, "at once");
    let (automatic, _) = begin(&at_once).await;

    assert_eq!(end(denied).await.unwrap_err().reason(), Some(LoginReason::Denied));
    assert_eq!(end(approved).await, Ok(LoggedIn::Here));
    assert_eq!(end(automatic).await, Ok(LoggedIn::Here));
    let stats = authority.stats();
    // One client for all of them.
    assert_eq!(stats["registrations"]["success"], 1);
    assert_eq!(stats["device_authorizations"], 3);
    assert!(at_once.token().await.is_ok());
    at_once.logout().await.unwrap();
    host.assert_served(&authority, "alice").await;
    host.assert_leaves_nothing(&authority).await;
}

/// The session of another account at the same server.
fn account(host: &Host, authority: &Authority, label: &str) -> AuthSession {
    host.auth.session(SessionSpec::mcp(authority.resource()).unwrap().account(label).unwrap())
}

/// Begins a login, and returns the code that the person sees.
async fn begin(session: &AuthSession) -> (Logging, String) {
    let person = Person::new();
    let logging = log_in(session, LogIn::new().way(Way::Device), &person);
    let prompt = person.asked().await;
    assert!(matches!(&prompt.prompt, OfferedPrompt::Device { complete: Some(_), .. }) && !prompt.takes_paste);
    (logging, prompt.user_code().unwrap())
}
