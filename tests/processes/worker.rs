//! What a child process does: as it is told, and it says what came of it.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokenkeeper::engine::runtime::AuthSession;
use tokenkeeper::engine::values::{Lease, TokenError};
use tokenkeeper::{Generation, SessionState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::crew::SAYS;
use crate::party::{Paper, Party, Setup};
use crate::point::{Point, Stops};

/// How long a caller of a crowd rests between two calls.
const REST: Duration = Duration::from_millis(20);

/// Of so many tokens that a caller gets, it shows one to the resource.
const SHOWN: u64 = 40;

/// What a process is told to do. Each is answered once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    Token {
        force: bool,
    },
    State,
    Install(Paper),
    LogOut,
    /// So many callers ask for tokens again and again for so long.
    Hammer {
        callers: usize,
        span: Duration,
    },
    /// Sweeps the home and looks at everything in it, again and again for so long.
    Tidy {
        span: Duration,
    },
    /// The next flight that gets to this point stops there, and says so.
    Arm(Point),
    /// Lets it go on.
    Go,
    /// Where its flights have gone so far.
    Track,
    /// From now on it says when its session's state has changed.
    Follow,
    /// How many actors are awake.
    Actors,
    KillActors,
    Uproot,
    Fell,
    /// It says when the end has begun, too.
    ShutDown,
}

/// Says something to the parent.
pub(crate) fn say(what: &Value) {
    println!("{SAYS}{what}");
}

pub(crate) async fn work(setup: &Setup) {
    let stops = Arc::new(Stops::default());
    let party = Arc::new(Party::open(setup, Some(stops.clone())).await);
    let resource: Arc<str> = setup.resource.as_str().into();
    let mut told = commands();
    say(&json!({ "event": "ready" }));
    let mut works = JoinSet::new();
    while let Some((id, command)) = told.recv().await {
        let (party, stops, resource) = (party.clone(), stops.clone(), resource.clone());
        works.spawn(async move {
            let mut answer = obey(&party, &stops, &resource, command).await;
            answer["id"] = id.into();
            say(&answer);
        });
    }
    // The parent is gone, or wants nothing more. A flight that stands at a point would not let a runtime end.
    std::process::exit(0);
}

/// Commands as they come, on a thread of its own: reading them blocks.
fn commands() -> mpsc::UnboundedReceiver<(u64, Command)> {
    let (tell, told) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if tell.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    told
}

async fn obey(party: &Arc<Party>, stops: &Stops, resource: &Arc<str>, command: Command) -> Value {
    match command {
        Command::Token { force } => token(party.token(force).await),
        Command::State => state(&party.session.state()),
        Command::Install(paper) => match party.install(&paper).await {
            Ok(()) => json!({}),
            Err(error) => json!({ "error": error.to_string() }),
        },
        Command::LogOut => match party.session.logout().await {
            Ok(done) => json!({ "may_still_live": done.may_still_live }),
            Err(error) => json!({ "error": error.to_string() }),
        },
        Command::Hammer { callers, span } => hammer(party, resource, callers, span).await,
        Command::Tidy { span } => tidy(party, span).await,
        Command::Arm(point) => {
            stops.arm(point);
            json!({})
        }
        Command::Go => {
            stops.open();
            json!({})
        }
        Command::Track => json!({ "track": stops.track() }),
        Command::Follow => {
            tokio::spawn(follow(party.session.clone()));
            json!({})
        }
        Command::Actors => json!({ "actors": party.actors() }),
        Command::KillActors => {
            party.kill_actors().await;
            json!({})
        }
        Command::Uproot => {
            party.uproot().await;
            json!({})
        }
        Command::Fell => {
            party.fell().await;
            json!({})
        }
        Command::ShutDown => {
            let mut end = pin!(party.runtime.shutdown(Duration::from_secs(10)));
            // Once polled, it has begun.
            let report = tokio::select! {
                biased;
                report = &mut end => report,
                () = async { say(&json!({ "event": "stopping" })) } => end.await,
            };
            json!({ "unsaved": report.unsaved.len(), "unfinished": report.unfinished.len() })
        }
    }
}

pub(crate) fn token(answer: Result<Lease, TokenError>) -> Value {
    match answer {
        Ok(lease) => json!({ "token": lease.token().expose(), "lease": named(lease.generation()) }),
        Err(error) => json!({
            "error": error.reason().as_str(),
            "login": error.is_login_required(),
            "retry_after": error.retry_after(),
        }),
    }
}

fn named(generation: Generation) -> String {
    format!("{}.{}", generation.epoch.number(), generation.number)
}

fn state(state: &SessionState) -> Value {
    json!({
        "event": "state",
        "lease": state.lease.map(|(generation, _)| named(generation)),
        "login_required": state.login_required.map(|reason| reason.as_str()),
        "refreshing": state.refreshing,
        "unsaved": state.unsaved,
        "in_doubt": state.in_doubt,
    })
}

/// Looks often, and not by a watch: a session that sleeps publishes nothing, and has its lease taken away all the same.
async fn follow(session: AuthSession) {
    let mut last = Value::Null;
    loop {
        let now = state(&session.state());
        if now != last {
            say(&now);
            last = now;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn hammer(party: &Arc<Party>, resource: &Arc<str>, callers: usize, span: Duration) -> Value {
    let http = reqwest::Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(1)).build().unwrap();
    let until = Instant::now() + span;
    let mut crowd = JoinSet::new();
    for caller in 0..callers {
        let (party, session) = (party.clone(), party.session.clone());
        let (http, resource) = (http.clone(), resource.clone());
        crowd.spawn(async move {
            let (mut calls, mut shown, mut failures) = (0_u64, 0_u64, BTreeMap::<String, u64>::new());
            let mut slowest = Duration::ZERO;
            while Instant::now() < until {
                let (asked, now) = (Instant::now(), party.now());
                let answer = session.token().await;
                slowest = slowest.max(asked.elapsed());
                calls += 1;
                match answer {
                    Err(error) => *failures.entry(error.reason().as_str().to_owned()).or_default() += 1,
                    Ok(lease) if !lease.validity().outlasts(Duration::ZERO, &now) => {
                        *failures.entry("over before it was asked for".to_owned()).or_default() += 1;
                    }
                    Ok(lease) if (calls + caller as u64).is_multiple_of(SHOWN) => {
                        shown += 1;
                        let status = call(&http, &resource, &lease).await;
                        if status != "200" {
                            *failures.entry(status).or_default() += 1;
                        }
                    }
                    Ok(_) => {}
                }
                tokio::time::sleep(REST).await;
            }
            (calls, shown, failures, slowest)
        });
    }
    let (mut calls, mut shown, mut failures, mut slowest) = (0, 0, BTreeMap::<String, u64>::new(), Duration::ZERO);
    for caller in crowd.join_all().await {
        (calls, shown, slowest) = (calls + caller.0, shown + caller.1, slowest.max(caller.3));
        caller.2.into_iter().for_each(|(why, count)| *failures.entry(why).or_default() += count);
    }
    json!({ "calls": calls, "shown": shown, "failures": failures, "slowest": slowest.as_millis() as u64 })
}

/// What the resource says to this lease.
async fn call(http: &reqwest::Client, resource: &str, lease: &Lease) -> String {
    let request = http.post(resource).bearer_auth(lease.token().expose());
    let request = request.header("accept", "application/json, text/event-stream");
    let request = request.header("content-type", "application/json");
    match request.body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).send().await {
        Ok(answer) => {
            let status = answer.status().as_u16().to_string();
            let text = answer.text().await.unwrap_or_default();
            if status == "200" { status } else { format!("{status} {text}") }
        }
        Err(error) => format!("{error:?}"),
    }
}

async fn tidy(party: &Arc<Party>, span: Duration) -> Value {
    let (mut rounds, mut records, mut locks, mut unfinished) = (0_u64, 0_u64, 0, 0);
    let mut failures = BTreeMap::<String, u64>::new();
    let until = Instant::now() + span;
    while Instant::now() < until {
        rounds += 1;
        match party.store.sweep().await {
            Ok(swept) => (locks, unfinished) = (locks + swept.locks, unfinished + swept.unfinished),
            Err(error) => *failures.entry(error.to_string()).or_default() += 1,
        }
        let identities = tokenkeeper::engine::ports::store::TokenStore::list(&party.store).await.unwrap();
        for identity in &identities {
            match party.store.inspect(identity).await {
                Ok(Some(_)) => records += 1,
                Ok(None) => *failures.entry("no record".to_owned()).or_default() += 1,
                Err(error) => *failures.entry(error.to_string()).or_default() += 1,
            }
            if let Err(error) = party.store.history(identity, 20).await {
                *failures.entry(error.to_string()).or_default() += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    json!({ "rounds": rounds, "records": records, "locks": locks, "unfinished": unfinished, "failures": failures })
}
