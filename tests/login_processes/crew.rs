//! The processes, as the tests see them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokenkeeper_judge::processes::{WorkerOutput, WorkerProcess};

use crate::within::within;

/// The variable that holds the setup of a process.
const SETUP: &str = "LOGIN_PROCESS";

pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// The setup of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    /// The MCP server whose metadata leads to the logins. `None` for the scripted server.
    pub(crate) server: Option<String>,
    /// The effect at which it dies.
    pub(crate) dies: Option<Death>,
}

/// An effect, counted by name from one, and whether the process dies before or after it is carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Death {
    pub(crate) effect: String,
    pub(crate) number: u32,
    pub(crate) before: bool,
}

/// A command to a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// So many callers want to be signed in.
    SignIn(usize),
    /// The person has answered with this redirect.
    Complete(String),
}

/// A message of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Message {
    Ready,
    /// A caller is to open this page.
    Offered(String),
    /// All callers have a token.
    SignedIn(Vec<String>),
}

/// The setup of this process, if it is one of these.
pub(crate) fn told() -> Option<Setup> {
    let setup = std::env::var(SETUP).ok()?;
    Some(serde_json::from_str(&setup).unwrap())
}

/// A home with its processes, which sign in at one server.
pub(crate) struct Crew<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) server: Option<String>,
}

impl Crew<'_> {
    pub(crate) async fn start(&self, dies: Option<Death>) -> (WorkerProcess, WorkerOutput) {
        let setup = Setup { folder: self.folder.to_owned(), server: self.server.clone(), dies };
        let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env(SETUP, serde_json::to_string(&setup).unwrap());
        let (process, mut output) = WorkerProcess::start(command).unwrap();
        assert_eq!(within("a process", output.next::<Message>()).await, Some(Message::Ready));
        (process, output)
    }

    /// Four processes with fifty callers each sign in. `open` returns the answer of a page. Returns the pages that were opened
    /// and the token that all callers have.
    pub(crate) async fn all_sign_in<F: Future<Output = String>>(
        &self,
        open: impl Fn(String) -> F,
    ) -> (Vec<String>, String) {
        let mut processes = join_all((0..4).map(|_| self.start(None))).await;
        for (process, _) in &mut processes {
            process.send(&Command::SignIn(50)).await.unwrap();
        }
        let (mut offered, mut tokens) = (Vec::new(), Vec::new());
        let (mut senders, outputs): (Vec<_>, Vec<_>) = processes.into_iter().unzip();
        let messages = outputs.into_iter().map(|output| {
            Box::pin(futures_util::stream::unfold(output, |mut output| async move {
                output.next::<Message>().await.map(|message| (message, output))
            }))
        });
        let mut messages = futures_util::stream::select_all(messages);
        while tokens.len() < 4 {
            match within("a message", messages.next()).await.unwrap() {
                Message::Offered(page) => {
                    offered.push(page.clone());
                    // The answer arrives in whichever process.
                    senders[offered.len() % 4].send(&Command::Complete(open(page).await)).await.unwrap();
                }
                Message::SignedIn(got) => tokens.push(got),
                Message::Ready => {}
            }
        }
        let token = tokens[0][0].clone();
        assert!(tokens.iter().all(|got| got.len() == 50 && got.iter().all(|other| *other == token)));
        (offered, token)
    }

    /// One process asks, and the answer arrives in another one, which dies on the way. It then arrives in the first one, too.
    /// `open` returns the answer of a page.
    pub(crate) async fn outlives_its_redeemer<F: Future<Output = String>>(
        &self,
        death: Death,
        open: impl Fn(String) -> F,
    ) {
        let (mut asker, mut output) = self.start(None).await;
        asker.send(&Command::SignIn(1)).await.unwrap();
        let Some(Message::Offered(page)) = output.next::<Message>().await else { panic!("nothing to show") };
        let (mut redeemer, mut redeemer_output) = self.start(Some(death)).await;
        let answer = open(page).await;
        redeemer.send(&Command::Complete(answer.clone())).await.unwrap();
        assert_eq!(redeemer_output.next::<Message>().await, None, "it is dead");
        // The person reloads the page.
        asker.send(&Command::Complete(answer)).await.unwrap();
        loop {
            match output.next::<Message>().await.unwrap() {
                Message::Offered(page) => asker.send(&Command::Complete(open(page).await)).await.unwrap(),
                Message::SignedIn(tokens) => return assert_eq!(tokens.len(), 1),
                Message::Ready => {}
            }
        }
    }

    /// One process asks, takes the answer and dies on the way. Another one wants to be signed in, too. Returns the pages that
    /// were opened.
    pub(crate) async fn outlives<F: Future<Output = String>>(
        &self,
        death: Death,
        open: impl Fn(String) -> F,
    ) -> Vec<String> {
        let (mut first, mut first_output) = self.start(Some(death)).await;
        first.send(&Command::SignIn(1)).await.unwrap();
        let mut offered = Vec::new();
        // Until it is dead, which ends its output.
        while let Some(message) = first_output.next::<Message>().await {
            if let Message::Offered(page) = message {
                offered.push(page.clone());
                drop(first.send(&Command::Complete(open(page).await)).await);
            }
        }
        drop(first);
        let (mut second, mut output) = self.start(None).await;
        second.send(&Command::SignIn(1)).await.unwrap();
        loop {
            match output.next::<Message>().await.unwrap() {
                Message::Offered(page) => {
                    offered.push(page.clone());
                    second.send(&Command::Complete(open(page).await)).await.unwrap();
                }
                Message::SignedIn(tokens) => {
                    assert_eq!(tokens.len(), 1);
                    return offered;
                }
                Message::Ready => {}
            }
        }
    }
}

/// The effects of a redemption in another process than the one that asks, and the number of codes that are presented in all if
/// the redeemer dies before the effect, and after it.
pub(crate) const REDEEMER_DEATHS: [(&str, usize, usize); 7] = [
    ("take", 1, 1),
    ("judge", 1, 1),
    ("claim", 1, 1),
    ("answer", 1, 1),
    ("redeem", 1, 2),
    ("reserve", 2, 2),
    ("install", 2, 1),
];

/// The effects of an attempt that succeeds, in their order. Beside each are the numbers of prompts that are prepared and of
/// codes that are presented in all, if the process dies before the effect, and after it.
pub(crate) const DEATHS: [(&str, u32, Requests, Requests); 15] = [
    ("claim", 1, (1, 1), (1, 1)),
    ("load", 1, (1, 1), (1, 1)),
    ("prepare", 1, (1, 1), (2, 1)),
    ("put", 1, (2, 1), (2, 1)),
    ("ask", 1, (2, 1), (1, 1)),
    ("show", 1, (1, 1), (1, 1)),
    ("take", 1, (1, 1), (2, 1)),
    ("judge", 1, (2, 1), (2, 1)),
    ("claim", 2, (2, 1), (2, 1)),
    ("answer", 1, (2, 1), (2, 1)),
    ("redeem", 1, (2, 1), (2, 2)),
    ("reserve", 1, (2, 2), (2, 2)),
    ("install", 1, (2, 2), (1, 1)),
    ("end_claim", 1, (1, 1), (1, 1)),
    ("end_claim", 2, (1, 1), (1, 1)),
];

/// The number of prompts that were prepared, and of codes that were presented.
pub(crate) type Requests = (usize, usize);

/// Lets a process die at each effect, several at a time. `death` returns what was found.
pub(crate) async fn at_each_effect<F: Future<Output = Requests>>(death: impl Fn(Death) -> F) {
    let points = DEATHS
        .iter()
        .flat_map(|(name, number, before, after)| [(*name, *number, true, *before), (*name, *number, false, *after)]);
    let deaths = points.map(|(name, number, before, wanted)| {
        let death = death(Death { effect: name.to_owned(), number, before });
        async move {
            let point = format!("{} {name} {number}", if before { "before" } else { "after" });
            let found = within(point.clone(), death).await;
            (point, wanted, found)
        }
    });
    let results: Vec<_> = futures_util::stream::iter(deaths).buffered(6).collect().await;
    let wrong: Vec<_> = results.iter().filter(|(_, wanted, found)| wanted != found).collect();
    assert!(wrong.is_empty(), "point, wanted, found: {wrong:#?}");
}
