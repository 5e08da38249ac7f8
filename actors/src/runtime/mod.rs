//! The actors that drive the machines in a host.
//!
//! ```text
//! AuthSession (handles) ──hit──▶ cell        AuthRuntime ── address ──▶ AddressActor
//!       │ otherwise                                                        │
//!       ▼                                                                  ▼
//!     slot ◀──────────────────────────── requests ─────────────────────────┘
//!       │
//!       ▼                        starts, restarts, passes the store's events on
//!   TokenActor (session machine) ◀────────────────────────────────── AuthSupervisor ── linked into a host's tree
//!       │ Fly
//!       ▼
//!   FlightTask (flight machine), a task of the spawner that outlives the actors
//! ```
//!
//! Only the machines decide about tokens. The drivers carry out effects, and turn results into events.
//!
//! Each file imports only from files that come later in this list, in a lower row or after a "then" in its own row.
//!
//! 1. `builder`, `sign_in` (logins that a person is asked for), then `auth_runtime`, `stand_in` (takes an actor's place in
//!    scripted sessions)
//! 2. `address`, `supervisor`, then `session`, `token_actor`
//! 3. `flight_task`, `login_task`, `watch`, then `events`, `issuer`
//! 4. `core`, then `directory` (of the slots), then `slot`
//! 5. `messages`, then `request`, `state`, then `cell`
//! 6. `auth_event`, `plan`, `shutdown`, `timer`, `usage` (whether a lease is in use), then `sources` (token sources by name)

mod address;
mod auth_event;
mod auth_runtime;
mod builder;
mod cell;
mod core;
mod directory;
mod events;
mod flight_task;
pub mod issuer;
mod login_task;
mod messages;
mod plan;
mod removal;
mod request;
mod revocations;
mod session;
mod shutdown;
mod sign_in;
mod slot;
mod sources;
#[cfg(feature = "scripted")]
pub mod stand_in;
mod state;
mod supervisor;
mod timer;
mod token_actor;
mod usage;
mod watch;

pub use address::{AuthMessage, StateChange};
pub use auth_event::{AuthEvent, EventStream};
pub use auth_runtime::{AuthRuntime, WeakRuntime};
pub use builder::{AuthSpec, BuildError, RuntimeBuilder};
pub use plan::{SessionSpec, Settings};
pub use session::{AuthSession, ServedLogin, TokenOptions};
pub use shutdown::{ShutdownReport, Unsaved};
pub use sources::Sources;
pub use state::{SessionState, StateWatch};
