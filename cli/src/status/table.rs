//! The table of sessions.

use comfy_table::presets::NOTHING;
use comfy_table::{Table, TableComponent};
use tokenkeeper::Reason;
use tokenkeeper::engine::values::WallTime;

use super::Session;
use crate::cooldown;
use crate::paint::{BAD, BOLD, GOOD, PLAIN, harmless, paint};
use crate::renewal::Renewal;
use crate::standing::State;
use crate::when;

/// The columns that are always shown.
const HEAD: [&str; 6] = ["server", "account", "state", "expires", "refreshed", "issuer"];

/// The first column, if any session has a name.
const NAME: &str = "name";

/// The last column, if any session is renewed in another way than by a refresh token.
const RENEWAL: &str = "renewed by";

/// A line for each session, followed by the reason for a state that needs attention.
pub(super) fn table(sessions: &[Session], now: WallTime) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).remove_style(TableComponent::VerticalLines);
    let has_names = sessions.iter().any(|session| session.name.is_some());
    let has_renewals = sessions.iter().filter_map(|session| session.standing.renewal.as_ref()).any(Renewal::is_unusual);
    let renewal = has_renewals.then_some(RENEWAL);
    table.set_header(has_names.then_some(NAME).into_iter().chain(HEAD).chain(renewal));
    for session in sessions {
        let standing = &session.standing;
        let relative = |at: Option<WallTime>| at.map_or_else(|| "-".to_owned(), |at| when::relative(at, now));
        let lives = matches!(
            standing.state,
            State::SignedIn | State::Expired | State::Refreshing | State::InDoubt | State::Ending
        );
        let name = has_names.then(|| session.name.clone().unwrap_or_else(|| "-".to_owned()));
        let renewal = standing.renewal.as_ref().filter(|_| lives);
        let renewal =
            has_renewals.then(|| renewal.map_or_else(|| "-".to_owned(), |renewal| harmless(&renewal.to_string())));
        let row = name.into_iter().chain([
            session.identity.target().to_string(),
            harmless(session.identity.account().as_str()),
            standing.state.words().to_owned(),
            relative(standing.expires.filter(|_| lives)),
            relative(standing.refreshed),
            standing.issuer.as_deref().map_or_else(|| "-".to_owned(), harmless),
        ]);
        table.add_row(row.chain(renewal));
    }
    let lines = table.to_string();
    let mut lines = lines.lines();
    let mut text = format!("{}\n", paint(BOLD, lines.next().unwrap_or_default().trim()));
    for (line, session) in lines.zip(sessions) {
        let style = match session.standing.state {
            State::SignedIn => GOOD,
            State::Ending | State::LoginRequired | State::Unreadable | State::InDoubt => BAD,
            _ => PLAIN,
        };
        // Colours are added after the layout, because the table would count them as letters.
        let words = session.standing.state.words();
        let line = line.trim().replacen(words, &paint(style, words), 1);
        text.push_str(&format!("{line}\n"));
        if let Some(why) = session.trouble.as_deref().or(session.standing.why.map(Reason::advice)) {
            text.push_str(&format!("  {why}\n"));
        }
        if let Some(end) = session.standing.throttled_until {
            text.push_str(&format!("  {}\n", cooldown::words(end)));
        }
    }
    text
}
