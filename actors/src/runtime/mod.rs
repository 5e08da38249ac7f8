//! The runtime: the actors that drive the law in a host.
//!
//! ```text
//! AuthSession (handles) ──hit──▶ cell        AuthRuntime ── address ──▶ AddressActor
//!       │ otherwise                                                        │
//!       ▼                                                                  ▼
//!     slot ◀──────────────────────────── the same way in ──────────────────┘
//!       │
//!       ▼                        starts, starts again, tells what the store says
//!   TokenActor (session machine) ◀────────────────────────────────── AuthSupervisor ── linked into a host's tree
//!       │ Fly
//!       ▼
//!   flight_task (flight machine): a task of the spawner's, which no actor's end ends
//! ```
//!
//! Nothing here decides anything about tokens: the machines do. Drivers carry effects out, and pass on what happened.

mod address;
mod auth_runtime;
mod builder;
mod cell;
mod core;
mod events;
mod flight_task;
pub mod issuer;
mod plan;
mod request;
mod session;
mod shutdown;
mod slot;
mod sources;
#[cfg(feature = "scripted")]
pub mod stand_in;
mod state;
mod supervisor;
mod timer;
mod token_actor;
mod watch;

pub use address::AuthMessage;
pub use auth_runtime::AuthRuntime;
pub use builder::{AuthSpec, BuildError, RuntimeBuilder};
pub use events::{AuthEvent, EventStream};
pub use plan::{SessionSpec, Settings};
pub use session::{AuthSession, TokenOptions};
pub use shutdown::{ShutdownReport, Unsaved};
pub use sources::Sources;
pub use state::{SessionState, StateWatch};
