//! Events that must be seen in some state, so that the laws do not hold for lack of events.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokenkeeper_actors::law::profile::Reuse;

use crate::bounds::Bounds;
use crate::config::Config;
use crate::laws::Law;

macro_rules! sights {
    ($($(#[$doc:meta])* $sight:ident $name:literal)*) => {
        /// Events that the exploration can see.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Sight {
            $($(#[$doc])* $sight,)*
        }

        impl Sight {
            /// All of them.
            pub const ALL: &[Sight] = &[$(Sight::$sight),*];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Sight::$sight => $name,)*
                }
            }
        }
    };
}

sights! {
    /// A flight adopts a token that a sibling obtained.
    Adopted "adoptions"
    /// A flight finds the claim held.
    Contended "contended claims"
    /// Both processes are done, and have the same newest token, which a flight brought.
    SameNewest "ends with the same newest token"
    /// A claim is granted after its holder lost it, so that the holder may live.
    MayLive "claims after a holder that may live"
    /// A claim is lost while its holder's request is on the wire.
    LostMidSend "claims lost in mid-send"
    /// A flight whose claim was lost commits what it brought.
    CommitAfterLoss "commits after the claim was lost"
    /// Two live flights believe that they hold the claim of one epoch.
    TwoHolders "pairs of holders"
    /// A claim is renewed.
    Renewed "renewals"
    /// A login is installed while a flight's request is on the wire.
    LoginMidSend "logins in mid-send"
    /// A flight's result is refused by the store, because a login overtook it.
    Overtaken "results overtaken by a login"
    /// A process crashes while its request is on the wire.
    CrashMidSend "crashes in mid-send"
    /// The server processes a request whose answer no flight waits for.
    AnswerLost "answers nobody heard"
    /// A flight lands in doubt.
    InDoubt "landings in doubt"
    /// A flight gives up a token that may have been consumed.
    MaybeConsumed "tokens given up"
    /// A flight whose answer was lost presents its token once more, and the token works.
    Repeated "repeats that worked"
    /// A flight whose answer was lost presents its token once more, and the token was spent. The lineage, which was
    /// lost already, ends.
    RepeatedInVain "repeats in vain"
    /// A flight presents a token that another flight has presented, and the token works.
    Replayed "replays that worked"
    /// A flight presents a token that another flight has presented, and the token was spent. The lineage ends.
    ReplayedInVain "replays in vain"
    /// A token is presented for the third time.
    Third "third presentations"
    /// A token that a crash has left in doubt is presented before the time-out of the crashed process's request.
    AtOnce "presentations at once after a crash"
    /// A replay ends a lineage whose newest token a living flight has not saved within the time-out of its request.
    Overtook "living flights overtaken by a replay"
    /// The server processes a request late, after the answer was lost and the token worked in another request. The
    /// lineage ends.
    LateRevocation "lineages lost to a late request"
    /// A grant is ended, because the server refused its token.
    Ended "grants ended"
    /// A connection is not established, before a mark.
    Unconnected "connections not established"
    /// A mark is taken back.
    Withdrawn "withdrawn marks"
    /// A flight reads again between mark and send.
    Verified "second looks before the send"
    /// A source gets an order to send after the time to send by.
    TooLate "sends that came too late"
    /// A flight lands with something unsaved.
    Degraded "degraded landings"
    /// A flight that landed with something unsaved saves it.
    Settled "degraded flights that saved"
    /// A write that was given up takes effect. Commits are counted separately.
    LateWrite "late writes"
    /// A commit that was given up takes effect.
    LateCommit "late commits"
    /// A mark that was given up comes too late.
    LateMarkRefused "late marks refused"
    /// A claim that was given up is granted, and ended at once.
    LateClaim "late claims"
}

impl Sight {
    /// Whether a check of `config` must see this event.
    pub fn is_expected(self, config: &Config) -> bool {
        let Bounds { crashes, claim_losses, lost_answers, late_requests, unsent, failed_saves, .. } = config.bounds;
        let Bounds { logins, timeouts, lulls, pauses, .. } = config.bounds;
        let leased = config.claims.is_leased();
        let (crash, loss, doubt) = (crashes > 0, claim_losses > 0, crashes + lost_answers > 0);
        // After a lease that its holder did not end, the holder may be alive.
        let may_live = leased && (crash || loss || pauses > 0);
        let replays = config.reuse == Reuse::EndsLineage;
        let lost = lost_answers > 0;
        let late = timeouts > 0 && lulls > 0;
        match self {
            Sight::Adopted | Sight::Contended | Sight::SameNewest => true,
            Sight::MayLive => may_live,
            Sight::LostMidSend | Sight::CommitAfterLoss | Sight::TwoHolders => loss,
            Sight::Renewed => leased && pauses > 0 && timeouts > 0,
            Sight::LoginMidSend | Sight::Overtaken => logins > 0,
            Sight::CrashMidSend => crash,
            Sight::AnswerLost => doubt,
            // A first doubt about a holder that is gone is resolved at once.
            Sight::InDoubt => may_live || replays && crash && lost,
            Sight::MaybeConsumed => !replays && (may_live || doubt),
            Sight::Repeated | Sight::RepeatedInVain => replays && lost,
            Sight::Replayed => replays && (crash || may_live && lost),
            Sight::ReplayedInVain => replays && (crash || may_live),
            Sight::Third => replays && crash && lost && config.bounds.flights > 1,
            Sight::AtOnce => replays && crash && !leased,
            Sight::Overtook => replays && leased && pauses > 0,
            Sight::Ended => replays && doubt,
            Sight::LateRevocation => replays && doubt && late_requests > 0,
            Sight::Unconnected => unsent > 0,
            Sight::Withdrawn => late || unsent > 0,
            Sight::Verified | Sight::TooLate => lulls > 0,
            Sight::Degraded | Sight::Settled => late || failed_saves > 0,
            Sight::LateCommit | Sight::LateMarkRefused | Sight::LateClaim => late,
            Sight::LateWrite => false,
        }
    }
}

/// The number of times that each event was seen, over all steps of an exploration. It is not part of a state. A step
/// is counted whether or not it leads to a new state.
#[derive(Debug)]
pub struct Sightings {
    counts: Box<[AtomicU64]>,
    /// The number of expanded states.
    expanded: AtomicU64,
    /// The laws that were broken.
    broken: [AtomicBool; Law::ALL.len()],
}

impl Default for Sightings {
    fn default() -> Self {
        let counts = Sight::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Self { counts, expanded: AtomicU64::new(0), broken: std::array::from_fn(|_| AtomicBool::new(false)) }
    }
}

impl Sightings {
    pub(crate) fn saw(&self, sight: Sight) {
        self.counts[sight as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn expand(&self) {
        self.expanded.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of states that were expanded with all of their actions.
    pub(crate) fn expanded(&self) -> u64 {
        self.expanded.load(Ordering::Relaxed)
    }

    /// The number of steps in which the event was seen.
    pub fn count(&self, sight: Sight) -> u64 {
        self.counts[sight as usize].load(Ordering::Relaxed)
    }

    /// Whether this is the first breach of `law`. The search is breadth-first, so the first way to break it is about
    /// the shortest.
    pub(crate) fn is_news(&self, law: Law) -> bool {
        !self.broken[law as usize].swap(true, Ordering::Relaxed)
    }
}
