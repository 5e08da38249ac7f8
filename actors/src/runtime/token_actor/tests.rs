//! Tests of an actor's timer, on tokio's paused time.
#![expect(clippy::disallowed_methods, reason = "the tests' own sleeps and clock, on tokio's paused time")]

use ractor::Actor;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;
use crate::memory::MemoryStore;
use crate::ports::clock::Clock;
use crate::runtime::AuthRuntime;
use crate::runtime::directory::tests::{NoSource, identity};
use crate::runtime::plan::Settings;
use crate::values::{BootId, DigestKey, WallTime};

/// A clock that follows tokio's time.
#[derive(Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        let millis = self.0.elapsed().as_millis() as u64;
        Moment { elapsed: ElapsedTime::from_millis(millis), wall: WallTime::from_millis(millis), boot: BootId(0) }
    }
}

/// Stands in for the actor whose state a test drives itself. Passes the numbers of the ticks on.
#[derive(Debug)]
struct Ticks(mpsc::UnboundedSender<u64>);

#[ractor::actor(message = TokenMessage, state = (), arguments = ())]
impl Ticks {
    async fn pre_start(&self, _myself: ActorRef<TokenMessage>, _: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<TokenMessage>,
        message: TokenMessage,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let TokenMessage::Tick(number) = message {
            self.0.send(number)?;
        }
        Ok(())
    }
}

/// The state of an actor, and the ticks that its timers send.
async fn actor() -> (AuthRuntime, TokenState, mpsc::UnboundedReceiver<u64>) {
    let store = Arc::new(MemoryStore::new(DigestKey::new([0; 32])));
    let builder = AuthRuntime::builder(store, Settings::new(Arc::new(NoSource)));
    let runtime = builder.clock(Arc::new(TokioClock(Instant::now()))).spawn().await.unwrap();
    let core = runtime.core();
    let slot = core.slot(identity(1).into());
    let (sender, ticks) = mpsc::unbounded_channel();
    let (myself, _) = Ticks::spawn(None, Ticks(sender), ()).await.unwrap();
    (runtime, TokenState::begin(myself, ActorArguments { core, slot }), ticks)
}

/// The tick may be in the mailbox already when its timer is replaced, so it may arrive although the timer was dropped.
#[tokio::test(start_paused = true)]
async fn a_tick_of_an_earlier_timer_changes_nothing() {
    let (_runtime, mut state, _ticks) = actor().await;
    state.timer = None;
    state.set_timer();
    let (due, number) = (state.timer.as_ref().map(|(due, _)| *due), state.timers);
    assert!(due.is_some() && number > 1, "the second timer");
    // A late tick is put off, so that an answer that has arrived is processed before the callers' deadlines.
    state.put_off = true;
    for earlier in 1..number {
        state.handle(TokenMessage::Tick(earlier));
        assert_eq!((state.timer.as_ref().map(|(due, _)| *due), state.timers), (due, number), "tick {earlier}");
        assert!(state.put_off, "tick {earlier}");
    }
    state.handle(TokenMessage::Tick(number));
    assert!(!state.put_off && state.timers == number + 1, "the tick of the timer itself");
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_replaced_sends_nothing() {
    let (_runtime, mut state, mut ticks) = actor().await;
    for _ in 0..3 {
        state.timer = None;
        state.set_timer();
    }
    let last = state.timers;
    assert!(last > 2, "{last}");
    assert_eq!(ticks.recv().await, Some(last));
    tokio::time::sleep(10 * MAX_SLEEP).await;
    assert!(ticks.try_recv().is_err());
}
