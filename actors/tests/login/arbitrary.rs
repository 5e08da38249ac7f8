//! Attempts with arbitrary behaviour of persons, processes, the store, the server and the clocks.

use proptest::prelude::*;

use crate::support::*;

/// The attempts of one case. Each is named after its letter.
const NAMES: &str = "ABCDEFGHIJKLMNOPQRST";

#[derive(Clone, Copy, Debug)]
enum Step {
    Asks,
    StepsUp,
    AsksByDevice,
    Answers { who: u8, which: u8, says: u8 },
    Completes { which: u8, says: u8 },
    Cancels(u8),
    News(u8),
    LogsOut(u8),
    Imports,
    Dies(u8),
    ShutsDown(u8),
    Stops(u8),
    Resumes(u8),
    Delivers(u8),
    Releases(u8),
    StoreFails(u8),
    StoreWorks,
    Damaged,
    ServerSays(u8),
    ClockSteps(bool),
    Waits(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || any::<u8>();
    let step = prop_oneof![
        4 => Just(Step::Asks),
        1 => Just(Step::StepsUp),
        2 => Just(Step::AsksByDevice),
        5 => (who(), any::<u8>(), any::<u8>()).prop_map(|(who, which, says)| Step::Answers { who, which, says }),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(which, says)| Step::Completes { which, says }),
        1 => who().prop_map(Step::Cancels),
        1 => who().prop_map(Step::News),
        1 => who().prop_map(Step::LogsOut),
        1 => Just(Step::Imports),
        1 => who().prop_map(Step::Dies),
        1 => who().prop_map(Step::ShutsDown),
        1 => who().prop_map(Step::Stops),
        2 => who().prop_map(Step::Resumes),
        4 => who().prop_map(Step::Delivers),
        4 => who().prop_map(Step::Releases),
        1 => any::<u8>().prop_map(Step::StoreFails),
        2 => Just(Step::StoreWorks),
        1 => Just(Step::Damaged),
        2 => any::<u8>().prop_map(Step::ServerSays),
        1 => any::<bool>().prop_map(Step::ClockSteps),
        6 => (0_u16..1_500).prop_map(Step::Waits),
    ];
    prop::collection::vec(step, 0..60)
}

struct Case {
    world: World,
    begun: usize,
    codes: u32,
}

impl Case {
    /// One of the processes that live, if any does.
    fn one(&self, who: u8) -> Option<char> {
        let living: Vec<char> = self.world.processes.keys().copied().collect();
        living.get(usize::from(who) % living.len().max(1)).copied()
    }

    fn next_name(&mut self) -> Option<char> {
        self.begun += 1;
        NAMES.chars().nth(self.begun - 1)
    }

    /// One of the requests that were prepared.
    fn request(&self, which: u8) -> u8 {
        let prepared = u8::try_from(self.world.server.prepared.len()).unwrap();
        which % prepared.max(1) + 1
    }

    fn answer(&mut self, says: u8) -> String {
        self.codes += 1;
        match says {
            0..40 => "no".to_owned(),
            40..50 => "forged".to_owned(),
            _ => format!("code-{}", self.codes),
        }
    }

    fn takes(&mut self, step: Step) {
        match step {
            Step::Asks => self.begins(asks()),
            Step::StepsUp => self.begins(steps_up()),
            Step::AsksByDevice => self.begins(asks_by_device()),
            Step::Answers { who, which, says } => {
                let (Some(who), which, answer) = (self.one(who), self.request(which), self.answer(says)) else {
                    return;
                };
                self.world.answers(who, which, &answer);
            }
            Step::Completes { which, says } => {
                let (which, answer) = (self.request(which), self.answer(says));
                self.begins(completes(which, &answer));
            }
            Step::Cancels(who) => self.tells(who, LoginEvent::Cancel),
            Step::News(who) => self.tells(who, LoginEvent::News),
            Step::LogsOut(who) => {
                let epoch = self.world.epoch();
                self.tells(who, LoginEvent::LoggedOut(epoch));
                if !self.world.unreadable && self.world.down.is_none() {
                    let _ = self.world.changes(&Change::Clear { epoch });
                    self.world.run();
                }
            }
            Step::Imports => {
                let tag = format!("import-{}", self.world.revision().number());
                self.world.imports(&tag);
            }
            Step::Dies(who) => {
                if let Some(who) = self.one(who) {
                    self.world.dies(who);
                }
            }
            Step::ShutsDown(who) => {
                let until = self.world.now.elapsed().after(secs(20));
                self.tells(who, LoginEvent::Shutdown(until));
            }
            Step::Stops(who) => self.with(who, World::stops),
            Step::Resumes(who) => self.with(who, World::resumes),
            Step::Delivers(who) => self.with(who, World::delivers),
            Step::Releases(who) => self.with(who, World::releases),
            Step::StoreFails(how) => {
                let faults = [StoreFault::Failed, StoreFault::TimedOut, StoreFault::Full];
                self.world.down = Some(faults[usize::from(how) % faults.len()]);
            }
            Step::StoreWorks => self.world.down = None,
            Step::Damaged => {
                // The epochs of damaged records are counted in seconds.
                self.world.passes(secs(2));
                self.world.unreadable = self.world.record.is_some();
            }
            Step::ServerSays(what) => {
                let tag = format!("poll-{what}-{}", self.codes);
                match what % 7 {
                    0 => self.world.server.answers.push_back(Redeemed::NotSent),
                    1 => self.world.server.answers.push_back(Redeemed::Lost),
                    2 => self.world.server.answers.push_back(Redeemed::Refused(LoginReason::ClientRejected)),
                    3 => self.world.server.unprepared.push_back(LoginReason::Unreachable),
                    4 => self.world.server.polls.push_back(Polled::Ended(LoginReason::Denied)),
                    5 => self.world.server.no_foreign_answers ^= true,
                    _ => {
                        let issued = tokens(&tag, "bob", self.world.now.moment);
                        self.world.server.polls.push_back(Polled::Issued(Box::new(issued)));
                    }
                }
            }
            Step::ClockSteps(true) => self.world.steps_forward(secs(300)),
            Step::ClockSteps(false) => self.world.steps_back(secs(300)),
            Step::Waits(span) => self.world.passes(millis(u64::from(span) * 100)),
        }
    }

    fn begins(&mut self, task: tokenkeeper_actors::law::login::LoginTask) {
        if let Some(who) = self.next_name() {
            self.world.begins(who, task);
        }
    }

    fn tells(&mut self, who: u8, event: LoginEvent) {
        if let Some(who) = self.one(who) {
            self.world.tells(who, event);
        }
    }

    fn with(&mut self, who: u8, act: impl FnOnce(&mut World, char)) {
        if let Some(who) = self.one(who) {
            act(&mut self.world, who);
        }
    }

    /// The faults end, all that is under way arrives, and no person answers any more.
    fn calms_down(&mut self) {
        let World { tape, down, unreadable, .. } = &mut self.world;
        *tape = Vec::new().into_iter();
        (*down, *unreadable) = (None, false);
        let living: Vec<char> = self.world.processes.keys().copied().collect();
        for _ in 0..3 {
            for who in &living {
                self.world.resumes(*who);
                self.world.releases(*who);
                self.world.delivers(*who);
            }
        }
        self.world.passes(secs(3 * 3_600));
    }
}

/// At most one of the processes that live has shown a request and waits (law 17).
fn at_most_one_is_asking(world: &mut World) {
    let living: Vec<char> = world.processes.keys().copied().collect();
    let asking: Vec<char> =
        living.into_iter().filter(|who| world.shown.iter().any(|(of, _)| of == who) && world.waits(*who)).collect();
    assert!(asking.len() <= 1, "{asking:?} ask: {world:?}");
}

fn plays(lease: bool, steps: Vec<Step>, tape: Vec<u8>) {
    let world = if lease { World::signed_in().leased(secs(30)) } else { World::new() };
    let mut case = Case { world, begun: 0, codes: 0 };
    case.world.tape = tape.into_iter();
    for step in steps {
        case.takes(step);
        if !lease {
            at_most_one_is_asking(&mut case.world);
        }
    }
    case.calms_down();
    let world = &mut case.world;
    // No claim is left, and each attempt has concluded once. That no code is presented twice, and that no attempt ticks
    // without progress, was checked on the way.
    world.is_at_rest();
    let living: Vec<char> = world.processes.keys().copied().collect();
    for who in living {
        let conclusion = world.conclusion(who);
        let reports = &world.process(who).reports;
        let settled =
            reports.iter().filter(|report| matches!(report, LoginReport::Settled(_) | LoginReport::Lost)).count();
        assert_eq!(settled, usize::from(unsettled(&conclusion, reports)), "{who}: {reports:?}");
        let offered = reports.iter().rposition(|report| matches!(report, LoginReport::Offered(..)));
        let concluded = reports.iter().position(|report| matches!(report, LoginReport::Concluded(_)));
        assert!(offered < concluded, "{who} shows a request after its end: {reports:?}");
    }
    for (who, token) in std::mem::take(&mut world.issued) {
        if world.processes.contains_key(&who) {
            is_accounted_for(world, who, &token);
        }
    }
    let pending = world.logins.values().filter(|login| login.expires > world.now.moment.wall).count();
    assert_eq!(pending, 0, "{:?}", world.logins);
}

/// Each refresh token that was issued is stored or revoked, or its attempt has reported why it was dropped.
fn is_accounted_for(world: &mut World, who: char, token: &str) {
    if world.ever_stored.contains(token) || world.revoked.iter().any(|revoked| revoked == token) {
        return;
    }
    let conclusion = world.conclusion(who);
    // A login that a write without an answer may have stored is reported as lost, and is not revoked.
    let is_told = |report: &LoginReport| matches!(report, LoginReport::Settled(_) | LoginReport::Lost);
    let settled = world.process(who).reports.iter().any(is_told);
    let dropped = conclusion.result == Err(LoginReason::Superseded);
    assert!(dropped || settled, "{token} of {who} is gone: {:?}", world.process(who));
}

/// Whether the attempt has concluded before its login was stored.
fn unsettled(conclusion: &tokenkeeper_actors::law::login::LoginConclusion, reports: &[LoginReport]) -> bool {
    conclusion.unstored.is_some() && reports.iter().any(|report| matches!(report, LoginReport::Concluded(_)))
}

#[test]
fn a_login_that_may_be_stored_at_a_shutdown_is_reported_as_lost() {
    let steps = vec![
        Step::Damaged,
        Step::StoreWorks,
        Step::Asks,
        Step::Answers { who: 0, which: 0, says: 50 },
        Step::ShutsDown(0),
        Step::StoreWorks,
        Step::Waits(162),
        Step::ShutsDown(0),
    ];
    plays(true, steps, vec![64, 64, 64, 64, 24, 64, 64, 64, 64, 24, 64, 24, 24]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]

    #[test]
    fn every_attempt_concludes_once_and_leaves_no_claim(
        lease in any::<bool>(),
        steps in steps(),
        tape in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        plays(lease, steps, tape);
    }
}
