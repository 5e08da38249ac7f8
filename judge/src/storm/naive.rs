//! The naive contestant. Each caller refreshes by itself, as most clients do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::values::ElapsedTime;
use tokenkeeper::engine::values::record::Binding;
use tokenkeeper::{AccessToken, RefreshToken};
use url::form_urlencoded;

use super::contest::{CallerFailure, Contestant};
use crate::clock::OffsetClock;
use crate::target::{EndpointLog, TargetLogin, TargetServer};
use crate::transport::Transport;

/// A stored pair of tokens that every caller reads and writes.
pub(super) struct NaiveContestant {
    stored: Mutex<Option<StoredLogin>>,
    clock: Arc<OffsetClock>,
    log: Arc<EndpointLog>,
}

struct StoredLogin {
    binding: Binding,
    pair: TokenPair,
    expires: ElapsedTime,
}

/// Both tokens, as they are stored together.
#[derive(Clone)]
pub(super) struct TokenPair {
    access: AccessToken,
    refresh: RefreshToken,
}

/// RFC 6749 section 5.1, as far as it is needed here.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    refresh_token: Option<String>,
    expires_in: u64,
}

const NOT_SIGNED_IN: CallerFailure = CallerFailure { reason: "never_signed_in", login_required: true };

impl NaiveContestant {
    pub(super) fn new(target: &TargetServer, clock: &Arc<OffsetClock>) -> Self {
        Self { stored: Mutex::default(), clock: Arc::clone(clock), log: target.log() }
    }

    fn stored(&self) -> MutexGuard<'_, Option<StoredLogin>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn after(&self, lifetime: Duration) -> ElapsedTime {
        self.clock.now().elapsed.after(lifetime)
    }

    /// Presents the refresh token, and writes back the answer.
    async fn refresh(&self, refresh: &RefreshToken, transport: &Transport) -> Result<TokenPair, CallerFailure> {
        let request = self.stored().as_ref().map(|stored| stored.request(refresh));
        let (endpoint, form) = request.ok_or(NOT_SIGNED_IN)?;
        let sent = self.log.sent();
        let answer = transport.submit(&endpoint, form).await;
        sent.answered(answer.as_ref().ok().map(|(status, _)| *status));
        let (status, body) = answer.map_err(|_| CallerFailure { reason: "answer_lost", login_required: false })?;
        if status != 200 {
            let reason = if status == 400 { "refresh_refused" } else { "server_trouble" };
            return Err(CallerFailure { reason, login_required: status == 400 });
        }
        let answer: TokenResponse = serde_json::from_slice(&body)
            .map_err(|_| CallerFailure { reason: "answer_unreadable", login_required: false })?;
        let refresh = answer.refresh_token.map_or_else(|| refresh.clone(), RefreshToken::new);
        let pair = TokenPair { access: AccessToken::new(answer.access_token), refresh };
        if let Some(stored) = self.stored().as_mut() {
            stored.pair = pair.clone();
            stored.expires = self.after(Duration::from_secs(answer.expires_in));
        }
        Ok(pair)
    }
}

impl Contestant for NaiveContestant {
    type Token = TokenPair;
    /// The refresh token that was stored beside the dead access token.
    type Dead = Option<RefreshToken>;

    async fn sign_in(&self, login: TargetLogin) -> std::io::Result<()> {
        let expires = self.after(login.lifetime);
        let TargetLogin { binding, access, refresh, .. } = login;
        *self.stored() = Some(StoredLogin { binding, pair: TokenPair { access, refresh }, expires });
        Ok(())
    }

    async fn token(&self, transport: &Transport) -> Result<TokenPair, CallerFailure> {
        let stored = self.stored().as_ref().map(|stored| (stored.pair.clone(), stored.expires));
        match stored {
            Some((pair, expires)) if self.clock.now().elapsed < expires => Ok(pair),
            Some((pair, _)) => self.refresh(&pair.refresh, transport).await,
            None => Err(NOT_SIGNED_IN),
        }
    }

    fn expired(&self) -> Option<RefreshToken> {
        self.stored().as_ref().map(|stored| stored.pair.refresh.clone())
    }

    fn refused(pair: TokenPair) -> Option<RefreshToken> {
        Some(pair.refresh)
    }

    async fn renew(&self, dead: Option<RefreshToken>, transport: &Transport) -> Result<TokenPair, CallerFailure> {
        self.refresh(&dead.ok_or(NOT_SIGNED_IN)?, transport).await
    }

    async fn wait_idle(&self) {}

    fn bearer(pair: &TokenPair) -> &AccessToken {
        &pair.access
    }
}

impl StoredLogin {
    /// The token endpoint and the form of a token request (RFC 6749 section 6).
    fn request(&self, refresh: &RefreshToken) -> (String, String) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", refresh.expose())
            .append_pair("client_id", &self.binding.client.id);
        if let Some(resource) = &self.binding.resource {
            form.append_pair("resource", resource);
        }
        (self.binding.token_endpoint.clone(), form.finish())
    }
}
