//! Every future of the public API is `Send`, so that a host spawns it on any executor of several threads.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use tokenkeeper::actor::{self, AuthSpec};
use tokenkeeper::callback::{LoopbackListener, LoopbackOptions, Outcome, Received};
use tokenkeeper::child::ChildGrant;
use tokenkeeper::discovery::{Challenge, Discovery, Freshness};
use tokenkeeper::http::Reach;
use tokenkeeper::machine::MachineGrant;
use tokenkeeper::user::UserOptions;
use tokenkeeper::{
    AttemptId, AuthRuntime, AuthSession, Call, Callback, ChallengeKey, Destination, EventStream, Interaction, Lease,
    LogIn, Login, LoginCause, LoginKey, LoginMethod, LoginWish, OperationKey, RenewalPlan, ResourceUri, RuntimeBuilder,
    Scopes, StateWatch, StepUp, TokenOptions,
};

const WAIT: Duration = Duration::from_secs(1);

fn sends<T: Send>(_: T) {}

#[test]
fn every_future_may_go_to_another_thread() {
    // They are checked by the compiler, and none is made.
    let _checked = (of_a_runtime, of_a_session, of_requests, of_logins, of_others, of_a_tree);
}

fn of_a_runtime((runtime, builder): (&AuthRuntime, RuntimeBuilder), callback: Callback) {
    sends(runtime.quiesce(WAIT));
    sends(runtime.identities());
    sends(runtime.shutdown(WAIT));
    sends(runtime.complete_login(callback, WAIT));
    sends(runtime.pending_logins());
    sends(builder.spawn());
}

fn of_a_session(
    session: &AuthSession,
    (lease, login, plan, grant): (&Lease, Login, RenewalPlan, &MachineGrant),
    (wish, method, attempt, callback, person): (LoginWish, LoginMethod, AttemptId, Callback, &dyn Interaction),
) {
    let operation = OperationKey::of("tools/call");
    sends(session.token());
    sends(session.token_with(TokenOptions::default()));
    sends(session.signed_in());
    sends(session.user());
    sends(session.user_with(UserOptions::default()));
    sends(session.invalidate(lease, operation, ChallengeKey::default()));
    sends(session.install(login));
    sends(session.configure(plan));
    sends(session.logout());
    sends(session.forget());
    sends(session.forget_unless_signed_in());
    sends(session.sign_in_as(grant));
    sends(session.begin_login(wish, LoginCause::Again, WAIT));
    sends(session.step_up(lease, Scopes::default(), method, operation, WAIT));
    sends(session.login_done(attempt, WAIT));
    sends(session.complete_login(callback, WAIT));
    sends(session.cancel_login(WAIT));
    sends(session.log_in(LogIn::new(), person));
    sends(session.registered_redirects());
}

fn of_requests(call: &mut Call, to: &Destination, session: &AuthSession, challenge: &Challenge, headers: &HeaderMap) {
    sends(call.authorize(to, &Method::POST));
    sends(call.next(StatusCode::UNAUTHORIZED, headers));
    sends(call.next_of(StatusCode::UNAUTHORIZED, [&b"Bearer"[..]]));
    sends(session.challenged(challenge));
}

fn of_logins(
    step_up: &StepUp,
    method: LoginMethod,
    listener: &LoopbackListener,
    received: Received,
    keys: &[LoginKey],
) {
    sends(step_up.begin(method, WAIT));
    sends(LoopbackListener::bind(LoopbackOptions::default()));
    sends(listener.next(keys));
    sends(received.respond(Outcome::SignedIn));
}

fn of_others(
    (discovery, resource): (&Discovery, &ResourceUri),
    child: &ChildGrant,
    (events, watch): (&mut EventStream, &mut StateWatch),
) {
    sends(discovery.probe(resource));
    sends(discovery.resource(resource, None, Freshness::Cached));
    sends(discovery.server("https://as.example.com", Reach::Public));
    sends(discovery.authorization_server(resource, None, None, Freshness::Cached));
    sends(child.file_written());
    sends(events.next());
    sends(watch.next());
}

fn of_a_tree(spec: &AuthSpec, builders: [RuntimeBuilder; 2], host: &ractor::ActorCell) {
    let [prepared, linked] = builders;
    sends(spec.spawn());
    sends(spec.spawn_linked(host.clone()));
    sends(actor::prepare(prepared));
    sends(actor::spawn_linked(linked, host.clone()));
}
