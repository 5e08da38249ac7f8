//! The cell of a slot, with the last value that the session published. One incarnation at a time writes it, and any
//! thread reads it without a lock.

use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use arc_swap::{ArcSwap, Guard};

use crate::law::session::{Hit, Published, Residue, Standing};
use crate::values::{ElapsedTime, Generation};

/// The number of a writer of one cell. Each new writer outranks all earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Incarnation(u64);

/// The value of a cell. It is immutable, and is replaced as a whole.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The incarnation that wrote it.
    pub(crate) by: Incarnation,
    /// The published lease.
    pub(crate) hit: Option<Hit>,
    /// The standing, for display.
    pub(crate) standing: Standing,
    /// The newest generation known, if it is not the one of the published lease. It is boxed for the same reason as
    /// `extra`.
    known: Option<Box<Generation>>,
    /// The residue, if it holds more than the newest generation known. It is boxed, because it is usually `None` and a
    /// sleeping session should use little memory.
    extra: Option<Box<Residue>>,
}

impl Snapshot {
    fn new(by: Incarnation, Published { hit, standing, residue }: Published) -> Self {
        let known = residue.known;
        let extra = Some(residue).filter(|residue| *residue != Residue { known, ..Residue::default() }).map(Box::new);
        let known = (known != implied(hit.as_ref())).then(|| Box::new(known));
        Self { by, hit, standing, known, extra }
    }

    /// The published value, as the session gave it.
    fn published(&self) -> Published {
        Published { hit: self.hit.clone(), standing: self.standing, residue: self.residue() }
    }

    /// The residue for the next incarnation.
    pub(crate) fn residue(&self) -> Residue {
        match &self.extra {
            Some(residue) => (**residue).clone(),
            None => Residue { known: self.known(), ..Residue::default() },
        }
    }

    /// The newest generation known.
    pub(crate) fn known(&self) -> Generation {
        self.known.as_deref().copied().unwrap_or_else(|| implied(self.hit.as_ref()))
    }

    /// Whether no lease is published, no token is known, and later actors need not remember anything. Failures do not
    /// count if their pauses have ended, according to `is_over`.
    pub(crate) fn is_without_token(&self, is_over: impl Fn(ElapsedTime) -> bool) -> bool {
        let is_forgotten = |residue: &Residue| {
            let (backoff, elevations) = (residue.backoff, residue.elevations.clone());
            // Such a pause is still in the residue, because only an actor that is awake at its end removes it.
            let mut pauses = [backoff.resting, backoff.background_resting].into_iter().flatten();
            pauses.all(|(_, until)| is_over(until))
                && elevations.are_over(&is_over)
                && *residue == Residue { backoff, elevations, ..Residue::default() }
        };
        self.hit.is_none() && self.known() == Generation::default() && self.extra.as_deref().is_none_or(is_forgotten)
    }

    /// The residue, if it holds more than the newest generation known.
    pub(crate) fn extra_residue(&self) -> Option<&Residue> {
        self.extra.as_deref()
    }
}

/// The newest generation known if the snapshot holds no other. It is that of the published lease.
fn implied(hit: Option<&Hit>) -> Generation {
    hit.map(|hit| hit.lease.generation()).unwrap_or_default()
}

/// A value with one writer and many readers.
///
/// A new writer takes the next number, and with it the right to write. Writes of earlier writers are refused from then
/// on. The comparison and the swap are one step, so a late write of an old writer cannot overwrite a write of its
/// successor. A caller that was answered after a write reads that write or a later one, because the answer passes
/// through a channel, and because a cell never goes back to an earlier value.
///
/// The protocol is the same over any [`Pointer`]. The tests also run it over a pointer made of loom's types.
#[derive(Debug)]
pub(crate) struct Cell<P = ArcSwap<Snapshot>>(P);

/// The value of a cell that no session has written. All of them share it, because a host may open many sessions that it
/// never uses.
static UNWRITTEN: LazyLock<Arc<Snapshot>> = LazyLock::new(Arc::default);

impl Default for Cell {
    fn default() -> Self {
        Self(ArcSwap::new(Arc::clone(&UNWRITTEN)))
    }
}

/// A shared pointer that is replaced in one step. Loads have at least acquire order, and replacements at least release
/// order.
pub(crate) trait Pointer {
    /// A loaded value. While it is held, no other value has its address.
    type Held<'a>: Deref<Target = Arc<Snapshot>>
    where
        Self: 'a;

    /// Returns the current value.
    fn load(&self) -> Self::Held<'_>;

    /// Stores `new` if the value is still `current`. Returns the value that was there.
    fn replace<'a>(&'a self, current: &Self::Held<'a>, new: Arc<Snapshot>) -> Self::Held<'a>;
}

impl Pointer for ArcSwap<Snapshot> {
    type Held<'a> = Guard<Arc<Snapshot>>;

    #[inline]
    fn load(&self) -> Guard<Arc<Snapshot>> {
        ArcSwap::load(self)
    }

    fn replace(&self, current: &Guard<Arc<Snapshot>>, new: Arc<Snapshot>) -> Guard<Arc<Snapshot>> {
        self.compare_and_swap(current, new)
    }
}

impl<P: Pointer> Cell<P> {
    /// Returns the current value.
    #[inline]
    pub(crate) fn read(&self) -> P::Held<'_> {
        self.0.load()
    }

    /// Makes a new incarnation, which alone may write from now on. Returns it with its predecessor's residue.
    pub(crate) fn begin(&self) -> (Incarnation, Residue) {
        let mut current = self.0.load();
        loop {
            let new = Snapshot::new(current.by.next(), current.published());
            match self.replace(current, Arc::new(new)) {
                Ok(former) => return (former.by.next(), former.residue()),
                Err(newer) => current = newer,
            }
        }
    }

    /// Writes `published`. Returns `false`, and writes nothing, if there is a newer incarnation.
    pub(crate) fn publish(&self, by: Incarnation, published: Published) -> bool {
        let new = Arc::new(Snapshot::new(by, published));
        let mut current = self.0.load();
        while current.by == by {
            match self.replace(current, Arc::clone(&new)) {
                Ok(_) => return true,
                Err(newer) => current = newer,
            }
        }
        false
    }

    /// Clears the published lease of the incarnation `by`, which has ended or is ending. Returns `false` if there is a
    /// newer incarnation.
    ///
    /// After that, the next caller asks an actor. The write takes the next number, so that `by` cannot publish the
    /// lease again while it ends.
    pub(crate) fn clear_lease(&self, by: Incarnation) -> bool {
        let mut current = self.0.load();
        while current.by == by && by != Incarnation::default() {
            let cleared = Published { hit: None, ..current.published() };
            match self.replace(current, Arc::new(Snapshot::new(by.next(), cleared))) {
                Ok(_) => return true,
                Err(newer) => current = newer,
            }
        }
        false
    }

    /// Tries once to replace `current` by `new`. Returns the former value, or the newer value in the error.
    fn replace<'a>(&'a self, current: P::Held<'a>, new: Arc<Snapshot>) -> Result<P::Held<'a>, P::Held<'a>> {
        let former = self.0.replace(&current, new);
        if std::ptr::eq(&raw const **former, &raw const **current) { Ok(former) } else { Err(former) }
    }
}

impl Incarnation {
    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod interleavings;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::law::session::Backoff;
    use crate::values::{Epoch, Reason, TokenError};

    fn floor(number: u64) -> Published {
        let residue = Residue { floor: Some(Generation::stored(Epoch::new(1), number)), ..Residue::default() };
        Published { residue, ..Published::default() }
    }

    #[test]
    fn a_successor_continues_from_the_published_residue_and_its_predecessor_is_refused() {
        let cell: Cell = Cell::default();
        let (first, residue) = cell.begin();
        assert_eq!(residue, Residue::default());
        assert!(cell.publish(first, floor(1)));
        let (second, residue) = cell.begin();
        assert_eq!(residue, floor(1).residue);
        assert!(!cell.publish(first, floor(2)));
        assert!(!cell.clear_lease(first));
        assert_eq!(cell.read().published(), floor(1));
        assert!(cell.publish(second, floor(3)));
        assert_eq!(cell.read().published(), floor(3));
        assert_eq!(cell.read().by, second);
    }

    #[test]
    fn an_incarnation_that_is_ending_cannot_restore_a_cleared_lease() {
        let cell: Cell = Cell::default();
        assert!(!cell.clear_lease(Incarnation::default()), "no incarnation has written yet");
        let (first, _) = cell.begin();
        assert!(cell.publish(first, floor(1)));
        assert!(cell.clear_lease(first));
        assert!(!cell.publish(first, floor(2)));
        let (second, residue) = cell.begin();
        assert_eq!(residue, floor(1).residue);
        assert!(!cell.clear_lease(first));
        assert!(cell.publish(second, floor(3)));
    }

    #[test]
    fn a_cell_without_a_token_may_hold_a_pause_that_is_over() {
        let holds_none = |residue: Residue| {
            let snapshot = Snapshot::new(Incarnation(1), Published { residue, ..Published::default() });
            snapshot.is_without_token(|until| until <= ElapsedTime::from_millis(5))
        };
        let resting = |until| Backoff {
            failures: 3,
            resting: Some((TokenError::new(Reason::Unreachable), ElapsedTime::from_millis(until))),
            ..Backoff::default()
        };
        assert!(holds_none(Residue::default()));
        assert!(holds_none(Residue { backoff: resting(5), ..Residue::default() }));
        assert!(!holds_none(Residue { backoff: resting(6), ..Residue::default() }));
        let ended = Backoff { resting: None, ..resting(5) };
        assert!(holds_none(Residue { backoff: ended, ..Residue::default() }));
        let in_background = Backoff { background_resting: resting(6).resting, ..ended };
        assert!(!holds_none(Residue { backoff: in_background, ..Residue::default() }));
        assert!(!holds_none(Residue { backoff: resting(5), ..floor(1).residue }));
        assert!(!holds_none(floor(1).residue));
        assert!(!holds_none(Residue { known: Generation::stored(Epoch::new(0), 1), ..Residue::default() }));
    }
}
