//! Refreshes at each provider, for a session whose record names it.

use std::time::Duration;

use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{AuthRuntime, AuthSession, Login, Reason, SessionSpec, TokenOptions};

use super::server::{CLIENT, Fault, Lost, Method, Odd, SECRET, Server, Vendor};
use super::table;
use super::within::within;

struct Host {
    server: Server,
    session: AuthSession,
    auth: AuthRuntime,
}

impl Host {
    /// A session of a login that was made before, as an import makes it.
    async fn new(vendor: &'static Vendor) -> Self {
        let server = Server::new(vendor);
        let store = MemoryStore::new(DigestKey::new([7; 32]));
        let auth = AuthRuntime::builder(store).http(std::sync::Arc::new(server.clone())).spawn().await.unwrap();
        let session = auth.session(SessionSpec::mcp("https://mcp.example.com/mcp").unwrap());
        let client = match vendor.method {
            Method::Public => Client::public(CLIENT),
            Method::Post => Client::secret_post(CLIENT, SECRET),
            Method::Basic => Client::secret_basic(CLIENT, SECRET),
        };
        let issuer = IssuerSettings::new(vendor.issuer, vendor.token, client).unwrap().provider(vendor.name).unwrap();
        let login = Login::at(issuer).refresh_token(server.granted()).granted(["read", "write"]);
        within("the login", session.install(login)).await.unwrap();
        Self { server, session, auth }
    }

    /// A token of a refresh that begins now.
    async fn renewed(&self) -> Result<String, Reason> {
        let options = TokenOptions { force: true, ..TokenOptions::default() };
        let lease = within("a token", self.session.token_with(options)).await;
        lease.map(|lease| lease.token().expose().to_owned()).map_err(|error| error.reason())
    }

    async fn close(self) {
        assert!(self.auth.shutdown(Duration::from_secs(5)).await.is_clean());
    }
}

#[test]
fn an_issuer_of_the_vendor_has_its_row() {
    for vendor in table::ALL {
        let of = Providers::builtin().of_issuer(vendor.issuer).map(|name| name.as_str().to_owned());
        // The customers of some vendors run the servers under names of their own.
        let expected = (vendor.issuer != "https://as.example.com").then(|| vendor.name.to_owned());
        assert_eq!(of, expected, "{}", vendor.name);
    }
}

#[tokio::test]
async fn refreshes_rotate_as_the_vendor_rotates() {
    for vendor in table::ALL {
        let host = Host::new(vendor).await;
        for _ in 0..3 {
            let token = host.renewed().await.unwrap_or_else(|reason| panic!("{}: {reason}", vendor.name));
            assert_eq!(token, host.server.newest_access(), "{}", vendor.name);
        }
        let lease = within("a token", host.session.token()).await.unwrap();
        let lifetime = lease.validity().lifetime().map(|lifetime| lifetime.as_secs());
        match (vendor.introspection, lifetime, vendor.lifetime) {
            // It names a time of the day, and a second may begin between the two clocks.
            (Some(_), Some(lifetime), Some(named)) => {
                assert!(lifetime.abs_diff(named) < 60, "{}: {lifetime}", vendor.name)
            }
            (_, lifetime, named) => assert_eq!(lifetime, named, "{}", vendor.name),
        }
        assert_eq!(host.server.presented().len(), 3, "{}", vendor.name);
        host.close().await;
    }
}

#[tokio::test]
async fn a_dead_refresh_token_ends_the_session_and_is_shown_once() {
    for vendor in table::ALL {
        let host = Host::new(vendor).await;
        host.server.end();
        for _ in 0..3 {
            assert_eq!(host.renewed().await, Err(Reason::GrantEnded), "{}", vendor.name);
        }
        assert_eq!(host.server.presented().len(), 1, "{}", vendor.name);
        host.close().await;
    }
}

#[tokio::test]
async fn a_lost_answer_costs_no_more_than_the_vendor_takes() {
    for vendor in table::ALL {
        let host = Host::new(vendor).await;
        host.renewed().await.unwrap();
        host.server.fault(Fault::Lose);
        let renewed = host.renewed().await;
        let presented = host.server.presented();
        let again = presented.iter().filter(|token| *token == presented.last().unwrap()).count();
        match vendor.lost {
            Lost::Recovers => {
                assert!(renewed.is_ok(), "{}: {renewed:?}", vendor.name);
                assert!(host.renewed().await.is_ok(), "{}", vendor.name);
            }
            Lost::Serves => assert!(renewed.is_ok(), "{}: {renewed:?}", vendor.name),
            Lost::Ends => assert_eq!((renewed, again), (Err(Reason::GrantEnded), 2), "{}", vendor.name),
            Lost::NeverAgain => assert_eq!((renewed, again), (Err(Reason::MaybeConsumed), 1), "{}", vendor.name),
        }
        let _ = host.auth.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn odd_answers_mean_what_the_vendor_means() {
    for vendor in table::ALL {
        for (status, body, odd) in vendor.odd {
            let host = Host::new(vendor).await;
            host.server.fault(Fault::Answer(*status, body));
            let renewed = host.renewed().await;
            let presented = host.server.presented().len();
            let told = format!("{}: {status} {body}: {renewed:?}", vendor.name);
            match odd {
                Odd::Dead => assert_eq!((renewed, presented), (Err(Reason::GrantEnded), 1), "{told}"),
                Odd::Client => assert_eq!((renewed, presented), (Err(Reason::ClientRejected), 1), "{told}"),
                Odd::Passes => assert!(renewed.is_ok(), "{told}"),
            }
            host.close().await;
        }
    }
}
