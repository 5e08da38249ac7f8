//! The cell's protocol under loom: every interleaving of a few writers and readers, with what acquire and release allow.
//!
//! What runs here is the shipped code over another [`Pointer`]. Two things are taken on trust from arc-swap: that what a
//! pointer points to is alive and whole while it is held, and that nothing else gets its address meanwhile. Here that is
//! so because nothing is ever thrown away. Its orderings are not taken on trust: its documentation promises at least
//! those used here.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::{Arc, Cell, Incarnation, Pointer, Posted};
use crate::law::session::{Hit, Published, Residue};
use crate::values::{
    AccessToken, Cause, Epoch, Generation, Lease, LeaseParts, Moment, Scopes, TokenKind, Validity, Window,
};

/// Loom's atomic says which of all that was ever posted stands there.
struct Kept {
    place: AtomicUsize,
    all: Mutex<Vec<Arc<Posted>>>,
}

struct Held(usize, Arc<Posted>);

impl Deref for Held {
    type Target = Arc<Posted>;

    fn deref(&self) -> &Arc<Posted> {
        &self.1
    }
}

impl Kept {
    fn new() -> Self {
        Self { place: AtomicUsize::new(0), all: Mutex::new(vec![Arc::default()]) }
    }

    fn held(&self, place: usize) -> Held {
        Held(place, Arc::clone(&self.all.lock().unwrap_or_else(PoisonError::into_inner)[place]))
    }
}

impl Pointer for Kept {
    type Held<'a> = Held;

    fn load(&self) -> Held {
        self.held(self.place.load(Ordering::Acquire))
    }

    fn replace(&self, current: &Held, new: Arc<Posted>) -> Held {
        let place = {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
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

/// What an incarnation would publish after so many refusals: a floor, and a lease above it.
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
fn a_superseded_writer_never_overwrites_and_its_successor_gets_all_that_it_posted() {
    loom::model(|| {
        let cell = cell();
        let (first, _) = cell.begin();
        let former = thread::spawn({
            let cell = cell.clone();
            move || [1, 2].into_iter().filter(|number| cell.post(first, published(*number))).count() as u64
        });
        let (second, residue) = cell.begin();
        let handed_over = number(&residue);
        assert!(cell.post(second, published(handed_over + 10)));
        let posted = former.join().unwrap();
        assert_eq!(handed_over, posted, "what was posted, to the last");
        let last = cell.read();
        assert_eq!((last.by, number(&last.residue())), (second, handed_over + 10));
    });
}

#[test]
fn two_that_begin_at_once_are_two_and_one_of_them_has_the_pen() {
    loom::model(|| {
        let cell = cell();
        let other = thread::spawn({
            let cell = cell.clone();
            move || {
                let (by, _) = cell.begin();
                (by, cell.post(by, published(1)))
            }
        });
        let (by, _) = cell.begin();
        let posted = cell.post(by, published(2));
        let (other, other_posted) = other.join().unwrap();
        assert_ne!(by, other);
        let (newest, newest_posted) = if by > other { (by, posted) } else { (other, other_posted) };
        assert!(newest_posted);
        assert_eq!(cell.read().by, newest);
    });
}

#[test]
fn whoever_was_answered_after_a_post_sees_nothing_older_also_across_a_successor() {
    loom::model(|| {
        let cell = cell();
        let (first, _) = cell.begin();
        assert!(cell.post(first, published(1)));
        let answered = loom::sync::Arc::new(AtomicBool::new(false));
        let writer = thread::spawn({
            let (cell, answered) = (cell.clone(), answered.clone());
            move || {
                // An answer goes through a channel, which releases and acquires; no answer without the post.
                if cell.post(first, published(2)) {
                    answered.store(true, Ordering::Release);
                }
            }
        });
        let successor = thread::spawn({
            let cell = cell.clone();
            move || {
                let (second, residue) = cell.begin();
                assert!(cell.post(second, published(number(&residue))));
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
fn closing_hides_no_newer_post_and_is_not_undone_by_one_who_is_still_ending() {
    loom::model(|| {
        let cell = cell();
        let (first, _) = cell.begin();
        assert!(cell.post(first, published(1)));
        let ending = thread::spawn({
            let cell = cell.clone();
            move || cell.post(first, published(2))
        });
        let successor = thread::spawn({
            let cell = cell.clone();
            move || {
                let (second, residue) = cell.begin();
                assert!(cell.post(second, published(number(&residue) + 10)));
                second
            }
        });
        let closed = cell.close(first);
        if closed {
            let after = cell.read();
            assert!(after.by > first);
            // Whoever is there now has begun since, or the lease is gone.
            assert!(after.hit.is_none() || number(&after.residue()) > 2);
        }
        ending.join().unwrap();
        let second = successor.join().unwrap();
        let last = cell.read();
        assert_eq!(last.by, second);
        assert!(last.hit.is_some(), "what the successor posted is not hidden");
        assert!(!cell.close(first) && !cell.post(first, published(3)));
        assert!(second > Incarnation::default());
    });
}
