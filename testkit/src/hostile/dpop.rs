//! The checks of proofs of possession (RFC 9449) at the token endpoint and at the resource, and their counts.

mod proof;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

use super::authority::{Authority, ChainId, Issued};
use super::clock::http_date_of;
use super::dispatcher::Head;
use super::reply::Reply;
use proof::{Expected, Fault, Proof};

/// How proofs are checked. The default checks none, and issues bearer tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProofRules {
    /// Whether tokens are bound to keys, so that every request needs a proof.
    pub binds: bool,
    /// Whether proofs at the token endpoint need a nonce.
    pub server_nonces: bool,
    /// Whether proofs at the resource need a nonce.
    pub resource_nonces: bool,
    /// Whether each nonce is good for one proof. Default: until [`HostileAs::renew_nonces`](super::HostileAs::renew_nonces).
    pub single_use_nonces: bool,
    /// How many seconds the server's clock is ahead. Negative if it is behind. A proof may be 60 s older or younger.
    pub clock: i64,
    /// Whether bearer tokens are issued in spite of a proof, as a server does that knows no proofs.
    pub issues_bearer: bool,
}

/// The counts of proofs. All begin at 0 and only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProofCounts {
    /// Proofs that the token endpoint accepted.
    pub at_server: u64,
    /// Proofs that the resource accepted.
    pub at_resource: u64,
    /// Answers of the token endpoint that asked for a nonce.
    pub server_challenges: u64,
    /// Answers of the resource that asked for a nonce.
    pub resource_challenges: u64,
    /// Proofs whose identifier had come before.
    pub replays: u64,
    /// Bound tokens that were presented as bearer tokens.
    pub bearer: u64,
    /// Proofs that were refused for another reason, by that reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// The place where a proof is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Server,
    Resource,
}

/// The state of the checks.
#[derive(Default)]
pub(super) struct Proofs {
    pub(super) rules: ProofRules,
    pub(super) counts: ProofCounts,
    seen: BTreeSet<String>,
    /// The number of the nonce at each place.
    nonces: [u64; 2],
    /// The keys of access tokens, by their thumbprints.
    access: BTreeMap<String, String>,
    /// The keys of chains.
    chains: BTreeMap<ChainId, String>,
}

impl Proofs {
    #[cfg(feature = "dpop")]
    pub(super) fn renew_nonces(&mut self) {
        self.nonces = self.nonces.map(|number| number + 1);
    }

    /// Checks the proof of a token request. Returns the thumbprint of its key, or `None` if none are checked.
    pub(super) fn at_server(
        &mut self,
        authority: &Authority,
        head: &Head,
        url: &str,
        refresh: Option<&str>,
    ) -> Result<Option<String>, Reply> {
        if !self.rules.binds {
            return Ok(None);
        }
        let key = self.check(Place::Server, head, url, None).map_err(|fault| {
            let reply = Reply::json(400, &json!({ "error": fault.error() })).with("cache-control", "no-store");
            self.complete(Place::Server, reply)
        })?;
        let chain = refresh.and_then(|token| authority.chain_of(token));
        if chain.and_then(|chain| self.chains.get(&chain)).is_some_and(|bound| *bound != key) {
            *self.counts.refused.entry("another key").or_default() += 1;
            // The refresh token is not spent.
            return Err(self.complete(Place::Server, Reply::json(400, &json!({ "error": "invalid_grant" }))));
        }
        self.counts.at_server += 1;
        Ok(Some(key))
    }

    /// Binds tokens to the key of their request, and returns their answer with its type.
    pub(super) fn bind(&mut self, key: Option<String>, issued: &Issued, reply: Reply) -> Reply {
        let Some(key) = key.filter(|_| !self.rules.issues_bearer) else { return self.complete(Place::Server, reply) };
        if let Some(token_id) = issued.token_id {
            self.chains.insert(token_id.chain, key.clone());
        }
        self.access.insert(issued.access.clone(), key);
        let body = String::from_utf8_lossy(&reply.body).replace("\"Bearer\"", "\"DPoP\"");
        self.complete(Place::Server, Reply { body: body.into(), ..reply })
    }

    /// The access token of a request to the resource, after the check of its proof.
    pub(super) fn at_resource<'h>(&mut self, head: &'h Head, url: &str) -> Result<Option<&'h str>, Reply> {
        let Some((scheme, token)) = head.authorization.as_deref().and_then(|value| value.split_once(' ')) else {
            return Ok(None);
        };
        let (token, is_bound) = (token.trim(), scheme.eq_ignore_ascii_case("dpop"));
        let bound = self.access.get(token).cloned();
        match (bound, is_bound) {
            (Some(_), false) => {
                self.counts.bearer += 1;
                Ok(None)
            }
            (None, false) => Ok(scheme.eq_ignore_ascii_case("bearer").then_some(token)),
            (None, true) => Ok(None),
            (Some(key), true) => {
                let fault = match self.check(Place::Resource, head, url, Some(token)) {
                    Ok(presented) if presented == key => {
                        self.counts.at_resource += 1;
                        return Ok(Some(token));
                    }
                    Ok(_) => {
                        *self.counts.refused.entry("another key").or_default() += 1;
                        Fault::Invalid("another key")
                    }
                    Err(fault) => fault,
                };
                let challenge = format!("DPoP error=\"{}\", algs=\"ES256\"", fault.error());
                Err(self.complete(Place::Resource, Reply::empty(401).with("www-authenticate", challenge)))
            }
        }
    }

    /// Adds the nonce for the next proof, and the time.
    pub(super) fn complete(&self, place: Place, reply: Reply) -> Reply {
        if !self.rules.binds {
            return reply;
        }
        let reply = reply.with("date", http_date_of(self.now()));
        if self.needs_nonce(place) { reply.with("dpop-nonce", self.nonce(place)) } else { reply }
    }

    fn check(&mut self, place: Place, head: &Head, url: &str, token: Option<&str>) -> Result<String, Fault> {
        let result = self.judge(place, head, url, token);
        match &result {
            Err(Fault::NonceWanted) if place == Place::Server => self.counts.server_challenges += 1,
            Err(Fault::NonceWanted) => self.counts.resource_challenges += 1,
            Err(Fault::Replayed) => self.counts.replays += 1,
            Err(Fault::Invalid(why)) => *self.counts.refused.entry(why).or_default() += 1,
            Ok(_) => {}
        }
        result
    }

    fn judge(&mut self, place: Place, head: &Head, url: &str, token: Option<&str>) -> Result<String, Fault> {
        let [text] = &*head.proofs else { return Err(Fault::Invalid("not one proof")) };
        let expected = Expected { method: &head.method, url, token };
        let Proof { key, identifier, nonce, issued } = Proof::read(text, &expected)?;
        if !self.seen.insert(identifier) {
            return Err(Fault::Replayed);
        }
        if self.needs_nonce(place) {
            if nonce.as_deref() != Some(&*self.nonce(place)) {
                return Err(Fault::NonceWanted);
            }
            if self.rules.single_use_nonces {
                self.nonces[place as usize] += 1;
            }
        }
        if issued.abs_diff(self.now()) > 60 {
            return Err(Fault::Invalid("date"));
        }
        Ok(key)
    }

    fn needs_nonce(&self, place: Place) -> bool {
        match place {
            Place::Server => self.rules.server_nonces,
            Place::Resource => self.rules.resource_nonces,
        }
    }

    fn nonce(&self, place: Place) -> String {
        let name = if place == Place::Server { "server" } else { "resource" };
        format!("{name}-nonce-{}", self.nonces[place as usize])
    }

    fn now(&self) -> u64 {
        super::clock::unix_seconds().saturating_add_signed(self.rules.clock)
    }
}
