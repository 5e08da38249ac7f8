//! Formats values for a story. The text is short, and leaves out values that change from run to run.

use tokenkeeper_actors::law::flight::{Landing, Outcome, Report};
use tokenkeeper_actors::law::ledger::{Change, Changed};
use tokenkeeper_actors::law::login::{LoginEffect, LoginEvent, LoginReport, LoginTask};
use tokenkeeper_actors::law::profile::Evidence;
use tokenkeeper_actors::law::session::{Published, SessionEffect};
use tokenkeeper_actors::values::record::{Prompt, Record};

pub(crate) fn change(change: &Change) -> String {
    match change {
        Change::Mark { expected, mark } => {
            let (epoch, revision) = (expected.epoch.number(), expected.revision.number());
            format!("marks at {epoch}/{revision} (presentation {}, number {})", mark.presentations, mark.number)
        }
        Change::Withdraw { park, .. } => format!("withdraws its mark (park: {park:?})"),
        Change::Commit(commit) => format!("commits {}.{}", commit.epoch.number(), commit.access.number),
        Change::End { .. } => "ends the grant".to_owned(),
        Change::Discard { epoch, number } => format!("discards {}.{number}", epoch.number()),
        Change::Spent { .. } => "notes that the token is spent".to_owned(),
        Change::Configure { renewal, .. } => format!("configures: {renewal:?}"),
        Change::Park { why, .. } => format!("parks: {why:?}"),
        Change::Unpark { why, .. } => format!("takes the grant back that was parked: {why:?}"),
        Change::Prompt { prompt, .. } => format!("asks a person in {}", prompt.attempt),
        Change::AnswerPrompt { prompt, .. } => format!("notes the answer to {}", prompt.attempt),
        Change::EndPrompt { end, .. } => format!("ends the prompt: {end:?}"),
        Change::Install(login) => {
            format!("installs a login{}", if login.refresh.is_some() { "" } else { " without refresh" })
        }
        Change::Clear { epoch } => format!("clears epoch {}", epoch.number()),
    }
}

pub(crate) fn changed(made: &Change, changed: &Changed) -> String {
    match changed {
        Changed::Applied { after, .. } => format!("{}: {}", change(made), record(after)),
        Changed::Conflict { why, current } => {
            let current = current.as_deref().map_or_else(|| "nothing".to_owned(), record);
            format!("{}: {why:?}, there is {current}", change(made))
        }
    }
}

pub(crate) fn record(record: &Record) -> String {
    let prompt = record.prompt.as_ref().map_or_else(String::new, |prompt| format!(", {}", self::prompt(prompt)));
    content(record) + &prompt
}

fn prompt(prompt: &Prompt) -> String {
    format!("prompt of {} {:?} since {}", prompt.attempt, prompt.state, prompt.revision.number())
}

fn content(record: &Record) -> String {
    let (epoch, revision) = (record.epoch.number(), record.revision.number());
    let Some(grant) = record.grant() else { return format!("{epoch}/{revision} without a grant") };
    let refresh = match record.held() {
        None => "no refresh token".to_owned(),
        Some(held) => match &held.mark {
            None => held.credential.token().expose().to_owned(),
            Some(mark) => {
                format!("{} marked {}x {:?}", held.credential.token().expose(), mark.presentations, mark.state)
            }
        },
    };
    let access = grant.access.as_ref().map_or_else(
        || "no access token".to_owned(),
        |access| format!("{} number {} ({:?})", access.token.expose(), access.number, access.cause),
    );
    let parked = grant.parked.map_or_else(String::new, |parked| format!(", parked {parked:?}"));
    format!("{epoch}/{revision} {refresh}, {access}{parked}")
}

pub(crate) fn report(report: &Report) -> String {
    match report {
        Report::Landed(Landing { outcome, keeping, view, requests }) => {
            let outcome = match outcome {
                Outcome::Minted(lease) => format!("minted {}", lease.generation()),
                other => format!("{other:?}"),
            };
            let version = view.as_ref().map(|view| (view.version.epoch.number(), view.version.revision.number()));
            let keeping = if *keeping { ", keeping" } else { "" };
            format!("landed after {requests} requests: {outcome}{keeping}, saw {version:?}")
        }
        Report::Settled(view) => {
            format!("settled at {}/{}", view.version.epoch.number(), view.version.revision.number())
        }
        Report::Lost { noted } => format!("lost (noted: {noted})"),
    }
}

pub(crate) fn evidence(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Tokens(tokens) => {
            let refresh = tokens.refresh.as_ref().map_or("no refresh token", |refresh| refresh.expose());
            format!("tokens: {}, {refresh}, lifetime {:?}", tokens.access.expose(), tokens.validity.lifetime())
        }
        other => format!("{other:?}"),
    }
}

pub(crate) fn session_effect(effect: &SessionEffect) -> String {
    match effect {
        SessionEffect::Publish(published) => publishes(published),
        SessionEffect::Answer(waiter, answer) => match answer {
            Ok(lease) => format!("answers w{}: {}", waiter.0, lease.generation()),
            Err(error) => {
                format!("answers w{}: {:?}, retry after {:?}", waiter.0, error.reason(), error.retry_after())
            }
        },
        SessionEffect::AnswerRefusal(_, answer) => format!("answers a refusal: {answer:?}"),
        SessionEffect::AnswerInstall(_, answer) => match answer {
            Ok(view) => format!("answers an install: epoch {}", view.epoch().number()),
            Err(error) => format!("answers an install: {error:?}"),
        },
        SessionEffect::AnswerLogout(_, answer) => format!("answers a logout: {answer:?}"),
        SessionEffect::AnswerConfigure(_, answer) => match answer {
            Ok(view) => format!("answers a configuration: revision {}", view.version.revision.number()),
            Err(error) => format!("answers a configuration: {error:?}"),
        },
        SessionEffect::AnswerLogin(_, answer) => format!("answers a request for a login: {answer:?}"),
        SessionEffect::SignIn(order) => format!("begins the login {}", order.attempt),
        SessionEffect::TellAttempt(attempt, event) => format!("tells the login {attempt}: {event:?}"),
        SessionEffect::DropLogins => "removes the pending logins".to_owned(),
        SessionEffect::Load(_) => "reads".to_owned(),
        SessionEffect::Fly(_) => "orders a flight".to_owned(),
        SessionEffect::TellLoggedOut(_, epoch) => {
            format!("tells its flight that epoch {} is logged out", epoch.number())
        }
        SessionEffect::Reserve(..) => "reserves a refresh token".to_owned(),
        SessionEffect::Change(_, made) => change(made),
        SessionEffect::Revoke(_) => "revokes".to_owned(),
        SessionEffect::Note(_, failure) => {
            let next = if failure.retrying { "callers wait for another attempt" } else { "no caller waits on" };
            format!("notes a failure: {:?}, {next}", failure.reason)
        }
    }
}

pub(crate) fn task(task: &LoginTask) -> String {
    match task {
        LoginTask::Ask(wish) => format!("asks for {:?}", wish.scopes),
        LoginTask::Complete(_) => "completes an answer".to_owned(),
    }
}

pub(crate) fn login_effect(effect: &LoginEffect) -> String {
    match effect {
        LoginEffect::Change(op, made) => format!("#{}: {}", op.0, change(made)),
        LoginEffect::Claim { op, scope, .. } => format!("#{}: claims {scope:?}", op.0),
        LoginEffect::EndClaim(claim) => format!("ends its claim {:?}", claim.scope),
        LoginEffect::Report(report) => format!("reports {}", login_report(report)),
        LoginEffect::Redeem(op, redemption) => format!("#{}: presents {}", op.0, redemption.code.expose()),
        other => other.name().as_str().to_owned(),
    }
}

fn login_report(report: &LoginReport) -> String {
    match report {
        LoginReport::Seen(view) => {
            format!("the record at {}/{}", view.version.epoch.number(), view.version.revision.number())
        }
        LoginReport::Offered(..) => "a request to show".to_owned(),
        LoginReport::Concluded(conclusion) => {
            let unstored = conclusion.unstored.as_ref().map(|lease| lease.generation().to_string());
            format!("the result {:?}, unstored {unstored:?}", conclusion.result)
        }
        LoginReport::Settled(_) => "that it has stored its login, or need not".to_owned(),
        LoginReport::Elsewhere => "that another process asks".to_owned(),
        LoginReport::Arriving => "that an answer arrives".to_owned(),
        LoginReport::Lost => "that its login is lost".to_owned(),
    }
}

pub(crate) fn login_event(event: &LoginEvent) -> String {
    use tokenkeeper_actors::ports::login::{Polled, Redeemed};
    match event {
        LoginEvent::Redeemed(_, Redeemed::Issued(_)) | LoginEvent::Polled(_, Polled::Issued(_)) => "tokens".to_owned(),
        other => format!("{other:?}"),
    }
}

fn publishes(published: &Published) -> String {
    let hit = published.hit.as_ref().map_or_else(|| "nothing".to_owned(), |hit| hit.lease.generation().to_string());
    let residue = &published.residue;
    let floor = residue.floor.map_or_else(|| "none".to_owned(), |floor| floor.to_string());
    let flight = residue.flight.map_or("", |flight| if flight.keeping { ", a flight keeping" } else { ", a flight" });
    let resting =
        residue.backoff.resting.map_or_else(String::new, |(error, _)| format!(", rests for {:?}", error.reason()));
    format!("publishes {hit}, floor {floor}{flight}{resting}, closing {:?}", residue.closing)
}
