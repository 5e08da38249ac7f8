//! The judgement of an issuer's profile for each kind of evidence (law 10).

use tokenkeeper_actors::law::profile::{
    Evidence, Judgement, Lost, NotSent, Profile, Profiles, Refused, Reuse, Trouble,
};
use tokenkeeper_actors::values::{ProviderName, RenewalPlan};

use crate::support::*;

/// The judgement in one word, with the server's `Retry-After` if it is passed on.
fn judged(profile: &Profile, evidence: Evidence) -> (String, Option<Duration>) {
    match profile.judge(evidence) {
        Judgement::Usable(tokens) => (format!("usable {}", tokens.access.expose()), None),
        Judgement::Unspent(Trouble { reason, retry_after }) => (format!("unspent {reason}"), retry_after),
        Judgement::NonceWanted => ("nonce".to_owned(), None),
        Judgement::ClientRejected => ("client".to_owned(), None),
        Judgement::TooLate => ("again".to_owned(), None),
        Judgement::Dead => ("dead".to_owned(), None),
        Judgement::InDoubt(Trouble { reason: Reason::InDoubt, retry_after }) => ("doubt".to_owned(), retry_after),
        Judgement::InDoubt(Trouble { reason, retry_after }) => (format!("doubt {reason}"), retry_after),
    }
}

fn word(profile: &Profile, evidence: Evidence) -> String {
    judged(profile, evidence).0
}

#[test]
fn the_default_is_strict() {
    let profile = Profile::default();
    assert_eq!((profile.reuse, profile.request_timeout), (Reuse::EndsLineage, secs(180)));
    assert_eq!((profile.grace, profile.rotates), (None, true));
    assert_eq!(profile.client_words, ["invalid_client"]);
    assert_eq!(profile.dead_words, ["invalid_grant"]);
    assert!(profile.unspent_statuses.is_empty() && !profile.revocation_confined);
}

#[test]
fn a_failure_of_the_source_itself_spends_nothing_and_is_passed_on() {
    for profile in [Profile::default(), Profile { rotates: false, ..Profile::default() }] {
        for reason in [Reason::SignOnRequired, Reason::PolicyDenied, Reason::Throttled] {
            let evidence = Evidence::Unavailable(Trouble { reason, retry_after: Some(secs(7)) });
            assert_eq!(judged(&profile, evidence), (format!("unspent {reason}"), Some(secs(7))));
        }
    }
}

#[test]
fn what_is_no_refusal() {
    let strict = Profile::default();
    assert_eq!(word(&strict, new_pair()), "usable at-2");
    assert_eq!(word(&strict, Evidence::NotSent(NotSent::Unreachable)), "unspent unreachable");
    assert_eq!(word(&strict, Evidence::NotSent(NotSent::Untrusted)), "unspent untrusted");
    assert_eq!(word(&strict, Evidence::NotSent(NotSent::Unbuildable)), "unspent request_refused");
    assert_eq!(word(&strict, Evidence::NotSent(NotSent::Forbidden)), "unspent request_refused");
    assert_eq!(word(&strict, Evidence::NotSent(NotSent::TooLate)), "again");
    for lost in [Lost::TimedOut, Lost::Broken, Lost::Aborted] {
        assert_eq!(word(&strict, Evidence::Lost(lost)), "doubt");
    }
}

#[test]
fn refusals_by_status_and_word() {
    let strict = Profile::default();
    let rows = [
        ("", [(199, "doubt"), (200, "doubt"), (302, "doubt"), (400, "doubt"), (429, "unspent throttled")]),
        ("", [(401, "doubt"), (499, "doubt"), (500, "doubt"), (503, "doubt"), (0, "doubt")]),
        ("invalid_grant", [(199, "doubt"), (200, "dead"), (302, "dead"), (400, "dead"), (429, "unspent throttled")]),
        ("invalid_grant", [(401, "dead"), (499, "dead"), (500, "doubt"), (503, "doubt"), (0, "doubt")]),
        (
            "use_dpop_nonce",
            [(199, "doubt"), (200, "doubt"), (399, "doubt"), (400, "nonce"), (429, "unspent throttled")],
        ),
        ("use_dpop_nonce", [(401, "nonce"), (499, "nonce"), (500, "doubt"), (503, "doubt"), (0, "doubt")]),
        (
            "invalid_client",
            [(199, "doubt"), (200, "client"), (302, "client"), (400, "client"), (429, "unspent throttled")],
        ),
        ("invalid_client", [(401, "client"), (499, "client"), (500, "doubt"), (503, "doubt"), (0, "doubt")]),
        (
            "invalid_scope",
            [
                (199, "doubt"),
                (200, "doubt"),
                (302, "doubt"),
                (400, "doubt request_refused"),
                (429, "unspent throttled"),
            ],
        ),
        ("INVALID_GRANT", [(199, "doubt"), (200, "doubt"), (302, "doubt"), (400, "doubt"), (429, "unspent throttled")]),
        ("slow_down", [(200, "doubt"), (400, "doubt"), (403, "doubt"), (408, "doubt"), (429, "unspent throttled")]),
        (
            "invalid_request",
            [(200, "doubt"), (408, "doubt"), (425, "doubt"), (404, "doubt"), (429, "unspent throttled")],
        ),
        (
            "my_invalid_grant",
            [(1, "doubt"), (200, "doubt"), (302, "doubt"), (400, "doubt"), (429, "unspent throttled")],
        ),
    ];
    for (error, cases) in rows {
        for (status, wanted) in cases {
            assert_eq!(word(&strict, refused(status, error)), wanted, "{status} {error}");
        }
    }
}

#[test]
fn a_profile_adds_words_that_end_the_grant_and_may_take_the_usual_one_away() {
    let profile = Profile { dead_words: vec!["bad_verification_code".to_owned()], ..Profile::default() };
    assert_eq!(word(&profile, refused(200, "bad_verification_code")), "dead");
    assert_eq!(word(&profile, refused(500, "bad_verification_code")), "doubt");
    assert_eq!(word(&profile, refused(400, "invalid_grant")), "doubt");
}

#[test]
fn a_profile_adds_words_about_the_client_and_words_that_spend_nothing() {
    let words = |word: &str| vec![word.to_owned()];
    let profile = Profile {
        client_words: words("incorrect_client_credentials"),
        unspent_words: words("temporarily_unavailable"),
        ..Profile::default()
    };
    assert_eq!(word(&profile, refused(200, "incorrect_client_credentials")), "client");
    assert_eq!(word(&profile, refused(500, "incorrect_client_credentials")), "doubt");
    assert_eq!(word(&profile, refused(400, "invalid_client")), "doubt");
    for status in [200, 400, 503] {
        assert_eq!(word(&profile, refused(status, "temporarily_unavailable")), "unspent server_trouble");
    }
}

#[test]
fn an_issuer_that_never_rotates_leaves_no_doubt() {
    let profile = Profile { rotates: false, ..Profile::default() };
    assert_eq!(word(&profile, Evidence::Lost(Lost::Broken)), "unspent server_trouble");
    assert_eq!(word(&profile, refused(502, "")), "unspent server_trouble");
    assert_eq!(word(&profile, refused(200, "")), "unspent server_trouble");
    assert_eq!(word(&profile, refused(403, "")), "unspent server_trouble");
    assert_eq!(word(&profile, refused(301, "")), "unspent server_trouble");
    assert_eq!(word(&profile, refused(400, "invalid_scope")), "unspent request_refused");
    // Definite answers stay definite.
    assert_eq!(word(&profile, refused(400, "invalid_grant")), "dead");
    assert_eq!(word(&profile, refused(401, "invalid_client")), "client");
}

#[test]
fn a_profile_adds_statuses_that_spend_nothing() {
    let profile = Profile { unspent_statuses: vec![503, 400], ..Profile::default() };
    assert_eq!(word(&profile, refused(503, "")), "unspent server_trouble");
    assert_eq!(word(&profile, refused(502, "")), "doubt");
    // A definite error code counts for more than the status.
    assert_eq!(word(&profile, refused(400, "invalid_grant")), "dead");
    assert_eq!(word(&profile, refused(400, "invalid_client")), "client");
    assert_eq!(word(&profile, refused(400, "use_dpop_nonce")), "nonce");
}

#[test]
fn what_the_server_says_about_coming_back_is_passed_on() {
    let gateway = Profile { unspent_statuses: vec![503], ..Profile::default() };
    let told = Some(secs(9));
    let told_with = |status| judged(&gateway, refused_until(status, "", secs(9)));
    assert_eq!(told_with(429), ("unspent throttled".to_owned(), told));
    assert_eq!(told_with(503), ("unspent server_trouble".to_owned(), told));
    assert_eq!(told_with(500), ("doubt".to_owned(), told));
}

#[test]
fn where_nothing_was_spent_the_status_says_what_callers_are_told() {
    let reason = |status| Refused { status, error: None, retry_after: None }.reason();
    for (status, wanted) in [
        (0, Reason::RequestRefused),
        (199, Reason::RequestRefused),
        (200, Reason::ServerTrouble),
        (299, Reason::ServerTrouble),
        (300, Reason::RequestRefused),
        (400, Reason::RequestRefused),
        (428, Reason::RequestRefused),
        (429, Reason::Throttled),
        (430, Reason::RequestRefused),
        (499, Reason::RequestRefused),
        (500, Reason::ServerTrouble),
        (599, Reason::ServerTrouble),
    ] {
        assert_eq!(reason(status), wanted, "{status}");
    }
}

#[test]
fn trouble_without_a_word_from_the_server_says_nothing_about_coming_back() {
    assert_eq!(Trouble::new(Reason::Throttled), Trouble { reason: Reason::Throttled, retry_after: None });
}

#[test]
fn a_plan_names_its_profile() {
    let name = |name: &'static str| ProviderName::new(name).unwrap();
    let lax = Profile {
        grace: Some(secs(600)),
        unspent_statuses: vec![503],
        revocation_confined: true,
        ..Profile::default()
    };
    let fallback = Profile {
        grace: Some(secs(60)),
        rotates: false,
        unspent_words: vec!["busy".to_owned()],
        client_words: Vec::new(),
        unspent_statuses: vec![502],
        revocation_confined: true,
        request_timeout: secs(60),
        dead_words: vec!["gone".to_owned()],
        ..Profile::default()
    };
    let profiles = Profiles::new(fallback.clone()).with(name("lax"), lax.clone());
    assert_eq!(profiles.of(&RenewalPlan::default()), fallback);
    assert_eq!(profiles.of(&RenewalPlan::at(name("lax"))), lax);
    let never = Reuse::EndsMore;
    let cautious = RenewalPlan { never_replay: true, ..RenewalPlan::at(name("lax")) };
    assert_eq!(profiles.of(&cautious), Profile { reuse: never, ..lax });
    // The strictest reading where the provider is unknown.
    let unknown = profiles.of(&RenewalPlan::at(name("unknown")));
    let (request_timeout, dead_words) = (fallback.request_timeout, fallback.dead_words);
    assert_eq!(unknown, Profile { reuse: never, request_timeout, dead_words, ..Profile::default() });
    let renamed = profiles.with_fallback(Profile::default()).with(name("lax"), Profile::default());
    assert_eq!(renamed, Profiles::from(Profile::default()).with(name("lax"), Profile::default()));
}

#[test]
fn a_refused_proof_may_have_spent_the_token_unless_the_issuer_never_rotates() {
    let strict = Profile::default();
    let fixed = Profile { rotates: false, ..Profile::default() };
    for status in [400, 401, 499] {
        assert_eq!(word(&strict, refused(status, "invalid_dpop_proof")), "doubt proof_refused");
        assert_eq!(word(&fixed, refused(status, "invalid_dpop_proof")), "unspent proof_refused");
    }
    for status in [200, 399, 500] {
        assert_eq!(word(&strict, refused(status, "invalid_dpop_proof")), "doubt");
        assert_eq!(word(&fixed, refused(status, "invalid_dpop_proof")), "unspent server_trouble");
    }
}

#[test]
fn a_profile_knows_its_own_words_and_those_of_the_standards() {
    let words = |word: &str| vec![word.to_owned()];
    let profile = Profile {
        dead_words: words("gone"),
        client_words: words("who"),
        unspent_words: words("busy"),
        ..Profile::default()
    };
    for word in ["gone", "who", "busy", "use_dpop_nonce", "invalid_dpop_proof", "invalid_request", "invalid_scope"] {
        assert!(profile.knows(word), "{word}");
    }
    for word in ["", "invalid_grant", "invalid_client", "a secret that was sent", "GONE"] {
        assert!(!profile.knows(word), "{word}");
    }
}
