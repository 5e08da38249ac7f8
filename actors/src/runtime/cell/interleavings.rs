//! Loom tests of the cell. Each runs a few writers and readers in every interleaving that acquire/release memory ordering
//! allows.
//!
//! The tests run the shipped code over another [`Pointer`]. They assume two properties of arc-swap. A value stays alive
//! and whole while it is held, and no other value gets its address meanwhile. Both hold here because no value is ever
//! freed. The memory orderings used here are not stronger than those that arc-swap documents.

use std::ops::Deref;
use std::sync::Mutex;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::{Arc, Cell, Pointer, Snapshot};
use crate::law::session::{Hit, Published, Residue};
use crate::sync::lock;
use crate::values::{
    AccessToken, Cause, Epoch, Generation, Lease, LeaseParts, Moment, Scopes, TokenKind, Validity, Window,
};

/// Replaces arc-swap in the model. It keeps every value that was ever stored, and the index of the current one in
/// loom's atomic. The mutex is std's, which loom does not see, so it orders nothing in the model.
struct LoomPointer {
    current: AtomicUsize,
    all: Mutex<Vec<Arc<Snapshot>>>,
}

struct Held {
    index: usize,
    value: Arc<Snapshot>,
}

impl Deref for Held {
    type Target = Arc<Snapshot>;

    fn deref(&self) -> &Arc<Snapshot> {
        &self.value
    }
}

impl LoomPointer {
    fn new() -> Self {
        Self { current: AtomicUsize::new(0), all: Mutex::new(vec![Arc::default()]) }
    }

    fn held(&self, index: usize) -> Held {
        Held { index, value: Arc::clone(&lock(&self.all)[index]) }
    }
}

impl Pointer for LoomPointer {
    type Held<'a> = Held;

    fn load(&self) -> Held {
        self.held(self.current.load(Ordering::Acquire))
    }

    fn replace(&self, current: &Held, new: Arc<Snapshot>) -> Held {
        let index = {
            let mut all = lock(&self.all);
            all.push(new);
            all.len() - 1
        };
        // `Ok` and `Err` both hold the index that was current before.
        let found = self.current.compare_exchange(current.index, index, Ordering::AcqRel, Ordering::Acquire);
        self.held(found.unwrap_or_else(|other| other))
    }
}

/// A number that is added to the numbers of a later incarnation's values, if a test must distinguish them from the values
/// of the first one.
const SUCCESSORS: u64 = 10;

type LoomCell = loom::sync::Arc<Cell<LoomPointer>>;

fn cell() -> LoomCell {
    loom::sync::Arc::new(Cell(LoomPointer::new()))
}

/// A value whose floor has this number, and whose lease has the next one.
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

fn floor_number(residue: &Residue) -> u64 {
    residue.floor.map_or(0, |floor| floor.number)
}

#[test]
fn a_superseded_writer_never_overwrites_and_its_successor_gets_its_last_value() {
    loom::model(|| {
        let cell = cell();
        let (first, _) = cell.begin();
        // This thread writes 1 and then 2. No write succeeds after a refused one, so the count of successes is the number
        // that it wrote last.
        let older_writer = thread::spawn({
            let cell = cell.clone();
            move || [1, 2].into_iter().filter(|number| cell.publish(first, published(*number))).count() as u64
        });
        let (second, residue) = cell.begin();
        let handed_over = floor_number(&residue);
        assert!(cell.publish(second, published(handed_over + SUCCESSORS)));
        let written = older_writer.join().unwrap();
        assert_eq!(handed_over, written, "the last published value");
        let last = cell.read();
        assert_eq!((last.by, floor_number(&last.residue())), (second, handed_over + SUCCESSORS));
    });
}

#[test]
fn of_two_writers_that_begin_at_once_the_newer_writes_and_its_value_stays() {
    loom::model(|| {
        let cell = cell();
        let other = thread::spawn({
            let cell = cell.clone();
            move || {
                let (incarnation, _) = cell.begin();
                (incarnation, cell.publish(incarnation, published(1)))
            }
        });
        let (incarnation, _) = cell.begin();
        let written = cell.publish(incarnation, published(2));
        let (other, other_written) = other.join().unwrap();
        assert_ne!(incarnation, other);
        let (newest, newest_written) =
            if incarnation > other { (incarnation, written) } else { (other, other_written) };
        assert!(newest_written);
        assert_eq!(cell.read().by, newest);
    });
}

#[test]
fn a_caller_answered_after_a_write_reads_nothing_older_even_if_a_successor_has_begun() {
    loom::model(|| {
        let cell = cell();
        let (first, _) = cell.begin();
        assert!(cell.publish(first, published(1)));
        let answered = loom::sync::Arc::new(AtomicBool::new(false));
        let writer = thread::spawn({
            let (cell, answered) = (cell.clone(), answered.clone());
            move || {
                // `answered` stands for the channel of the answer. Sending is a release, and receiving is an acquire. A
                // caller is answered only if the write succeeded.
                if cell.publish(first, published(2)) {
                    answered.store(true, Ordering::Release);
                }
            }
        });
        let successor = thread::spawn({
            let cell = cell.clone();
            move || {
                let (second, residue) = cell.begin();
                assert!(cell.publish(second, published(floor_number(&residue))));
            }
        });
        let before = floor_number(&cell.read().residue());
        if answered.load(Ordering::Acquire) {
            assert_eq!(floor_number(&cell.read().residue()), 2);
        }
        assert!(floor_number(&cell.read().residue()) >= before, "a cell never goes back");
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
                assert!(cell.publish(second, published(floor_number(&residue) + SUCCESSORS)));
                second
            }
        });
        // Clears only while `first` is the newest incarnation, and then begins a new one.
        let cleared = cell.clear_lease(first);
        if cleared {
            let after = cell.read();
            assert!(after.by > first);
            // Either the successor has published already, or there is no lease.
            assert!(after.hit.is_none() || floor_number(&after.residue()) >= SUCCESSORS);
        }
        ending.join().unwrap();
        let second = successor.join().unwrap();
        let last = cell.read();
        assert_eq!(last.by, second);
        assert!(last.hit.is_some(), "the successor's value is not hidden");
        assert!(!cell.clear_lease(first) && !cell.publish(first, published(3)));
    });
}
