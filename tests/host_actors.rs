//! A host's own actors use the runtime by messages to one address. Everything is killed in turn, in mid refresh, and the host
//! restarts what has ended.
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../actors/tests/common/within.rs"]
mod within;

use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus, RpcReplyPort, SupervisionEvent};
use tokenkeeper::actor::{self, AuthMessage, AuthSpec, Refusal, RefusalAnswer, StateChange};
use tokenkeeper::engine::values as engine;
use tokenkeeper::{
    AuthRuntime, ChallengeKey, Lease, LoginCause, LoginMethod, LoginProgress, LoginWish, OfferedPrompt, OperationKey,
    Reason, Scopes, ServerIdentity, SessionSpec, SessionState, TokenError, TokenOptions, callback, stores,
};
use tokenkeeper_testkit::hostile::{HostileAs, TokenVerdict, When};
use tokenkeeper_testkit::login_server::{Browser, LoginServer};
use tokio::sync::mpsc;

use within::within;

const WAIT: Duration = Duration::from_secs(25);

// The host.

/// The root of the host's tree. Its children are the runtime and the MCP client, and it restarts both.
struct Host;

struct HostState {
    spec: AuthSpec,
    auth: AuthRuntime,
    identity: ServerIdentity,
    states: mpsc::UnboundedSender<SessionState>,
    client: ActorRef<ClientMessage>,
}

/// Asks for the MCP client that runs now.
struct FindClient(RpcReplyPort<ActorRef<ClientMessage>>);

#[cfg(feature = "cluster")]
impl ractor::Message for FindClient {}

#[ractor::actor(message = FindClient, state = HostState, arguments = (AuthSpec, ServerIdentity, mpsc::UnboundedSender<SessionState>))]
impl Host {
    async fn pre_start(
        &self,
        myself: ActorRef<FindClient>,
        (spec, identity, states): (AuthSpec, ServerIdentity, mpsc::UnboundedSender<SessionState>),
    ) -> Result<HostState, ActorProcessingErr> {
        let auth = spec.spawn_linked(myself.get_cell()).await?;
        let client = start_client(&myself, &auth, &identity, &states).await?;
        Ok(HostState { spec, auth, identity, states, client })
    }

    async fn handle(
        &self,
        _myself: ActorRef<FindClient>,
        FindClient(reply): FindClient,
        state: &mut HostState,
    ) -> Result<(), ActorProcessingErr> {
        Ok(reply.send(state.client.clone())?)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<FindClient>,
        event: SupervisionEvent,
        state: &mut HostState,
    ) -> Result<(), ActorProcessingErr> {
        let (SupervisionEvent::ActorFailed(child, _) | SupervisionEvent::ActorTerminated(child, ..)) = event else {
            return Ok(());
        };
        if actor::is_supervisor(&state.auth, child.get_id()) {
            state.auth = state.spec.spawn_linked(myself.get_cell()).await?;
        } else {
            state.client = start_client(&myself, &state.auth, &state.identity, &state.states).await?;
        }
        Ok(())
    }
}

async fn start_client(
    host: &ActorRef<FindClient>,
    auth: &AuthRuntime,
    identity: &ServerIdentity,
    states: &mpsc::UnboundedSender<SessionState>,
) -> Result<ActorRef<ClientMessage>, ActorProcessingErr> {
    let arguments = (actor::address(auth), identity.clone(), states.clone());
    Ok(Actor::spawn_linked(None, Client, arguments, host.get_cell()).await?.0)
}

/// An MCP client of the host. It holds the runtime's address and nothing else of it.
struct Client;

struct ClientState {
    auth: ActorRef<AuthMessage>,
    identity: ServerIdentity,
    states: mpsc::UnboundedSender<SessionState>,
}

enum ClientMessage {
    /// Takes a token with these options.
    Call(TokenOptions, RpcReplyPort<Result<engine::Lease, engine::TokenError>>),
    /// The session's state has changed.
    State(StateChange),
}

#[cfg(feature = "cluster")]
impl ractor::Message for ClientMessage {}

impl From<StateChange> for ClientMessage {
    fn from(change: StateChange) -> Self {
        Self::State(change)
    }
}

impl TryFrom<ClientMessage> for StateChange {
    type Error = ();

    fn try_from(message: ClientMessage) -> Result<Self, ()> {
        match message {
            ClientMessage::State(change) => Ok(change),
            ClientMessage::Call(..) => Err(()),
        }
    }
}

#[ractor::actor(message = ClientMessage, state = ClientState, arguments = (ActorRef<AuthMessage>, ServerIdentity, mpsc::UnboundedSender<SessionState>))]
impl Client {
    async fn pre_start(
        &self,
        myself: ActorRef<ClientMessage>,
        (auth, identity, states): (ActorRef<AuthMessage>, ServerIdentity, mpsc::UnboundedSender<SessionState>),
    ) -> Result<ClientState, ActorProcessingErr> {
        auth.send_message(AuthMessage::Follow { identity: identity.clone(), to: myself.get_derived() })?;
        Ok(ClientState { auth, identity, states })
    }

    async fn handle(
        &self,
        _myself: ActorRef<ClientMessage>,
        message: ClientMessage,
        state: &mut ClientState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // The reply port is passed on, so this actor is free while a refresh takes its time.
            ClientMessage::Call(options, reply) => {
                let identity = state.identity.clone();
                state.auth.send_message(AuthMessage::GetToken { identity, options, reply })?;
            }
            ClientMessage::State(change) => {
                assert_eq!(change.identity, state.identity);
                state.states.send(change.state)?;
            }
        }
        Ok(())
    }
}

// The test.

struct Rig {
    server: LoginServer,
    spec: AuthSpec,
    host: ActorRef<FindClient>,
    address: ActorRef<AuthMessage>,
    identity: ServerIdentity,
    states: mpsc::UnboundedReceiver<SessionState>,
}

impl Rig {
    async fn new() -> Self {
        let server = LoginServer::start().await.unwrap();
        let identity = SessionSpec::mcp(&server.resource_url()).unwrap().identity().clone();
        let spec = actor::prepare(AuthRuntime::builder(stores::memory::open().unwrap())).await.unwrap();
        let (seen, states) = mpsc::unbounded_channel();
        let (host, _) = Actor::spawn(None, Host, (spec.clone(), identity.clone(), seen)).await.unwrap();
        let address = actor::address(&spec.runtime());
        Self { server, spec, host, address, identity, states }
    }

    fn hostile(&self) -> &HostileAs {
        self.server.hostile()
    }

    /// Sends a message, and waits for its answer.
    async fn ask<T: Send + 'static>(&self, message: impl FnOnce(RpcReplyPort<T>) -> AuthMessage) -> T {
        within("an answer through the address", self.address.call(message, None)).await.unwrap().unwrap()
    }

    async fn client(&self) -> ActorRef<ClientMessage> {
        within("the client", self.host.call(FindClient, None)).await.unwrap().unwrap()
    }

    async fn call(&self) -> Result<Lease, TokenError> {
        let client = self.client().await;
        let answer = within("a call", client.call(|reply| ClientMessage::Call(TokenOptions::default(), reply), None))
            .await
            .unwrap();
        Ok(answer.unwrap()?.into())
    }

    async fn logs_in(&self) {
        let method = LoginMethod::Redirect("http://127.0.0.1:7/callback".to_owned());
        let wish = LoginWish { scopes: Scopes::default(), method, same_subject: true, extends: false };
        let identity = self.identity.clone();
        let begin = |reply| AuthMessage::BeginLogin { identity, wish, cause: LoginCause::Person, timeout: WAIT, reply };
        let Ok(LoginProgress::Offered { offer, .. }) = self.ask(begin).await else { panic!("nothing to show") };
        let OfferedPrompt::Browser { url } = &offer.prompt else { panic!("no page") };
        let visit = within("the page", Browser::open(url.as_str())).await.unwrap();
        let callback = callback::read(&visit.callback.unwrap()).unwrap();
        let complete = |reply| AuthMessage::CompleteLogin { callback, timeout: WAIT, reply };
        assert_eq!(self.ask(complete).await, Ok(LoginProgress::SignedIn));
    }

    async fn refuses(&self, lease: &Lease) -> RefusalAnswer {
        let refusal = Refusal {
            generation: lease.generation(),
            operation: OperationKey::of("tools/call search"),
            challenge: ChallengeKey::default(),
        };
        let identity = self.identity.clone();
        self.ask(|reply| AuthMessage::Invalidate { identity, refusal, reply }).await.unwrap()
    }

    /// The number of refreshes that led to the token of `lease`.
    fn ordinal(&self, lease: &Lease) -> u64 {
        let authorization = format!("Bearer {}", lease.token().expose());
        match self.server.verifier().admit(Some(authorization.as_bytes()), &self.server.resource_url(), &[]) {
            TokenVerdict::Admitted(admission) => admission.ordinal.into(),
            refused @ TokenVerdict::Refused { .. } => panic!("{refused:?}"),
        }
    }

    /// Waits for a state.
    async fn sees(&mut self, what: &'static str, mut wanted: impl FnMut(&SessionState) -> bool) {
        while !wanted(&within(what, self.states.recv()).await.unwrap()) {}
    }

    fn supervisor(&self) -> ActorCell {
        let auth = self.spec.runtime();
        let running = |child: &ActorCell| child.get_status() < ActorStatus::Stopping;
        let is_supervisor = |child: &ActorCell| actor::is_supervisor(&auth, child.get_id());
        self.host.get_children().into_iter().find(|child| is_supervisor(child) && running(child)).unwrap()
    }

    /// Kills actors, and waits for their end.
    async fn kill(&self, victims: Victims) {
        let victims = match victims {
            Victims::Children => self.supervisor().get_children(),
            Victims::Supervisor => vec![self.supervisor()],
            Victims::Client => vec![self.client().await.get_cell()],
        };
        assert!(!victims.is_empty());
        for victim in victims {
            victim.kill();
            within("an end", victim.wait(None)).await.unwrap();
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Victims {
    /// The actors of the session and of its issuer.
    Children,
    Supervisor,
    Client,
}

#[tokio::test]
async fn a_hosts_actors_live_by_messages_while_everything_is_killed_in_turn() {
    let mut rig = Rig::new().await;
    rig.sees("no login", |state| state.login_required == Some(Reason::NeverSignedIn)).await;
    assert_eq!(rig.call().await.unwrap_err().reason(), Reason::NeverSignedIn);
    rig.logs_in().await;
    rig.sees("the login", |state| state.login_required.is_none() && state.lease.is_some()).await;
    let first = rig.call().await.unwrap();
    assert_eq!(rig.refuses(&first).await, RefusalAnswer::Noted);
    let second = rig.call().await.unwrap();
    assert_ne!(second.generation(), first.generation());
    assert_eq!(rig.refuses(&first).await, RefusalAnswer::Superseded);
    assert_eq!(rig.hostile().counts().refresh_grants, 1);

    let kinds = [Victims::Children, Victims::Supervisor, Victims::Client];
    let mut requests = 1;
    for victims in kinds.into_iter().cycle().take(9) {
        // The server holds its answer while actors are killed.
        let gate = rig.hostile().hold_next(When::After);
        let client = rig.client().await;
        let forced = TokenOptions { force: true, ..TokenOptions::default() };
        let waiting = tokio::spawn(async move { client.call(|reply| ClientMessage::Call(forced, reply), None).await });
        within("the token request", gate.reached(1)).await;
        rig.kill(victims).await;
        gate.open();

        // The client passed the reply port on, so its own end takes no answer away.
        let answer = within("an answer", waiting).await.unwrap().unwrap().unwrap();
        match (victims, answer) {
            (Victims::Supervisor, Err(error)) => assert_eq!(error.reason(), Reason::NotRunning),
            (Victims::Children | Victims::Client, Ok(_)) => {}
            (_, answer) => panic!("{victims:?}: {answer:?}"),
        }
        let counts = within("the refresh", rig.hostile().until(|counts| counts.concurrent == 0)).await;
        // A caller that insists on a refresh of its own does so again at the next actor.
        requests += if matches!(victims, Victims::Children) { 2 } else { 1 };
        assert_eq!((counts.refresh_grants, counts.most_concurrent), (requests, 1), "{victims:?}");
        let generation = loop {
            match rig.call().await {
                Ok(lease) if rig.ordinal(&lease) == counts.rotations => break lease.generation(),
                // The host is restarting the tree, or the flight is storing its tokens.
                Ok(_) => tokio::task::yield_now().await,
                Err(error) if error.reason() == Reason::NotRunning => tokio::task::yield_now().await,
                Err(error) => panic!("{victims:?}: {error}"),
            }
        };
        rig.sees("the new token", |state| state.lease.is_some_and(|(served, _)| served == generation)).await;
    }
    let counts = rig.hostile().counts();
    assert_eq!((counts.refresh_grants, counts.rotations, counts.replays), (13, 13, 0));

    let identity = rig.identity.clone();
    rig.ask(|reply| AuthMessage::Logout { identity, reply }).await.unwrap();
    rig.sees("the logout", |state| state.login_required == Some(Reason::LoggedOut)).await;
    assert_eq!(rig.call().await.unwrap_err().reason(), Reason::LoggedOut);

    // The states end with the runtime, and so does nothing of the host's.
    assert!(rig.spec.runtime().shutdown(WAIT).await.is_clean());
    assert_eq!(rig.host.get_status(), ActorStatus::Running);
}
