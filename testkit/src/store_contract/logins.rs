//! Pending logins. Each is completed once, by any replica that serves the returning user.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretSlice};
use tokenkeeper_actors::ports::store::{LoginKey, PendingLogin};
use tokenkeeper_actors::values::{AttemptId, Epoch};

use super::kit::{self, CONTENDERS, Desk, KEPT, ROUNDS, at_once, moment};
use super::verdict::{ensure, same};
use super::{Breach, Harness, Verdict};

/// A pending login is taken whole, also by another process than the one that put it in, and then it is gone.
pub async fn a_pending_login_is_taken_once_and_whole(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let key = LoginKey(std::array::from_fn(|index| u8::try_from(index * 8).unwrap_or(0)));
    let sealed: Vec<u8> = (0..=255).cycle().take(4_096).collect();
    let login = pending(&desk, &sealed);
    desk.store.put_login(key, login.clone()).await?;
    let taken = desk.sibling.take_login(&key, moment(10)).await?;
    let Some(taken) = taken else { return Err(Breach::new("a pending login was not found by another process")) };
    same("whose login it is", &taken.identity, &login.identity)?;
    let begun = |login: &PendingLogin| (login.attempt, login.epoch, login.same_subject);
    same("what a login was begun on", begun(&taken), begun(&login))?;
    same("when it ends", taken.expires, login.expires)?;
    ensure(taken.sealed.expose_secret() == sealed, || "what a pending login needs came back changed".to_owned())?;
    for store in [&desk.store, &desk.sibling] {
        let again = store.take_login(&key, moment(10)).await?;
        ensure(again.is_none(), || "a pending login was taken twice".to_owned())?;
    }
    KEPT
}

/// Of many concurrent attempts to take a login, exactly one gets it.
pub async fn of_many_that_take_a_login_one_gets_it(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    for round in 0..ROUNDS {
        let key = LoginKey([u8::try_from(round).unwrap_or(0); 32]);
        desk.store.put_login(key, pending(&desk, b"pkce")).await?;
        let attempts = (0..CONTENDERS).map(|number| {
            let store = Arc::clone(if number % 2 == 0 { &desk.store } else { &desk.sibling });
            async move { store.take_login(&key, moment(0)).await }
        });
        let taken = at_once(attempts).await?;
        kit::one_winner("the login is theirs to complete", taken.iter().map(Option::is_some))?;
    }
    KEPT
}

/// A login that has ended by the caller's wall clock is not found.
pub async fn an_expired_login_is_not_found(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let (early, late) = (LoginKey([1; 32]), LoginKey([2; 32]));
    for key in [early, late] {
        desk.store.put_login(key, pending(&desk, b"pkce")).await?;
    }
    let in_time = desk.store.take_login(&early, moment(599)).await?;
    ensure(in_time.is_some(), || "a login was not found a second before its end".to_owned())?;
    let too_late = desk.store.take_login(&late, moment(601)).await?;
    ensure(too_late.is_none(), || "a login was found a second after its end".to_owned())?;
    KEPT
}

/// Each key finds its own login, and an unknown one finds none.
pub async fn pending_logins_are_told_apart(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let keys = [LoginKey([1; 32]), LoginKey([2; 32])];
    for (key, sealed) in keys.iter().zip([b"one", b"two"]) {
        desk.store.put_login(*key, pending(&desk, sealed)).await?;
    }
    let unknown = desk.store.take_login(&LoginKey([3; 32]), moment(0)).await?;
    ensure(unknown.is_none(), || "a login was found under a key it was not put under".to_owned())?;
    for (key, sealed) in keys.iter().zip([b"one", b"two"]).rev() {
        let taken = desk.store.take_login(key, moment(0)).await?;
        let whose = taken.is_some_and(|taken| taken.sealed.expose_secret() == sealed);
        ensure(whose, || "a key found another login than was put under it, or none".to_owned())?;
    }
    KEPT
}

/// A look at a pending login shows all of it and leaves it there. After it was taken or has ended, there is nothing to see.
pub async fn a_look_at_a_pending_login_leaves_it(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let (key, unknown) = (LoginKey([1; 32]), LoginKey([2; 32]));
    desk.store.put_login(key, pending(&desk, b"pkce")).await?;
    for store in [&desk.sibling, &desk.store, &desk.sibling] {
        let seen = store.peek_login(&key, moment(599)).await?;
        let whole = seen.is_some_and(|seen| seen.sealed.expose_secret() == b"pkce" && seen.identity == desk.who);
        ensure(whole, || "a look did not show the pending login".to_owned())?;
    }
    ensure(desk.store.peek_login(&unknown, moment(0)).await?.is_none(), || "a look showed another login".to_owned())?;
    ensure(desk.store.peek_login(&key, moment(601)).await?.is_none(), || {
        "a look showed a login after its end".to_owned()
    })?;
    let taken = desk.sibling.take_login(&key, moment(0)).await?;
    ensure(taken.is_some(), || "a look took the pending login".to_owned())?;
    ensure(desk.store.peek_login(&key, moment(0)).await?.is_none(), || "a look showed a taken login".to_owned())?;
    KEPT
}

/// All logins that are pending are listed, with their keys, and no others.
pub async fn pending_logins_are_listed_until_they_are_taken_or_end(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let keys = [LoginKey([1; 32]), LoginKey([2; 32]), LoginKey([3; 32])];
    for key in keys {
        desk.store.put_login(key, pending(&desk, &key.0)).await?;
    }
    desk.store.take_login(&keys[1], moment(0)).await?;
    let mut listed = desk.sibling.pending_logins(moment(0)).await?;
    listed.sort_by_key(|(key, _)| *key);
    same("the keys of the pending logins", listed.iter().map(|(key, _)| *key).collect(), vec![keys[0], keys[2]])?;
    let own = listed.iter().all(|(key, login)| login.sealed.expose_secret() == key.0 && login.identity == desk.who);
    ensure(own, || "a key was listed with another login".to_owned())?;
    let late = desk.store.pending_logins(moment(601)).await?;
    ensure(late.is_empty(), || "a login was listed after its end".to_owned())?;
    KEPT
}

/// The pending logins of one identity are removed, and those of another stay.
pub async fn the_pending_logins_of_one_identity_are_dropped(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let (ours, theirs) = ([LoginKey([1; 32]), LoginKey([2; 32])], LoginKey([3; 32]));
    for key in ours {
        desk.store.put_login(key, pending(&desk, b"ours")).await?;
    }
    let other = PendingLogin { identity: desk.other.clone(), ..pending(&desk, b"theirs") };
    desk.store.put_login(theirs, other).await?;
    desk.sibling.drop_logins(&desk.who).await?;
    for key in ours {
        let found = desk.store.take_login(&key, moment(0)).await?;
        ensure(found.is_none(), || "a login was found after its identity's were dropped".to_owned())?;
    }
    let found = desk.store.take_login(&theirs, moment(0)).await?;
    ensure(found.is_some(), || "another identity's login was dropped".to_owned())?;
    KEPT
}

/// A login of the desk's identity that ends after ten minutes.
pub(super) fn pending(desk: &Desk, sealed: &[u8]) -> PendingLogin {
    let sealed = SecretSlice::from(sealed.to_vec());
    let (attempt, epoch) = (AttemptId(7), Epoch::new(1));
    let (identity, expires) = (desk.who.clone(), moment(600).wall);
    PendingLogin { identity, attempt, epoch, same_subject: true, expires, sealed }
}
