//! Reservations. No two identities ever hold one refresh token.

use std::sync::Arc;

use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::ports::store::Reservation;
use tokenkeeper_actors::values::{Epoch, ServerIdentity};

use super::kit::{self, CONTENDERS, Desk, KEPT, ROUNDS, at_once, moment};
use super::verdict::{ensure, same};
use super::{Breach, Harness, Verdict};

/// A token that one identity has reserved is refused to another in every process, and the answer names its owner. The
/// owner itself may reserve it again.
pub async fn a_refresh_token_is_reserved_for_one_identity(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let digest = desk.digest("rt-1");
    for (store, who, due) in [
        (&desk.store, &desk.who, Reservation::Reserved),
        (&desk.store, &desk.other, Reservation::HeldBy(desk.who.clone())),
        (&desk.sibling, &desk.other, Reservation::HeldBy(desk.who.clone())),
        (&desk.sibling, &desk.who, Reservation::Reserved),
    ] {
        same("the answer to a reservation", store.reserve(who, digest, moment(0)).await?, due)?;
    }
    expect(&desk, &desk.other, "rt-2", 0, Reservation::Reserved).await
}

/// Of many identities that reserve one refresh token concurrently, exactly one gets it. The answers to the others name
/// it.
pub async fn of_many_that_reserve_one_token_one_gets_it(harness: &dyn Harness) -> Verdict {
    for _ in 0..ROUNDS {
        let desk = Desk::open(harness).await?;
        let rivals: Vec<ServerIdentity> =
            (0..CONTENDERS).map(|number| kit::identity(&format!("rival-{number}"))).collect::<Result<_, _>>()?;
        let digest = desk.digest("rt-1");
        let attempts = (0..).zip(&rivals).map(|(number, rival): (u32, _)| {
            let store = Arc::clone(if number % 2 == 0 { &desk.store } else { &desk.sibling });
            let rival = rival.clone();
            async move {
                let answer = store.reserve(&rival, digest, moment(0)).await?;
                Ok((rival, answer))
            }
        });
        let answers = at_once(attempts).await?;
        kit::one_winner("the token is theirs", answers.iter().map(|(_, answer)| *answer == Reservation::Reserved))?;
        let winner = answers.iter().find(|(_, answer)| *answer == Reservation::Reserved).map(|(rival, _)| rival);
        let agreed = answers.iter().all(|(rival, answer)| match answer {
            Reservation::Reserved => Some(rival) == winner,
            Reservation::HeldBy(holder) => Some(holder) == winner,
        });
        ensure(agreed, || "the losers of a reservation were told different winners".to_owned())?;
    }
    KEPT
}

/// A refresh token in a record is reserved, however old its reservation is, and even if it never had one.
pub async fn a_reservation_outlasts_ten_minutes_while_the_token_is_held(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    expect(&desk, &desk.who, "rt-1", 0, Reservation::Reserved).await?;
    desk.applied(desk.login("rt-1")).await?;
    desk.store.change(&desk.other, desk.login("rt-2")).await?;
    for seconds in [1, DAY, 400 * DAY] {
        expect(&desk, &desk.other, "rt-1", seconds, Reservation::HeldBy(desk.who.clone())).await?;
        expect(&desk, &desk.who, "rt-2", seconds, Reservation::HeldBy(desk.other.clone())).await?;
        expect(&desk, &desk.who, "rt-1", seconds, Reservation::Reserved).await?;
    }
    KEPT
}

/// With each commit the reservation moves from the old refresh token to the new one.
pub async fn a_reservation_moves_with_a_commit(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    expect(&desk, &desk.who, "rt-1", 0, Reservation::Reserved).await?;
    desk.applied(desk.login("rt-1")).await?;
    desk.applied(desk.commit(1, "rt-1", "rt-2", 2)).await?;
    expect(&desk, &desk.other, "rt-2", DAY, Reservation::HeldBy(desk.who.clone())).await?;
    expect(&desk, &desk.other, "rt-1", DAY, Reservation::Reserved).await
}

/// An identity that was logged out holds no refresh token, and reserves none.
pub async fn a_logout_frees_the_reservation(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    expect(&desk, &desk.who, "rt-1", 0, Reservation::Reserved).await?;
    desk.applied(desk.login("rt-1")).await?;
    desk.applied(Change::Clear { epoch: Epoch::new(1) }).await?;
    expect(&desk, &desk.other, "rt-1", DAY, Reservation::Reserved).await
}

/// A reservation waits ten minutes for its install, by the caller's wall clock, and then lapses.
pub async fn a_reservation_without_an_install_lapses_after_ten_minutes(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    expect(&desk, &desk.who, "rt-1", 0, Reservation::Reserved).await?;
    expect(&desk, &desk.other, "rt-1", 599, Reservation::HeldBy(desk.who.clone())).await?;
    expect(&desk, &desk.other, "rt-1", DAY, Reservation::Reserved).await?;
    expect(&desk, &desk.who, "rt-1", DAY, Reservation::HeldBy(desk.other.clone())).await
}

const DAY: u64 = 86_400;

async fn expect(desk: &Desk, who: &ServerIdentity, token: &str, seconds: u64, due: Reservation) -> Verdict {
    let answer = desk.sibling.reserve(who, desk.digest(token), moment(seconds)).await?;
    let what = format!("the answer to a reservation of {token} after {seconds} s");
    same(&what, answer, due).map_err(|breach| Breach::new(breach.to_string()))?;
    KEPT
}
