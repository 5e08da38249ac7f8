//! `tokenkeeper why`: shows what happened to a session.

use std::io::Write;

use serde_json::json;
use tokenkeeper::Reason;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::store::EventKind;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::stores::file::{Entry, FileStore};

use crate::asked;
use crate::cooldown;
use crate::failure::{EXIT_CODES, Failure};
use crate::home::{self, HomeArguments};
use crate::neighbour;
use crate::paint::{BAD, BOLD, FAINT, GOOD, paint, print, print_json};
use crate::standing::{Standing, State};
use crate::when;
use crate::who::{self, Who};

/// Shows what happened to a session, and so why it stands as it does
///
/// Prints the session's journal, oldest first, with logins, refreshes, tokens taken over from other processes,
/// answers that were lost, refusals, and which process noted each. No secret is in it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    who: Who,
    /// How many of the newest lines
    #[arg(long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Print one JSON object: server, account, state, reason, advice, retry_at,
    /// login_required, prompt (the last request to sign in), journal
    #[arg(long)]
    json: bool,
}

/// Shows the journal of the session that `arguments` name.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let selected = arguments.who.select()?;
    let now = SystemClock::new().map_err(std::io::Error::other)?.now();
    let (store, providers) = (home.open_existing()?, home.providers()?);
    let (identity, standing, journal, hint) = home::block_on(async {
        let identity = selected.identity(store.as_ref()).await?;
        let Some(store) = &store else { return Ok((identity, None, Vec::new(), None)) };
        let journal = store.history(&identity, FileStore::JOURNAL_KEPT).await?;
        let Some(record) = store.inspect(&identity).await? else {
            let hint = neighbour::hint(store, &identity).await;
            return Ok((identity, None, journal, hint));
        };
        let presenting = store.is_presenting(&identity, record.epoch).await.unwrap_or_default();
        let standing = Standing::of(&record, &journal, presenting, &providers, &now).with_cooldown(store, &now).await;
        Ok((identity, Some(standing), journal, None))
    })?;
    let reason = match &standing {
        None => Some(Reason::NeverSignedIn),
        Some(standing) if standing.state == State::LoggedOut => Some(Reason::LoggedOut),
        Some(standing) => standing.why,
    };
    let state = standing.as_ref().map_or(State::LoginRequired, |standing| standing.state);
    let throttled_until = standing.as_ref().and_then(|standing| standing.throttled_until);
    let asked = standing.as_ref().and_then(|standing| standing.asked.as_ref());
    let journal = &journal[journal.len().saturating_sub(arguments.lines)..];

    if arguments.json {
        let lines = journal.iter().map(|entry| {
            json!({
                "at": when::stamp(entry.line.at.wall),
                "what": entry.line.kind.as_str(),
                "why": entry.line.reason.map(Reason::as_str),
                "process": entry.process,
                "flight": entry.line.flight.map(|flight| flight.to_string()),
            })
        });
        let object = json!({
            "server": who::server(&identity),
            "account": identity.account().as_str(),
            "state": state,
            "reason": reason.map(Reason::as_str),
            "advice": reason.map(Reason::advice),
            "retry_at": throttled_until.map(when::stamp),
            "login_required": state.needs_login(),
            "prompt": asked.map(asked::object),
            "journal": lines.collect::<Vec<_>>(),
        });
        print_json(out, &object)?;
        return Ok(());
    }
    let mut text = format!("{}: {}\n", paint(BOLD, &identity), state.words());
    if let Some(reason) = reason {
        text.push_str(reason.advice());
        text.push('\n');
    }
    let asked_words = asked.and_then(|prompt| asked::words(prompt, now.wall));
    for line in [throttled_until.map(cooldown::words), asked_words, hint].into_iter().flatten() {
        text.push_str(&line);
        text.push('\n');
    }
    for entry in journal {
        text.push_str(&told(entry));
    }
    print(out, &text)?;
    Ok(())
}

fn told(Entry { line, process }: &Entry) -> String {
    let style = match line.kind {
        EventKind::LoggedIn | EventKind::Refreshed | EventKind::Adopted | EventKind::Answered => GOOD,
        EventKind::LoggedOut | EventKind::Asked => BOLD,
        _ => BAD,
    };
    let why = line.reason.map_or_else(String::new, |why| format!(": {}", why.advice()));
    let at = paint(FAINT, when::stamp(line.at.wall));
    let what = paint(style, words(line.kind));
    format!("{at}  {what}{why} {}\n", paint(FAINT, format!("(process {process})")))
}

fn words(what: EventKind) -> &'static str {
    match what {
        EventKind::LoggedIn => "signed in",
        EventKind::LoggedOut => "logged out",
        EventKind::Refreshed => "refreshed",
        EventKind::Adopted => "took over the token of another process",
        EventKind::Failed => "could not refresh",
        EventKind::InDoubt => "got no clear answer",
        EventKind::Degraded => "could not store the new token yet",
        EventKind::Ended => "ended",
        EventKind::Lost => "lost the new token, which could not be stored",
        EventKind::Asked => "asked a person to sign in",
        EventKind::Answered => "got the person's answer",
        EventKind::Declined => "was declined by the person or the server",
        EventKind::LoginFailed => "could not sign in",
        other => other.as_str(),
    }
}
