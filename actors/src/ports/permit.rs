//! The permit: an issuer's leave to make a request, which precedes every claim.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::law::flight::Urgency;
use crate::values::record::Issuer;

/// Holds back requests to an issuer that wants to be left alone, and spreads the rest.
///
/// Shared by all identities of a runtime. One permit is one token request.
#[async_trait]
pub trait IssuerPermits: fmt::Debug + Send + Sync + 'static {
    /// Waits for leave to make one request to `issuer`, or answers how long the issuer is to be left alone. Callers come
    /// before background work. Flights that do not know their issuer yet pass `None` and share one queue.
    ///
    /// A queued ask is answered within the implementation's timeout, at the latest with the time at which to ask again.
    /// An ask may wait longer only while the implementation itself is down and expected back.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up the place in the queue, and gives back a permit that was granted meanwhile.
    async fn ask(&self, issuer: Option<&Issuer>, urgency: Urgency) -> Permission;
}

/// The answer to a request for a permit.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back"]
pub enum Permission {
    /// Go ahead; give it back afterwards.
    Granted(Permit),
    /// The issuer is to be left alone for this long.
    Held(Duration),
    /// No permit can be given out in this process, for a reason that has nothing to do with the issuer.
    Unavailable,
}

/// Leave to make one token request, kept by whoever drives the flight, for as long as the flight has it.
///
/// Comes back once, whatever happens: by [`give_back`](Permit::give_back), or, with nothing to say about the issuer, when
/// it is dropped, so that a flight that breaks off takes no permit with it.
#[must_use = "a permit that is dropped is given back"]
pub struct Permit(Option<GiveBack>);

/// What happens when a permit comes back.
type GiveBack = Box<dyn FnOnce(Option<Duration>) + Send + Sync + 'static>;

impl Permit {
    /// A permit for which `give_back` is called exactly once, with what the issuer said about being left alone. It is
    /// called wherever the permit ends, in a drop too: it must neither block nor panic.
    pub fn new(give_back: impl FnOnce(Option<Duration>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(give_back)))
    }

    /// Gives the leave back, with what the issuer said about being left alone (`Retry-After`, capped by the permits).
    /// From the return of this call on nobody is granted a permit before that time has passed.
    pub fn give_back(mut self, throttle: Option<Duration>) {
        self.end(throttle);
    }

    fn end(&mut self, throttle: Option<Duration>) {
        if let Some(give_back) = self.0.take() {
            give_back(throttle);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_permit_comes_back_once_however_it_ends() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let permit = || {
            let said = Arc::clone(&said);
            Permit::new(move |throttle| said.lock().unwrap().push(throttle))
        };
        permit().give_back(Some(Duration::from_secs(7)));
        permit().give_back(None);
        drop(permit());
        assert_eq!(*said.lock().unwrap(), [Some(Duration::from_secs(7)), None, None]);
        assert_eq!(format!("{:?}", Permission::Granted(permit())), "Granted(Permit)");
    }
}
