//! Logins through the rig's own pages in Chromium, which ends them at the page of the listener.

use std::path::{Path, PathBuf};

use serde_json::json;
use tokenkeeper::callback::LoopbackOptions;
use tokenkeeper::{LogIn, LoggedIn, LoginReason, OfferedPrompt, Way};

use crate::authority::{Authority, Counts};
use crate::automatic::ONE;
use crate::chromium::{Chromium, Colours};
use crate::host::{Host, end};
use crate::person::{Person, parameter, redirect_port};
use crate::step_up::StepUp;

const SIGNED_IN: [&str; 2] = ["You are signed in", "You can close this tab and go back to the program that opened it."];
const ALREADY: [&str; 2] =
    ["You are already signed in", "This sign-in was completed a moment ago. You can close this tab."];
const DECLINED: [&str; 2] =
    ["Access was declined", "Nothing was changed. To allow access, start the sign-in again in the program."];
const MISMATCHED: [&str; 2] = [
    "This answer does not match",
    "It does not belong to the sign-in that is waiting, and was not used. Go back to the program, and use only the page that it \
     opens or shows.",
];

/// The width of a small phone.
const PHONE: u32 = 320;

#[tokio::test]
async fn a_person_signs_in_and_consents_and_later_allows_more() {
    let Some(authority) = Authority::shared().await else { return };
    let Some(mut browser) = Chromium::start().await else { return };
    authority.tell("/config", &json!({ "autoConsent": false }));
    let host = Host::new(&authority).await;
    let person = Person::new();
    let logging = host.log_in(LogIn::new(), &person);
    let page = person.page().await;
    browser.open(page.as_str()).await;
    assert_eq!(browser.words().await[0], "Sign in");
    browser.fill("input[name=login]", "carol").await;
    browser.press("Continue").await;
    let consent = browser.words().await;
    assert_eq!(consent[0], "Consent");
    assert_eq!(consent[2], format!("Resource: {}", authority.resource()));
    assert!(!logging.is_finished());
    browser.press("Continue").await;
    look_at_end(&mut browser, SIGNED_IN, "signed-in").await;
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(authority.counts(), ONE);
    host.assert_served(&authority, "carol").await;

    // The person is signed in at the server now, and is asked for the other scope only. The port is that of the client's address.
    let port = LoopbackOptions { preferred: Some(redirect_port(&page)), ..LoopbackOptions::default() };
    let step_up = StepUp::begin(&host, &host.token().await.unwrap(), port).await;
    browser.open(step_up.page.as_str()).await;
    let consent = browser.words().await;
    assert!(consent[0] == "Consent" && consent[1].contains("mcp:admin"), "{consent:?}");
    tokio::join!(browser.press("Continue"), step_up.complete(&host));
    look_at_end(&mut browser, SIGNED_IN, "signed-in").await;
    assert_eq!(host.call("admin_echo", json!({ "text": "hi" })).await.text(), "hi");
    // The code has left the address and the history.
    browser.reload().await;
    look_at_end(&mut browser, ALREADY, "already").await;
    let counts = Counts { pushed: 1, codes: 2, refreshes: 1, ..ONE };
    assert_eq!(authority.counts(), counts);
    // The server has extended the grant, and the logout ends all of it.
    host.assert_leaves_nothing(&authority).await;
    assert_eq!(authority.counts(), Counts { revoked: 1, ..counts });
}

#[tokio::test]
async fn a_person_who_cancels_and_an_answer_of_another_login_are_told_apart() {
    let Some(authority) = Authority::shared().await else { return };
    let Some(mut browser) = Chromium::start().await else { return };
    authority.tell("/config", &json!({ "autoConsent": false }));
    let host = Host::new(&authority).await;
    let person = Person::new();
    let logging = host.log_in(LogIn::new(), &person);
    let page = person.page().await;
    let redirect = parameter(&page, "redirect_uri").unwrap();
    let issuer = authority.issuer();
    browser.open(&format!("{redirect}?code=c&state=forged&iss={issuer}")).await;
    look_at_end(&mut browser, MISMATCHED, "mismatched").await;
    assert!(!logging.is_finished());
    browser.open(page.as_str()).await;
    browser.press("Continue").await;
    browser.press("Cancel").await;
    look_at_end(&mut browser, DECLINED, "declined").await;
    assert_eq!(end(logging).await.unwrap_err().reason(), Some(LoginReason::Denied));
    assert!(host.token().await.unwrap_err().is_login_required());
    assert_eq!(authority.counts(), Counts { registrations: 1, ..Counts::default() });
    host.end().await;
}

/// RFC 8628 section 3.3.1. The person compares the code.
#[tokio::test]
async fn a_person_confirms_the_code_of_a_device() {
    let Some(authority) = Authority::shared().await else { return };
    let Some(mut browser) = Chromium::start().await else { return };
    let host = Host::new(&authority).await;
    let person = Person::new();
    let logging = host.log_in(LogIn::new().way(Way::Device), &person);
    let prompt = person.asked().await;
    let OfferedPrompt::Device { complete: Some(page), .. } = &prompt.prompt else { panic!("{prompt:?}") };
    browser.open(page.as_str()).await;
    let words = browser.words().await;
    assert_eq!(words[..2], ["Confirm the device".to_owned(), prompt.user_code().unwrap()]);
    for page in ["Sign in", "Consent", "Device connected"] {
        browser.press("Continue").await;
        assert_eq!(browser.words().await[0], page);
    }
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    host.assert_served(&authority, "alice").await;
    host.assert_leaves_nothing(&authority).await;
}

/// Compares the words of the listener's page, which shows nothing of the answer, in both colour schemes. Leaves pictures in the
/// target folder for a person to look at.
async fn look_at_end(browser: &mut Chromium, words: [&str; 2], name: &str) {
    assert_eq!(browser.words().await, words);
    assert_eq!(browser.evaluate("document.title").await, words[0]);
    let address = browser.address().await;
    assert!(address.starts_with("http://127.0.0.1:") && address.ends_with("/callback"), "{address}");
    let mut grounds = Vec::new();
    for colours in [Colours::Light, Colours::Dark] {
        browser.prefer(colours).await;
        let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor").await;
        grounds.push(ground.as_str().unwrap().to_owned());
        browser.picture(&picture(&format!("callback-{name}-{}.png", colours.word()))).await;
    }
    assert_eq!(grounds, ["rgb(244, 245, 247)", "rgb(20, 22, 26)"]);
    browser.narrow(Some(PHONE)).await;
    assert_eq!(browser.evaluate("document.documentElement.scrollWidth").await, PHONE, "all of it is seen");
    browser.picture(&picture(&format!("callback-{name}-narrow.png"))).await;
    browser.narrow(None).await;
}

/// A picture in the target folder.
fn picture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(file)
}
