//! The parts that this crate adds to the engine's runtime, such as the logins over HTTP and the proofs of possession.

use std::sync::Arc;

use crate::authorization::AuthorizationLogins;
use crate::issuers::providers::Providers;
use crate::machine::MachineSource;
use crate::proof::Prover;
use crate::user::Users;

/// The parts of a runtime that are not in the engine. All handles share them, so a clone of a handle costs only one more
/// reference.
#[derive(Debug)]
pub(crate) struct OAuth {
    /// The logins over HTTP. `None` if the host uses its own login source, or none.
    pub(crate) logins: Option<Arc<AuthorizationLogins>>,
    /// The source of the grants without a login.
    pub(crate) machine: Arc<MachineSource>,
    /// The known providers.
    pub(crate) providers: Providers,
    /// Makes the proofs of possession (DPoP) of all sessions.
    pub(crate) proofs: Prover,
    /// The user contexts of all sessions.
    pub(crate) users: Users,
}
