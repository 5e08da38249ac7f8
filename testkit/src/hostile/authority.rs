//! The state of the authorization server: clients, chains of refresh tokens, access tokens. Pure; the time is an
//! argument, and token values come from a seed.

mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokenkeeper_actors::values::ClientSecret;
use tokenkeeper_actors::values::record::{Client, ClientAuth};

use super::form::{Credentials, Form};
use super::rules::{Announced, Rotation, Rules};
use names::Names;

/// A chain of refresh tokens that descend from one grant. Numbered from 0 in each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ChainId(pub u32);

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The whole state. No `Debug`, because it holds secrets.
pub(super) struct Authority {
    pub(super) rules: Rules,
    names: Names,
    clients: BTreeMap<String, Client>,
    chains: Vec<Chain>,
    refresh: BTreeMap<String, TokenId>,
    access: BTreeMap<String, Access>,
}

/// The chain and ordinal of a refresh token. The first of a chain has ordinal 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TokenId {
    pub(super) chain: ChainId,
    pub(super) ordinal: u32,
}

struct Chain {
    client: String,
    resource: String,
    scope: String,
    /// The time at which each refresh token was spent, except the newest. In a grace period, an answer to the
    /// predecessor spends a token too.
    spent: Vec<Duration>,
    /// The number of access tokens issued, and how many of them, counted from the first, are dead.
    minted: u32,
    dead: u32,
    alive: bool,
}

pub(super) struct Access {
    /// The chain and the serial number of this access token in it. `None` for client credentials, which have no chain.
    pub(super) origin: Option<(ChainId, u32)>,
    /// `None` if the request named none. The token is then good at every resource.
    resource: Option<String>,
    pub(super) scope: String,
    expires: Duration,
}

/// The result of a successful token request. No `Debug`, because it holds secrets.
pub(super) struct Issued {
    pub(super) token_id: Option<TokenId>,
    pub(super) access: String,
    pub(super) refresh: Option<String>,
    pub(super) expires_in: Option<i64>,
    pub(super) scope: String,
    /// Only with a first grant for the scope `openid`.
    pub(super) id_token: Option<String>,
}

/// Why a token request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not a form, a missing or repeated parameter, or two ways of authentication.
    Malformed,
    /// Unknown client, wrong secret, or not the registered method. `basic` if the request used HTTP Basic.
    Client { basic: bool },
    /// A public client requested client credentials.
    Unauthorized,
    /// Neither `refresh_token` nor `client_credentials`.
    Unsupported,
    /// A missing resource, or not the resource of the grant.
    Resource,
    /// More scopes than granted.
    Scope,
    /// Not a refresh token of this server, or another client's.
    Unknown,
    /// A spent refresh token. `revoked` if this request ended the chain.
    Replayed { token_id: TokenId, revoked: bool },
    /// An unspent refresh token of an ended chain.
    Ended(TokenId),
    /// A device code whose person has not answered (RFC 8628 section 3.5).
    Pending,
    /// A device code that is polled too often.
    SlowDown,
    /// A device code whose person declined.
    Denied,
    /// A device code that is too old.
    Expired,
}

impl Chain {
    /// The ordinal of its newest refresh token.
    fn newest(&self) -> u32 {
        u32::try_from(self.spent.len()).unwrap_or(u32::MAX)
    }
}

impl From<super::form::Malformed> for Refusal {
    fn from(_: super::form::Malformed) -> Self {
        Self::Malformed
    }
}

impl Refusal {
    /// The `error` code (RFC 6749 section 5.2, RFC 8707 section 2).
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Malformed => "invalid_request",
            Self::Client { .. } => "invalid_client",
            Self::Unauthorized => "unauthorized_client",
            Self::Unsupported => "unsupported_grant_type",
            Self::Resource => "invalid_target",
            Self::Scope => "invalid_scope",
            Self::Pending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::Denied => "access_denied",
            Self::Expired => "expired_token",
            Self::Unknown | Self::Replayed { .. } | Self::Ended(_) => "invalid_grant",
        }
    }

    /// The HTTP status.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Client { .. } => 401,
            _ => 400,
        }
    }
}

impl Authority {
    /// A server without clients. Servers with different seeds issue different tokens.
    pub(super) fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            names: Names::new(seed),
            clients: BTreeMap::new(),
            chains: Vec::new(),
            refresh: BTreeMap::new(),
            access: BTreeMap::new(),
        }
    }

    pub(super) fn register(&mut self, auth: ClientAuth) -> Client {
        self.register_as(format!("client-{}", self.clients.len()), auth)
    }

    /// Registers a client under this identifier.
    pub(super) fn register_as(&mut self, id: String, auth: ClientAuth) -> Client {
        let secret = (auth != ClientAuth::None).then(|| ClientSecret::new(self.names.draw("cs", None)));
        let client = Client { id: id.clone(), secret, auth, secret_expires_at: None };
        self.clients.insert(id, client.clone());
        client
    }

    /// Makes the client unable to authenticate. Its chains stay.
    pub(super) fn unregister(&mut self, id: &str) {
        if let Some(client) = self.clients.get_mut(id) {
            // The entry is kept, so that ids are not reused. No request can authenticate with this method.
            client.auth = ClientAuth::PrivateKeyJwt;
        }
    }

    /// A value that names itself by `kind` and was not drawn before.
    pub(super) fn draw(&mut self, kind: &str) -> String {
        self.names.draw(kind, None)
    }

    /// A first grant, as a login returns it.
    pub(super) fn grant(&mut self, client: &str, resource: &str, scope: &str, now: Duration) -> (TokenId, Issued) {
        let token_id = TokenId { chain: ChainId(u32::try_from(self.chains.len()).unwrap_or(u32::MAX)), ordinal: 0 };
        self.chains.push(Chain {
            client: client.to_owned(),
            resource: resource.to_owned(),
            scope: scope.to_owned(),
            spent: Vec::new(),
            minted: 0,
            dead: 0,
            alive: true,
        });
        let refresh = self.name_refresh(token_id);
        let issued = Issued { refresh: Some(refresh), ..self.mint(Some(token_id), Some(resource), scope, now) };
        (token_id, issued)
    }

    /// Processes a token request.
    pub(super) fn token(&mut self, form: &Form, now: Duration) -> Result<Issued, Refusal> {
        let client = self.authenticate(&form.client)?;
        match form.grant_type.as_deref() {
            Some("refresh_token") => self.refresh(form, now),
            Some("client_credentials") if client == ClientAuth::None => Err(Refusal::Unauthorized),
            Some("client_credentials") => {
                if self.rules.checks_resource && form.resources.len() != 1 {
                    return Err(Refusal::Resource);
                }
                let resource = form.resources.first().map(String::as_str);
                Ok(self.mint(None, resource, form.scope.as_deref().unwrap_or_default(), now))
            }
            Some(_) => Err(Refusal::Unsupported),
            None => Err(Refusal::Malformed),
        }
    }

    /// Revokes the chain of a refresh token, or one access token (RFC 7009 section 2.1). Unknown tokens are not an
    /// error (section 2.2). Neither are another client's, which are left alone.
    pub(super) fn revoke(&mut self, form: &Form) -> Result<Option<ChainId>, Refusal> {
        self.authenticate(&form.client)?;
        let token = form.token.as_deref().ok_or(Refusal::Malformed)?;
        if let Some(token_id) = self.refresh.get(token).copied() {
            let own = self.chain(token_id.chain).is_some_and(|chain| chain.client == form.client.id);
            return Ok((own && self.end(token_id.chain)).then_some(token_id.chain));
        }
        self.access.remove(token);
        Ok(None)
    }

    /// Whether an access token is good at `resource` now.
    pub(super) fn admits(&self, access: &str, resource: &str, now: Duration) -> bool {
        self.scope_at(access, &[resource.to_owned()], now).is_some()
    }

    /// The scope of an access token that is good now at a resource with these names, separated by spaces.
    pub(super) fn scope_at(&self, access: &str, resource: &[String], now: Duration) -> Option<&str> {
        self.access_at(access, resource, now).map(|access| &*access.scope)
    }

    /// An access token that is good now at a resource with these names.
    pub(super) fn access_at(&self, access: &str, resource: &[String], now: Duration) -> Option<&Access> {
        let access = self.live(access, now)?;
        access.resource.as_ref().is_none_or(|own| resource.contains(own)).then_some(access)
    }

    /// An access token that is good now, at any resource.
    pub(super) fn live(&self, access: &str, now: Duration) -> Option<&Access> {
        let access = self.access.get(access)?;
        (now < access.expires && self.is_live(access)).then_some(access)
    }

    /// Ends a chain with its newest refresh token and all its access tokens. Returns whether it was alive.
    pub(super) fn end(&mut self, chain: ChainId) -> bool {
        self.chains.get_mut(chain.0 as usize).is_some_and(|chain| std::mem::take(&mut chain.alive))
    }

    /// Kills all access tokens issued so far. Refresh tokens stay alive.
    pub(super) fn kill_access_tokens(&mut self) {
        self.access.clear();
    }

    /// The number of live chains, and of ended ones.
    pub(super) fn chains(&self) -> (u64, u64) {
        let alive = self.chains.iter().filter(|chain| chain.alive).count();
        (alive as u64, (self.chains.len() - alive) as u64)
    }

    /// Whether a chain is alive, and the ordinal of its newest refresh token.
    pub(super) fn newest(&self, chain: ChainId) -> Option<(bool, u32)> {
        self.chain(chain).map(|chain| (chain.alive, chain.newest()))
    }

    /// The chain of a refresh token, spent or not.
    pub(super) fn chain_of(&self, refresh: &str) -> Option<ChainId> {
        self.refresh.get(refresh).map(|token_id| token_id.chain)
    }

    fn refresh(&mut self, form: &Form, now: Duration) -> Result<Issued, Refusal> {
        let token = form.refresh_token.as_deref().ok_or(Refusal::Malformed)?;
        let token_id = *self.refresh.get(token).ok_or(Refusal::Unknown)?;
        let rules = self.rules.clone();
        let chain = self.chains.get_mut(token_id.chain.0 as usize).ok_or(Refusal::Unknown)?;
        if chain.client != form.client.id {
            return Err(Refusal::Unknown);
        }
        // Checked before all other errors, so that a replay is always detected.
        let spent = chain.spent.get(token_id.ordinal as usize);
        if spent.is_some_and(|spent| !(chain.alive && rules.in_grace(*spent, now))) {
            return Err(Refusal::Replayed { token_id, revoked: std::mem::take(&mut chain.alive) });
        }
        if !chain.alive {
            return Err(Refusal::Ended(token_id));
        }
        if rules.checks_resource && form.resources != [&*chain.resource] {
            return Err(Refusal::Resource);
        }
        let scope = narrowed(&chain.scope, form.scope.as_deref())?.to_owned();
        if rules.old_access_dies {
            chain.dead = chain.minted;
        }
        let resource = chain.resource.clone();
        if rules.rotation == Rotation::None {
            return Ok(self.mint(Some(token_id), Some(&resource), &scope, now));
        }
        chain.spent.push(now);
        let next = TokenId { ordinal: chain.newest(), ..token_id };
        let refresh = self.name_refresh(next);
        Ok(Issued { refresh: Some(refresh), ..self.mint(Some(next), Some(&resource), &scope, now) })
    }

    /// Checks the client's credentials, and returns its method.
    pub(super) fn authenticate(&self, who: &Credentials) -> Result<ClientAuth, Refusal> {
        let refusal = Refusal::Client { basic: who.method == ClientAuth::Basic };
        let client = self.clients.get(&who.id).ok_or(refusal)?;
        let same = client.secret.as_ref().map(ClientSecret::expose) == who.secret.as_deref();
        if same && client.auth == who.method { Ok(client.auth) } else { Err(refusal) }
    }

    fn mint(&mut self, token_id: Option<TokenId>, resource: Option<&str>, scope: &str, now: Duration) -> Issued {
        let access = self.names.draw("at", token_id);
        let lifetime = self.rules.access_lifetime;
        let origin = token_id.and_then(|token_id| {
            let chain = self.chains.get_mut(token_id.chain.0 as usize)?;
            chain.minted += 1;
            Some((token_id.chain, chain.minted - 1))
        });
        let (resource, expires) = (resource.map(str::to_owned), now.saturating_add(lifetime));
        self.access.insert(access.clone(), Access { origin, resource, scope: scope.to_owned(), expires });
        let expires_in = match self.rules.announced {
            Announced::Truth => Some(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX)),
            Announced::Nothing => None,
            Announced::Lie(seconds) => Some(seconds),
        };
        Issued { token_id, access, refresh: None, expires_in, scope: scope.to_owned(), id_token: None }
    }

    fn name_refresh(&mut self, token_id: TokenId) -> String {
        let token = self.names.draw("rt", Some(token_id));
        self.refresh.insert(token.clone(), token_id);
        token
    }

    fn is_live(&self, access: &Access) -> bool {
        let Some((chain, serial)) = access.origin else { return true };
        self.chain(chain).is_some_and(|chain| chain.alive && serial >= chain.dead)
    }

    fn chain(&self, id: ChainId) -> Option<&Chain> {
        self.chains.get(id.0 as usize)
    }
}

/// A refresh may request fewer scopes than granted, never more (RFC 6749 section 6).
fn narrowed<'a>(granted: &'a str, asked: Option<&'a str>) -> Result<&'a str, Refusal> {
    match asked {
        None => Ok(granted),
        Some(asked) if asked.split(' ').all(|scope| granted.split(' ').any(|own| own == scope)) => Ok(asked),
        Some(_) => Err(Refusal::Scope),
    }
}
