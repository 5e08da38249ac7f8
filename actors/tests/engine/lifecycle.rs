//! Actors, trees and runtimes end at each moment. A rotated token is stored, every caller is answered, and the next
//! call works or returns the reason.
//!
//! Each test is one row. In each, an actor outside the tree (the guest) asks through the runtime's address, and other
//! callers ask through handles.

mod attacks;
mod broken_off;
mod callers;
mod doubts;
mod endings;
mod hosts;
mod in_use;
mod leaving;
mod quiet;
mod restarts;
mod revoking;
mod rig;
mod saving;
mod sleep;
mod storms;
mod telling;
mod trees;
pub(crate) mod tricks;
mod unsigned;
