//! A queue ordered by growing ids, from which any entry can be removed.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::{fmt, mem};

/// A map from ids to entries, as one block of memory in the order of the ids.
///
/// A cohort is added and removed in that order. With a tree or a hash table, finding each of ten thousand callers costs
/// more than waking them.
#[derive(Clone)]
pub(crate) struct Line<Id, T> {
    /// By id; `None` for an entry that was removed from the middle. The first entry is never `None`.
    entries: VecDeque<(Id, Option<T>)>,
    gaps: usize,
}

impl<Id, T> Default for Line<Id, T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), gaps: 0 }
    }
}

impl<Id: Copy + Ord + fmt::Debug, T: fmt::Debug> fmt::Debug for Line<Id, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<Id: Copy + Ord, T> Line<Id, T> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.gaps
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        let at = self.find(id).ok()?;
        self.entries.get(at)?.1.as_ref()
    }

    /// Adds an entry, or replaces the one with the same id. Cheap if the id is the greatest so far.
    pub(crate) fn join(&mut self, id: Id, waiting: T) {
        match self.find(id) {
            Ok(at) => {
                let former = self.entries.get_mut(at).and_then(|(_, place)| place.replace(waiting));
                self.gaps -= usize::from(former.is_none());
            }
            Err(at) => self.entries.insert(at, (id, Some(waiting))),
        }
    }

    /// Removes the entry with this id.
    pub(crate) fn leave(&mut self, id: Id) -> Option<T> {
        let at = self.find(id).ok()?;
        let waiting = self.entries.get_mut(at)?.1.take()?;
        self.gaps += 1;
        while self.entries.front().is_some_and(|(_, first)| first.is_none()) {
            self.entries.pop_front();
            self.gaps -= 1;
        }
        if self.entries.is_empty() {
            // The memory of many entries is freed as soon as the last one leaves.
            *self = Self::default();
        } else if self.gaps > self.entries.len() / 2 {
            self.entries.retain(|(_, waiting)| waiting.is_some());
            self.gaps = 0;
        }
        Some(waiting)
    }

    /// The entries, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.entries.iter().filter_map(|(id, waiting)| Some((*id, waiting.as_ref()?)))
    }

    /// Changes each entry, in order.
    pub(crate) fn for_each(&mut self, change: impl FnMut(&mut T)) {
        self.entries.iter_mut().filter_map(|(_, waiting)| waiting.as_mut()).for_each(change);
    }

    /// Keeps the entries for which `stays` returns true. It is called in order.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(Id, &T) -> bool) {
        let entries = mem::take(self).entries;
        self.entries = entries
            .into_iter()
            .filter(|(id, waiting)| waiting.as_ref().is_some_and(|waiting| stays(*id, waiting)))
            .collect();
    }

    /// The index of `id`, or the index to insert it at. There is no search at the two ends, where most entries are
    /// added and removed.
    fn find(&self, id: Id) -> Result<usize, usize> {
        let (Some((first, _)), Some((last, _))) = (self.entries.front(), self.entries.back()) else { return Err(0) };
        if *first == id {
            return Ok(0);
        }
        match last.cmp(&id) {
            Ordering::Less => Err(self.entries.len()),
            Ordering::Equal => Ok(self.entries.len() - 1),
            Ordering::Greater => self.entries.binary_search_by_key(&id, |(id, _)| *id),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Join(u8, u16),
        Leave(u8),
        Retain(u16),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            3 => (0..40_u8, any::<u16>()).prop_map(|(id, waiting)| Act::Join(id, waiting)),
            3 => (0..40_u8).prop_map(Act::Leave),
            1 => (1..5_u16).prop_map(Act::Retain),
        ];
        proptest::collection::vec(act, 0..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_map_in_the_order_of_its_ids(acts in acts()) {
            let (mut line, mut map) = (Line::default(), BTreeMap::new());
            for act in acts {
                match act {
                    Act::Join(id, waiting) => {
                        line.join(id, waiting);
                        map.insert(id, waiting);
                    }
                    Act::Leave(id) => assert_eq!(line.leave(id), map.remove(&id)),
                    Act::Retain(by) => {
                        line.retain(|_, waiting| waiting % by == 0);
                        map.retain(|_, waiting| *waiting % by == 0);
                    }
                }
                assert_eq!((line.len(), line.is_empty()), (map.len(), map.is_empty()));
                assert!(line.iter().eq(map.iter().map(|(id, waiting)| (*id, waiting))));
                assert!((0..40).all(|id| line.get(id) == map.get(&id)));
                assert!(line.entries.len() <= 2 * line.len() + 1, "gaps are closed");
            }
        }
    }

    #[test]
    fn gaps_are_closed_once_they_are_more_than_half() {
        let mut line = Line::default();
        (0..6).for_each(|id| line.join(id, id));
        let mut room = Vec::new();
        for id in [1, 2, 3, 4] {
            line.leave(id);
            room.push(line.entries.len());
        }
        assert_eq!(room, [6, 6, 6, 2]);
        assert_eq!(format!("{line:?}"), "{0: 0, 5: 5}");
    }

    #[test]
    fn an_empty_line_takes_no_room() {
        let mut line = Line::default();
        (0..10_000).for_each(|id| line.join(id, id));
        (0..10_000).for_each(|id| assert_eq!(line.leave(id), Some(id)));
        assert_eq!(line.entries.capacity(), 0);
    }
}
