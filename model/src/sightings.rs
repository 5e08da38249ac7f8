//! What must happen sometimes, so that what holds always is not empty talk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::laws::Law;

/// Things the exploration must come across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Sight {
    /// A flight adopts what a sibling obtained.
    Adopted,
    /// A flight finds the claim held.
    Contended,
    /// A claim is granted after its holder lost it, so that the holder may live.
    MayLive,
    /// A claim is lost while the holder's request is on the wire.
    LostMidSend,
    /// Two live flights believe that they hold the claim of one epoch.
    TwoHolders,
    /// A login is installed while a flight's request is on the wire.
    LoginMidSend,
    /// A flight's result is refused by the store, because a login overtook it.
    Overtaken,
    /// A process crashes while its request is on the wire.
    CrashMidSend,
    /// A request is processed whose answer nobody waits for.
    AnswerLost,
    /// A flight lands in doubt.
    InDoubt,
    /// A flight finds a token perhaps spent, and gives up.
    PerhapsSpent,
    /// A token is presented a second time, and works.
    Replayed,
    /// A token is presented a second time, and was spent: the lineage, which was lost already, ends.
    ReplayedInVain,
    /// A flight reads again between mark and send.
    Verified,
    /// A source is told to send after the time to send by.
    TooLate,
    /// A mark is taken back.
    Withdrawn,
    /// A flight lands with something unsaved.
    Degraded,
    /// A flight that landed with something unsaved saves it.
    Settled,
    /// A write that was given up on takes effect.
    LateWrite,
    /// A commit that was given up on takes effect.
    LateCommit,
    /// A mark that was given up on comes too late.
    LateMarkRefused,
    /// A claim that was given up on is granted, and ended at once.
    LateClaim,
    /// A grant is ended, because the server refused its token.
    Ended,
    /// A claim is renewed.
    Renewed,
    /// Both processes are done, and have the same newest token, which a flight brought.
    SameNewest,
}

impl Sight {
    /// All of them.
    pub const ALL: [Sight; 25] = [
        Sight::Adopted,
        Sight::Contended,
        Sight::MayLive,
        Sight::LostMidSend,
        Sight::TwoHolders,
        Sight::LoginMidSend,
        Sight::Overtaken,
        Sight::CrashMidSend,
        Sight::AnswerLost,
        Sight::InDoubt,
        Sight::PerhapsSpent,
        Sight::Replayed,
        Sight::ReplayedInVain,
        Sight::Verified,
        Sight::TooLate,
        Sight::Withdrawn,
        Sight::Degraded,
        Sight::Settled,
        Sight::LateWrite,
        Sight::LateCommit,
        Sight::LateMarkRefused,
        Sight::LateClaim,
        Sight::Ended,
        Sight::Renewed,
        Sight::SameNewest,
    ];
}

/// How often each was seen, over all steps of an exploration. Not part of a state: a step is seen whether or not the
/// state it leads to is new.
#[derive(Debug)]
pub struct Sightings {
    counts: [AtomicU64; Sight::ALL.len()],
    /// The laws that were found broken.
    broken: [AtomicBool; Law::ALL.len()],
}

impl Default for Sightings {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            broken: std::array::from_fn(|_| AtomicBool::new(false)),
        }
    }
}

impl Sightings {
    pub(crate) fn saw(&self, sight: Sight) {
        self.counts[sight as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The number of steps in which it was seen.
    pub fn count(&self, sight: Sight) -> u64 {
        self.counts[sight as usize].load(Ordering::Relaxed)
    }

    /// Whether this is the first time that `law` is found broken. The search goes from near to far, so the first way
    /// to break it is about the shortest.
    pub(crate) fn is_news(&self, law: Law) -> bool {
        !self.broken[law as usize].swap(true, Ordering::Relaxed)
    }
}
