//! The cell: what a session published last. Written by one incarnation at a time, read by anybody without a lock.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::law::session::{Hit, Published, Residue, Standing};
use crate::values::Generation;

/// Numbers the writers of one cell: each new one outranks all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Incarnation(u64);

/// What stands in a cell: immutable, replaced as a whole.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// Who posted it.
    pub(crate) by: Incarnation,
    /// What hits hand out.
    pub(crate) hit: Option<Hit>,
    /// What is shown.
    pub(crate) standing: Standing,
    /// The newest token number known.
    known: Generation,
    /// What else a successor needs. As a rule there is nothing: a session that sleeps should not pay for it.
    burden: Option<Box<Residue>>,
}

impl Posted {
    /// `published`, by this writer.
    fn new(by: Incarnation, Published { hit, standing, residue }: Published) -> Self {
        let known = residue.known;
        let burden = Some(residue).filter(|residue| *residue != Residue { known, ..Residue::default() }).map(Box::new);
        Self { by, hit, standing, known, burden }
    }

    /// What was published.
    fn published(&self) -> Published {
        Published { hit: self.hit.clone(), standing: self.standing, residue: self.residue() }
    }

    /// What the next incarnation goes on from.
    pub(crate) fn residue(&self) -> Residue {
        match &self.burden {
            Some(residue) => (**residue).clone(),
            None => Residue { known: self.known, ..Residue::default() },
        }
    }

    /// What is to be remembered besides the newest token number, if anything is.
    pub(crate) fn burden(&self) -> Option<&Residue> {
        self.burden.as_deref()
    }
}

/// One writer, many readers.
///
/// Whoever begins to write takes the next number, and with it the right to write: whatever an earlier writer still posts
/// is refused. The compare and the swap are one step, so an old writer cannot overwrite its successor however late it
/// comes. A reader that was answered after a post sees that post, or a later one: the answer travels through a channel,
/// and a cell never goes back.
///
/// The protocol is the same over any [`Pointer`]; the tests run it over one of loom's.
#[derive(Debug, Default)]
pub(crate) struct Cell<P = ArcSwap<Posted>>(P);

/// A shared pointer that is replaced in one step. Loads acquire and replacements release, or stronger.
pub(crate) trait Pointer {
    /// What was loaded: while it is held, nothing else has its address.
    type Held<'a>: Deref<Target = Arc<Posted>>
    where
        Self: 'a;

    /// What stands there now.
    fn load(&self) -> Self::Held<'_>;

    /// Puts `new` there if `current` still stands there, and gives what stood there.
    fn replace<'a>(&'a self, current: &Self::Held<'a>, new: Arc<Posted>) -> Self::Held<'a>;
}

impl Pointer for ArcSwap<Posted> {
    type Held<'a> = Guard<Arc<Posted>>;

    #[inline]
    fn load(&self) -> Guard<Arc<Posted>> {
        ArcSwap::load(self)
    }

    fn replace(&self, current: &Guard<Arc<Posted>>, new: Arc<Posted>) -> Guard<Arc<Posted>> {
        self.compare_and_swap(current, new)
    }
}

impl<P: Pointer> Cell<P> {
    /// What stands there now.
    #[inline]
    pub(crate) fn read(&self) -> P::Held<'_> {
        self.0.load()
    }

    /// Takes the pen: from here on only the returned incarnation may write. Gives it what its predecessor left.
    pub(crate) fn begin(&self) -> (Incarnation, Residue) {
        let mut current = self.0.load();
        loop {
            let new = Posted::new(current.by.next(), current.published());
            match self.replace(current, Arc::new(new)) {
                Ok(former) => return (former.by.next(), former.residue()),
                Err(newer) => current = newer,
            }
        }
    }

    /// Posts `published`, unless somebody else has taken the pen since: then it is dropped, and `false` is returned.
    pub(crate) fn post(&self, by: Incarnation, published: Published) -> bool {
        let new = Arc::new(Posted::new(by, published));
        let mut current = self.0.load();
        while current.by == by {
            match self.replace(current, Arc::clone(&new)) {
                Ok(_) => return true,
                Err(newer) => current = newer,
            }
        }
        false
    }

    /// Takes the lease away from hits, where `by` was seen to have ended, or to be ending, and nobody has begun since:
    /// whoever asks next goes the slow way, to somebody who will know better. It takes the pen for that, so that one who
    /// is still ending cannot bring the lease back.
    pub(crate) fn close(&self, by: Incarnation) -> bool {
        let mut current = self.0.load();
        while current.by == by && by != Incarnation::default() {
            let closed = Published { hit: None, ..current.published() };
            match self.replace(current, Arc::new(Posted::new(by.next(), closed))) {
                Ok(_) => return true,
                Err(newer) => current = newer,
            }
        }
        false
    }

    /// One attempt to put `new` there instead of `current`: gives `current` back, or what stands there by now.
    fn replace<'a>(&'a self, current: P::Held<'a>, new: Arc<Posted>) -> Result<P::Held<'a>, P::Held<'a>> {
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
    use crate::values::Epoch;

    fn floor(number: u64) -> Published {
        let residue = Residue { floor: Some(Generation::stored(Epoch::new(1), number)), ..Residue::default() };
        Published { residue, ..Published::default() }
    }

    #[test]
    fn a_successor_goes_on_from_what_was_posted_and_its_predecessor_is_refused() {
        let cell: Cell = Cell::default();
        let (first, residue) = cell.begin();
        assert_eq!(residue, Residue::default());
        assert!(cell.post(first, floor(1)));
        let (second, residue) = cell.begin();
        assert_eq!(residue, floor(1).residue);
        assert!(!cell.post(first, floor(2)));
        assert!(!cell.close(first));
        assert_eq!(cell.read().published(), floor(1));
        assert!(cell.post(second, floor(3)));
        assert_eq!(cell.read().published(), floor(3));
        assert_eq!(cell.read().by, second);
    }

    #[test]
    fn a_cell_that_was_closed_is_not_opened_by_one_who_is_still_ending() {
        let cell: Cell = Cell::default();
        assert!(!cell.close(Incarnation::default()), "nobody has written anything");
        let (first, _) = cell.begin();
        assert!(cell.post(first, floor(1)));
        assert!(cell.close(first));
        assert!(!cell.post(first, floor(2)));
        let (second, residue) = cell.begin();
        assert_eq!(residue, floor(1).residue);
        assert!(!cell.close(first));
        assert!(cell.post(second, floor(3)));
    }
}
