//! Chooses the client of a login from the host's configuration and the server's metadata. Nothing is sent.

use std::time::Duration;

use tokenkeeper_actors::values::issuer::{
    ClientRegistration, EntryKind, IssuerKey, RegistrationName, RegistrationOrigin,
};
use tokenkeeper_actors::values::record::{self, ClientAuth, Issuer};
use tokenkeeper_actors::values::{ServerIdentity, WallTime};

use super::answer::shown;
use super::client::{Registered, Wanted};
use super::clients::{Clients, MetadataDocument, OUR_METHODS, PreRegistered, Sharing};
use super::draft::{Draft, method};
use super::error::RegistrationError;
use super::redirect::{self, Ports, Purpose};
use crate::discovery::AuthorizationServer;
use crate::http::Reach;
use crate::issuers::auth_method_name;

/// A secret that expires within this time is of no use to a login that begins now.
const SECRET_MARGIN: Duration = Duration::from_secs(5 * 60);

/// The source of the client for a login.
#[derive(Debug)]
pub(super) enum Choice {
    /// The client is configured.
    Configured(Box<Registered>),
    /// The client is registered dynamically, and taken from the store or registered now.
    Dynamic(Box<Job>),
}

/// A dynamic registration. Equal jobs share one registration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    /// The key of the registration's entry in the store.
    pub(super) key: IssuerKey,
    pub(super) name: RegistrationName,
    /// The redirect address of the login.
    pub(super) redirect: Option<String>,
    /// The request and its endpoint, or the error if the server registers no client that could be used.
    pub(super) registering: Result<Registering, RegistrationError>,
    /// The digest of the settings. A stored registration with another digest was made with other settings.
    pub(super) digest: [u8; 32],
    pub(super) reach: Reach,
}

/// The registration endpoint and the first request to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Registering {
    pub(super) endpoint: String,
    pub(super) draft: Draft,
}

/// Chooses the client of the login `wanted` in the order that [`Clients`] documents.
pub(super) fn choose(clients: &Clients, wanted: &Wanted<'_>, now: WallTime) -> Result<Choice, RegistrationError> {
    let server = wanted.server;
    let purpose = Purpose::of(wanted.redirect).ok_or(RegistrationError::UnusableRedirect)?;
    if let Some(known) = clients.pre_registered.iter().find(|known| known.issuer == server.issuer) {
        return pre_registered(known, wanted, now).map(|registered| Choice::Configured(Box::new(registered)));
    }
    // If the document cannot be used, dynamic registration is tried before the document's error is returned.
    let unfit = match &clients.document {
        Some(document) if server.accepts_metadata_documents => match described(document, wanted) {
            Ok(registered) => return Ok(Choice::Configured(Box::new(registered))),
            Err(error) => Some(error),
        },
        Some(_) | None => None,
    };
    let none = || {
        unfit.unwrap_or_else(|| RegistrationError::NoClient {
            issuer: shown(&server.issuer).unwrap_or_default(),
            configured: clients.pre_registered.iter().filter_map(|known| shown(&known.issuer)).collect(),
        })
    };
    let Some(settings) = &clients.dynamic else { return Err(none()) };
    let key = key(clients.sharing, &server.issuer, purpose, wanted.redirect, wanted.identity)?;
    let EntryKind::Registration(name) = key.kind.clone() else { return Err(RegistrationError::UnusableRedirect) };
    let auth = method(server.auth_methods.as_deref());
    let redirect = wanted.redirect.map(str::to_owned);
    let draft = Draft::new(settings.clone(), purpose, redirect.clone(), auth.unwrap_or_default());
    let digest = draft.digest();
    let registering = match (&server.registration_endpoint, auth) {
        (None, _) => Err(none()),
        (Some(_), None) => Err(no_shared_method(RegistrationOrigin::Dynamic, server)),
        (Some(endpoint), Some(_)) => Ok(Registering { endpoint: endpoint.clone(), draft }),
    };
    Ok(Choice::Dynamic(Box::new(Job { key, name, redirect, registering, digest, reach: wanted.reach })))
}

/// The key of the registration for logins with this redirect address. All loopback addresses share one key, because
/// their port and form may change with each listener. Each address of a host's route has its own key.
pub(super) fn key(
    sharing: Sharing,
    issuer: &str,
    purpose: Purpose,
    redirect: Option<&str>,
    identity: &ServerIdentity,
) -> Result<IssuerKey, RegistrationError> {
    let way = match (purpose, redirect) {
        (Purpose::Loopback, _) => "loopback".to_owned(),
        (Purpose::Hosted, redirect) => format!("hosted {}", redirect.unwrap_or_default()),
        (Purpose::Device, _) => "device".to_owned(),
    };
    let name = match (sharing, identity.resource()) {
        (Sharing::PerResource, Some(resource)) => format!("{way} {}", resource.as_str()),
        (Sharing::PerResource, None) | (Sharing::PerIssuer, _) => way,
    };
    let name = RegistrationName::new(name).map_err(|_| RegistrationError::UnusableRedirect)?;
    Ok(IssuerKey { issuer: Issuer(issuer.to_owned()), kind: EntryKind::Registration(name) })
}

/// The pre-registered client for the login, if its secret and its redirect addresses serve it.
fn pre_registered(known: &PreRegistered, wanted: &Wanted<'_>, now: WallTime) -> Result<Registered, RegistrationError> {
    let client: record::Client = known.client.clone().into();
    let origin = RegistrationOrigin::PreRegistered;
    // A secret that expires within the margin is still tried, because only the host's operator can replace it.
    if client.secret.is_some() && client.secret_expires_at.is_some_and(|end| end <= now) {
        return Err(RegistrationError::SecretExpired { issuer: shown(&known.issuer).unwrap_or_default() });
    }
    let listed = if known.redirect_uris.is_empty() { None } else { Some(known.redirect_uris.as_slice()) };
    let redirect_uri = configured_redirect(origin, listed, wanted.redirect)?;
    Ok(Registered { client, redirect_uri, origin, key: None, is_reused: false })
}

/// The client of the metadata document for the login, if the server and the document allow it.
fn described(document: &MetadataDocument, wanted: &Wanted<'_>) -> Result<Registered, RegistrationError> {
    let origin = RegistrationOrigin::MetadataDocument;
    // A document holds no shared secret, so `none` is the only method that this version can use with it. A server that accepts
    // documents and lists no methods accepts clients without a secret.
    let is_ours = document.auth_methods.iter().any(|word| word == auth_method_name(ClientAuth::None));
    let is_theirs = |listed: &Vec<String>| listed.iter().any(|word| word == auth_method_name(ClientAuth::None));
    if !is_ours || !wanted.server.auth_methods.as_ref().is_none_or(is_theirs) {
        return Err(no_shared_method(origin, wanted.server));
    }
    let redirect_uri = configured_redirect(origin, Some(&document.redirect_uris), wanted.redirect)?;
    let client =
        record::Client { id: document.url.clone(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
    Ok(Registered { client, redirect_uri, origin, key: None, is_reused: false })
}

/// The redirect address for a configured client. `listed` are its registered addresses, or `None` if they are not known.
fn configured_redirect(
    origin: RegistrationOrigin,
    listed: Option<&[String]>,
    wanted: Option<&str>,
) -> Result<Option<String>, RegistrationError> {
    let (Some(listed), Some(wanted)) = (listed, wanted) else { return Ok(wanted.map(str::to_owned)) };
    let found = redirect::among(listed, wanted, Ports::AnyOfLiterals);
    found.map(Some).ok_or_else(|| RegistrationError::RedirectNotListed {
        origin,
        redirect: wanted.to_owned(),
        listed: joined(listed),
    })
}

fn no_shared_method(origin: RegistrationOrigin, server: &AuthorizationServer) -> RegistrationError {
    RegistrationError::NoSharedMethod { origin, listed: joined(server.auth_methods.as_deref().unwrap_or_default()) }
}

/// The texts in a form that may be shown, separated by commas.
fn joined(texts: &[String]) -> String {
    let all = shown(&texts.join(", "));
    all.unwrap_or_else(|| "none".to_owned())
}

/// Whether a stored registration can be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Usability {
    /// It can be used.
    Usable,
    /// It can be used if the server has not forgotten it.
    Suspect,
    /// It cannot be used.
    Unusable,
}

/// Decides whether a stored registration can be used for `job` at `now`.
pub(super) fn usability(registration: &ClientRegistration, job: &Job, now: WallTime) -> Usability {
    let client = &registration.client;
    let ends_soon = client.secret_expires_at.is_some_and(|end| end <= now.after(SECRET_MARGIN));
    let can_authenticate =
        OUR_METHODS.contains(&client.auth) && (client.auth == ClientAuth::None || client.secret.is_some());
    if registration.origin != RegistrationOrigin::Dynamic
        || registration.metadata_digest != Some(job.digest)
        || !can_authenticate
        || client.secret.is_some() && ends_soon
    {
        return Usability::Unusable;
    }
    let is_registered = |wanted: &String| redirect::among(&registration.redirect_uris, wanted, Ports::Exact).is_some();
    if !job.redirect.as_ref().is_none_or(is_registered) {
        return Usability::Unusable;
    }
    if registration.suspect_since.is_some() { Usability::Suspect } else { Usability::Usable }
}
