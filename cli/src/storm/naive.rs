//! Callers who each see to the token themselves, as most clients do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::values::ElapsedTime;
use tokenkeeper::engine::values::record::Binding;
use tokenkeeper::{AccessToken, RefreshToken};
use url::form_urlencoded;

use super::arena::{Arena, Grant, Log};
use super::clock::StormClock;
use super::contest::{Contestant, Trouble};
use super::wire::Wire;

/// A stored pair that every caller reads and writes.
pub(super) struct Naive {
    stored: Mutex<Option<Stored>>,
    clock: Arc<StormClock>,
    log: Arc<Log>,
}

struct Stored {
    binding: Binding,
    pair: Pair,
    good_before: ElapsedTime,
}

/// What a caller reads: both tokens, as they are stored together.
#[derive(Clone)]
pub(super) struct Pair {
    access: AccessToken,
    refresh: RefreshToken,
}

/// RFC 6749 section 5.1, as far as it matters here.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    refresh_token: Option<String>,
    expires_in: u64,
}

const NOT_SIGNED_IN: Trouble = Trouble { word: "never_signed_in", login_required: true };

impl Naive {
    pub(super) fn new(arena: &Arena, clock: &Arc<StormClock>) -> Self {
        Self { stored: Mutex::default(), clock: Arc::clone(clock), log: arena.log() }
    }

    fn stored(&self) -> MutexGuard<'_, Option<Stored>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn good_for(&self, lifetime: Duration) -> ElapsedTime {
        self.clock.now().elapsed.after(lifetime)
    }

    /// Presents the refresh token that was read, and writes back what comes.
    async fn renew(&self, refresh: &RefreshToken, wire: &Wire) -> Result<Pair, Trouble> {
        let request = self.stored().as_ref().map(|stored| stored.request(refresh));
        let (endpoint, form) = request.ok_or(NOT_SIGNED_IN)?;
        let sent = self.log.sent();
        let answer = wire.submit(&endpoint, form).await;
        sent.answered(answer.as_ref().ok().map(|(status, _)| *status));
        let (status, body) = answer.map_err(|_| Trouble { word: "answer_lost", login_required: false })?;
        if status != 200 {
            let word = if status == 400 { "refresh_refused" } else { "server_trouble" };
            return Err(Trouble { word, login_required: status == 400 });
        }
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_| Trouble { word: "answer_unreadable", login_required: false })?;
        let refresh = answer.refresh_token.map_or_else(|| refresh.clone(), RefreshToken::new);
        let pair = Pair { access: AccessToken::new(answer.access_token), refresh };
        if let Some(stored) = self.stored().as_mut() {
            stored.pair = pair.clone();
            stored.good_before = self.good_for(Duration::from_secs(answer.expires_in));
        }
        Ok(pair)
    }
}

impl Contestant for Naive {
    type Token = Pair;
    type Found = Option<RefreshToken>;

    async fn sign_in(&self, grant: Grant) -> std::io::Result<()> {
        let good_before = self.good_for(grant.lifetime);
        let Grant { binding, access, refresh, .. } = grant;
        *self.stored() = Some(Stored { binding, pair: Pair { access, refresh }, good_before });
        Ok(())
    }

    async fn token(&self, wire: &Wire) -> Result<Pair, Trouble> {
        let stored = self.stored().as_ref().map(|stored| (stored.pair.clone(), stored.good_before));
        match stored {
            Some((pair, good_before)) if self.clock.now().elapsed < good_before => Ok(pair),
            Some((pair, _)) => self.renew(&pair.refresh, wire).await,
            None => Err(NOT_SIGNED_IN),
        }
    }

    fn expired(&self) -> Option<RefreshToken> {
        self.stored().as_ref().map(|stored| stored.pair.refresh.clone())
    }

    fn refused(pair: Pair) -> Option<RefreshToken> {
        Some(pair.refresh)
    }

    async fn renewed(&self, found: Option<RefreshToken>, wire: &Wire) -> Result<Pair, Trouble> {
        self.renew(&found.ok_or(NOT_SIGNED_IN)?, wire).await
    }

    async fn settled(&self) {}

    fn bearer(pair: &Pair) -> &AccessToken {
        &pair.access
    }
}

impl Stored {
    /// Where the token request goes, and its form (RFC 6749 section 6).
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
