//! Hints at an existing session that the person probably meant.

use tokenkeeper::ServerIdentity;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::stores::file::FileStore;

/// A sentence that names the session that the person probably meant, if `identity` was never signed in.
pub(crate) async fn hint(store: &FileStore, identity: &ServerIdentity) -> Option<String> {
    let mut others = store.list().await.ok()?;
    others.retain(|other| other != identity && is_same_server(other, identity));
    // Sessions with the same account come first, because `/mcp` instead of `/mcp/` is the usual mistake.
    others.sort_by_key(|other| (other.account() != identity.account(), other.key()));
    for other in others {
        if store.inspect(&other).await.is_ok_and(|record| record.is_some_and(|record| record.grant().is_some())) {
            return Some(format!("there is no session for {identity}, but there is one for {other}"));
        }
    }
    None
}

/// Whether both are for one server, apart from a slash at the end of its URL.
fn is_same_server(one: &ServerIdentity, other: &ServerIdentity) -> bool {
    let url = |identity: &ServerIdentity| Some(identity.resource()?.as_str().trim_end_matches('/').to_owned());
    url(one).is_some() && url(one) == url(other)
}
