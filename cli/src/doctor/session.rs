//! The stored session with the server, and the findings about it that depend on the server.

use tokenkeeper::ServerIdentity;
use tokenkeeper::engine::values::{Moment, WallTime};
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::stores::file::FileStore;

use super::finding::{Finding, Party, Step, quoted, shown_url};
use crate::standing::Standing;
use crate::when;

/// A stored session.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    state: &'static str,
    advice: Option<&'static str>,
    issuer: Option<String>,
    client: Option<StoredClient>,
}

#[derive(Clone, Debug)]
struct StoredClient {
    id: String,
    secret_expires_at: Option<WallTime>,
}

impl Stored {
    /// The issuer that the session is bound to.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }
}

/// Reads the session of `identity`. Nothing is written.
pub(super) async fn read(
    store: &FileStore,
    identity: &ServerIdentity,
    providers: &Providers,
    now: &Moment,
) -> Result<Option<Stored>, String> {
    let record = store.inspect(identity).await.map_err(|error| error.to_string())?;
    let Some(record) = record else { return Ok(None) };
    let journal = store.history(identity, FileStore::JOURNAL_KEPT).await.unwrap_or_default();
    let presenting = store.is_presenting(identity, record.epoch).await.unwrap_or_default();
    let standing = Standing::of(&record, &journal, presenting, providers, now);
    let client = record.grant().map(|grant| {
        let client = &grant.binding.client;
        StoredClient { id: client.id.clone(), secret_expires_at: client.secret_expires_at }
    });
    let issuer = record.grant().map(|grant| grant.binding.issuer.0.clone());
    Ok(Some(Stored {
        state: standing.state.words(),
        advice: standing.why.map(tokenkeeper::Reason::advice).filter(|_| standing.state.needs_login()),
        issuer,
        client,
    }))
}

/// The step of the stored session. `listed` are the issuers that the resource lists now, if it lists any.
pub(super) fn judge(stored: Result<Option<Stored>, String>, listed: &[String], now: WallTime) -> Step {
    let findings = match stored {
        Err(trouble) => vec![
            Finding::note("home-unreadable", Party::Machine, format!("the home cannot be read: {trouble}"))
                .advice("tokenkeeper status tells more; a login needs a home that can be written"),
        ],
        Ok(None) => vec![Finding::fine("session", "no session is stored here for it")],
        Ok(Some(stored)) => of_session(&stored, listed, now),
    };
    Step::new("session", "The session stored here", Vec::new(), findings)
}

fn of_session(stored: &Stored, listed: &[String], now: WallTime) -> Vec<Finding> {
    let mut findings = vec![match stored.advice {
        None => Finding::fine("session", format!("a session is stored here: {}", stored.state)),
        Some(advice) => {
            let seen = format!("a session is stored here: {}", stored.state);
            Finding::note("session-ended", Party::You, seen).advice(advice)
        }
    }];
    if let Some(issuer) = &stored.issuer {
        const RULE: &str = "MCP authorization, Authorization Server Binding; RFC 9728 section 5.2";
        if listed.is_empty() || listed.contains(issuer) {
            findings.push(Finding::fine("bound-issuer", format!("it is bound to {}", shown_url(issuer))).rule(RULE));
        } else {
            let seen = format!("it is bound to {}, which the MCP server lists no more", quoted(issuer));
            findings.push(
                Finding::note("issuer-moved", Party::You, seen)
                    .rule(RULE)
                    .advice("sign in again, if you expect the server to have moved to another authorization server"),
            );
        }
    }
    if let Some(StoredClient { id, secret_expires_at: Some(end) }) = &stored.client {
        const RULE: &str = "RFC 7591 section 3.2.1";
        let (id, at) = (quoted(id), when::relative(*end, now));
        findings.push(if *end <= now {
            Finding::note("client-secret-expired", Party::You, format!("the secret of its client {id} ended {at}"))
                .rule(RULE)
                .advice("sign in again, which registers a new client")
        } else {
            Finding::fine("client-secret", format!("the secret of its client {id} ends {at}")).rule(RULE)
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_compared_with_what_the_server_lists_now() {
        let now = WallTime::from_millis(1_000_000_000);
        let judged = |issuer: &str, ends: u64, listed: &[&str]| {
            let client = StoredClient { id: "c".to_owned(), secret_expires_at: Some(WallTime::from_millis(ends)) };
            let stored =
                Stored { state: "signed in", advice: None, issuer: Some(issuer.to_owned()), client: Some(client) };
            let listed: Vec<String> = listed.iter().map(|issuer| (*issuer).to_owned()).collect();
            let step = judge(Ok(Some(stored)), &listed, now);
            step.findings.iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        let (a, b) = ("https://a.example", "https://b.example");
        assert_eq!(judged(a, 2_000_000_000, &[a]), ["session", "bound-issuer", "client-secret"]);
        assert_eq!(judged(a, 2_000_000_000, &[]), ["session", "bound-issuer", "client-secret"]);
        assert_eq!(judged(a, 1, &[b]), ["session", "issuer-moved", "client-secret-expired"]);
    }
}
