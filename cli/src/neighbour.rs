//! Hints at a session beside the one that was named, which the person meant, or which the named one draws from.

use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::machine::MachineGrant;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Reason, ServerIdentity};

/// A sentence that names the session which was probably meant, if `reason` is that `identity` was never signed in, or the one
/// at an identity provider that needs a sign-on.
pub(crate) async fn hint(store: &FileStore, identity: &ServerIdentity, reason: Reason) -> Option<String> {
    match reason {
        Reason::NeverSignedIn => {}
        Reason::SignOnRequired => return sign_on(store, identity).await,
        _ => return None,
    }
    let mut others = store.list().await.ok()?;
    others.retain(|other| other != identity && is_same_server(other, identity));
    // The same account first, because `/mcp` and `/mcp/` are the usual mistake.
    others.sort_by_key(|other| (other.account() != identity.account(), other.key()));
    for other in others {
        if store.inspect(&other).await.is_ok_and(|record| record.is_some_and(|record| record.grant().is_some())) {
            return Some(format!("there is no session for {identity}, but there is one for {other}"));
        }
    }
    None
}

/// A sentence about the session that `identity` draws its tokens from.
async fn sign_on(store: &FileStore, identity: &ServerIdentity) -> Option<String> {
    let record = store.inspect(identity).await.ok().flatten()?;
    let grant = MachineGrant::of_plan(&record.grant()?.renewal)?;
    let other = grant.other_session()?;
    Some(format!("tokenkeeper login {} signs in at the identity provider of {identity}", other.target()))
}

/// Whether both are for one server, but for a slash at the end of its URL.
fn is_same_server(one: &ServerIdentity, other: &ServerIdentity) -> bool {
    let url = |identity: &ServerIdentity| Some(identity.resource()?.as_str().trim_end_matches('/').to_owned());
    url(one).is_some() && url(one) == url(other)
}
