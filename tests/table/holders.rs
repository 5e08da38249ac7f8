//! The holder of a mark may be gone, or may yet come back with an answer.

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper_testkit::hostile::{Fault, Gate, Grant, HostileAs, Rotation, When};

use crate::support::law::{GRACE, Policy};
use crate::support::wire::Wire;
use crate::support::within::within;
use crate::support::{Ahead, Host, PATIENCE, digest_key};

/// Longer than a claim lasts, and so longer than a marked request may last.
const CLAIM_IS_OVER: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_holder_that_may_live_is_waited_for_and_ends_the_doubt_when_it_comes_back() {
    for (wire, when) in Wire::ALL.into_iter().flat_map(|wire| [(wire, When::Before), (wire, When::After)]) {
        for policy in [Policy::EndsLineage, Policy::EndsMore] {
            let story = format!("{wire:?} {when:?} {policy:?}");
            let (server, grant, holder) = leased(wire, policy).await;
            let gate = server.hold_next(when);
            let asked = ask(&holder);
            within("a request at the gate", gate.reached(1)).await;
            // The holder's callers have their answer. Its claim lasts.
            holder.skip(PATIENCE).await;
            within("the end of a call", asked).await.unwrap();
            let other = holder.another_process().await;
            let come_back = async {
                let mut states = other.session.watch();
                while !states.now().refreshing {
                    within("a flight", states.next()).await.unwrap();
                }
                assert_eq!((server.counts().token_requests, other.presentations().await), (1, 1), "{story}");
                gate.open();
            };
            let (token, ()) = tokio::join!(other.token(), come_back);
            is_at_rest(&holder).await;
            assert_eq!(token, holder.token().await, "{story}: {:#?}", server.snapshot().timeline);
            assert_eq!(other.mark().await, None, "{story}");
            is_whole(&server, &grant, [&holder, &other], 1, &story).await;
        }
    }
}

/// A process whose claim ran out, and which may be suspended, because its end is unconfirmed. Its request can have no
/// answer any more, so its token is presented by another process where reuse allows.
#[tokio::test]
async fn a_holder_that_may_live_is_overtaken_once_its_request_cannot_last() {
    for (wire, when) in Wire::ALL.into_iter().flat_map(|wire| [(wire, When::Before), (wire, When::After)]) {
        for policy in [Policy::EndsLineage, Policy::EndsMore] {
            let story = format!("{wire:?} {when:?} {policy:?}");
            let (server, grant, holder) = leased(wire, policy).await;
            let gate = Gate::closed();
            server.next(when, Fault::reset().held(&gate));
            let asked = ask(&holder);
            within("a request at the gate", gate.reached(1)).await;
            pass(&server, &holder, CLAIM_IS_OVER);
            let other = holder.another_process().await;
            let outcome = other.renew().await.map(drop).map_err(|error| error.reason());
            let (expected, requests) = match (policy, when) {
                (Policy::EndsMore, _) => (Err(Reason::MaybeConsumed), 1),
                (_, When::Before) => (Ok(()), 2),
                (_, When::After) => (Err(Reason::GrantEnded), 2),
            };
            assert_eq!((outcome, server.counts().token_requests), (expected, requests), "{story}");
            gate.open();
            is_at_rest(&holder).await;
            drop(within("the end of a call", asked).await);
            let counts = within("what the server is to count", server.until(|counts| counts.concurrent == 0)).await;
            let replays = u64::from(expected == Err(Reason::GrantEnded));
            assert_eq!((counts.token_requests, counts.replays), (requests, replays), "{story}");
            if expected.is_ok() {
                is_whole(&server, &grant, [&holder, &other], 2, &story).await;
            }
        }
    }
}

/// Within a server's grace period a second presentation loses nothing, even if the holder still lives.
#[tokio::test]
async fn within_a_grace_a_holder_that_may_live_is_overtaken_and_both_are_whole() {
    for wire in Wire::ALL {
        let story = format!("{wire:?}");
        let (server, grant, holder) = leased(wire, Policy::Grace).await;
        server.rules(|rules| rules.rotation = Rotation::Grace(GRACE));
        let gate = Gate::closed();
        server.next(When::After, Fault::hold(&gate));
        let asked = ask(&holder);
        within("a request at the gate", gate.reached(1)).await;
        pass(&server, &holder, CLAIM_IS_OVER);
        let other = holder.another_process().await;
        other.renew().await.unwrap();
        assert_eq!((server.counts().token_requests, server.counts().rotations), (2, 2), "{story}");
        gate.open();
        is_at_rest(&holder).await;
        drop(within("the end of a call", asked).await);
        is_whole(&server, &grant, [&holder, &other], 2, &story).await;
    }
}

/// A process that died during its request. The kernel reports its death. Where reuse ends no more than the lineage, the
/// next process presents the token at once.
#[test]
fn of_a_holder_that_is_gone_the_policy_decides() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ours = runtime();
    for (wire, when) in Wire::ALL.into_iter().flat_map(|wire| [(wire, When::Before), (wire, When::After)]) {
        for policy in [Policy::EndsLineage, Policy::EndsMore] {
            let story = format!("{wire:?} {when:?} {policy:?}");
            let theirs = runtime();
            let (server, grant, host) = ours.block_on(signed_in(wire, policy));
            let holder = theirs.block_on(host.another_process());
            let gate = Gate::closed();
            server.next(when, Fault::reset().held(&gate));
            #[expect(clippy::disallowed_methods, reason = "a task that dies with its runtime")]
            let asked = theirs.spawn(async move { holder.renew().await });
            ours.block_on(within("a request at the gate", gate.reached(1)));
            drop(theirs);
            drop(asked);
            gate.open();
            ours.block_on(async {
                within("what the server is to count", server.until(|counts| counts.concurrent == 0)).await;
                assert_eq!((server.counts().token_requests, host.presentations().await), (1, 1), "{story}");
                let outcome = host.renew().await.map(drop).map_err(|error| error.reason());
                let (expected, requests, replays) = match (policy, when) {
                    (Policy::EndsMore, _) => (Err(Reason::MaybeConsumed), 1, 0),
                    (_, When::Before) => (Ok(()), 2, 0),
                    (_, When::After) => (Err(Reason::GrantEnded), 2, 1),
                };
                let counts = server.counts();
                assert_eq!((outcome, counts.token_requests), (expected, requests), "{story}");
                assert_eq!(counts.replays, replays, "{story}");
                assert_eq!(server.is_alive(grant.chain), replays == 0, "{story}");
                if expected.is_ok() {
                    is_whole(&server, &grant, [&host], 2, &story).await;
                }
            });
        }
    }
}

/// A host on a store whose claims are leases.
async fn leased(wire: Wire, policy: Policy) -> (HostileAs, Grant, Host) {
    let clock = Ahead::new();
    let store = MemoryStore::leased(digest_key(), Arc::new(clock.clone()), Duration::from_secs(1));
    sign_in(wire, policy, store, clock).await
}

/// A host on a store whose claims end with their process.
async fn signed_in(wire: Wire, policy: Policy) -> (HostileAs, Grant, Host) {
    sign_in(wire, policy, MemoryStore::new(digest_key()), Ahead::new()).await
}

async fn sign_in(wire: Wire, policy: Policy, store: MemoryStore, clock: Ahead) -> (HostileAs, Grant, Host) {
    let server = HostileAs::start().await.unwrap();
    let grant = server.grant();
    let host = Host::over(store, clock, &server.resource(), wire.client(), policy.applied(Profile::default())).await;
    host.sign_in(&grant).await.unwrap();
    (server, grant, host)
}

/// Starts a caller that triggers a refresh. Its timeout passes long before the answer comes.
fn ask(host: &Host) -> tokio::task::JoinHandle<()> {
    let session = host.session.clone();
    #[expect(clippy::disallowed_methods, reason = "a task of this test, which waits for it")]
    tokio::spawn(async move { drop(session.token().await) })
}

/// Lets `span` pass, at this host and at the server.
fn pass(server: &HostileAs, host: &Host, span: Duration) {
    host.clock.pass(span);
    server.advance(span);
}

async fn is_at_rest(host: &Host) {
    let mut states = host.session.watch();
    while states.now().refreshing {
        within("an end of the flight", states.next()).await.unwrap();
    }
}

/// Asserts that each process can renew once more, so that nothing was lost or presented twice. `requests` arrived
/// before.
async fn is_whole<const N: usize>(server: &HostileAs, grant: &Grant, hosts: [&Host; N], requests: u64, story: &str) {
    for (more, host) in (1..).zip(hosts) {
        host.renew().await.unwrap_or_else(|error| panic!("{story}: {error}"));
        let counts = within("what the server is to count", server.until(|counts| counts.concurrent == 0)).await;
        assert_eq!((counts.token_requests, counts.replays), (requests + more, 0), "{story}");
        assert_eq!(host.mark().await, None, "{story}");
    }
    assert!(server.is_alive(grant.chain), "{story}");
    for host in hosts {
        host.shut_down().await;
    }
}
