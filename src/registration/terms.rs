//! The terms on which a server registered a client, as they are stored. They may differ from the request.

use tokenkeeper_actors::values::issuer::{ClientRegistration, RegistrationManagement, RegistrationOrigin};
use tokenkeeper_actors::values::record::{Client, ClientAuth};
use tokenkeeper_actors::values::{ClientSecret, ServerIdentity, WallTime};

use super::answer::ClientInformation;
use super::choice::Job;
use super::clients::OUR_METHODS;
use super::draft::Draft;
use super::error::Unfit;
use super::redirect::{self, Ports};
use super::requests::may_use;
use crate::http::Reach;
use crate::issuers::auth_method_name;

/// The registration that results from the server's answer to `draft`.
///
/// # Errors
///
/// [`Unfit`] for a client with which the login is not possible.
pub(super) fn registered(
    information: ClientInformation,
    draft: &Draft,
    job: &Job,
    by: &ServerIdentity,
    now: WallTime,
) -> Result<ClientRegistration, Unfit> {
    let (auth, secret) = method(&information, draft.auth())?;
    // An absent list means that the server registered the requested one.
    let asked = || draft.redirect().map(str::to_owned).into_iter().collect();
    let mut redirect_uris: Vec<String> = information.redirect_uris.unwrap_or_else(asked);
    redirect_uris.retain(|registered| draft.redirect().is_some_and(|asked| is_ours(registered, asked)));
    if draft.redirect().is_some_and(|asked| redirect_uris.iter().all(|registered| registered != asked)) {
        return Err(Unfit::Redirect);
    }
    let grant_types = information.grant_types.unwrap_or_default();
    if !grant_types.is_empty() && grant_types.iter().all(|kind| kind != draft.grant_type()) {
        return Err(Unfit::GrantType);
    }
    Ok(ClientRegistration {
        name: job.name.clone(),
        origin: RegistrationOrigin::Dynamic,
        client: client(information.client_id, auth, secret, information.secret_expires_at),
        redirect_uris,
        application_type: information.application_type.or(Some(draft.application_type())),
        grant_types,
        scopes: information.scopes,
        management: permitted(information.management, job.reach),
        metadata_digest: Some(job.digest),
        registered_at: now,
        registered_by: Some(by.clone()),
        suspect_since: None,
    })
}

/// Updates the registration `known` from the server's current answer about it (RFC 7592 section 3). A new secret and a new
/// registration token replace the old ones. Returns `None` if the answer is for another client, or for an unusable one.
pub(super) fn read_again(
    information: ClientInformation,
    known: &ClientRegistration,
    reach: Reach,
) -> Option<ClientRegistration> {
    if information.client_id != known.client.id {
        return None;
    }
    let mut client = known.client.clone();
    if information.client_secret.is_some() || information.auth_method.is_some() {
        let stored = information.client_secret.clone().or_else(|| known.client.secret.clone());
        let merged = ClientInformation { client_secret: stored, ..information.clone() };
        let (auth, secret) = method(&merged, known.client.auth).ok()?;
        // An expiry in an answer belongs to the secret in the same answer.
        let is_new = information.client_secret.is_some();
        let end = if is_new { information.secret_expires_at } else { known.client.secret_expires_at };
        client = self::client(information.client_id, auth, secret, end);
    }
    let mut redirect_uris = information.redirect_uris.unwrap_or_else(|| known.redirect_uris.clone());
    redirect_uris.retain(|registered| known.redirect_uris.iter().any(|known| is_ours(registered, known)));
    Some(ClientRegistration {
        client,
        redirect_uris,
        application_type: information.application_type.or(known.application_type),
        grant_types: information.grant_types.unwrap_or_else(|| known.grant_types.clone()),
        scopes: information.scopes.or_else(|| known.scopes.clone()),
        management: permitted(information.management, reach).or_else(|| known.management.clone()),
        suspect_since: None,
        ..known.clone()
    })
}

/// Whether an address that the server lists is the one that was asked for, in any form of the loopback. A listener would
/// otherwise bind a port that a server chose.
fn is_ours(registered: &str, asked: &str) -> bool {
    redirect::among(&[asked.to_owned()], registered, Ports::Exact).is_some()
}

/// The method that the server registered, and the secret for it.
fn method(information: &ClientInformation, asked: ClientAuth) -> Result<(ClientAuth, Option<ClientSecret>), Unfit> {
    let secret = information.client_secret.clone();
    let auth = match &information.auth_method {
        Some(word) => OUR_METHODS.into_iter().find(|method| auth_method_name(*method) == word).ok_or(Unfit::Method)?,
        // A server that sends a secret unasked and names no method means the default of RFC 7591 section 2. The method `none`
        // would not use the secret.
        None if secret.is_some() && asked == ClientAuth::None => ClientAuth::Basic,
        None if secret.is_some() => asked,
        None => ClientAuth::None,
    };
    match (auth, secret) {
        (ClientAuth::None, _) => Ok((auth, None)),
        (_, None) => Err(Unfit::Secret),
        (_, secret) => Ok((auth, secret)),
    }
}

fn client(id: String, auth: ClientAuth, secret: Option<ClientSecret>, end: Option<WallTime>) -> Client {
    let secret_expires_at = if secret.is_some() { end } else { None };
    Client { id, secret, auth, secret_expires_at }
}

/// The management of a registration, if its address may be used. A client can be used without it.
fn permitted(management: Option<RegistrationManagement>, reach: Reach) -> Option<RegistrationManagement> {
    management.filter(|management| may_use(&management.uri, reach))
}
