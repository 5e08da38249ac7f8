//! The client ID metadata documents that are kept, and the requests for them, within bounds. `document` sends the requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokenkeeper::engine::values::WallTime;
use tokio::sync::{OnceCell, Semaphore};

use super::{Client, DocumentError, FAILURE, FRESH, LAST_GOOD, MAX_KEPT, MAX_KEPT_OF_HOST, MAX_REQUESTS_OF_HOST};

/// The outcome of a request for a document.
pub(super) type Outcome = Result<Arc<Client>, DocumentError>;

/// A request for a document. All sign-ins that need the document meanwhile share it. If the sign-in that sends the request is
/// dropped, the next one sends it again.
pub(super) type SharedRequest = Arc<OnceCell<Outcome>>;

/// The documents by their URLs, and the requests for them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    by_url: BTreeMap<String, Entry>,
    /// Limits the requests to each host at a time.
    hosts: BTreeMap<String, Arc<Semaphore>>,
}

/// The results of the requests for one document.
#[derive(Debug)]
struct Entry {
    host: String,
    /// The last document that could be used, and when it was fetched.
    good: Option<(Arc<Client>, WallTime)>,
    /// The last error, and the time until which the document is not requested again.
    failed: Option<(DocumentError, WallTime)>,
    request: Option<SharedRequest>,
    /// The time of the last sign-in that needed the document.
    asked: WallTime,
}

impl Entry {
    /// The answer without a request, if there is one now.
    fn answer(&self, now: WallTime) -> Option<Outcome> {
        if let Some((client, at)) = &self.good
            && now < at.after(FRESH)
        {
            return Some(Ok(Arc::clone(client)));
        }
        let (error, _) = self.failed.filter(|(_, until)| now < *until)?;
        Some(self.last_good(now).ok_or(error))
    }

    /// The last document that could be used, unless it is too old.
    fn last_good(&self, now: WallTime) -> Option<Arc<Client>> {
        self.good.as_ref().filter(|(_, at)| now < at.after(LAST_GOOD)).map(|(client, _)| Arc::clone(client))
    }

    /// Whether the entry could still be the answer to a sign-in, or is about to get one.
    fn is_needed(&self, now: WallTime) -> bool {
        let is_awaited = self.request.as_ref().is_some_and(|request| Arc::strong_count(request) > 1);
        is_awaited || self.last_good(now).is_some() || self.failed.is_some_and(|(_, until)| now < until)
    }
}

impl Kept {
    /// The answer for a document. An error is the request for it, which the caller sends or waits for.
    pub(super) fn ask(&mut self, id: &str, host: &str, now: WallTime) -> Result<Outcome, SharedRequest> {
        if let Some(answer) = self.by_url.get(id).and_then(|entry| entry.answer(now)) {
            return Ok(answer);
        }
        if !self.by_url.contains_key(id) {
            self.make_room(host, now);
        }
        let entry = self.by_url.entry(id.to_owned()).or_insert_with(|| Entry {
            host: host.to_owned(),
            good: None,
            failed: None,
            request: None,
            asked: now,
        });
        entry.asked = now;
        Err(Arc::clone(entry.request.get_or_insert_default()))
    }

    /// Notes the outcome of a request, and returns the answer. The last good document answers for one that cannot be fetched.
    pub(super) fn settle(&mut self, id: &str, request: &SharedRequest, outcome: Outcome, now: WallTime) -> Outcome {
        // Nothing is noted if another document has displaced this one, or if another sign-in that shares the request has noted
        // the outcome already.
        let Some(entry) = self.by_url.get_mut(id) else { return outcome };
        if entry.request.as_ref().is_some_and(|present| Arc::ptr_eq(present, request)) {
            entry.request = None;
            match &outcome {
                Ok(client) => (entry.good, entry.failed) = (Some((Arc::clone(client), now)), None),
                // The host has delivered a document that cannot be used, so that the last good one is not used either.
                Err(DocumentError::Unusable) => {
                    (entry.good, entry.failed) = (None, Some((DocumentError::Unusable, now.after(FAILURE))));
                }
                Err(DocumentError::Busy) => {}
                Err(error) => entry.failed = Some((*error, now.after(FAILURE))),
            }
        }
        outcome.or_else(|error| entry.last_good(now).ok_or(error))
    }

    /// The semaphore that limits the requests to a host at a time.
    pub(super) fn gate(&mut self, host: &str) -> Arc<Semaphore> {
        self.hosts.retain(|_, gate| Arc::strong_count(gate) > 1);
        let gate = self.hosts.entry(host.to_owned());
        Arc::clone(gate.or_insert_with(|| Arc::new(Semaphore::new(MAX_REQUESTS_OF_HOST))))
    }

    /// Makes room for a document of this host. A host that has the maximum number displaces its own documents, and not those of
    /// other hosts. Entries without a good document are displaced first, and then those that were not asked for the longest.
    fn make_room(&mut self, host: &str, now: WallTime) {
        self.by_url.retain(|_, entry| entry.is_needed(now));
        while self.by_url.values().filter(|entry| entry.host == host).count() >= MAX_KEPT_OF_HOST {
            self.displace(Some(host));
        }
        while self.by_url.len() >= MAX_KEPT {
            self.displace(None);
        }
    }

    /// Removes the entry that is needed least, among those of `host` or among all.
    fn displace(&mut self, host: Option<&str>) {
        let entries = self.by_url.iter().filter(|(_, entry)| host.is_none_or(|host| entry.host == host));
        let least = entries.min_by_key(|(_, entry)| (entry.good.is_some(), entry.asked)).map(|(id, _)| id.clone());
        if let Some(id) = least {
            self.by_url.remove(&id);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_url.len()
    }
}
