//! A model check of the flight protocol with two processes over one store and one strict authorization server.
//!
//! The model drives the shipped machines. It calls [`Flight`](tokenkeeper_actors::law::flight::Flight) and
//! [`ledger::apply`](tokenkeeper_actors::law::ledger::apply) as a runtime does, and models their surroundings. The
//! simulation samples long runs with many kinds of event. [stateright] explores small runs here completely, with every
//! order of every step within the [`Bounds`].
//!
//! # The model
//!
//! - **Processes.** Each runs a few flights of one identity, one after the other, which its session orders. The session
//!   uses the view and the doubt from its last flight, and waits for the end of its rest. It may read the record before
//!   a flight begins, or use its present knowledge.
//! - **The store.** It has one record, and claims of either kind. A crash frees kernel locks. Leases expire or are
//!   lost, and their lost holders may be alive. The ledger decides which change may replace which.
//! - **The server.** A refresh token works once. A second presentation revokes its lineage. A request that has left is
//!   processed before its time-out or never, whether or not its process is still alive and waits for the answer. If
//!   none waits, it is processed before the next request of its lineage, except as [`Bounds::late_requests`] allows.
//! - **Actions.** See [`Action`]. Effects are carried out one at a time in any order. Claims are lost, saves fail, and
//!   store operations are given up and take effect later or never. Connections break before or after the server has
//!   processed the request. Processes crash, a login is installed, and time passes.
//!
//! # Bounds
//!
//! [`Bounds::STATED`] has two flights of each process, one crash, one claim loss, one lost answer and one login, all in
//! the same run. On leases it is checked whole where a reuse ends more than the lineage. Where a token in doubt is
//! presented again it is checked with one flight of each process, and with two flights without the login or without the
//! lost answer. It is checked with a failed save, and no claim to lose, on kernel locks. All kinds of event in one
//! check would be too much for two cores. So a slow store, processes that stand still, requests that are processed
//! late, and leases longer than requested have checks of their own, each with the events that matter to it (see
//! [`Config::usual`]). [`Config::larger`] has the checks that take longer. Grace periods and servers that keep a
//! refresh token are not explored. Neither are logouts, shutdowns and an issuer that throttles. The simulation has
//! them.
//!
//! # Simplifications, and why they lose nothing
//!
//! - An effect on the store and its answer are one step. Only the flight sees the difference. A flight that has the
//!   answer and has not acted on it is the same as one that does not have it yet. A flight that gives up before the
//!   answer is covered by [`Bounds::timeouts`].
//! - The first read of an attempt, before its claim, happens at once. A flight with a late read is the same as a flight
//!   that began late.
//! - A flight that pauses because the claim is held wakes up when it would find a change. The change is a free claim,
//!   another record, or the end of its timeout. Waking earlier leads back to the same state.
//! - A process that holds no claim and has no write under way leaves no trace when it crashes, so it does not crash.
//! - A flight that presents its token once more does so at any time after its pause, which is shorter than a second and
//!   takes no other time.
//! - Time passes in stretches ([`Span`]), chosen to lie on either side of the machines' limits. The machines' own tests
//!   cover the exact instants of these limits.
//! - The issuer's permit is given at once, because it concerns a single process only.
//!
//! The module `identity` lists the differences that its keys ignore, and why this is sound.
//!
//! # Checks
//!
//! The check tests each [`Law`] in every state. It also tests that each [`Sight`] that the bounds allow is seen, so
//! that the laws do not hold for lack of events. It tests that the exploration was complete, which means that no bound
//! on depth, time or states cut it off, and that as many states were expanded as were found. The model has no cycles,
//! and a state in which nothing is due is checked for flights that have not landed ([`Law::NothingHangs`]). So every
//! flight lands. A broken law is reported with about the shortest way to break it, step by step.
//!
//! `tests/two_processes.rs` plants [`Fault`]s in the store or the driver, to show that the check finds them.
//!
//! ```sh
//! cargo run --release -p tokenkeeper-model                # the checks that CI runs
//! cargo run --release -p tokenkeeper-model -- --larger    # larger bounds
//! ```

mod actions;
mod bounds;
mod chance;
mod config;
mod identity;
mod laws;
mod logins;
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
pub use logins::{LoginAction, LoginBounds, LoginReport, LoginState, Logins, check_logins};
pub use model::TwoProcesses;
pub use report::{Broken, Report, check};
pub use sightings::{Sight, Sightings};
pub use state::State;
