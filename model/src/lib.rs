//! A model check of the flight protocol: two processes over one store and one strict authorization server.
//!
//! The machines are the shipped ones: the model drives [`Flight`](tokenkeeper_actors::law::flight::Flight) and
//! [`ledger::apply`](tokenkeeper_actors::law::ledger::apply) as a runtime would, and adds what is around them. What the
//! simulation samples at length and in breadth, [stateright] explores here completely at a small size: every order of
//! every step within the [`Bounds`].
//!
//! # What is modelled
//!
//! - **Processes.** Each flies a few flights of one identity, one after the other, ordered as its session would: with the
//!   view and the doubt learnt from the last one, and no earlier than its rest allows. It may read the record before
//!   it begins, or go by what it knows.
//! - **The store.** One record, and claims of either kind: kernel locks, which a crash frees, and leases, which run out
//!   or are lost, and whose lost holders may live. What may replace what is the ledger's affair.
//! - **The server.** A refresh token works once; presented again, its lineage is revoked. A request that has left is
//!   processed until its time-out, whether or not its process still lives or listens, or never.
//! - **What may happen.** See [`Action`]: effects are carried out one at a time in any order; claims are lost; saves
//!   fail; store operations are given up on and take effect later or never; connections break before or after the
//!   server has processed the request; processes crash; a login is installed; time passes.
//!
//! # Bounds
//!
//! [`Bounds::STATED`]: two flights of each process, one crash, one claim loss, one lost answer and one login, all in
//! the same run; under `RetryOnce` and under `NeverReplay`, on leases and (with a failed save, and no claim to lose) on
//! kernel locks. Everything together would be too much for two cores, so a slow store, processes that stand still, and
//! leases longer than asked for are explored beside it, each with what it meets: see [`Config::usual`]. What takes
//! longer is in [`Config::larger`]. Not explored: `RetryWithin`, which is for a server with a grace period; logouts,
//! shutdowns and an issuer that throttles, which the simulation has.
//!
//! # What is left out, and why nothing is lost by it
//!
//! - An effect on the store and the news of it are one step. The flight alone sees the difference, and a flight that has
//!   the news and has not done anything yet is the same as one that has not got it; one that gives up before the news
//!   comes is in [`Bounds::timeouts`].
//! - The first read of an attempt, before its claim, happens at once: a flight whose read is late is a flight that began
//!   late.
//! - A flight that pauses because the claim is held wakes up when it would find something else: the claim free, another
//!   record, or its timeout at an end. Waking earlier leads back to where it was.
//! - A process that holds no claim and has no write under way leaves nothing behind when it crashes, so it does not.
//! - Time comes in three stretches ([`Span`]), chosen to lie on either side of the machines' limits. What happens at the
//!   very instant of one is left to the machines' own tests.
//! - The issuer's permit is given at once; it is a process's own affair.
//!
//! The module `identity` says which states are taken for one, and why that is sound.
//!
//! # What is checked
//!
//! Each [`Law`] in every state; that each [`Sight`] that the bounds allow is come across, so that the laws do not hold
//! for want of trying; and that the exploration was complete: no bound on depth, time or states cuts it off, and as
//! many states were gone on from as were found. The model has no cycles, and a state in which nothing is due is checked
//! for flights that have not landed ([`Law::NothingHangs`]): every flight lands. A law that is found broken comes with
//! about the shortest way to break it, step by step.
//!
//! That the check finds what it is for is shown with [`Fault`]s, planted in the store or the driver, in
//! `tests/two_processes.rs`.
//!
//! ```sh
//! cargo run --release -p tokenkeeper-model                # what CI runs
//! cargo run --release -p tokenkeeper-model -- --larger    # larger bounds
//! ```

mod actions;
mod bounds;
mod chance;
mod config;
mod identity;
mod laws;
mod model;
mod perform;
mod reading;
mod report;
mod server;
mod session;
mod sightings;
mod state;
mod step;
mod store;
mod story;

pub use actions::Action;
pub use bounds::{Bounds, Span};
pub use config::{Claims, Config, Fault};
pub use laws::Law;
pub use model::TwoProcesses;
pub use report::{Broken, Report, check};
pub use sightings::{Sight, Sightings};
pub use state::State;
