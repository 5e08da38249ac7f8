//! A person at a terminal.

use std::sync::Arc;

use async_trait::async_trait;
use tokenkeeper::{Interaction, OfferedPrompt, Prompt};
use tokio::sync::{Mutex, mpsc};
use url::Url;

use crate::within::within;

/// A person. Clones are one.
#[derive(Clone)]
pub(crate) struct Person(Arc<Seat>);

struct Seat {
    shown: mpsc::UnboundedSender<Prompt>,
    seen: Mutex<mpsc::UnboundedReceiver<Prompt>>,
    keyboard: mpsc::UnboundedSender<String>,
    typed: Mutex<mpsc::UnboundedReceiver<String>>,
}

impl Person {
    pub(crate) fn new() -> Self {
        let (shown, seen) = mpsc::unbounded_channel();
        let (keyboard, typed) = mpsc::unbounded_channel();
        Self(Arc::new(Seat { shown, seen: Mutex::new(seen), keyboard, typed: Mutex::new(typed) }))
    }

    /// Waits for the next prompt.
    pub(crate) async fn asked(&self) -> Prompt {
        within("a prompt", async { self.0.seen.lock().await.recv().await }).await.unwrap()
    }

    /// Waits for the page of the next prompt.
    pub(crate) async fn page(&self) -> Url {
        page_of(&self.asked().await.prompt)
    }

    /// Whether all prompts that were shown have been looked at.
    pub(crate) async fn is_left_alone(&self) -> bool {
        self.0.seen.lock().await.is_empty()
    }

    pub(crate) fn paste(&self, text: impl Into<String>) {
        self.0.keyboard.send(text.into()).unwrap();
    }
}

#[async_trait]
impl Interaction for Person {
    async fn show(&self, prompt: &Prompt) {
        self.0.shown.send(prompt.clone()).unwrap();
    }

    async fn pasted(&self) -> Option<String> {
        self.0.typed.lock().await.recv().await
    }
}

/// The page of a prompt.
pub(crate) fn page_of(prompt: &OfferedPrompt) -> Url {
    let OfferedPrompt::Browser { url } = prompt else { panic!("{prompt:?}") };
    Url::parse(url.as_str()).unwrap()
}

/// A parameter of a URL.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

/// The port of the redirect address in an authorization request.
pub(crate) fn redirect_port(page: &Url) -> u16 {
    Url::parse(&parameter(page, "redirect_uri").unwrap()).unwrap().port().unwrap()
}
