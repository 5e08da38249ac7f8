//! The cell's protocol under loom, with every interleaving of a few writers and readers that acquire and release allow.
//!
//! The tests run the shipped code over another [`Pointer`]. They assume two things of arc-swap. A value stays alive and
//! whole while it is held, and no other value gets its address meanwhile. Here both hold because no value is ever
//! freed. Its orderings are not assumed, because its documentation promises at least the orderings used here.

use std::ops::Deref;
use std::sync::Mutex;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::{Arc, Cell, Incarnation, Pointer, Snapshot};
use crate::law::session::{Hit, Published, Residue};
use crate::sync::lock;
use crate::values::{
    AccessToken, Cause, Epoch, Generation, Lease, LeaseParts, Moment, Scopes, TokenKind, Validity, Window,
};

/// Loom's atomic holds the index of the current value among all values.
struct Kept {
    place: AtomicUsize,
    all: Mutex<Vec<Arc<Snapshot>>>,
}

struct Held(usize, Arc<Snapshot>);

impl Deref for Held {
    type Target = Arc<Snapshot>;

    fn deref(&self) -> &Arc<Snapshot> {
        &self.1
    }
}

impl Kept {
    fn new() -> Self {
        Self { place: AtomicUsize::new(0), all: Mutex::new(vec![Arc::default()]) }
    }

    fn held(&self, place: usize) -> Held {
        Held(place, Arc::clone(&lock(&self.all)[place]))
    }
}

impl Pointer for Kept {
    type Held<'a> = Held;

    fn load(&self) -> Held {
        self.held(self.place.load(Ordering::Acquire))
    }

    fn replace(&self, current: &Held, new: Arc<Snapshot>) -> Held {
        let place = {
            let mut all = lock(&self.all);
            all.push(new);
            all.len() - 1
        };
        let former = self.place.compare_exchange(current.0, place, Ordering::AcqRel, Ordering::Acquire);
        self.held(former.unwrap_or_else(|other| other))
    }
}

type Checked = loom::sync::Arc<Cell<Kept>>;

fn cell() -> Checked {
    loom::sync::Arc::new(Cell(Kept::new()))
}

/// The value that an incarnation would publish after this many refusals, with a floor and a lease above it.
fn published(number: u64) -> Published {
    let (floor, epoch) = (Some(Generation::stored(Epoch::new(1), number)), Epoch::new(1));
    let validity = Validity::new(Moment::default(), None);
    let lease = Lease::new(LeaseParts {
        token: AccessToken::new("at"),
        kind: TokenKind::Bearer,
        generation: Generation::stored(epoch, number + 1),
        scopes: Scopes::default(),
        validity,
        cause: Cause::Refusal,
        proof_key: None,
    });
    let hit = Some(Hit { lease, window: Window::of(&validity, validity.anchored().boot) });
    Published { hit, residue: Residue { floor, ..Residue::default() }, ..Published::default() }
}

fn number(residue: &Residue) -> u64 {
    residue.floor.map_or(0, |floor| floor.number)
}

#[test]
fn a_superseded_writer_never_overwrites_and_its_successor_gets_its_last_value() {
    loom::model(|| {
        let cell = cell();
        let (first, _) = cell.begin();
        let former = thread::spawn({
            let cell = cell.clone();
            move || [1, 2].into_iter().filter(|number| cell.publish(first, published(*number))).count() as u64
        });
        let (second, residue) = cell.begin();
        let handed_over = number(&residue);
        assert!(cell.publish(second, published(handed_over + 10)));
        let written = former.join().unwrap();
        assert_eq!(handed_over, written, "the last published value");
        let last = cell.read();
        assert_eq!((last.by, number(&last.residue())), (second, handed_over + 10));
    });
}

#[test]
fn of_two_writers_that_begin_at_once_only_the_newer_may_write() {
    loom::model(|| {
        let cell = cell();
        let other = thread::spawn({
            let cell = cell.clone();
            move || {
                let (by, _) = cell.begin();
                (by, cell.publish(by, published(1)))
            }
        });
        let (by, _) = cell.begin();
        let written = cell.publish(by, published(2));
        let (other, other_written) = other.join().unwrap();
        assert_ne!(by, other);
        let (newest, newest_written) = if by > other { (by, written) } else { (other, other_written) };
        assert!(newest_written);
        assert_eq!(cell.read().by, newest);
    });
}

#[test]
fn a_caller_answered_after_a_write_reads_nothing_older_also_across_a_successor() {
    loom::model(|| {
        let cell = cell();
        let (first, _) = cell.begin();
        assert!(cell.publish(first, published(1)));
        let answered = loom::sync::Arc::new(AtomicBool::new(false));
        let writer = thread::spawn({
            let (cell, answered) = (cell.clone(), answered.clone());
            move || {
                // An answer goes through a channel, which releases and acquires; no answer without the write.
                if cell.publish(first, published(2)) {
                    answered.store(true, Ordering::Release);
                }
            }
        });
        let successor = thread::spawn({
            let cell = cell.clone();
            move || {
                let (second, residue) = cell.begin();
                assert!(cell.publish(second, published(number(&residue))));
            }
        });
        let before = number(&cell.read().residue());
        if answered.load(Ordering::Acquire) {
            assert_eq!(number(&cell.read().residue()), 2);
        }
        assert!(number(&cell.read().residue()) >= before, "a cell never goes back");
        writer.join().unwrap();
        successor.join().unwrap();
    });
}

#[test]
fn clearing_hides_no_newer_value_and_is_not_undone_by_a_writer_that_is_ending() {
    loom::model(|| {
        let cell = cell();
        let (first, _) = cell.begin();
        assert!(cell.publish(first, published(1)));
        let ending = thread::spawn({
            let cell = cell.clone();
            move || cell.publish(first, published(2))
        });
        let successor = thread::spawn({
            let cell = cell.clone();
            move || {
                let (second, residue) = cell.begin();
                assert!(cell.publish(second, published(number(&residue) + 10)));
                second
            }
        });
        let cleared = cell.clear_lease(first);
        if cleared {
            let after = cell.read();
            assert!(after.by > first);
            // Either a newer writer has begun since, or the lease is cleared.
            assert!(after.hit.is_none() || number(&after.residue()) > 2);
        }
        ending.join().unwrap();
        let second = successor.join().unwrap();
        let last = cell.read();
        assert_eq!(last.by, second);
        assert!(last.hit.is_some(), "the successor's value is not hidden");
        assert!(!cell.clear_lease(first) && !cell.publish(first, published(3)));
        assert!(second > Incarnation::default());
    });
}
