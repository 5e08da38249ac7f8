//! Thirty-two callers find an expired token: one request is made, and everyone is served by it.
//!
//! ```sh
//! cargo run --example one_flight
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper::engine::law::flight::{Revocation, Spending, TokenRequest};
use tokenkeeper::engine::law::ledger::Login;
use tokenkeeper::engine::law::profile::{Evidence, Tokens};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::source::TokenSource;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::engine::values::record::{Binding, Client, ClientAuth, Issuer, RefreshCredential};
use tokenkeeper::{
    AccessToken, Account, AuthRuntime, RefreshToken, RenewalPlan, Scopes, ServerIdentity, Settings, Target, TokenKind,
    Validity,
};

/// Stands in for a token endpoint: each refresh token is good once.
#[derive(Debug)]
struct Endpoint {
    clock: SystemClock,
    requests: AtomicU64,
}

#[async_trait]
impl TokenSource for Endpoint {
    fn spending(&self) -> Spending {
        Spending::SingleUse
    }

    async fn request(&self, _identity: &ServerIdentity, _request: TokenRequest) -> Evidence {
        let asked = self.clock.now();
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::task::yield_now().await;
        Evidence::Tokens(Box::new(Tokens {
            access: AccessToken::new(format!("access-{number}")),
            kind: TokenKind::Bearer,
            validity: Validity::new(asked, Some(Duration::from_secs(3_600))),
            refresh: Some(RefreshToken::new(format!("refresh-{number}"))),
            granted: None,
            subject: None,
            binding: None,
        }))
    }

    async fn revoke(&self, _identity: &ServerIdentity, _revocation: Revocation) -> bool {
        true
    }
}

/// What a login brings: here a refresh token alone, so that the first caller finds no living token.
fn login(key: &DigestKey, clock: &SystemClock) -> Login {
    Login {
        renewal: RenewalPlan::default(),
        binding: Binding {
            issuer: Issuer("https://as.example.com".to_owned()),
            client: Client { id: "host".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
            token_endpoint: "https://as.example.com/token".to_owned(),
            revocation_endpoint: None,
            resource: Some("https://mcp.example.com/mcp".to_owned()),
        },
        requested: Scopes::default(),
        granted: Scopes::default(),
        subject: None,
        dpop_key: None,
        refresh: Some(RefreshCredential::new(RefreshToken::new("refresh-0"), key)),
        access: None,
        at: clock.now(),
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program to read, which is its own host")]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = SystemClock::new()?;
    let endpoint = Arc::new(Endpoint { clock: clock.clone(), requests: AtomicU64::new(0) });
    let key = DigestKey::new([7; 32]);
    let store = Arc::new(MemoryStore::new(key.clone()));
    let runtime = AuthRuntime::builder(store, Settings::new(endpoint.clone())).spawn().await?;

    let work = ServerIdentity::new(Account::new("work")?, Target::mcp("https://mcp.example.com/mcp")?);
    let session = runtime.session(work);
    session.install(login(&key, &clock)).await?;

    let callers: Vec<_> = (0..32)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.token().await })
        })
        .collect();
    let mut served = 0;
    for caller in callers {
        caller.await??;
        served += 1;
    }
    println!("{served} callers served by {} token request", endpoint.requests.load(Ordering::SeqCst));
    assert!(runtime.shutdown(Duration::from_secs(5)).await.is_clean(), "everything is saved");
    Ok(())
}
