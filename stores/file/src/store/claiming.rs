//! Claims whose caller may have been dropped when they are granted.

use std::sync::Arc;

use tokenkeeper_actors::ports::store::{ClaimAnswer, ClaimScope};
use tokenkeeper_actors::values::{FlightId, StoreFault};

use super::{FileStore, Inner};
use crate::names::Name;
use crate::records::Place;

impl FileStore {
    /// Takes a claim. If the caller was dropped before the claim is granted, the claim is ended.
    pub(super) async fn claim_lock(
        &self,
        name: impl FnOnce(&Place) -> Name + Send + 'static,
        scope: ClaimScope,
        holder: FlightId,
    ) -> Result<ClaimAnswer, StoreFault> {
        let answer = self.serve(move |inner, place| {
            let name = name(place);
            if matches!(scope, ClaimScope::Spend(_)) {
                place.home.settle()?;
            }
            let (answer, is_new) = inner.claims.claim(&place.home, &name, scope, holder)?;
            let untold = is_new.then(|| Untold { inner: Some(Arc::clone(inner)), name, scope, holder });
            Ok((answer, untold))
        });
        let (answer, mut untold) = answer.await?;
        if let Some(untold) = &mut untold {
            untold.inner = None;
        }
        Ok(answer)
    }
}

/// A claim that was taken but not yet delivered to its flight. Dropping it ends the claim.
struct Untold {
    /// `None` once it was delivered.
    inner: Option<Arc<Inner>>,
    name: Name,
    scope: ClaimScope,
    holder: FlightId,
}

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.claims.end(&self.name, self.scope, self.holder);
        }
    }
}
