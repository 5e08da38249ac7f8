//! A person at a terminal, with a browser.

use std::future::pending;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokenkeeper::callback::key_of_state;
use tokenkeeper::{Interaction, LoginKey, OfferedPrompt, Prompt, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::within::{until, within};

/// A person. Clones are one.
#[derive(Clone)]
pub(crate) struct Person(Arc<Seen>);

struct Seen {
    prompts: Mutex<Vec<Prompt>>,
    steps: Mutex<Vec<Step>>,
    /// Whether the program that shows the prompt stays until it is closed.
    stays: bool,
    keyboard: Mutex<Option<mpsc::UnboundedSender<String>>>,
    pasted: AsyncMutex<mpsc::UnboundedReceiver<String>>,
}

impl Person {
    pub(crate) fn new() -> Self {
        Self::with(false)
    }

    /// A person whose browser's program runs until it is closed.
    pub(crate) fn who_stays() -> Self {
        Self::with(true)
    }

    fn with(stays: bool) -> Self {
        let (keyboard, pasted) = mpsc::unbounded_channel();
        Self(Arc::new(Seen {
            prompts: Mutex::default(),
            steps: Mutex::default(),
            stays,
            keyboard: Mutex::new(Some(keyboard)),
            pasted: AsyncMutex::new(pasted),
        }))
    }

    pub(crate) fn paste(&self, text: impl Into<String>) {
        self.0.keyboard.lock().unwrap().as_ref().unwrap().send(text.into()).unwrap();
    }

    /// Closes the terminal's input.
    pub(crate) fn ends_input(&self) {
        self.0.keyboard.lock().unwrap().take();
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        self.0.steps.lock().unwrap().clone()
    }

    pub(crate) fn prompts(&self) -> Vec<Prompt> {
        self.0.prompts.lock().unwrap().clone()
    }

    /// Waits for a step.
    pub(crate) async fn sees(&self, step: &Step) {
        until(format!("{step:?}"), || self.steps().contains(step)).await;
    }

    /// Waits for the prompt with this number.
    pub(crate) async fn asked(&self, number: usize) -> (Prompt, LoginKey) {
        until("a prompt", || self.prompts().len() >= number).await;
        let prompt = self.prompts()[number - 1].clone();
        let OfferedPrompt::Browser { url } = &prompt.prompt else { panic!("{prompt:?}") };
        let state = url.as_str().split_once("state=").unwrap().1.split('&').next().unwrap();
        let key = key_of_state(state);
        (prompt, key)
    }
}

#[async_trait]
impl Interaction for Person {
    async fn show(&self, prompt: &Prompt) {
        self.0.prompts.lock().unwrap().push(prompt.clone());
        if self.0.stays {
            pending::<()>().await;
        }
    }

    async fn pasted(&self) -> Option<String> {
        self.0.pasted.lock().await.recv().await
    }

    fn progress(&self, step: Step) {
        self.0.steps.lock().unwrap().push(step);
    }
}

/// The browser opens `url`, and shows the page that it returns.
pub(crate) async fn open(url: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, target) = rest.split_once('/').unwrap();
    let mut stream = within("a connection", TcpStream::connect(host)).await.unwrap();
    stream.write_all(format!("GET /{target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let mut page = String::new();
    within("a page", stream.read_to_string(&mut page)).await.unwrap();
    page
}

/// Whether a program listens at the address of `url`.
pub(crate) async fn is_served(url: &str) -> bool {
    let host = url.strip_prefix("http://").unwrap().split_once('/').unwrap().0;
    within("an answer", TcpStream::connect(host)).await.is_ok()
}
