//! The runtime: the actors that drive the law in a host.
//!
//! ```text
//! AuthSession (handles) ──hit──▶ cell        AuthRuntime ── address ──▶ Reception
//!       │ otherwise                                                        │
//!       ▼                                                                  ▼
//!     slot ◀──────────────────────────── the same way in ──────────────────┘
//!       │
//!       ▼                        starts, starts again, tells what the store says
//!   TokenActor (session machine) ◀────────────────────────────────── AuthSupervisor ── linked into a host's tree
//!       │ Fly
//!       ▼
//!   voyage (flight machine): a task of the spawner's, which no actor's end ends
//! ```
//!
//! Nothing here decides anything about tokens: the machines do. Drivers carry effects out, and pass on what happened.

mod auth_runtime;
mod builder;
mod cell;
mod core;
pub mod issuer;
mod news;
mod plan;
mod reception;
mod request;
mod session;
mod shutdown;
mod slot;
#[cfg(feature = "scripted")]
pub mod stand_in;
mod state;
mod supervisor;
mod timer;
mod token_actor;
mod voyage;
mod watch;

pub use auth_runtime::AuthRuntime;
pub use builder::{AuthSpec, BuildError, RuntimeBuilder};
pub use news::{NewsFeed, SessionNews};
pub use plan::{SessionSpec, Settings};
pub use reception::AuthMessage;
pub use session::{AuthSession, TokenRequest};
pub use shutdown::{ShutdownReport, Unsaved};
pub use state::{SessionState, StateWatch};
