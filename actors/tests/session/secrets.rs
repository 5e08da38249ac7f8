//! No secret leaves the machines by accident (law 15), neither in the output of any value nor in a panic.

use proptest::prelude::*;

use tokenkeeper_actors::law::flight::{FlightEvent, Outcome, Spending};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::profile::Profile;
use tokenkeeper_actors::law::session::{Policy, RefusalAnswer, SessionEffect, SessionEvent};
use tokenkeeper_actors::ports::store::Reservation;
use tokenkeeper_actors::values::record::Subject;
use tokenkeeper_actors::values::{AccessToken, Cause, ElapsedTime, FlightId, Reason, RefreshToken, StoreFault};

use super::support::{Answer, HOUR, Marks, Store, Story, Voyage, Witness, base64, beginning, epoch, generation, s};
use super::{acts, flights, improvised};

const ACCESS: &str = "AT.zQ9/vX+7k=LmB&2yWp~u5Gd8Rn";
const REFRESH: &str = "RT.hV4/cK+1s=PwE&9tZx~a3Jf6Ub";
const CLIENT: &str = "CS.yN8/gD+5o=QiH&7lTe~r2Mv4Ak";
const KEY: &str = "DK.mS6/bW+2j=XuF&1qYn~c9Pz7Lo";

fn store() -> Store {
    Store::marked(Marks { access: ACCESS, refresh: REFRESH, client: Some(CLIENT), key: Some(KEY) })
}

fn witness(words: &[&'static str]) -> Witness {
    Witness::new(&[ACCESS, REFRESH, CLIENT, KEY], words)
}

#[test]
fn the_search_finds_every_form_and_the_stories_hold_what_it_looks_for() {
    let witness = witness(&[]);
    let finds = |text: &str| witness.finds(text).is_some();
    for secret in [ACCESS, REFRESH, CLIENT, KEY] {
        assert!(finds(&format!("error: {secret}.")) && finds(&secret[5..13]) && !finds(&secret[5..12]));
        let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        assert!(finds(&url) && finds(&url[10..18]));
        assert!(finds(&format!("{:?}", secret.as_bytes())));
        for before in ["", "x", "xy"] {
            let coded = base64(format!("{before}{secret}..").as_bytes());
            assert!(finds(&coded) && finds(&coded[12..20]), "{coded}");
            assert!(finds(&coded.replace('+', "-").replace('/', "_")));
        }
    }
    assert!(!finds("AccessToken(…) RefreshToken(…)"));
    let mut store = store();
    store.sign_in(Some(HOUR), beginning());
    let grant = store.record.as_ref().and_then(|record| record.grant()).expect("a grant");
    assert_eq!(grant.binding.client.secret.as_ref().map(|secret| secret.expose()), Some(CLIENT));
    assert_eq!(grant.dpop_key.as_ref().map(|key| key.expose()), Some(KEY));
    assert!(store.lease().token().expose().starts_with(ACCESS));
    let held = store.record.as_ref().and_then(|record| record.held()).expect("a refresh token");
    assert!(held.credential.token().expose().starts_with(REFRESH));
}

/// Searches a story after a step: the machine, its effects, and the errors and leases in them.
fn look(witness: &mut Witness, story: &Story) {
    witness.glances(&story.session);
    for effect in story.effects() {
        witness.glances(effect);
        match effect {
            SessionEffect::Answer(_, Err(error)) | SessionEffect::AnswerRefusal(_, RefusalAnswer::Futile(error)) => {
                witness.hears(error)
            }
            SessionEffect::AnswerInstall(_, Err(error)) => witness.hears(error),
            SessionEffect::AnswerLogout(_, Err(error)) => witness.hears(error),
            SessionEffect::Answer(_, Ok(lease)) => witness.sees(&(lease, lease.token(), lease.scopes())),
            _ => {}
        }
    }
}

#[test]
fn a_session_shows_no_secret_in_any_event_effect_error_or_state() {
    let mut witness = witness(&[
        "Publish",
        "Answer(",
        "AnswerRefusal",
        "AnswerInstall",
        "AnswerLogout",
        "Load(",
        "Fly(",
        "TellLoggedOut",
        "Reserve(",
        "Install(",
        "Clear",
        "Park",
        "Revoke",
        "unstored: Some",
        "FutileOperation",
        "closing: Some",
        "finding: Some",
        "doubt: Some",
        "installing: Some",
        "barred: Some",
        "by_id: {WaiterId",
        "Superseded",
        "NotDurable",
    ]);
    let mut store = store();
    store.sign_in(Some(HOUR), beginning());
    let mut story = Story::begins_over(store, Policy::default());
    type Step = fn(&mut Story);
    let steps: Vec<Step> = vec![
        |story| drop(story.asks(1)),
        |story| drop(story.reads()),
        |story| drop(story.asks(2)),
        |story| drop(story.refuses(1, generation(1, 1))),
        |story| drop(story.asks(3)),
        |story| drop(story.mints(HOUR)),
        |story| drop(story.refuses(2, generation(1, 2))),
        |story| drop(story.insists(4)),
        |story| drop(story.mints_unsaved(HOUR)),
        |story| drop(story.logs_out(3)),
        |story| drop(story.write_fails(StoreFault::Failed)),
        |story| drop(story.restarts()),
        |story| story.store.sign_in(Some(HOUR), story.at),
        |story| drop(story.reads()),
        |story| drop(story.insists(5)),
        |story| drop(story.fails(Reason::Unreachable)),
        |story| drop(story.passes(s(1)).insists(6)),
        |story| drop(story.lands(Outcome::LoginRequired(Reason::MaybeConsumed))),
        |story| drop(story.installs(4, HOUR)),
        |story| drop(story.reserves(Ok(Reservation::Reserved))),
        |story| drop(story.writes()),
        |story| story.store.mark(FlightId(9), story.at),
        |story| drop(story.hears()),
        |story| drop(story.logs_out(5)),
        |story| story.store.sign_in(Some(HOUR), story.at),
        |story| drop(story.writes()),
        |story| drop(story.lists(&["https://evil.example.com"])),
        |story| drop(story.passes(s(5)).lists(&["https://evil.example.com"])),
        |story| drop(story.writes()),
        |story| drop(story.logs_out(6)),
        |story| drop(story.writes()),
        |story| drop(story.installs(7, HOUR)),
        |story| drop(story.reserves(Err(StoreFault::Failed))),
        |story| drop(story.does(SessionEvent::Shutdown)),
    ];
    for step in steps {
        step(&mut story);
        look(&mut witness, &story);
        witness.sees(&story);
    }
    witness.is_content();
}

/// A flight over a login with every kind of secret and a subject.
fn voyage(cause: Cause, spending: Spending) -> Voyage {
    let mut store = store();
    let mut login = store.login(Some(s(1)), beginning());
    login.subject = Some(Subject("the one who signed in".to_owned()));
    store.change(&Change::Install(Box::new(login)));
    let mut voyage = Voyage::begins(store, cause, spending, Profile::default());
    voyage.at.elapsed = voyage.at.elapsed.after(s(1));
    voyage
}

/// One step of a flight.
#[derive(Clone, Copy)]
enum Step {
    /// The oldest open question is answered.
    Next(Answer),
    Wake,
    Tell(fn() -> FlightEvent),
    /// A sibling changes the record.
    Meanwhile(fn(&mut Store)),
}

fn plays(witness: &mut Witness, mut voyage: Voyage, steps: &[Step]) {
    witness.sees(&voyage);
    for step in steps {
        match step {
            Step::Next(answer) => {
                assert!(!voyage.questions.is_empty(), "nothing is asked: {:?}", voyage.flight);
                voyage.answers(0, *answer)
            }
            Step::Wake => {
                voyage.at.elapsed = voyage.flight.next_wake().expect("something is waited for");
                voyage.happens(FlightEvent::Tick)
            }
            Step::Tell(event) => voyage.happens(event()),
            Step::Meanwhile(deed) => {
                deed(&mut voyage.store);
            }
        }
        witness.glances(&voyage);
    }
    voyage.comes_home();
    witness.sees(&voyage);
}

#[test]
fn a_flight_shows_no_secret_in_any_phase_event_effect_or_report() {
    const WELL: Step = Step::Next(Answer::Well);
    const FAILED: Step = Step::Next(Answer::Failed);
    const TIMED_OUT: Step = Step::Next(Answer::TimedOut);
    const fn other(n: u8) -> Step {
        Step::Next(Answer::Otherwise(n))
    }
    let mut witness = witness(&[
        "Permitting",
        "Peeking",
        "Claiming",
        "Pausing",
        "Reading",
        "Connecting",
        "Marking",
        "Verifying",
        "Sending",
        "Repeating",
        "Settling",
        "Over",
        "Save(",
        "Withdraw",
        "End",
        "WriteTombstone",
        "MarkSpent",
        "Writing",
        "Resting",
        "AskPermit",
        "ReturnPermit",
        "Renew",
        "EndClaim",
        "Connect(",
        "Connected(",
        "Send {",
        "Revoke",
        "Landed",
        "Settled",
        "Lost {",
        "Minted(",
        "Adopted",
        "Moved",
        "Failed(",
        "LoginRequired",
        "SubjectChanged",
        "ClientRejected",
        "GrantEnded",
        "InDoubt",
        "Tokens",
        "Refused",
        "credential: RefreshCredential",
        "token: AccessToken(…)",
        "secret: Some",
        "dpop_key: Some",
    ]);
    // After permit, read, claim, connection, read and mark the request is sent.
    let out = [WELL, WELL, WELL, WELL, WELL, WELL];
    let single_use: Vec<Vec<Step>> = vec![
        vec![WELL, WELL],
        vec![WELL, FAILED],
        vec![other(3)],
        vec![WELL, WELL, other(6), Step::Wake, WELL, WELL],
        vec![WELL, WELL, WELL, FAILED],
        vec![Step::Meanwhile(|store| store.mark(FlightId(9), beginning())), WELL, WELL, WELL, WELL, WELL],
        vec![WELL, WELL, WELL, WELL, WELL, TIMED_OUT, WELL],
        vec![WELL, WELL, WELL, WELL, WELL, Step::Wake],
        [&out[..], &[other(1), Step::Wake]].concat(),
        [&out[..], &[other(0), other(0)]].concat(),
        [&out[..], &[other(2), FAILED]].concat(),
        [&out[..], &[other(3), FAILED]].concat(),
        [&out[..], &[other(4), FAILED]].concat(),
        [&out[..], &[other(5)]].concat(),
        [&out[..], &[other(7), FAILED]].concat(),
        [&out[..], &[TIMED_OUT, Step::Wake, WELL, WELL, WELL, TIMED_OUT]].concat(),
        [&out[..], &[WELL, FAILED, Step::Wake, TIMED_OUT, Step::Wake]].concat(),
        [&out[..], &[WELL, FAILED, Step::Tell(|| FlightEvent::LoggedOut(epoch(1))), FAILED]].concat(),
        [&out[..], &[Step::Tell(|| FlightEvent::LoggedOut(epoch(1))), WELL]].concat(),
        [&out[..], &[WELL, FAILED, Step::Tell(|| FlightEvent::Shutdown(ElapsedTime::default())), FAILED, FAILED]]
            .concat(),
        [&out[..], &[WELL, FAILED, Step::Tell(|| FlightEvent::Shutdown(ElapsedTime::default())), FAILED, WELL]]
            .concat(),
        [&out[..], &[Step::Meanwhile(Store::sign_out), WELL, WELL]].concat(),
        [&out[..], &[Step::Meanwhile(|store| store.sign_in(None, beginning())), WELL, WELL]].concat(),
        [&[WELL, WELL, other(200), WELL, WELL, WELL, WELL, FAILED], &[Step::Wake; 12][..]].concat(),
        vec![WELL, Step::Meanwhile(Store::sign_out), WELL],
        vec![WELL, Step::Meanwhile(|store| drop(store.refresh(FlightId(5), Cause::Early, fresh()))), WELL],
    ];
    for steps in &single_use {
        plays(&mut witness, voyage(Cause::Expiry, Spending::SingleUse), steps);
    }
    for steps in [vec![WELL, WELL, WELL, WELL, WELL, FAILED], vec![WELL, FAILED, WELL]] {
        plays(&mut witness, voyage(Cause::Force, Spending::Repeatable), &steps);
    }
    witness.is_content();
}

fn fresh() -> tokenkeeper_actors::values::Validity {
    tokenkeeper_actors::values::Validity::new(beginning(), Some(HOUR))
}

#[test]
fn a_panic_over_what_the_machines_hold_shows_no_secret() {
    let mut store = store();
    store.sign_in(Some(HOUR), beginning());
    let record = store.record.clone();
    let mut story = Story::begins_over(store, Policy::default());
    story.reads();
    story.installs(1, HOUR);
    story.reserves(Ok(Reservation::Reserved));
    let mut witness = witness(&["RefreshToken(…)"]);
    let panics: Vec<Box<dyn FnOnce() + std::panic::UnwindSafe>> = vec![
        Box::new({
            let effects = story.effects().to_vec();
            let effects = std::panic::AssertUnwindSafe(effects);
            move || assert!(effects.is_empty(), "{:?}", *effects)
        }),
        Box::new(move || assert_eq!(record, None)),
        Box::new(|| assert_eq!(AccessToken::new(ACCESS), AccessToken::new(KEY))),
        Box::new(|| assert_eq!(RefreshToken::new(REFRESH), RefreshToken::new(KEY))),
    ];
    for panics in panics {
        let payload = std::panic::catch_unwind(panics).expect_err("a panic");
        witness.reads(payload.downcast_ref::<String>().expect("a message"));
    }
    witness.is_content();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_story_shows_a_secret(
        policy in acts::policy(),
        acts in prop::collection::vec(acts::act(), 1..40),
    ) {
        let mut witness = witness(&[]);
        let mut play = improvised::Improvised::begins(store(), true, policy);
        for act in acts {
            play.plays(act);
            look(&mut witness, &play.story);
        }
        witness.sees(&play);
    }

    #[test]
    fn no_flight_shows_a_secret(
        profile in flights::profile(),
        acts in prop::collection::vec(flights::act(), 1..40),
    ) {
        let mut witness = witness(&[]);
        let mut store = store();
        store.sign_in(Some(s(1)), beginning());
        let mut voyage = Voyage::begins(store, Cause::Expiry, Spending::SingleUse, profile);
        for act in acts {
            flights::plays(&mut voyage, act);
            witness.glances(&voyage.flight);
        }
        witness.sees(&voyage);
    }
}
