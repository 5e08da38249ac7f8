//! The time in which an authorization server asked for no requests.

use tokenkeeper::IssuerPolicy;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::values::issuer::{EntryContent, EntryKind, IssuerKey};
use tokenkeeper::engine::values::record::Issuer;
use tokenkeeper::engine::values::{Moment, WallTime};
use tokenkeeper::stores::file::FileStore;

use crate::when;

/// The end of the stored cool-down of `issuer` at `now`. `None` if there is none, it is over, or it cannot be read. An
/// unreadable entry is not reported here.
pub(crate) async fn end(store: &FileStore, issuer: Option<&str>, now: &Moment) -> Option<WallTime> {
    let key = IssuerKey { issuer: Issuer(issuer?.to_owned()), kind: EntryKind::Cooldown };
    match store.load_issuer(&key).await.ok()??.content? {
        EntryContent::Cooldown(cooldown) => {
            cooldown.left(now, IssuerPolicy::default().max_retry_after).map(|left| now.wall.after(left))
        }
        _ => None,
    }
}

/// The sentence for people.
pub(crate) fn words(end: WallTime) -> String {
    format!("the authorization server asked for no requests until {}", when::stamp(end))
}
