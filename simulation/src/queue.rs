//! The pending items, in the order of virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Millis;
use crate::rng::join;

/// Pending items. The seed decides the order of items that are due at the same millisecond.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Millis, u64, u64)>>,
    items: Vec<Option<T>>,
    free: Vec<usize>,
    pushed: u64,
    seed: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new(seed: u64) -> Self {
        Self { heap: BinaryHeap::new(), items: Vec::new(), free: Vec::new(), pushed: 0, seed }
    }

    pub(crate) fn push(&mut self, due: Millis, item: T) {
        let tie = join(self.seed, self.pushed);
        self.pushed += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.items[place] = Some(item);
                place
            }
            None => {
                self.items.push(Some(item));
                self.items.len() - 1
            }
        };
        self.heap.push(Reverse((due, tie, place as u64)));
    }

    /// The next item, with its due time.
    pub(crate) fn pop(&mut self) -> Option<(Millis, T)> {
        let Reverse((due, _, place)) = self.heap.pop()?;
        let place = place as usize;
        let item = self.items[place].take()?;
        self.free.push(place);
        Some((due, item))
    }
}
