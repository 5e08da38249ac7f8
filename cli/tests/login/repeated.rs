//! Sessions that are signed in already, and several logins at once.

use serde_json::json;
use tokenkeeper_testkit::login_server::Endpoint;

use super::scene::Scene;

#[test]
fn a_session_that_is_signed_in_is_left_as_it_is() {
    let scene = Scene::new();
    let first = scene.sign_in(&[]);
    let before = scene.server.log().len();
    // Also where the server would be asked for a way or for a client's issuer.
    for arguments in [&["--no-browser"][..], &[], &["--client-id", "other"]] {
        let ended = scene.begin(arguments).end();
        let session = ended.last();
        assert_eq!((ended.code, &session["how"]), (0, &json!("already")), "{}", ended.err);
        assert_eq!(session["generation"], first["generation"]);
        assert!(ended.err.contains("note: the session was signed in already"), "{}", ended.err);
    }
    assert_eq!(scene.server.log().len(), before, "nothing was sent");
}

#[test]
fn the_old_session_is_served_until_the_new_one_is_stored() {
    let scene = Scene::new();
    scene.sign_in(&[]);
    let old = scene.token();
    let mut login = scene.begin(&["--no-browser", "--again"]);
    let prompt = login.prompt();
    assert_eq!(scene.token(), old);
    scene.complete(&prompt);
    assert_eq!(login.end().code, 0);
    assert_ne!(scene.token(), old);
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.logins), (1, 2));
}

#[test]
fn another_user_replaces_the_session_only_if_that_is_wanted() {
    let scene = Scene::new();
    assert_eq!(scene.sign_in(&[])["subject"], "alice");
    let old = scene.token();
    scene.server.subject("bob");
    let mut login = scene.begin(&["--no-browser", "--again"]);
    scene.complete(&login.prompt());
    let ended = login.end();
    assert_eq!(ended.failed(), (4, "subject_changed".to_owned()));
    assert!(ended.err.contains("--as-another"), "{}", ended.err);
    assert_eq!(scene.token(), old);
    assert_eq!(scene.sign_in(&["--as-another"])["subject"], "bob");
    assert_ne!(scene.token(), old);
}

#[test]
fn of_two_logins_at_once_one_asks() {
    let scene = Scene::new();
    let mut first = scene.begin(&["--no-browser"]);
    let prompt = first.prompt();
    let mut second = scene.begin(&["--no-browser"]);
    second.tells("another program is asking you to sign in");
    // The second program shows the page too, for a person who does not see the first.
    second.tells(prompt["url"].as_str().unwrap());
    scene.complete(&prompt);
    let (first, second) = (first.end(), second.end());
    assert_eq!((first.code, second.code), (0, 0), "{} {}", first.err, second.err);
    assert_eq!(second.events.len(), 1, "{:?}", second.events);
    assert_eq!((&first.last()["how"], &second.last()["how"]), (&json!("here"), &json!("elsewhere")));
    assert_eq!(first.last()["generation"], second.last()["generation"]);
    let counts = scene.server.counts();
    let asked = (counts.of(Endpoint::Authorization), counts.of(Endpoint::Token));
    assert_eq!((counts.registered, counts.logins, asked), (1, 1, (1, 1)));
}

#[test]
fn a_session_that_has_ended_is_signed_in_again_by_its_name() {
    let scene = Scene::new();
    scene.sign_in(&[]);
    assert!(scene.run("name", &["files"]).status.success());
    let grants = scene.server.grants();
    scene.server.hostile().revoke(grants[0].chain);
    let token = scene.run("token", &["--refresh"]);
    let error = String::from_utf8(token.stderr).unwrap();
    assert_eq!(token.status.code(), Some(3), "{error}");
    assert!(error.contains("tokenkeeper login signs in again"), "{error}");
    let mut login = super::scene::Login::of(&mut scene.command(&["login", "files", "--no-browser", "--json"]));
    scene.complete(&login.prompt());
    assert_eq!(login.end().code, 0);
    assert!(scene.command(&["token", "files"]).output().unwrap().status.success());
}
