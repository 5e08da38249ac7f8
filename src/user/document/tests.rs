use serde_json::json;

use super::*;
use crate::user::mapping::UserMapping;

fn made(fields: Value, document: Value) -> Result<UserContext, UserError> {
    let fields = serde_json::from_value(fields).unwrap();
    context(document.as_object().unwrap().clone(), &fields, (Generation::default(), None), WallTime::from_millis(7))
}

#[test]
fn fields_are_picked_in_order_and_groups_are_joined() {
    let fields = json!({
        "subject": ["/me/id"],
        "name": ["/me/none", "/me/empty", "/me/name"],
        "email": [{ "list": "/mails", "only": { "primary": true, "kind": "work" }, "pointer": "/address" }],
        "email_verified": ["/me/verified"],
        "groups": ["/me/groups", "/me/role", "/teams/*/name", "/apps/*/roles/*"],
    });
    let document = json!({
        "me": { "id": 42, "empty": "  ", "name": " Ann ", "verified": "true", "groups": ["a", "b", 7], "role": "c" },
        "mails": [
            { "address": "home@example.com", "primary": true, "kind": "home" },
            { "address": "work@example.com", "primary": true, "kind": "work" },
        ],
        "teams": [{ "name": "b" }, { "name": "d" }, {}],
        "apps": { "one": { "roles": ["e"] }, "two": { "roles": [] } },
    });
    let ann = made(fields, document.clone()).unwrap();
    assert_eq!((ann.subject(), ann.name(), ann.email()), ("42", Some("Ann"), Some("work@example.com")));
    assert_eq!((ann.is_email_verified(), ann.fetched_at().as_millis()), (Some(true), 7));
    assert_eq!(ann.groups(), ["a", "b", "c", "d", "e"]);
    assert_eq!(*ann.claims(), document);
}

#[test]
fn hostile_texts_are_left_out() {
    let fields = json!({ "subject": ["/s"], "name": ["/n"], "email": ["/e"], "groups": ["/g"] });
    let long = "x".repeat(MAX_TEXT + 1);
    let document =
        json!({ "s": "ann", "n": "\u{1b}[2J", "e": "a\r\nBcc: b@example.com", "g": [long, "a\u{0}b", "good"] });
    let ann = made(fields.clone(), document).unwrap();
    assert_eq!((ann.name(), ann.email(), ann.groups()), (None, None, &["good".to_owned()][..]));
    let many: Vec<_> = (0..5_000).map(|number| number.to_string()).collect();
    let ann = made(fields.clone(), json!({ "s": "ann", "g": &many })).unwrap();
    assert_eq!((ann.groups().len(), ann.has_more_groups()), (MAX_GROUPS, true));
    let twice = [&many[..MAX_GROUPS], &many[..MAX_GROUPS]].concat();
    let twice = json!({ "s": "ann", "g": twice });
    assert!(!made(fields.clone(), twice).unwrap().has_more_groups(), "the same groups again");
    for subject in
        [json!(null), json!(""), json!(" ann"), json!("a\nb"), json!(1.5), json!(true), json!(["ann"]), json!(long)]
    {
        assert_eq!(made(fields.clone(), json!({ "s": subject })), Err(UserError::NoSubject));
    }
}

#[test]
fn the_subject_must_be_there_and_that_of_the_login() {
    let check = |claims: Value, subject| check_subject(&claims, subject);
    assert_eq!(check(json!({ "sub": "ann" }), Some("ann")), Ok(()));
    assert_eq!(check(json!({ "sub": "ann" }), None), Ok(()));
    for other in ["Ann", "ann ", ""] {
        assert_eq!(check(json!({ "sub": other }), Some("ann")), Err(UserError::SubjectMismatch));
    }
    for missing in [json!({}), json!({ "sub": 7 }), json!([]), json!(null)] {
        assert_eq!(check(missing, Some("ann")), Err(UserError::NoSubject));
    }
}

#[test]
fn claims_are_those_of_a_jwt() {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let token = |claims: &str| format!("{}.{}.c2ln", part("{}"), part(claims));
    assert_eq!(claims(&token(r#"{"sub":"ann"}"#)), Some(json!({ "sub": "ann" })));
    for other in ["", "opaque", "a.b", "a.b.c.d", &token("[]"), &token("not JSON"), &token(&" ".repeat(MAX_TOKEN))] {
        assert_eq!(claims(other), None);
    }
}

#[test]
fn an_envelope_tells_an_error_by_its_word() {
    let slack = UserMapping::of_provider("slack").unwrap();
    let envelope = slack.requests[0].envelope.as_ref();
    let word = |answer: Value| error_in(&answer, envelope);
    assert_eq!(word(json!({ "ok": true })), None);
    assert_eq!(word(json!({ "ok": false, "error": "token_expired" })), Some(ErrorMeaning::Unauthorized));
    assert_eq!(word(json!({ "ok": false, "error": "missing_scope" })), Some(ErrorMeaning::Forbidden));
    assert_eq!(word(json!({ "ok": false, "error": "ratelimited" })), Some(ErrorMeaning::Throttled));
    for other in [json!({ "ok": false }), json!({ "ok": "true" }), json!({}), json!([])] {
        assert_eq!(word(other), Some(ErrorMeaning::Other));
    }
    assert_eq!(error_in(&json!({ "ok": false }), None), None);
}
