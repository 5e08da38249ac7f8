//! The parts of a runtime that the engine does not have.

use std::sync::Arc;

use crate::authorization::AuthorizationLogins;
use crate::issuers::providers::Providers;
use crate::machine::MachineSource;
use crate::proof::Prover;
use crate::user::Users;

/// The parts of a runtime over its engine. All handles share it, so a clone of a handle costs only one more reference.
#[derive(Debug)]
pub(crate) struct OAuth {
    /// The logins over HTTP. `None` if the host uses its own login source, or none.
    pub(crate) logins: Option<Arc<AuthorizationLogins>>,
    /// The source of the grants without a login.
    pub(crate) machine: Arc<MachineSource>,
    /// The known providers.
    pub(crate) providers: Providers,
    /// The proofs of possession of all sessions.
    pub(crate) proofs: Prover,
    /// The people who are signed in.
    pub(crate) users: Users,
}
