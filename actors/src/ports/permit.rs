//! The port through which flights get permits, each of which is leave for one token request to an issuer. A flight asks for
//! its permit before it asks the store for a claim.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::law::flight::Urgency;
use crate::values::record::Issuer;

/// Limits the requests to each issuer, and holds them back while an issuer is throttled, which means that it has asked for
/// no requests for some time (`Retry-After`).
///
/// Shared by all identities of a runtime. One permit is leave for one token request.
#[async_trait]
pub trait IssuerPermits: fmt::Debug + Send + Sync + 'static {
    /// Waits for a permit for one request to `issuer`, or returns the remaining time of its throttle. Callers come
    /// before background work. Flights that do not know their issuer yet pass `None` and share one queue.
    ///
    /// If a flight has waited in the queue for too long, the answer is [`Held`](Permission::Held), and the flight asks again
    /// later. It may wait longer only while the implementation itself is down and expected back.
    ///
    /// # Cancellation
    ///
    /// Dropping the future leaves the queue, and returns a permit that was granted meanwhile.
    async fn ask(&self, issuer: Option<&Issuer>, urgency: Urgency) -> Permission;

    /// Looks for a throttle of `issuer` that began after a permit was granted, in another process for example. A flight
    /// calls it once it has its claim, for which it may have waited long, and does not wait for the result.
    /// [`throttled`](Self::throttled) then reports a throttle that was found. The default does nothing.
    async fn look_for_throttle(&self, _issuer: Option<&Issuer>) {}

    /// The remaining time of the throttle of `issuer`, if this process knows of one. A flight that is about to send
    /// calls it, and does not send during that time. The default is `None`.
    fn throttled(&self, _issuer: Option<&Issuer>) -> Option<Duration> {
        None
    }

    /// Holds back the requests to `issuer` for `throttle` from now on (`Retry-After`, capped by the implementation). A
    /// flight that will repeat its request under the same permit calls it. Any other flight passes the throttle to
    /// [`Permit::give_back`]. The default does nothing.
    fn throttle(&self, _issuer: Option<&Issuer>, _throttle: Duration) {}

    /// Waits for a short time until other processes can see the throttle with which a permit for `issuer` was returned.
    /// A flight calls it before it ends its claim, so that the next holder of the claim sees the throttle. The default
    /// does not wait.
    async fn until_shared(&self, _issuer: Option<&Issuer>) {}
}

/// The answer to a request for a permit.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back"]
pub enum Permission {
    /// The permit, to be given back after the request.
    Granted(Permit),
    /// No permit now, because the issuer is throttled or the queue was too long. Ask again after this time.
    Held(Duration),
    /// This process cannot give out permits, for a reason that does not concern the issuer.
    Unavailable,
}

/// Leave to make one token request. The flight's driver holds the permit. The flight's state machine only knows whether
/// there is one.
///
/// It is returned exactly once, by [`give_back`](Permit::give_back) or when it is dropped. A flight that ends early
/// therefore returns its permit, without a throttle.
#[must_use = "a permit that is dropped is given back"]
pub struct Permit(Option<GiveBack>);

/// Called when a permit is returned, with the throttle.
type GiveBack = Box<dyn FnOnce(Option<Duration>) + Send + Sync + 'static>;

impl Permit {
    /// Makes a permit for which `give_back` is called exactly once, with the throttle that the issuer asked for. The
    /// call may happen in a drop, so it must neither block nor panic.
    pub fn new(give_back: impl FnOnce(Option<Duration>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(give_back)))
    }

    /// Returns the permit, with the throttle that the issuer asked for (`Retry-After`, capped by the implementation).
    /// After this call, no permit is granted until that time has passed.
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
