//! Writes to an issuer's entries. Each names the revision it was decided on, and applies only at that revision.

use crate::values::Revision;
use crate::values::issuer::{EntryContent, EntryKind, IssuerEntry};

use super::Conflict;

/// One write to an issuer's entry. It applies only at the revision that its caller read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryChange {
    /// Stores `content` in place of the entry's content.
    Put {
        /// The entry's revision, or `None` if there never was an entry. A removed entry has a revision.
        expected: Option<Revision>,
        /// The new content. Its kind selects the issuer's entry.
        content: EntryContent,
    },
    /// Removes the content. The entry stays, and its revision grows.
    Remove {
        /// The entry's revision.
        expected: Revision,
        /// The kind of the entry.
        kind: EntryKind,
    },
}

impl EntryChange {
    /// The kind of the entry that is changed.
    pub fn kind(&self) -> EntryKind {
        match self {
            EntryChange::Put { content, .. } => content.kind(),
            EntryChange::Remove { kind, .. } => kind.clone(),
        }
    }
}

/// A store's answer to an [`EntryChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryChanged {
    /// The change was written, and made this entry.
    Applied(Box<IssuerEntry>),
    /// The entry has another revision than the change expected. Nothing was written. Carries the current entry.
    Conflict(Option<Box<IssuerEntry>>),
}

/// Returns the entry that `change` makes of `before`. `before` is the current entry of the change's kind, or `None` if
/// there never was one. The revision grows by one.
///
/// # Errors
///
/// [`Conflict::Moved`] when `before` has another revision than the change expects.
pub fn apply_entry(before: Option<&IssuerEntry>, change: &EntryChange) -> Result<IssuerEntry, Conflict> {
    let (expected, content) = match change {
        EntryChange::Put { expected, content } => (*expected, Some(content.clone())),
        EntryChange::Remove { expected, .. } => (Some(*expected), None),
    };
    let current = before.map(|entry| entry.revision);
    if current != expected {
        return Err(Conflict::Moved);
    }
    Ok(IssuerEntry { revision: current.unwrap_or_default().next(), content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Moment;
    use crate::values::issuer::ServerMetadata;

    fn metadata(document: &str) -> EntryContent {
        EntryContent::Metadata(Box::new(ServerMetadata {
            url: "https://as.example.com/.well-known/oauth-authorization-server".into(),
            document: document.into(),
            fetched: Moment::default(),
            fresh_for: None,
            etag: None,
        }))
    }

    fn put(expected: Option<u64>, document: &str) -> EntryChange {
        EntryChange::Put { expected: expected.map(Revision::new), content: metadata(document) }
    }

    fn remove(expected: u64) -> EntryChange {
        EntryChange::Remove { expected: Revision::new(expected), kind: EntryKind::Metadata }
    }

    #[test]
    fn a_change_applies_at_its_revision_and_at_no_other() {
        let first = apply_entry(None, &put(None, "{1}")).unwrap();
        assert_eq!(first, IssuerEntry { revision: Revision::new(1), content: Some(metadata("{1}")) });
        let second = apply_entry(Some(&first), &put(Some(1), "{2}")).unwrap();
        assert_eq!(second, IssuerEntry { revision: Revision::new(2), content: Some(metadata("{2}")) });
        for stale in [put(None, "{3}"), put(Some(0), "{3}"), put(Some(1), "{3}"), put(Some(3), "{3}"), remove(1)] {
            assert_eq!(apply_entry(Some(&second), &stale), Err(Conflict::Moved), "{stale:?}");
        }
        for early in [put(Some(0), "{1}"), put(Some(1), "{1}"), remove(0), remove(1)] {
            assert_eq!(apply_entry(None, &early), Err(Conflict::Moved), "{early:?}");
        }
    }

    #[test]
    fn a_removed_entry_counts_on() {
        let first = apply_entry(None, &put(None, "{1}")).unwrap();
        let removed = apply_entry(Some(&first), &remove(1)).unwrap();
        assert_eq!(removed, IssuerEntry { revision: Revision::new(2), content: None });
        // A caller that read the first entry, or none, cannot replace the removed one.
        for stale in [put(None, "{2}"), put(Some(1), "{2}"), remove(1)] {
            assert_eq!(apply_entry(Some(&removed), &stale), Err(Conflict::Moved), "{stale:?}");
        }
        let again = apply_entry(Some(&removed), &put(Some(2), "{2}")).unwrap();
        assert_eq!((again.revision, again.content), (Revision::new(3), Some(metadata("{2}"))));
    }

    #[test]
    fn a_change_knows_its_kind() {
        assert_eq!(put(None, "{}").kind(), EntryKind::Metadata);
        assert_eq!(remove(1).kind(), EntryKind::Metadata);
    }
}
