//! The body of a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokenkeeper::engine::law::flight::StoreTimeouts;
use tokenkeeper::engine::ports::observer::{EffectName, EffectObserver, LoginEffectName};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::FlightId;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{
    AttemptId, AuthRuntime, AuthSession, LoginCause, LoginLimits, LoginMethod, LoginOffer, LoginProgress,
    LoginSettings, LoginWish, OfferedPrompt, Scopes, ServerIdentity, SessionSpec, callback,
};
use tokenkeeper_judge::processes::{read_requests, report};

use crate::crew::{Command, Death, Message, Setup, WAIT};
use crate::scripted::FileLogins;

pub(crate) async fn work(setup: Setup) {
    let clock = Arc::new(SystemClock::new().unwrap());
    let limits = LoginLimits {
        redeem: Duration::from_millis(1_500),
        spend_wait: Duration::from_millis(500),
        ..LoginLimits::default()
    };
    let builder = AuthRuntime::builder(FileStore::open(setup.folder.join("home")).unwrap())
        .store_timeouts(StoreTimeouts { store_timeout: Duration::from_secs(1), ..StoreTimeouts::default() })
        .login_limits(limits)
        .clock(clock.clone())
        .observer(Arc::new(Executioner { dies: setup.dies, seen: AtomicU32::new(0) }));
    let builder = match &setup.server {
        Some(_) => builder.login(LoginSettings::default()),
        None => builder.login_source(Arc::new(FileLogins { log: setup.folder.join("log"), clock })),
    };
    let auth = builder.spawn().await.unwrap();
    let server = setup.server.as_deref().unwrap_or("https://mcp.example.com/mcp");
    let session = auth.session(SessionSpec::mcp(server).unwrap());
    let mut commands = read_requests::<Command>(|| ());
    report(&Message::Ready);
    while let Some(command) = commands.recv().await {
        let (auth, session) = (auth.clone(), session.clone());
        tokio::spawn(async move {
            match command {
                Command::SignIn(callers) => {
                    let tokens = join_all((0..callers).map(|_| signed_in(&session))).await;
                    report(&Message::SignedIn(tokens));
                }
                Command::Complete(redirect) => {
                    let answer = callback::read(&redirect).unwrap();
                    if auth.complete_login(answer.clone(), WAIT).await.is_err() {
                        // The answer was taken by a process that has died. The session that asked looks for itself.
                        let _ = session.complete_login(answer, WAIT).await;
                    }
                }
            }
        });
    }
    std::process::exit(0);
}

/// A caller that asks until it is signed in. Only the first one of a prompt opens a page.
async fn signed_in(session: &AuthSession) -> String {
    loop {
        if let Ok(lease) = session.token().await {
            return lease.token().expose().to_owned();
        }
        let method = LoginMethod::Redirect("http://127.0.0.1:7/callback".to_owned());
        let wish = LoginWish { scopes: Scopes::default(), method, same_subject: true, extends: false };
        let attempt = match session.begin_login(wish, LoginCause::Person, WAIT).await {
            Ok(LoginProgress::Offered { attempt, offer, is_first, .. }) => {
                if is_first {
                    show(&offer);
                }
                attempt
            }
            Ok(LoginProgress::Elsewhere { attempt }) => attempt,
            Ok(_) => continue,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Ok(LoginProgress::Offered { offer, .. }) = session.login_done(attempt, WAIT).await {
            // The process that asked has died, and this one has taken its prompt over.
            show(&offer);
            session.login_done(attempt, WAIT).await.ok();
        }
    }
}

fn show(offer: &LoginOffer) {
    let OfferedPrompt::Browser { url } = &offer.prompt else { panic!("no page") };
    report(&Message::Offered(url.as_str().to_owned()));
}

/// Kills its own process at an effect.
#[derive(Debug)]
struct Executioner {
    dies: Option<Death>,
    seen: AtomicU32,
}

impl Executioner {
    fn look(&self, effect: LoginEffectName, is_before: bool) {
        if let Some(Death { effect: name, number, before }) = &self.dies
            && name == effect.as_str()
            && *before == is_before
            && self.seen.fetch_add(1, Ordering::SeqCst) + 1 == *number
        {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            std::thread::park();
        }
    }
}

impl EffectObserver for Executioner {
    fn before(&self, _: &ServerIdentity, _: FlightId, _: EffectName) {}

    fn after(&self, _: &ServerIdentity, _: FlightId, _: EffectName) {}

    fn before_login(&self, _: &ServerIdentity, _: AttemptId, effect: LoginEffectName) {
        self.look(effect, true);
    }

    fn after_login(&self, _: &ServerIdentity, _: AttemptId, effect: LoginEffectName) {
        self.look(effect, false);
    }
}
