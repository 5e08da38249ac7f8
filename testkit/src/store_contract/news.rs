//! Store events. A watch reports every write, or reports that it missed some.

use std::time::Duration;

use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::ports::store::{StoreEvent, StoreWatch};
use tokenkeeper_actors::values::{Epoch, ServerIdentity};

use super::kit::{self, Desk, KEPT};
use super::verdict::ensure;
use super::{Breach, Harness, Outcome, Verdict};
use crate::contract::within;

/// A watch reports other processes' writes.
pub async fn a_watch_tells_of_a_siblings_writes(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let mut watch = desk.store.watch().await?;
    for round in 0..3 {
        desk.sibling.change(&desk.other, desk.login(&format!("rt-{round}"))).await?;
        hears(&mut watch, harness.timeout(), &[&desk.other]).await?;
    }
    KEPT
}

/// A watch reports the writes of its own handle too. Sessions of one process learn of each other's writes that way.
pub async fn a_watch_tells_of_its_own_processs_writes(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let mut watch = desk.store.watch().await?;
    desk.store.change(&desk.who, desk.login("rt-1")).await?;
    hears(&mut watch, harness.timeout(), &[&desk.who]).await?;
    KEPT
}

/// Logins, marks, commits, configurations and logouts of every identity are reported. Writes from before a watch was
/// opened need not be. Every watch gets all events.
pub async fn a_watch_tells_of_every_kind_of_write(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let version = desk.applied(desk.login("rt-1")).await?.version();
    let (mut one, mut two) = (desk.store.watch().await?, desk.sibling.watch().await?);
    let writes = [
        desk.mark(version, "rt-1", 1),
        desk.commit(1, "rt-1", "rt-2", 2),
        Change::Configure { epoch: Epoch::new(1), renewal: kit::far_plan() },
        Change::End { epoch: Epoch::new(1), sent: desk.digest("rt-2") },
        Change::Clear { epoch: Epoch::new(1) },
    ];
    for write in writes {
        desk.applied(write).await?;
        hears(&mut one, harness.timeout(), &[&desk.who]).await?;
        hears(&mut two, harness.timeout(), &[&desk.who]).await?;
    }
    desk.applied(desk.login("rt-3")).await?;
    desk.sibling.change(&desk.other, desk.login("rt-4")).await?;
    hears(&mut one, harness.timeout(), &[&desk.who, &desk.other]).await?;
    hears(&mut two, harness.timeout(), &[&desk.other, &desk.who]).await?;
    KEPT
}

/// A reader that reads a record after its event finds the write.
pub async fn news_does_not_come_before_its_write(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    for round in 1..=20 {
        let mut watch = desk.store.watch().await?;
        let heard = async {
            hears(&mut watch, harness.timeout(), &[&desk.who]).await?;
            desk.load().await
        };
        let write = desk.sibling.change(&desk.who, desk.login(&format!("rt-{round}")));
        let (heard, written) = tokio::join!(heard, write);
        written?;
        let epoch = heard?.map(|record| record.epoch);
        ensure(epoch == Some(Epoch::new(round)), || format!("news of login {round} came while {epoch:?} was stored"))?;
    }
    KEPT
}

/// A wait for an event may be cancelled at any time. Later events are not lost.
pub async fn waiting_for_news_may_be_broken_off(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let mut watch = desk.store.watch().await?;
    for round in 0..3 {
        drop(within(Duration::from_millis(5), watch.next()).await);
        desk.sibling.change(&desk.who, desk.login(&format!("rt-{round}"))).await?;
        hears(&mut watch, harness.timeout(), &[&desk.who]).await?;
    }
    KEPT
}

/// A watch that missed events reports that and goes on, or it ends, and a new watch gets events again.
pub async fn a_watch_says_when_it_has_lost_news(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let mut watch = desk.store.watch().await?;
    if !desk.place.lose_news().await {
        return Ok(Outcome::NotShown("the harness cannot make a watch lose news"));
    }
    loop {
        match within(harness.timeout(), watch.next()).await {
            None => return Err(Breach::new("a watch that lost news did not say so")),
            Some(StoreEvent::Changed(_) | StoreEvent::IssuerChanged(_)) => {}
            Some(StoreEvent::Lagged) => break,
            Some(StoreEvent::Ended) => {
                watch = desk.store.watch().await?;
                break;
            }
        }
    }
    desk.sibling.change(&desk.who, desk.login("rt-1")).await?;
    hears(&mut watch, harness.timeout(), &[&desk.who]).await?;
    KEPT
}

/// Waits until the watch has reported all of `wanted`. An event may come more than once, in any order, or together
/// with others.
async fn hears(watch: &mut Box<dyn StoreWatch>, timeout: Duration, wanted: &[&ServerIdentity]) -> Result<(), Breach> {
    let mut missing: Vec<&ServerIdentity> = wanted.to_vec();
    while !missing.is_empty() {
        match within(timeout, watch.next()).await {
            Some(StoreEvent::Changed(identity)) => missing.retain(|wanted| **wanted != identity),
            Some(StoreEvent::IssuerChanged(_)) => {}
            Some(StoreEvent::Lagged) => missing.clear(),
            Some(StoreEvent::Ended) => return Err(Breach::new("a watch ended while its store was open")),
            None => return Err(Breach::new(format!("no news of {missing:?} within {timeout:?}"))),
        }
    }
    Ok(())
}
