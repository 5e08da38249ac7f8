//! The cell: what a session published last. Written by one incarnation at a time, read by anybody without a lock.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::law::session::{Published, Residue};
use crate::values::{BootId, Window};

/// Numbers the writers of one cell: each new one outranks all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Incarnation(u64);

/// What stands in a cell: immutable, replaced as a whole.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// Who posted it.
    pub(crate) by: Incarnation,
    /// When its lease is handed out.
    pub(crate) window: Option<Window>,
    /// What was published.
    pub(crate) published: Published,
}

impl Posted {
    /// What `by` posts, for clocks of `boot`.
    fn new(by: Incarnation, published: Published, boot: BootId) -> Self {
        let window = published.hit.as_ref().map(|hit| Window::of(&hit.window, boot));
        Self { by, window, published }
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
            let new = Posted { by: current.by.next(), window: current.window, published: current.published.clone() };
            match self.replace(current, Arc::new(new)) {
                Ok(former) => return (former.by.next(), former.published.residue.clone()),
                Err(newer) => current = newer,
            }
        }
    }

    /// Posts `published`, for clocks of `boot`, unless somebody else has taken the pen since: then it is dropped, and
    /// `false` is returned.
    pub(crate) fn post(&self, by: Incarnation, published: Published, boot: BootId) -> bool {
        let new = Arc::new(Posted::new(by, published, boot));
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
            let closed = Published { hit: None, ..current.published.clone() };
            match self.replace(current, Arc::new(Posted { by: by.next(), window: None, published: closed })) {
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
    use crate::values::{BootId, Epoch, Generation};

    fn floor(number: u64) -> Published {
        let residue = Residue { floor: Some(Generation::stored(Epoch::new(1), number)), ..Residue::default() };
        Published { residue, ..Published::default() }
    }

    #[test]
    fn a_successor_goes_on_from_what_was_posted_and_its_predecessor_is_refused() {
        let cell: Cell = Cell::default();
        let (first, residue) = cell.begin();
        assert_eq!(residue, Residue::default());
        assert!(cell.post(first, floor(1), BootId(1)));
        let (second, residue) = cell.begin();
        assert_eq!(residue, floor(1).residue);
        assert!(!cell.post(first, floor(2), BootId(1)));
        assert!(!cell.close(first));
        assert_eq!(cell.read().published, floor(1));
        assert!(cell.post(second, floor(3), BootId(1)));
        assert_eq!(cell.read().published, floor(3));
        assert_eq!(cell.read().by, second);
    }

    #[test]
    fn a_cell_that_was_closed_is_not_opened_by_one_who_is_still_ending() {
        let cell: Cell = Cell::default();
        assert!(!cell.close(Incarnation::default()), "nobody has written anything");
        let (first, _) = cell.begin();
        assert!(cell.post(first, floor(1), BootId(1)));
        assert!(cell.close(first));
        assert!(!cell.post(first, floor(2), BootId(1)));
        let (second, residue) = cell.begin();
        assert_eq!(residue, floor(1).residue);
        assert!(!cell.close(first));
        assert!(cell.post(second, floor(3), BootId(1)));
    }
}
