//! The values that the state machines of [`law`](crate::law) and the [`ports`](crate::ports) exchange, such as tokens,
//! times, identities and records. They do no I/O, and read neither a clock nor a source of randomness.

mod backoff;
mod digest;
mod error;
mod identity;
pub mod issuer;
mod lease;
mod lifetime;
mod lineage;
mod login;
mod reason;
pub mod record;
mod resource;
mod secret;
mod time;

pub use backoff::{ATTEMPT_PAUSES, ExponentialBackoff, MAX_SLEEP};
pub use digest::{DigestKey, KeyedDigest};
pub use error::{ConfigureError, InstallError, LogoutError, StoreFault, TokenError};
pub use identity::{Account, IdentityError, IdpIssuer, Provider, ServerIdentity, Target, is_plain};
pub use lease::{Cause, Lease, LeaseParts, Scopes, TokenKind};
pub use lifetime::{Validity, Window};
pub use lineage::{AttemptId, Epoch, FlightId, Generation, Nonce, Revision, Version};
pub use login::{
    BrowserBinding, Callback, LoginKey, LoginMethod, LoginOffer, LoginReason, LoginUrl, OfferedPrompt, SignInError,
};
pub use reason::Reason;
pub use record::{NameError, ProviderName, RenewalPlan, SourceName, Spending};
pub use resource::{ResourceError, ResourceUri};
pub use secret::{AccessToken, ClientSecret, DpopKey, RefreshToken, RegistrationToken, SourceSettings};
pub use time::{BootId, ElapsedTime, Jitter, Moment, Now, WallTime};
