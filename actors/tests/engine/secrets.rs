//! No secret leaves the engine by accident (law 15), neither in its logs at the finest level, nor in events,
//! supervision events or panics.

use std::io;
use std::sync::{Arc, Mutex};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokenkeeper_actors::runtime::{AuthMessage, TokenOptions};
use tokenkeeper_actors::values::{Lease, TokenError};

use super::support::server::{ACCESS, Answer, REFRESH};
use super::support::witness::Witness;
use super::support::{BoundedRuntime, BoundedSession, World, identity, refuse, s, within};

/// Keeps all written text.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic while writing")).into_owned()
    }

    fn note(&self, text: &str) {
        self.0.lock().expect("no panic while writing").extend_from_slice(text.as_bytes());
    }
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A host that writes down each supervision event, and its content.
struct Host;

#[ractor::actor(message = (), state = Page, arguments = Page)]
impl Host {
    async fn pre_start(&self, _myself: ActorRef<()>, page: Page) -> Result<Page, ActorProcessingErr> {
        Ok(page)
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        event: SupervisionEvent,
        page: &mut Page,
    ) -> Result<(), ActorProcessingErr> {
        page.note(&format!("{event:?} {event}\n"));
        Ok(())
    }
}

/// Asks the subscribers again which events they want. An event that another test of this process met first, while the
/// subscriber of this one was being set, would be switched off for good otherwise.
fn hear_everything() {
    tracing::callsite::rebuild_interest_cache();
}

/// Brings a session into all its states, and writes down all that is shown of it.
async fn a_life(world: &World, runtime: &BoundedRuntime, host: &ActorRef<()>, page: &Page) {
    let session = world.signed_in(runtime, 1).await;
    let show = |answer: &Result<Lease, TokenError>| page.note(&format!("{answer:?}\n"));
    let shows = |session: &BoundedSession| page.note(&format!("{session:?} {:?} {runtime:?}\n", session.state()));
    let lease = session.token().await;
    show(&lease);
    shows(&session);
    refuse(&session, &lease.expect("a lease")).await.expect("noted");
    show(&session.token().await);
    // Answers that are lost, refused, or end in a panic.
    world.server.plans([Answer::Panic, Answer::LostBefore, Answer::Refuse(500, None), Answer::LostAfter]);
    for _ in 0..6 {
        world.expire().await;
        show(&session.token().await);
        shows(&session);
    }
    // A token in doubt that must not be presented again.
    let mut login = world.login();
    login.renewal.never_replay = true;
    session.install(login).await.expect("installed");
    world.server.plans([Answer::LostBefore]);
    world.expire().await;
    show(&session.token().await);
    // An actor outside the tree asks, and an actor is killed while a caller waits in it.
    world.server.takes(s(2));
    session.install(world.login()).await.expect("installed");
    world.expire().await;
    let address = runtime.address();
    let call = address
        .call(|reply| AuthMessage::GetToken { identity: identity(1), options: TokenOptions::default(), reply }, None);
    hear_everything();
    let kills = async {
        world.clock.pass(s(1)).await;
        for supervisor in host.get_children() {
            supervisor.get_children().iter().for_each(ractor::ActorCell::kill);
        }
    };
    let (answer, ()) = within("an answer through the address", async { futures_util::join!(call, kills) }).await;
    page.note(&format!("{answer:?}\n"));
    shows(&session);
    session.logout().await.expect("logged out");
    show(&session.token().await);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_shown_holds_a_secret() {
    let page = Page::default();
    let writer = page.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    hear_everything();
    let panics = page.clone();
    std::panic::set_hook(Box::new(move |panic| panics.note(&format!("{panic} {panic:?}\n"))));

    let world = World::new();
    let (host, _) = Host::spawn(None, Host, page.clone()).await.expect("a host");
    let runtime = BoundedRuntime::from(world.builder().spawn_linked(host.get_cell()).await.expect("a runtime"));
    let mut news = runtime.events();
    a_life(&world, &runtime, &host, &page).await;
    for supervisor in host.get_children() {
        supervisor.kill();
    }
    world.clock.pass(s(1)).await;
    page.note(&format!("{:?}\n", runtime.shutdown(s(5)).await));
    drop(runtime);
    while let Ok(Some(told)) = tokio::time::timeout(s(1), news.next()).await {
        page.note(&format!("{told:?}\n"));
    }
    drop(std::panic::take_hook());

    let text = page.text();
    let words = [
        "flight",
        "told to panic",
        "killed",
        "Refreshed",
        "InDoubt",
        "Ended",
        "LoggedIn",
        "LoggedOut",
        "Lease",
        "MaybeConsumed",
        "stopped by other code",
    ];
    let mut witness = Witness::new(&[ACCESS, REFRESH], &words);
    assert!(witness.finds(ACCESS).is_some() && witness.finds(&REFRESH[3..11]).is_some(), "it would find them");
    text.lines().for_each(|line| witness.reads(line));
    witness.is_content();
}
