//! The worker process, which executes commands from its standard input and reports the results.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokenkeeper::engine::runtime::AuthSession;
use tokenkeeper::engine::values::{Lease, TokenError};
use tokenkeeper::{Generation, SessionState};
use tokio::task::JoinSet;

use crate::party::{Paper, Party, Setup};
use crate::point::TrackedFlights;
use tokenkeeper_judge::processes::{FlightPoint, read_requests, report};

/// A command to a worker process. Each is answered once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    Token {
        force: bool,
    },
    State,
    Install(Paper),
    LogOut,
    /// Holds the next flight that reaches this point, and reports that.
    Arm(FlightPoint),
    /// Releases the held flight.
    Go,
    /// Returns the points that the process's flights have passed so far.
    Track,
    /// Reports every change of the session's state from now on.
    Follow,
    /// Returns the number of running actors.
    Actors,
    KillActors,
    Uproot,
    Fell,
    /// Shuts the runtime down. Also reports when the shutdown has begun.
    ShutDown,
}

pub(crate) async fn work(setup: &Setup) {
    let flights = Arc::new(TrackedFlights::new());
    let party = Arc::new(Party::open(setup, Some(flights.observer.clone())).await);
    let mut told = read_requests::<(u64, Command)>(|| ());
    report(&json!({ "event": "ready" }));
    let mut works = JoinSet::new();
    while let Some((id, command)) = told.recv().await {
        let (party, flights) = (party.clone(), flights.clone());
        works.spawn(async move {
            let mut answer = obey(&party, &flights, command).await;
            answer["id"] = id.into();
            report(&answer);
        });
    }
    // The parent is gone or has closed the input. A held flight would keep a runtime from ending.
    std::process::exit(0);
}

async fn obey(party: &Party, flights: &TrackedFlights, command: Command) -> Value {
    match command {
        Command::Token { force } => token(party.token(force).await),
        Command::State => state(&party.session.state()),
        Command::Install(paper) => match party.install(&paper).await {
            Ok(()) => json!({}),
            Err(error) => json!({ "error": error.to_string() }),
        },
        Command::LogOut => match party.session.logout().await {
            Ok(done) => json!({ "may_still_live": done.may_still_live() }),
            Err(error) => json!({ "error": error.to_string() }),
        },
        Command::Arm(point) => {
            flights.observer.arm(point);
            json!({})
        }
        Command::Go => {
            flights.observer.release();
            json!({})
        }
        Command::Track => json!({ "track": flights.track() }),
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
            // The shutdown has begun once it was polled.
            let ended = tokio::select! {
                biased;
                ended = &mut end => ended,
                () = async { report(&json!({ "event": "stopping" })) } => end.await,
            };
            json!({ "unsaved": ended.unsaved.len(), "unfinished": ended.unfinished.len() })
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

/// Polls the state often instead of watching it. An idle session publishes nothing, and yet its lease may be cleared.
async fn follow(session: AuthSession) {
    let mut last = Value::Null;
    loop {
        let now = state(&session.state());
        if now != last {
            report(&now);
            last = now;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
