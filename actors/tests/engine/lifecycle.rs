//! Whatever ends, the token that was rotated is stored, everyone is answered, and the next call works or says why.
//!
//! One row a test. In each, a foreign ractor actor (the guest) asks through the runtime's address beside the handles.

mod attacks;
mod callers;
mod doubts;
mod endings;
mod hosts;
mod in_use;
mod restarts;
mod rig;
mod saving;
mod sleep;
mod storms;
mod telling;
mod trees;
mod tricks;
