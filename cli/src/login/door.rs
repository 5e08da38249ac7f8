//! The way to the person at the terminal, to whom a login is shown.

use std::future::pending;
use std::io::{self, BufRead, Read, Write};
use std::sync::Once;

use async_trait::async_trait;
use tokenkeeper::{Interaction, OfferedPrompt, Prompt, Step};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use url::Url;

use super::browser::Browser;
use super::report;
use crate::paint::harmless;
use crate::when;

/// The longest line that is read, in bytes. No address with an answer is longer.
const LONGEST: u64 = 64 * 1024;

/// News of a login for the command.
#[derive(Debug)]
pub(super) enum News {
    /// The person is asked.
    Asked(Box<Prompt>),
    /// Standard input has ended, so no answer will be pasted.
    InputEnded,
}

/// Shows a login on standard error and in a browser, and reads pasted answers from standard input.
pub(super) struct Door {
    /// The browser to open, if any.
    browser: Option<Browser>,
    /// The lines of standard input, if they are read.
    lines: Option<Lines>,
    /// Whether the person uses another machine (over SSH).
    is_remote: bool,
    news: UnboundedSender<News>,
}

impl Door {
    /// A door, and its news.
    pub(super) fn new(
        browser: Option<Browser>,
        lines: Option<Lines>,
        is_remote: bool,
    ) -> (Self, UnboundedReceiver<News>) {
        let (news, receiver) = unbounded_channel();
        (Self { browser, lines, is_remote, news }, receiver)
    }

    /// Asks a question, and returns whether the answer is `y` or `yes`. If no lines are read, the answer is no.
    pub(super) async fn confirms(&self, question: &str) -> bool {
        let Some(lines) = &self.lines else { return false };
        let _ = writeln!(io::stderr(), "{question} [y/N]");
        let answer = lines.next().await.unwrap_or_default();
        matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")
    }
}

#[async_trait]
impl Interaction for Door {
    async fn show(&self, prompt: &Prompt) {
        let mut text = words(prompt);
        if prompt.is_listening
            && self.is_remote
            && let Some(port) = callback_port(prompt)
        {
            text.push_str(&format!(
                "  from another machine, forward the answer's port first: ssh -L {port}:127.0.0.1:{port} HOST\n"
            ));
        }
        if prompt.takes_paste && self.lines.is_some() {
            text.push_str("  or copy the address that the browser ends at, and paste it here\n");
        }
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = writeln!(io::stderr(), "note: {}", Step::Asking);
        // Sending cannot fail while the command waits, because it holds the receiver.
        let _ = self.news.send(News::Asked(Box::new(prompt.clone())));
        if let (OfferedPrompt::Browser { url }, Some(browser), true) = (&prompt.prompt, &self.browser, prompt.is_first)
        {
            browser.open(url.as_str());
        }
    }

    async fn pasted(&self) -> Option<String> {
        let Some(lines) = &self.lines else { return pending().await };
        let line = lines.next().await;
        if line.is_none() {
            let _ = self.news.send(News::InputEnded);
        }
        line
    }

    fn asked_elsewhere(&self, prompt: &Prompt) {
        let _ = io::stderr().write_all(words(prompt).as_bytes());
    }

    fn progress(&self, step: Step) {
        // This step comes before the request is shown. `show` writes the note.
        if step == Step::Asking {
            return;
        }
        let _ = writeln!(io::stderr(), "note: {}", harmless(&step.to_string()));
    }
}

/// The request in words. Characters of a server's text that act on a terminal are removed.
fn words(prompt: &Prompt) -> String {
    let (identity, end) = (report::name(&prompt.identity), when::stamp(prompt.expires));
    match &prompt.prompt {
        OfferedPrompt::Browser { url } => {
            let url = harmless(url.as_str());
            format!("to sign in to {identity}, open this page in a browser before {end}:\n\n{url}\n\n")
        }
        OfferedPrompt::Device { url, complete, .. } => {
            let (url, code) = (harmless(url.as_str()), harmless(&prompt.user_code().unwrap_or_default()));
            let complete = complete.as_ref().map(|url| harmless(url.as_str()));
            let complete =
                complete.map_or_else(String::new, |url| format!("  or open the page with the code: {url}\n"));
            format!(
                "to sign in to {identity}, open this page on any device before {end}, and enter the code:\n\n{url}\n\
                 code: {code}\n\n{complete}"
            )
        }
        _ => format!("sign in to {identity} before {end}\n"),
    }
}

/// The port at which the answer is awaited. `None` if the address does not contain it, because the request was pushed (RFC
/// 9126).
fn callback_port(prompt: &Prompt) -> Option<u16> {
    let OfferedPrompt::Browser { url } = &prompt.prompt else { return None };
    let url = Url::parse(url.as_str()).ok()?;
    let (_, redirect) = url.query_pairs().find(|(name, _)| name == "redirect_uri")?;
    Url::parse(&redirect).ok()?.port()
}

/// The lines of standard input. A thread reads them from the first call of `next` on. The thread ends with the process.
#[derive(Debug)]
pub(super) struct Lines {
    begun: Once,
    sender: UnboundedSender<Option<String>>,
    receiver: Mutex<UnboundedReceiver<Option<String>>>,
}

impl Lines {
    pub(super) fn of_stdin() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { begun: Once::new(), sender, receiver: Mutex::new(receiver) }
    }

    /// The next line, or `None` at the end.
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread, because the tokio runtime would wait for a read when it ends"
    )]
    async fn next(&self) -> Option<String> {
        self.begun.call_once(|| {
            let sender = self.sender.clone();
            let reading = move || while sender.send(line()).is_ok() {};
            if std::thread::Builder::new().name("lines".to_owned()).spawn(reading).is_err() {
                let _ = self.sender.send(None);
            }
        });
        self.receiver.lock().await.recv().await.flatten()
    }
}

/// A line of standard input. `None` at the end.
fn line() -> Option<String> {
    let mut line = Vec::with_capacity(8 * 1024);
    let length = io::stdin().lock().take(LONGEST).read_until(b'\n', &mut line).unwrap_or_default();
    (length > 0).then(|| String::from_utf8_lossy(&line).into_owned())
}
