//! The cell: what a session published last. Written by one incarnation at a time, read by anybody without a lock.

use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

use crate::law::session::{Published, Residue};

/// Numbers the writers of one cell: each new one outranks all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Incarnation(u64);

/// What stands in a cell: immutable, replaced as a whole.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// Who posted it.
    pub(crate) by: Incarnation,
    /// What was published.
    pub(crate) published: Published,
}

/// One writer, many readers.
///
/// Whoever begins to write takes the next number, and with it the right to write: whatever an earlier writer still posts
/// is refused. The compare and the swap are one step, so an old writer cannot overwrite its successor however late it
/// comes. A reader that was answered after a post sees that post, or a later one: the answer travels through a channel,
/// and a cell never goes back.
#[derive(Debug, Default)]
pub(crate) struct Cell(ArcSwap<Posted>);

impl Cell {
    /// What stands there now.
    #[inline]
    pub(crate) fn read(&self) -> Guard<Arc<Posted>> {
        self.0.load()
    }

    /// Takes the pen: from here on only the returned incarnation may write. Gives it what its predecessor left.
    pub(crate) fn begin(&self) -> (Incarnation, Residue) {
        let former = self.0.rcu(|posted| Posted { by: posted.by.next(), published: posted.published.clone() });
        (former.by.next(), former.published.residue.clone())
    }

    /// Posts `published`, unless somebody else has taken the pen since: then it is dropped, and `false` is returned.
    pub(crate) fn post(&self, by: Incarnation, published: Published) -> bool {
        let new = Arc::new(Posted { by, published });
        self.replace(|posted| (posted.by == by).then(|| Arc::clone(&new)))
    }

    /// Takes the lease away from hits, where `by` was seen to have ended and nobody has begun since: whoever asks next
    /// goes the slow way, to somebody who will know better.
    pub(crate) fn close(&self, by: Incarnation) -> bool {
        self.replace(|posted| {
            let open = posted.by == by && posted.published.hit.is_some();
            open.then(|| Arc::new(Posted { by, published: Published { hit: None, ..posted.published.clone() } }))
        })
    }

    /// Replaces what stands there with what `next` makes of it, in one step; `None` leaves it.
    fn replace(&self, next: impl Fn(&Posted) -> Option<Arc<Posted>>) -> bool {
        let mut current = self.0.load();
        loop {
            let Some(new) = next(&current) else { return false };
            let former = self.0.compare_and_swap(&current, new);
            if std::ptr::eq(&raw const **former, &raw const **current) {
                return true;
            }
            current = former;
        }
    }
}

impl Incarnation {
    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Epoch, Generation};

    fn floor(number: u64) -> Published {
        let residue = Residue { floor: Some(Generation::stored(Epoch::new(1), number)), ..Residue::default() };
        Published { residue, ..Published::default() }
    }

    #[test]
    fn a_successor_goes_on_from_what_was_posted_and_its_predecessor_is_refused() {
        let cell = Cell::default();
        let (first, residue) = cell.begin();
        assert_eq!(residue, Residue::default());
        assert!(cell.post(first, floor(1)));
        let (second, residue) = cell.begin();
        assert_eq!(residue, floor(1).residue);
        assert!(!cell.post(first, floor(2)));
        assert!(!cell.close(first));
        assert_eq!(cell.read().published, floor(1));
        assert!(cell.post(second, floor(3)));
        assert_eq!(cell.read().published, floor(3));
        assert_eq!(cell.read().by, second);
    }
}
