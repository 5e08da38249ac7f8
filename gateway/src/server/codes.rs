//! Authorization codes, and the remembered consents for which a code is issued without asking the person again.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::authorize::AuthorizationRequest;
use super::pages;
use crate::clients::{Occasion, is_on_the_machine};
use crate::families::FamilyError;
use crate::gateway::{Gateway, count};
use crate::law::{FamilyId, Grant};
use crate::seal::{Use, draw};
use crate::store::{Entry, Expiring, Key};

/// Issues the code of a request that the person has allowed.
pub(super) async fn issue(gateway: &Gateway, subject: &str, request: &AuthorizationRequest) -> Response {
    let (inner, now) = (&gateway.0, gateway.0.now());
    // The host may have refused the client since the person was asked.
    let judged = inner.clients.judge_id(&inner.seal, &request.client, Some(&request.redirect), Occasion::Code);
    if let Err(barred) = judged.await {
        return pages::barred(barred);
    }
    let Ok(id) = draw().map(u128::from_le_bytes).map(FamilyId) else {
        return request.refused(&inner.issuer, "server_error", "the gateway has no randomness");
    };
    let grant = Grant {
        client: request.client.clone(),
        subject: subject.to_owned(),
        resource: request.resource.clone(),
        scopes: request.scopes.clone(),
        refreshable: request.refreshable,
    };
    // The person is kept for as long as tokens of this code may live.
    let kept = match inner.families.make_room(subject, now).await {
        Ok(gone) => inner.people.begins(subject, id, &gone, inner.person_expires(now), now).await,
        Err(trouble) => Err(trouble.into()),
    };
    let (challenge, redirect) = (request.challenge.clone(), request.redirect.clone());
    let offered = match kept {
        Ok(()) => inner.families.offer(id, grant, challenge, redirect, now).await,
        Err(_) => Err(FamilyError::Trouble),
    };
    match offered {
        Ok(()) => {
            count(&inner.counters.codes);
            request.granted(&inner.issuer, &id.code(&inner.seal))
        }
        Err(_) => {
            request.refused(&inner.issuer, "temporarily_unavailable", "the gateway's store is full or does not answer")
        }
    }
}

/// Whether the subject has allowed this client everything that it asks for, at this address.
pub(super) async fn is_remembered(gateway: &Gateway, subject: &str, request: &AuthorizationRequest) -> bool {
    let stored = gateway.0.store.load(&key(gateway, subject, request), gateway.0.now()).await;
    // If the store does not answer, the person is asked again.
    stored.is_ok_and(|stored| stored.is_some())
}

/// Remembers a consent. If it cannot be stored, the person is asked again the next time. Nothing is stored for a client on the
/// person's machine, because the person is asked about each of its requests.
pub(super) async fn remember(gateway: &Gateway, subject: &str, request: &AuthorizationRequest) {
    if is_on_the_machine(&request.redirect) {
        return;
    }
    let (key, now) = (key(gateway, subject, request), gateway.0.now());
    let next = Expiring { entry: Entry::Consent, expires: now.after(gateway.0.limits.family_lifetime) };
    if let Ok(present) = gateway.0.store.load(&key, now).await {
        let revision = present.map(|stored| stored.revision);
        let _ = gateway.0.store.swap(&key, revision, Some(next), now).await;
    }
}

/// The key of the consent that `request` needs.
fn key(gateway: &Gateway, subject: &str, request: &AuthorizationRequest) -> Key {
    let AuthorizationRequest { client, redirect, resource, scopes, .. } = request;
    let scopes = scopes.join(" ");
    let digest = gateway.0.seal.digest(Use::Consent, &[subject, client, redirect, resource, &scopes]);
    Key::Consent(URL_SAFE_NO_PAD.encode(digest))
}
