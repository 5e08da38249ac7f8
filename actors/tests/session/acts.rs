//! The possible steps of a random story.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use tokenkeeper_actors::law::flight::{Outcome, Spending};
use tokenkeeper_actors::law::profile::Trouble;
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::values::{Cause, Reason, RenewalPlan, StoreFault};

use super::support::s;

/// How many callers may wait at once in these stories.
pub(crate) const WAITERS_MOST: usize = 5;

/// One random step, adapted to the state in which it is taken.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Ask {
        late: u64,
        timeout: u64,
        min_lifetime: u64,
        force: bool,
    },
    Leave(u64),
    Refuse {
        older_by: i8,
        nonce: bool,
        operation: u64,
        challenge: u64,
    },
    Used,
    Tick,
    Wake,
    Pass(u64),
    StepWall(i32),
    Sleep(u32),
    Entropy(u16),
    StoreEvent,
    Read(Answer),
    Land(Outcome, Seen, bool),
    Mint(u64, Seen, bool),
    Settle,
    Lost,
    BreakOff,
    Throttle(u32),
    Resume,
    Install {
        bare: bool,
        lifetime: u64,
    },
    Reserve(Answer),
    Logout,
    List(bool),
    Write(Answer),
    /// A sibling changes the record.
    Sibling(Deed),
    /// An earlier report is repeated.
    Repeat(Index),
    /// An answer to no question.
    Stray(u32),
    Restart,
    Shutdown,
}

/// The store's treatment of a question.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Given,
    /// It takes effect; the answer comes later, by `Repeat`, or never.
    Unheard,
    Failed(StoreFault),
    Other,
}

/// The view in a landing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    Now,
    AtFirst,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Mint(u64, Cause),
    Mark,
    SignIn(u64),
    SignOut,
    Park,
    End,
}

fn reason() -> impl Strategy<Value = Reason> {
    prop::sample::select(&Reason::ALL[..])
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let trouble = (reason(), prop::option::of(0..5_000_u64))
        .prop_map(|(reason, span)| Outcome::Failed(Trouble { reason, retry_after: span.map(s) }));
    prop_oneof![
        2 => Just(Outcome::Adopted),
        2 => Just(Outcome::Moved),
        3 => trouble,
        1 => reason().prop_map(Outcome::LoginRequired),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let fault = prop::sample::select(&[StoreFault::Failed, StoreFault::TimedOut, StoreFault::Unreadable][..]);
    prop_oneof![
        6 => Just(Answer::Given),
        1 => Just(Answer::Unheard),
        2 => fault.prop_map(Answer::Failed),
        1 => Just(Answer::Other),
    ]
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![4 => Just(Seen::Now), 1 => Just(Seen::AtFirst), 1 => Just(Seen::Nothing)]
}

fn deed() -> impl Strategy<Value = Deed> {
    let cause = prop::sample::select(&[Cause::Expiry, Cause::Refusal, Cause::Early][..]);
    prop_oneof![
        (1..5_000_u64, cause).prop_map(|(lifetime, cause)| Deed::Mint(lifetime, cause)),
        Just(Deed::Mark),
        (0..5_000_u64).prop_map(Deed::SignIn),
        Just(Deed::SignOut),
        Just(Deed::Park),
        Just(Deed::End),
    ]
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let ask = (0..10_000_u64, 0..60_000_u64, prop_oneof![Just(0), 0..5_000_u64], prop::bool::weighted(0.2));
    let refuse = (prop_oneof![4 => Just(0_i8), 1 => -3..4_i8], prop::bool::weighted(0.1), 0..3_u64, 0..2_u64);
    prop_oneof![
        12 => ask.prop_map(|(late, timeout, min_lifetime, force)| Act::Ask { late, timeout, min_lifetime, force }),
        1 => (0..40_u64).prop_map(Act::Leave),
        4 => refuse.prop_map(|(older_by, nonce, operation, challenge)| {
            Act::Refuse { older_by, nonce, operation, challenge }
        }),
        1 => Just(Act::Used),
        2 => Just(Act::Tick),
        6 => Just(Act::Wake),
        5 => prop_oneof![0..2_000_u64, 0..3_700_000_u64].prop_map(Act::Pass),
        1 => (-4_000_000..4_000_000_i32).prop_map(Act::StepWall),
        1 => (0..4_000_000_u32).prop_map(Act::Sleep),
        1 => any::<u16>().prop_map(Act::Entropy),
        2 => Just(Act::StoreEvent),
        6 => answer().prop_map(Act::Read),
        3 => (outcome(), seen(), prop::bool::weighted(0.2)).prop_map(|(outcome, seen, keep)| Act::Land(outcome, seen, keep)),
        5 => (0..5_000_u64, seen(), prop::bool::weighted(0.3)).prop_map(|(life, seen, keep)| Act::Mint(life, seen, keep)),
        2 => Just(Act::Settle),
        1 => Just(Act::Lost),
        1 => Just(Act::BreakOff),
        1 => (0..120_u32).prop_map(Act::Throttle),
        1 => Just(Act::Resume),
        2 => (any::<bool>(), 0..5_000_u64).prop_map(|(bare, lifetime)| Act::Install { bare, lifetime }),
        2 => answer().prop_map(Act::Reserve),
        2 => Just(Act::Logout),
        2 => any::<bool>().prop_map(Act::List),
        4 => answer().prop_map(Act::Write),
        3 => deed().prop_map(Act::Sibling),
        2 => any::<Index>().prop_map(Act::Repeat),
        1 => (0..100_u32).prop_map(Act::Stray),
        1 => Just(Act::Restart),
        1 => prop::bool::weighted(0.05).prop_map(|ends| if ends { Act::Shutdown } else { Act::Tick }),
    ]
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let refresh = prop_oneof![
        2 => Just(RefreshPolicy::OnDemand),
        1 => Just(RefreshPolicy::WhileInUse),
        1 => prop::option::of(0..4_000_u64).prop_map(|span| RefreshPolicy::KeepWarm { inactivity: span.map(s) }),
    ];
    let spending = prop_oneof![2 => Just(Spending::SingleUse), 1 => Just(Spending::Repeatable)];
    (refresh, spending, 0..600_u64, 0..5_000_u64).prop_map(|(refresh, spending, early, margin)| Policy {
        refresh,
        renewal: RenewalPlan { spending, ..RenewalPlan::default() },
        early_window: s(early),
        safety_margin: Duration::from_millis(margin),
        max_waiters: WAITERS_MOST,
        ..Policy::default()
    })
}
