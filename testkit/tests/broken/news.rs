//! Faults in the events of a watch.

use async_trait::async_trait;
use tokenkeeper_actors::ports::store::{StoreEvent, StoreWatch};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Fault;
use super::store::Faulty;

/// A store event before the watch applies its fault.
#[derive(Clone, Debug)]
pub(super) struct Word {
    news: StoreEvent,
    handle: usize,
    /// Whether a logout, or the removal of an entry, was written.
    removal: bool,
}

impl Faulty {
    pub(super) fn tell(&self, news: StoreEvent, removal: bool) {
        let _ = self.shared.news.send(Word { news, handle: self.handle, removal });
    }

    pub(super) fn listen(&self) -> Box<dyn StoreWatch> {
        let news = Some(self.shared.news.subscribe());
        Box::new(FaultyWatch { news, fault: self.shared.fault, handle: self.handle })
    }
}

#[derive(Debug)]
struct FaultyWatch {
    news: Option<Receiver<Word>>,
    fault: Option<Fault>,
    handle: usize,
}

impl FaultyWatch {
    fn misses(&self, word: &Word) -> bool {
        let is_entry = matches!(word.news, StoreEvent::IssuerChanged(_));
        match self.fault {
            Some(Fault::WatchIsSilent) => true,
            Some(Fault::WatchHearsItselfOnly) => word.handle != self.handle,
            Some(Fault::WatchHearsOthersOnly) => word.handle == self.handle,
            Some(Fault::LogoutIsNoNews) => word.removal && !is_entry,
            Some(Fault::EntryIsNoNews) => is_entry,
            Some(Fault::EntryRemovalIsNoNews) => word.removal && is_entry,
            _ => false,
        }
    }
}

#[async_trait]
impl StoreWatch for FaultyWatch {
    async fn next(&mut self) -> StoreEvent {
        loop {
            let word = if self.fault == Some(Fault::BrokenOffWaitEndsTheWatch) {
                let Some(mut news) = self.news.take() else { return StoreEvent::Ended };
                let word = news.recv().await;
                self.news = Some(news);
                word
            } else {
                let Some(news) = &mut self.news else { return StoreEvent::Ended };
                news.recv().await
            };
            match word {
                Ok(word) if self.misses(&word) => {}
                Ok(word) => return word.news,
                Err(RecvError::Lagged(_)) if self.fault == Some(Fault::LossIsNotTold) => {}
                Err(RecvError::Lagged(_)) => return StoreEvent::Lagged,
                Err(RecvError::Closed) => return StoreEvent::Ended,
            }
        }
    }
}
