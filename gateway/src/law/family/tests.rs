use proptest::prelude::*;

use super::*;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The challenge of that verifier (RFC 7636 appendix B).
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const HERE: &str = "https://gateway.example/mcp";
const BACK: &str = "http://127.0.0.1:7777/callback";

fn offered() -> Family {
    Family {
        grant: Grant {
            client: "client".to_owned(),
            subject: "ann".to_owned(),
            resource: HERE.to_owned(),
            scopes: vec!["read".to_owned()],
            refreshable: true,
        },
        began: 0,
        phase: Phase::Offered { challenge: CHALLENGE.to_owned(), redirect: BACK.to_owned() },
    }
}

fn redeem() -> Question<'static> {
    Question::Redeem { client: "client", redirect: Some(BACK), verifier: VERIFIER, resource: Some(HERE) }
}

fn refresh(number: u32) -> Question<'static> {
    Question::Refresh { client: "client", number, resource: Some(HERE), scopes: &[] }
}

fn at(seconds: u64) -> WallTime {
    WallTime::from_millis(seconds * 1000)
}

/// The family after `question`, and the answer.
fn after(family: &Family, question: Question<'_>, seconds: u64) -> (Option<Family>, Result<u32, Refusal>) {
    let verdict = family.judge(question, at(seconds), &Limits::default());
    let next = match verdict.change {
        Change::None => Some(family.clone()),
        Change::Store(next) => Some(next),
        Change::Remove => None,
    };
    (next, verdict.answer.map(|issue| issue.number))
}

fn live() -> Family {
    let (family, answer) = after(&offered(), redeem(), 1);
    assert_eq!(answer, Ok(1));
    family.unwrap()
}

#[test]
fn a_code_is_good_once_and_its_replay_ends_the_family() {
    let (family, answer) = after(&live(), redeem(), 2);
    assert_eq!((family, answer), (None, Err(Refusal::Replayed)));
    let (family, answer) = after(&offered(), redeem(), 60);
    assert_eq!((family, answer), (None, Err(Refusal::Expired)));
}

#[test]
fn a_code_is_bound_to_its_client_verifier_address_and_resource() {
    let good = (HERE, BACK, VERIFIER);
    let ask = |client, (resource, redirect, verifier)| {
        let question = Question::Redeem { client, redirect: Some(redirect), verifier, resource: Some(resource) };
        after(&offered(), question, 1)
    };
    assert_eq!(ask("other", good), (Some(offered()), Err(Refusal::NotYours)), "another client voids nothing");
    for (wrong, refusal) in [
        ((HERE, BACK, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"), Refusal::NotYours),
        ((HERE, BACK, ""), Refusal::NotYours),
        // A challenge that is sent as verifier, as with `plain`.
        ((HERE, BACK, CHALLENGE), Refusal::NotYours),
        ((HERE, "http://127.0.0.1:7778/callback", VERIFIER), Refusal::NotYours),
        (("https://gateway.example/other", BACK, VERIFIER), Refusal::OtherResource),
    ] {
        assert_eq!(ask("client", wrong), (None, Err(refusal)));
    }
}

#[test]
fn a_repetition_within_the_grace_gets_the_same_successor_and_a_later_one_ends_the_family() {
    let (second, _) = after(&live(), refresh(1), 100);
    let second = second.unwrap();
    for seconds in [100, 110, 130] {
        assert_eq!(after(&second, refresh(1), seconds), (Some(second.clone()), Ok(2)));
    }
    assert_eq!(after(&second, refresh(1), 131), (None, Err(Refusal::Replayed)));
}

#[test]
fn a_predecessor_is_dead_once_its_successor_was_used() {
    let second = after(&live(), refresh(1), 100).0.unwrap();
    let third = after(&second, refresh(2), 101).0.unwrap();
    assert_eq!(after(&third, refresh(1), 102), (None, Err(Refusal::Replayed)));
    assert_eq!(after(&third, refresh(2), 102).1, Ok(3));
}

#[test]
fn without_a_grace_each_repetition_is_a_replay() {
    let limits = Limits { grace: Duration::ZERO, ..Limits::default() };
    let second = after(&live(), refresh(1), 100).0.unwrap();
    assert_eq!(second.judge(refresh(1), at(100), &limits).answer, Err(Refusal::Replayed));
}

#[test]
fn a_revocation_ends_the_newest_tokens_family_and_of_an_older_token_that_one_alone() {
    let second = after(&live(), refresh(1), 100).0.unwrap();
    let limits = Limits::default();
    let (kept, _) = after(&second, Question::Revoke { client: "client", number: 1 }, 101);
    let kept = kept.unwrap();
    assert!(!kept.admits(1, HERE, at(102), &limits), "the revoked token is dead");
    assert!(kept.admits(2, HERE, at(102), &limits), "the one that has just been issued is not");
    assert_eq!(after(&kept, refresh(2), 102).1, Ok(3));
    let (still, late) = after(&kept, refresh(1), 102);
    assert_eq!(late, Err(Refusal::Revoked), "a revoked token is not answered in the grace");
    assert_eq!(still, Some(kept.clone()), "and the one that replaced it lives on");
    assert_eq!(after(&kept, refresh(1), 131), (None, Err(Refusal::Replayed)), "after the grace it is a replay");
    assert_eq!(after(&second, Question::Revoke { client: "client", number: 2 }, 101).0, None);
    let foreign = Question::Revoke { client: "other", number: 2 };
    assert_eq!(after(&second, foreign, 101), (Some(second.clone()), Err(Refusal::NotYours)));
}

#[test]
fn a_token_that_is_newer_than_the_store_is_taken_for_the_newest() {
    assert_eq!(after(&live(), refresh(5), 100).1, Ok(6));
    assert_eq!(after(&offered(), refresh(1), 2).1, Ok(2));
}

#[test]
fn a_family_ends_when_it_is_idle_and_in_any_case_after_its_lifetime() {
    const DAY: u64 = 86_400;
    assert_eq!(after(&live(), refresh(1), 31 * DAY), (None, Err(Refusal::Expired)));
    let mut family = live();
    for number in 1..=4 {
        let (next, answer) = after(&family, refresh(number), u64::from(number) * 20 * DAY);
        assert_eq!(answer, Ok(number + 1));
        family = next.unwrap();
    }
    assert_eq!(after(&family, refresh(5), 90 * DAY), (None, Err(Refusal::Expired)));
}

#[test]
fn an_access_token_lives_for_an_hour_at_most_and_never_longer_than_its_family() {
    let year = Limits { access_lifetime: Duration::from_secs(365 * 86_400), ..Limits::default() }.bounded();
    assert_eq!(year.access_lifetime, Duration::from_secs(3600));
    let issue = |seconds| live().judge(refresh(1), at(seconds), &year).answer.unwrap();
    assert_eq!(issue(100).expires, at(3700));
    let short = Limits { family_lifetime: Duration::from_secs(150), ..year };
    assert_eq!(live().judge(refresh(1), at(100), &short).answer.unwrap().expires, at(150));
}

#[test]
fn a_family_without_refresh_tokens_ends_with_its_access_token() {
    let mut family = live();
    family.grant.refreshable = false;
    assert_eq!(after(&family, refresh(1), 2).1, Err(Refusal::NotRefreshable));
    assert_eq!(family.expires(&Limits::default()), at(601));
}

#[derive(Clone, Debug)]
enum Step {
    Redeem,
    /// The token this many places before the newest one that was issued, after this many seconds.
    Refresh(u32, u64),
    Revoke(u32),
    Foreign(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Redeem),
        8 => (0..4_u32, 0..60_u64).prop_map(|(back, seconds)| Step::Refresh(back, seconds)),
        1 => (0..4_u32).prop_map(Step::Revoke),
        1 => (0..4_u32).prop_map(Step::Foreign),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    /// Over any order of requests, numbers grow by one, one number has one successor, nothing but the newest or its
    /// predecessor within the grace is answered, and nothing is answered after a replay.
    #[test]
    fn the_law_of_a_family(steps in steps()) {
        let limits = Limits::default();
        let (mut family, mut seconds) = (Some(live()), 1);
        // The newest number that was issued, when, and the numbers that were used.
        let (mut newest, mut since) = (1_u32, 1_u64);
        for step in steps {
            let question = match step {
                Step::Redeem => redeem(),
                Step::Refresh(back, pause) => { seconds += pause; refresh(newest.saturating_sub(back).max(1)) }
                Step::Revoke(back) => Question::Revoke { client: "client", number: newest.saturating_sub(back).max(1) },
                Step::Foreign(back) => {
                    let number = newest.saturating_sub(back).max(1);
                    Question::Refresh { client: "other", number, resource: None, scopes: &[] }
                }
            };
            let Some(present) = &family else { break };
            let verdict = present.judge(question, at(seconds), &limits);
            if let (Question::Refresh { number, client, .. }, Ok(issue)) = (question, &verdict.answer) {
                prop_assert_eq!(client, "client");
                prop_assert_eq!(issue.number, number + 1, "one number has one successor");
                prop_assert!(issue.lifetime <= limits.access_lifetime);
                prop_assert_eq!(issue.repeated, issue.number == newest);
                if issue.repeated {
                    prop_assert!(seconds - since <= limits.grace.as_secs());
                    prop_assert_eq!(&verdict.change, &Change::None, "a repetition changes nothing");
                } else {
                    prop_assert_eq!(issue.number, newest + 1);
                    (newest, since) = (issue.number, seconds);
                }
            }
            if verdict.answer == Err(Refusal::Replayed) {
                prop_assert_eq!(&verdict.change, &Change::Remove);
            }
            match verdict.change {
                Change::None => {}
                Change::Store(next) => family = Some(next),
                Change::Remove => family = None,
            }
        }
    }
}
