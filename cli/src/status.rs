//! `tokenkeeper status`: shows all sessions of a home.

mod table;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::store::{StoreEvent, StoreWatch, TokenStore};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::Moment;
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Reason, ServerIdentity};
use tokio::time::timeout;

use crate::failure::{EXIT_CODES, Failure};
use crate::home::{self, HomeArguments};
use crate::paint::{print, print_json};
use crate::renewal::Renewal;
use crate::standing::{Standing, State};
use crate::{when, who};

/// Shows the sessions of this home: how each stands, and why
///
/// Sessions that were logged out are left out. Nothing is refreshed by looking, and nothing is written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Show sessions that were logged out, too (unless tokenkeeper forget hid them)
    #[arg(long)]
    all: bool,
    /// Print one JSON object with the members home and sessions
    #[arg(long)]
    json: bool,
    /// Keep running, and show it again whenever something changes (with --json, one line each time)
    #[arg(long)]
    watch: bool,
}

/// The time without a further change after which a change is shown. Changes that follow each other faster are shown once.
const QUIET_PERIOD: Duration = Duration::from_millis(100);

/// The interval at which the table is redrawn without a change, because it shows times relative to now.
const REDRAW_INTERVAL: Duration = Duration::from_secs(5);

/// A session and its state.
struct Session {
    identity: ServerIdentity,
    /// The short name, if it has one.
    name: Option<String>,
    standing: Standing,
    /// The store's description of a record that cannot be read.
    trouble: Option<String>,
}

/// The sessions to show.
#[derive(Default)]
struct Shown {
    sessions: Vec<Session>,
    /// The number of sessions that were logged out and that only `--all` shows.
    left_out: usize,
}

/// Shows the sessions of the home.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let (dir, providers) = (home.dir()?, home.providers()?);
    let clock = SystemClock::new().map_err(io::Error::other)?;
    let store = if arguments.watch { Some(home.required()?) } else { home.open_existing()? };
    let Some(store) = store else { return show(&dir, &Shown::default(), &clock.now(), arguments, out) };
    home::block_on(async {
        if !arguments.watch {
            return show(
                &dir,
                &sessions(&store, &providers, &clock.now(), arguments.all).await?,
                &clock.now(),
                arguments,
                out,
            );
        }
        let mut changes = HomeChanges::new(&store).await?;
        loop {
            show(
                &dir,
                &sessions(&store, &providers, &clock.now(), arguments.all).await?,
                &clock.now(),
                arguments,
                out,
            )?;
            out.flush()?;
            tokio::select! {
                changed = changes.next(if arguments.json { Duration::MAX } else { REDRAW_INTERVAL }) => changed?,
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    })
}

/// Waits for changes in the home.
struct HomeChanges<'a> {
    store: &'a FileStore,
    watch: Box<dyn StoreWatch>,
}

impl<'a> HomeChanges<'a> {
    async fn new(store: &'a FileStore) -> Result<Self, Failure> {
        let watch = store.watch().await.map_err(|fault| Failure::store_fault(fault, store))?;
        Ok(Self { store, watch })
    }

    /// Waits until the home has changed and then [`QUIET_PERIOD`] has passed without a change, or until `longest` has passed
    /// without any. A watch that has ended is started again.
    #[expect(clippy::disallowed_methods, reason = "a screen is drawn anew; no request depends on it")]
    async fn next(&mut self, longest: Duration) -> Result<(), Failure> {
        let Ok(mut news) = timeout(longest, self.watch.next()).await else { return Ok(()) };
        while news != StoreEvent::Ended {
            match timeout(QUIET_PERIOD, self.watch.next()).await {
                Ok(more) => news = more,
                Err(_) => return Ok(()),
            }
        }
        *self = Self::new(self.store).await?;
        Ok(())
    }
}

async fn sessions(store: &FileStore, providers: &Providers, now: &Moment, all: bool) -> Result<Shown, Failure> {
    let mut identities = store.list().await.map_err(|fault| Failure::store_fault(fault, store))?;
    identities.sort_by_key(ServerIdentity::key);
    let mut names: BTreeMap<_, _> =
        store.names().await.unwrap_or_default().into_iter().map(|(name, owner)| (owner, name)).collect();
    let mut shown = Shown::default();
    for identity in identities {
        let (standing, trouble) = match store.inspect(&identity).await {
            Ok(None) => continue,
            Ok(Some(record)) => {
                let journal = store.history(&identity, FileStore::JOURNAL_KEPT).await;
                // `tokenkeeper forget` removes the journal and leaves the tombstone.
                let is_forgotten = journal.as_ref().is_ok_and(Vec::is_empty);
                let presenting = store.is_presenting(&identity, record.epoch).await.unwrap_or_default();
                let standing = Standing::of(&record, &journal.unwrap_or_default(), presenting, providers, now);
                if standing.state == State::LoggedOut && (is_forgotten || !all) {
                    shown.left_out += usize::from(!is_forgotten);
                    continue;
                }
                (standing.with_cooldown(store, now).await, None)
            }
            Err(error) => (Standing::unreadable(), Some(error.to_string())),
        };
        let name = names.remove(&identity);
        shown.sessions.push(Session { identity, name, standing, trouble });
    }
    Ok(shown)
}

fn show(
    dir: &Path,
    Shown { sessions, left_out }: &Shown,
    now: &Moment,
    arguments: &Arguments,
    out: &mut impl Write,
) -> Result<(), Failure> {
    if arguments.json {
        let sessions: Vec<_> = sessions.iter().map(object).collect();
        print_json(out, &json!({ "home": dir.to_string_lossy(), "sessions": sessions }))?;
        return Ok(());
    }
    if arguments.watch && io::stdout().is_terminal() {
        // Clears the screen and moves the cursor to its top (ECMA-48).
        write!(out, "\x1b[2J\x1b[H")?;
    }
    if sessions.is_empty() {
        let hint = match left_out {
            0 => String::new(),
            left_out => format!(" ({left_out} logged out: status --all shows them)"),
        };
        writeln!(out, "no sessions in {}{hint}", dir.display())?;
        return Ok(());
    }
    print(out, &table::table(sessions, now.wall))?;
    Ok(())
}

fn object(session: &Session) -> serde_json::Value {
    let Session { identity, name, standing, trouble } = session;
    json!({
        "server": who::server(identity),
        "account": identity.account().as_str(),
        "name": name,
        "key": identity.key(),
        "issuer": standing.issuer,
        "state": standing.state,
        "renewal": standing.renewal.as_ref().map(Renewal::source),
        "dpop": standing.renewal.as_ref().is_some_and(Renewal::is_bound),
        "expires_at": standing.expires.map(when::stamp),
        "refreshed_at": standing.refreshed.map(when::stamp),
        "signed_in_at": standing.signed_in.map(when::stamp),
        "reason": standing.why.map(Reason::as_str),
        "retry_at": standing.throttled_until.map(when::stamp),
        "advice": trouble.as_deref().or(standing.why.map(Reason::advice)),
        "login_required": standing.state.needs_login(),
    })
}
