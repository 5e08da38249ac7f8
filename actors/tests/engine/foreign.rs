//! Refusals of leases that are not the session's own (law 6).

use ractor::{RpcReplyPort, concurrency};
use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey, Refusal, RefusalAnswer};
use tokenkeeper_actors::runtime::AuthMessage;
use tokenkeeper_actors::values::{Epoch, Generation, Reason, TokenError};

use super::support::{World, identity, refuse, s, within};

#[tokio::test(start_paused = true)]
async fn a_lease_of_another_session_is_refused_in_vain() {
    let world = World::new();
    let runtime = world.runtime().await;
    let (one, other) = (world.signed_in(&runtime, 1).await, world.signed_in(&runtime, 2).await);
    // The other session's first lease has the generation of the first one's. Its second lease has a newer one.
    let (own, same) = (one.token().await.expect("a lease"), other.token().await.expect("a lease"));
    assert_eq!(own.generation(), same.generation());
    assert_eq!((own.session(), same.session()), (Some(&identity(1)), Some(&identity(2))));
    refuse(&other, &same).await.expect("noted");
    let newer = other.token().await.expect("a lease");
    assert!(newer.generation().supersedes(&own.generation()));
    assert_eq!(newer.session(), Some(&identity(2)), "an answer of the actor");
    world.server.is_content_with(1);
    for foreign in [&same, &newer] {
        let told = refuse(&one, foreign).await.expect_err("a foreign lease");
        assert_eq!(told, TokenError::new(Reason::WrongSession));
    }
    assert_eq!(one.token().await.expect("a lease"), own);
    world.server.is_content_with(1);
    // A refusal of its own lease counts.
    refuse(&one, &own).await.expect("noted");
    assert!(one.token().await.expect("a lease").generation().supersedes(&own.generation()));
    world.server.is_content_with(2);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_generation_through_the_address_changes_nothing() {
    let world = World::new();
    let runtime = world.runtime().await;
    let session = world.signed_in(&runtime, 1).await;
    let lease = session.token().await.expect("a lease");
    for generation in [Generation::stored(Epoch::new(1), 2), Generation::stored(Epoch::new(u64::MAX), u64::MAX)] {
        let (tell, told) = concurrency::oneshot();
        let refusal = Refusal { generation, operation: OperationKey(0), challenge: ChallengeKey(0) };
        let reply = RpcReplyPort::from(tell);
        let message = AuthMessage::Invalidate { identity: identity(1), refusal, reply };
        runtime.address().send_message(message).expect("the address stands");
        let answer = within("the answer to a refusal", told).await.expect("an answer");
        assert_eq!(answer, Ok(RefusalAnswer::Unknown));
        assert_eq!(session.token().await.expect("a lease"), lease);
    }
    // Neither is a later token refused by it, nor one of a new login.
    world.clock.pass(world.server.lifetime() + s(1)).await;
    session.token().await.expect("a lease");
    session.install(world.login()).await.expect("installed");
    session.token().await.expect("a lease");
    world.server.is_content_with(1);
}
