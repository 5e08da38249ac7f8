//! The logins that the proxy begins by itself (`--login`).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokenkeeper::{AuthSession, Prompt};
use tokio::sync::{Notify, watch};

use super::notes::NoteWriter;
use super::stdio::StdoutWriter;
use crate::login::BackgroundLogin;
use crate::wire::elicitation::LoginPage;

/// The maximum time that the first request of a client waits for a login. Many clients give up after 60 s.
const HOLD: Duration = Duration::from_secs(50);

/// The maximum time that a request waits for the page of a login. Discovery and registration take place meanwhile.
const PAGE: Duration = Duration::from_secs(20);

/// Begins logins, one at a time. If another process asks the person already, its login is joined.
#[derive(Debug, Default)]
pub(super) struct BackgroundLogins {
    /// The settings of a login. `None` without `--login`.
    background: Option<BackgroundLogin>,
    wanted: Notify,
    is_running: AtomicBool,
    has_failed: AtomicBool,
    /// Notifies the requests that wait for a login of its failure.
    failed: Notify,
    /// Whether the client shows the page of the login, so that no browser is opened.
    is_shown_by_client: AtomicBool,
    /// The page of the login under way, if this process asks the person.
    page: watch::Sender<Option<LoginPage>>,
    /// Whether a request has waited for the page of the login under way and got none. Later requests then do not wait.
    has_no_page: AtomicBool,
}

/// The end of the wait for a page.
pub(super) enum PageWait {
    Page(LoginPage),
    /// The session was signed in meanwhile.
    SignedIn,
    /// There is no page, because another process asks the person, the login has failed, or the wait has timed out.
    None,
}

impl BackgroundLogins {
    pub(super) fn new(background: Option<BackgroundLogin>) -> Self {
        Self { background, ..Self::default() }
    }

    /// Begins a login, if `--login` was given and no login is under way. After a login that failed, only the first request of a
    /// client begins another one, so that a running client does not ask a person again and again. A client that shows the page
    /// asks the person itself, so each of its requests may begin a login.
    pub(super) fn begin(&self, is_first: bool, is_shown_by_client: bool) {
        let may_ask = is_first || is_shown_by_client;
        if self.background.is_none() || self.has_failed.load(Ordering::SeqCst) && !may_ask {
            return;
        }
        self.is_shown_by_client.store(is_shown_by_client, Ordering::SeqCst);
        if !self.is_running.swap(true, Ordering::SeqCst) {
            self.wanted.notify_one();
        }
    }

    /// Waits until the session is signed in, the login has failed, or 50 s have passed. Returns whether the session is signed
    /// in. Returns at once without `--login`.
    pub(super) async fn signed_in(&self, session: &AuthSession) -> bool {
        if self.background.is_none() {
            return false;
        }
        let mut failed = pin!(self.failed.notified());
        failed.as_mut().enable();
        if !self.is_running.load(Ordering::SeqCst) && self.has_failed.load(Ordering::SeqCst) {
            return false;
        }
        let signed_in = async {
            tokio::select! {
                signed_in = session.signed_in() => signed_in.is_ok(),
                () = failed => false,
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a client waits; the login goes on")]
        tokio::time::timeout(HOLD, signed_in).await.unwrap_or(false)
    }

    /// Waits for the page of the login that is under way, for at most 20 s. Returns at once without `--login`, and after the
    /// wait of an earlier request for the page of this login has timed out.
    pub(super) async fn page(&self, session: &AuthSession) -> PageWait {
        if self.background.is_none() {
            return PageWait::None;
        }
        let mut failed = pin!(self.failed.notified());
        failed.as_mut().enable();
        let mut pages = self.page.subscribe();
        let is_over = !self.is_running.load(Ordering::SeqCst) && self.has_failed.load(Ordering::SeqCst);
        if is_over || self.has_no_page.load(Ordering::SeqCst) && pages.borrow().is_none() {
            return PageWait::None;
        }
        let wait = async {
            tokio::select! {
                page = pages.wait_for(Option::is_some) => {
                    page.ok().and_then(|page| page.clone()).map_or(PageWait::None, PageWait::Page)
                }
                signed_in = session.signed_in() => {
                    if signed_in.is_ok() { PageWait::SignedIn } else { PageWait::None }
                }
                () = failed => PageWait::None,
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a client waits; the login goes on")]
        let page = tokio::time::timeout(PAGE, wait).await;
        page.unwrap_or_else(|_| {
            self.has_no_page.store(true, Ordering::SeqCst);
            PageWait::None
        })
    }

    /// Makes the logins that requests begin. If the client has shown the page, `output` gets a notification when the person has
    /// signed in.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, a login stays open, and other processes may continue it.
    pub(super) async fn work(&self, session: &AuthSession, notes: &NoteWriter, output: Option<&StdoutWriter>) {
        let Some(background) = &self.background else { return };
        loop {
            self.wanted.notified().await;
            let opens_browser = !self.is_shown_by_client.load(Ordering::SeqCst);
            let shown = |prompt: &Prompt| drop(self.page.send_replace(LoginPage::of(prompt)));
            let done = background.sign_in(session, opens_browser, &shown).await;
            let page = self.page.send_replace(None);
            self.has_failed.store(done.is_err(), Ordering::SeqCst);
            self.has_no_page.store(false, Ordering::SeqCst);
            self.is_running.store(false, Ordering::SeqCst);
            match done {
                Ok(_) => {
                    notes.note("signed in");
                    if let (Some(output), Some(line)) = (output, page.and_then(|page| page.completed())) {
                        output.send(&line).await;
                    }
                }
                Err(error) => {
                    self.failed.notify_waiters();
                    notes.note(&format!("not signed in: {error}"));
                }
            }
        }
    }
}
