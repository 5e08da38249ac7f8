//! The judge of tokenkeeper. It stages refreshes under load, counts what the server saw, and compares that with the laws.
//!
//! - `tokenkeeper-judge storm`: many callers in one process find an expired token, first with a refresh by each of them,
//!   then through tokenkeeper.
//! - `tokenkeeper-judge soak` and [`soak`]: several processes share one home for a while, and are killed and stopped.
//! - [`processes`]: the common parts of the soak and the tests of several processes, which are worker processes, the
//!   points at which their flights are held, and a runtime on a shared home.
//! - [`target`]: the servers, which are the testkit's own or an oidc-provider rig that runs already.
#![cfg(unix)]

pub mod command;
pub mod processes;
pub mod soak;
pub mod target;

mod clock;
mod draws;
mod failure;
mod paint;
mod storm;
mod text;
mod transport;
