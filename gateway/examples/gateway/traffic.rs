//! The traffic of all clients.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::{join, try_join_all};
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::Done;
use crate::person::{Person, Tokens, text, token};
use crate::world::World;

/// Clients that send at a time.
const WORKERS: usize = 64;

/// The counts of all answers.
#[derive(Default)]
pub(crate) struct Traffic {
    calls: u64,
    refreshes: u64,
    twice: u64,
    failed_apis: u64,
    unavailable: u64,
    foreign: u64,
    odd: u64,
}

impl Traffic {
    /// Lets all persons' clients call and refresh for this long, in turns.
    #[expect(clippy::disallowed_methods, reason = "a program that measures, and is its own host")]
    pub(crate) async fn run(world: &World, client: &str, persons: Vec<Person>, span: Duration) -> Done<Self> {
        let end = Instant::now() + span;
        let share = persons.len().div_ceil(WORKERS).max(1);
        let mut groups = Vec::new();
        let mut persons = persons.into_iter().peekable();
        while persons.peek().is_some() {
            groups.push(persons.by_ref().take(share).collect::<Vec<_>>());
        }
        let workers = groups.into_iter().map(|mut group| async move {
            let mut counts = Self::default();
            let mut turn = 0_u64;
            while Instant::now() < end {
                for person in &mut group {
                    turn += 1;
                    counts.one(world, client, person, turn).await?;
                    if Instant::now() >= end {
                        break;
                    }
                }
            }
            Done::Ok(counts)
        });
        let all = try_join_all(workers).await?;
        Ok(all.iter().fold(Self::default(), Self::and))
    }

    /// One person's turn.
    async fn one(&mut self, world: &World, client: &str, person: &mut Person, turn: u64) -> Done {
        if turn.is_multiple_of(7) {
            // Two refreshes at once, as of a client that runs twice.
            let refresh = || refresh(world, client, &person.tokens);
            let (first, second) = join(refresh(), refresh()).await;
            match (first?, second?) {
                (Ok(first), Ok(second)) if first.refresh == second.refresh => person.tokens = second,
                _ => self.odd += 1,
            }
            self.twice += 1;
        }
        let mut answer = call(world, &person.tokens).await?;
        if answer.0 == StatusCode::UNAUTHORIZED {
            match refresh(world, client, &person.tokens).await? {
                Ok(tokens) => person.tokens = tokens,
                Err(_) => self.odd += 1,
            }
            self.refreshes += 1;
            answer = call(world, &person.tokens).await?;
        }
        self.calls += 1;
        match answer {
            (StatusCode::OK, whose) if whose == format!("{0} {0}", person.name) => {}
            (StatusCode::OK, _) => self.foreign += 1,
            (StatusCode::BAD_GATEWAY, _) => self.failed_apis += 1,
            (StatusCode::SERVICE_UNAVAILABLE, _) => self.unavailable += 1,
            _ => self.odd += 1,
        }
        Ok(())
    }

    fn and(self, other: &Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            refreshes: self.refreshes + other.refreshes,
            twice: self.twice + other.twice,
            failed_apis: self.failed_apis + other.failed_apis,
            unavailable: self.unavailable + other.unavailable,
            foreign: self.foreign + other.foreign,
            odd: self.odd + other.odd,
        }
    }

    pub(crate) fn check(&self) -> Done {
        if self.foreign + self.odd > 0 {
            return Err(format!("{} answers had another person's data, and {} were odd", self.foreign, self.odd).into());
        }
        Ok(())
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, refreshes, twice, failed_apis, unavailable, foreign, odd } = self;
        write!(
            f,
            "{calls} calls, {refreshes} refreshes after a 401, {twice} pairs of refreshes at once, {failed_apis} failures of \
             a provider's API, {unavailable} answers of 503, {foreign} with another person's data, {odd} odd ones"
        )
    }
}

async fn call(world: &World, tokens: &Tokens) -> Done<(StatusCode, String)> {
    let request = Request::post("/mcp").header(AUTHORIZATION, format!("Bearer {}", tokens.access));
    let answer = world.app.clone().oneshot(request.body(Body::empty())?).await?;
    Ok((answer.status(), text(answer).await?))
}

async fn refresh(world: &World, client: &str, tokens: &Tokens) -> Done<Result<Tokens, StatusCode>> {
    let form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", tokens.refresh.as_str())];
    token(world, &form).await
}
