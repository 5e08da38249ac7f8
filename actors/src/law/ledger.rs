//! The writes to a record, and their conditions. Every write is a [`Change`], which is compared with the current
//! record.
//!
//! A store only has to make *read, [`apply`], write* one atomic step. This module decides for all stores whether a
//! change applies, and what the record is after it. Epoch, revision and number grow and never restart (law 12), unless
//! the record is removed ([`remove`]).
//! The same holds for an issuer's entries, with [`EntryChange`] and [`apply_entry`].

mod entries;
mod epochs;
mod prompts;
mod removal;

pub use entries::{EntryChange, EntryChanged, apply_entry};
pub use prompts::BegunOn;
pub use removal::remove;

use crate::values::record::{
    Access, Binding, Content, Grant, Held, Mark, MarkState, Parked, Prompt, PromptEnd, Record, Refresh,
    RefreshCredential, RenewalPlan, Subject,
};
use crate::values::{
    AccessToken, DpopKey, Epoch, FlightId, InstallError, KeyedDigest, LoginKey, Moment, Revision, Scopes, TokenKind,
    Validity, Version,
};

/// One write to an identity's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Marks the refresh token as being presented, before it is sent. Compares the whole version, because the flight
    /// must decide again after any other write.
    Mark {
        /// The version the flight decided from.
        expected: Version,
        /// The mark.
        mark: Mark,
    },
    /// Replaces a flight's own mark with the mark before it, because its presentation spent nothing. Compares epoch and
    /// token. It writes even if the mark is not there, so that the flight's own mark, whose write may still be in
    /// flight, no longer applies.
    Withdraw {
        /// The flight's epoch.
        epoch: Epoch,
        /// The flight.
        flight: FlightId,
        /// The token it presented.
        sent: KeyedDigest,
        /// The mark that the flight had replaced with its own.
        earlier: Option<Mark>,
        /// The reason to park the grant in the same write, if it is to be parked.
        park: Option<Parked>,
    },
    /// Stores the tokens that a flight obtained. Compares the epoch, the token that was sent and the token number, but
    /// not the revision.
    Commit(Box<Commit>),
    /// Ends the grant, because the server definitely refused this refresh token. Compares epoch and token.
    End {
        /// The flight's epoch.
        epoch: Epoch,
        /// The token that was refused.
        sent: KeyedDigest,
    },
    /// Removes the access token of a grant that has ended, because its resource refused it. No flight will replace it,
    /// and other processes would continue to hand it out. Compares the epoch and the token's number.
    Discard {
        /// The epoch of the grant.
        epoch: Epoch,
        /// The number of the token that was refused.
        number: u64,
    },
    /// Notes that a refresh token is spent and its successor lost. Compares epoch, token and flight.
    Spent {
        /// The flight's epoch.
        epoch: Epoch,
        /// The flight that made the mark.
        flight: FlightId,
        /// The token that was spent.
        sent: KeyedDigest,
    },
    /// Parks the grant until a login replaces it. Compares the epoch.
    Park {
        /// The epoch of the grant.
        epoch: Epoch,
        /// The reason.
        why: Parked,
    },
    /// Changes how the grant is renewed, and nothing else. Compares the epoch. Source and spending stay as they are while
    /// the refresh token is marked, because they decide how the presentation in progress or in doubt is concluded.
    Configure {
        /// The epoch of the grant.
        epoch: Epoch,
        /// How the grant is renewed from now on.
        renewal: RenewalPlan,
    },
    /// Ends the parking of a grant that was parked for this reason. Compares the epoch. The grant is still the same,
    /// because a login would have begun another epoch.
    Unpark {
        /// The epoch of the grant.
        epoch: Epoch,
        /// The reason.
        why: Parked,
    },
    /// Notes that a person is asked to sign in. Compares the whole version, because the attempt must read again after
    /// any other write. The version of an identity without a record is the default.
    Prompt {
        /// The version the attempt decided from.
        expected: Version,
        /// The request. Its state is open, and its revision is set by this write.
        prompt: Box<Prompt>,
    },
    /// Notes that the person has answered and that the code is about to be presented. Compares the epoch, and refuses while
    /// the answer to another request is being redeemed. A request that has ended or was replaced by another one may still be
    /// answered.
    AnswerPrompt {
        /// The epoch in which the person was asked.
        epoch: Epoch,
        /// The request. Its state is answered, and its revision is set by this write.
        prompt: Box<Prompt>,
    },
    /// Notes that a request to a person ended without a login. Compares the key. A request whose answer is being redeemed
    /// can neither time out nor be cancelled.
    EndPrompt {
        /// The key of the request that ended.
        key: LoginKey,
        /// How it ended.
        end: PromptEnd,
        /// When it ended.
        at: Moment,
    },
    /// Installs a login, and begins a new epoch, unless its refresh token must not be used. It replaces any record, or
    /// only the session that the login was begun on.
    Install(Box<Login>),
    /// Replaces the grant with a tombstone, and begins a new epoch. Compares the epoch, so that a late logout never
    /// deletes the tokens of a newer login.
    Clear {
        /// The epoch that is to end.
        epoch: Epoch,
    },
}

/// The tokens that a flight obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The flight's epoch.
    pub epoch: Epoch,
    /// The refresh token it presented; `None` for a repeatable source.
    pub sent: Option<KeyedDigest>,
    /// Whether that token had been presented before, and that answer was lost.
    pub repeated: bool,
    /// The access token, with the number reserved for it.
    pub access: Access,
    /// The new refresh token. `None` keeps the old one, and so does the token that was sent (RFC 6749 section 6).
    pub refresh: Option<RefreshCredential>,
    /// The scopes granted; `None` leaves them as they are.
    pub granted: Option<Scopes>,
    /// The subject of the answer, if it names one.
    pub subject: Option<Subject>,
    /// The binding of a repeatable source's tokens. The first commit of such an identity creates its record.
    pub binding: Option<Binding>,
    /// How the identity is renewed, if this commit makes its record. An existing record keeps its own plan.
    pub renewal: RenewalPlan,
    /// When the request was sent.
    pub at: Moment,
}

/// A login to install, from a code exchange, an import or a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The issuer, client and resource that it belongs to.
    pub binding: Binding,
    /// The scopes that were requested.
    pub requested: Scopes,
    /// The scopes that were granted.
    pub granted: Scopes,
    /// The person who signed in, if the server named one.
    pub subject: Option<Subject>,
    /// The key the tokens are bound to, if they are.
    pub dpop_key: Option<DpopKey>,
    /// The source that renews it, and the provider whose profile applies.
    pub renewal: RenewalPlan,
    /// The refresh token, if one was issued.
    pub refresh: Option<RefreshCredential>,
    /// The access token, if one was issued.
    pub access: Option<LoginAccess>,
    /// When the login was completed.
    pub at: Moment,
    /// The session that it is to replace. `None` replaces any session, as an import does.
    pub begun_on: Option<BegunOn>,
}

/// The access token of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginAccess {
    /// The token.
    pub token: AccessToken,
    /// How it is presented.
    pub kind: TokenKind,
    /// How long it lives.
    pub validity: Validity,
}

/// Why a change does not apply to the current record. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The record has changed through another login, a logout, or a newer token.
    Moved,
    /// The refresh token to install is the one that the server refused when it ended this grant.
    Refused,
    /// The refresh token to install was replaced by a newer one.
    Replaced,
    /// The refresh token to install is dead. The record does not show whether it was refused, replaced or perhaps spent.
    Dead,
    /// The refresh token in the record is marked. It is the one to install, or its source or spending was to change.
    Marked,
    /// The login to install belongs to another person.
    OtherSubject,
}

impl From<Conflict> for InstallError {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Refused => InstallError::Refused,
            Conflict::Replaced => InstallError::Replaced,
            Conflict::Dead => InstallError::Dead,
            Conflict::Marked => InstallError::Marked,
            Conflict::OtherSubject => InstallError::OtherSubject,
            Conflict::Moved => InstallError::Superseded,
        }
    }
}

/// A store's answer to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The change is durable.
    Applied {
        /// The record before.
        before: Option<Box<Record>>,
        /// The record after.
        after: Box<Record>,
    },
    /// The change does not apply to the current record. Nothing was written.
    Conflict {
        /// The reason.
        why: Conflict,
        /// The current record.
        current: Option<Box<Record>>,
    },
}

/// Applies `change` to the `current` record and returns the new one.
///
/// # Errors
///
/// Returns the [`Conflict`] if the change does not apply to `current`.
pub fn apply(current: Option<&Record>, change: &Change) -> Result<Record, Conflict> {
    let vacant = Record::vacant();
    let record = current.unwrap_or(&vacant);
    let mut next = match change {
        // The person was asked in a record, so that the answer to a request whose record was removed signs in to nothing.
        Change::AnswerPrompt { .. } if current.is_none() => return Err(Conflict::Moved),
        Change::Install(login) if current.is_none() && login.begun_on.is_some() => return Err(Conflict::Moved),
        Change::Install(login) => epochs::install(record, login)?,
        // An identity whose source needs no login can be logged out before it has a record.
        Change::Clear { epoch } if current.is_none() => {
            Record { epoch: epoch.next(), number: 1, content: Content::Tombstone, ..record.clone() }
        }
        Change::Clear { epoch } => epochs::clear(record, *epoch)?,
        Change::Commit(commit) if record.content == Content::Vacant => first_commit(record, commit)?,
        Change::Prompt { .. } | Change::AnswerPrompt { .. } | Change::EndPrompt { .. } => {
            prompts::prompted(record, change)?
        }
        change => {
            let mut next = record.clone();
            amend(&mut next, change)?;
            next
        }
    };
    next.revision = record.revision.next();
    Ok(next)
}

/// Stores the first token of a repeatable source. It begins the record, unless a request to a person has begun it.
fn first_commit(record: &Record, commit: &Commit) -> Result<Record, Conflict> {
    let continues = record.revision == Revision::default() || record.epoch == commit.epoch;
    match (&commit.binding, commit.sent) {
        (Some(binding), None) if continues => Ok(Record {
            epoch: commit.epoch,
            number: commit.access.number.max(record.number),
            content: Content::Grant(Box::new(Grant {
                binding: binding.clone(),
                requested: Scopes::default(),
                granted: commit.granted.clone().unwrap_or_default(),
                subject: commit.subject.clone(),
                dpop_key: None,
                renewal: commit.renewal.clone(),
                refresh: Refresh::None,
                access: Some(commit.access.clone()),
                parked: None,
                signed_in: None,
                rotated: false,
            })),
            ..record.clone()
        }),
        _ => Err(Conflict::Moved),
    }
}

/// Applies the changes that stay within an epoch.
fn amend(record: &mut Record, change: &Change) -> Result<(), Conflict> {
    let version = record.version();
    let Content::Grant(grant) = &mut record.content else { return Err(Conflict::Moved) };
    let within = |epoch: &Epoch| if version.epoch == *epoch { Ok(()) } else { Err(Conflict::Moved) };
    match change {
        Change::Mark { expected, mark } => {
            let held = holding(grant, mark.digest)?;
            if version != *expected {
                return Err(Conflict::Moved);
            }
            held.mark = Some(mark.clone());
            record.number = record.number.max(mark.number);
        }
        Change::Withdraw { epoch, flight, sent, earlier, park } => {
            within(epoch)?;
            let held = holding(grant, *sent)?;
            if held.mark.as_ref().is_some_and(|mark| mark.flight == *flight) {
                held.mark = earlier.clone();
            }
            grant.parked = grant.parked.or(*park);
        }
        Change::Commit(commit) => {
            within(&commit.epoch)?;
            let replaced = commit_to(grant, commit)?;
            replaced.into_iter().for_each(|digest| record.dead.remember(digest));
            commit.refresh.iter().for_each(|refresh| record.dead.forget(&refresh.digest()));
            record.number = record.number.max(commit.access.number);
        }
        Change::End { epoch, sent } => {
            within(epoch)?;
            holding(grant, *sent)?;
            grant.refresh = Refresh::Ended(*sent);
            // The server has refused the token itself, so it accepts the client.
            grant.parked.take_if(|parked| *parked == Parked::ClientRejected);
            record.dead.remember(*sent);
        }
        Change::Discard { epoch, number } => {
            within(epoch)?;
            grant.access.take_if(|access| access.number == *number).ok_or(Conflict::Moved)?;
        }
        Change::Spent { epoch, flight, sent } => {
            within(epoch)?;
            match &mut holding(grant, *sent)?.mark {
                Some(mark) if mark.flight == *flight => mark.state = MarkState::Spent,
                _ => return Err(Conflict::Moved),
            }
        }
        Change::Park { epoch, why } => {
            within(epoch)?;
            grant.parked = grant.parked.or(Some(*why));
        }
        Change::Unpark { epoch, why } => {
            within(epoch)?;
            grant.parked.take_if(|parked| parked == why).ok_or(Conflict::Moved)?;
        }
        Change::Configure { epoch, renewal } => {
            within(epoch)?;
            let marked = matches!(&grant.refresh, Refresh::Held(held) if held.mark.is_some());
            let RenewalPlan { source, spending, .. } = &grant.renewal;
            if marked && (*source != renewal.source || *spending != renewal.spending) {
                return Err(Conflict::Marked);
            }
            grant.renewal = renewal.clone();
        }
        // These changes begin a new epoch, or need no grant. `apply` handles them.
        Change::Install(_)
        | Change::Clear { .. }
        | Change::Prompt { .. }
        | Change::AnswerPrompt { .. }
        | Change::EndPrompt { .. } => return Err(Conflict::Moved),
    }
    Ok(())
}

fn holding(grant: &mut Grant, digest: KeyedDigest) -> Result<&mut Held, Conflict> {
    match &mut grant.refresh {
        Refresh::Held(held) if held.credential.digest() == digest => Ok(held),
        _ => Err(Conflict::Moved),
    }
}

/// Whether the answer names another subject than the login (law 13).
fn subjects_differ(grant: &Grant, commit: &Commit) -> bool {
    matches!((&grant.subject, &commit.subject), (Some(known), Some(named)) if known != named)
}

/// Stores the tokens of `commit`, and returns the digest of the refresh token that they replaced.
fn commit_to(grant: &mut Grant, commit: &Commit) -> Result<Option<KeyedDigest>, Conflict> {
    if grant.access.as_ref().is_some_and(|access| access.number >= commit.access.number) {
        return Err(Conflict::Moved);
    }
    // A server that repeats the token that was sent has issued no new one.
    let renewed = commit.refresh.as_ref().filter(|refresh| commit.sent != Some(refresh.digest()));
    // A success outranks the refusal of another presentation of the same token. The flight that got the successor owns
    // the lineage.
    let sent_is_stored = match (&grant.refresh, commit.sent) {
        (Refresh::Held(held), Some(sent)) => held.credential.digest() == sent,
        (Refresh::Ended(refused), Some(sent)) => *refused == sent && renewed.is_some(),
        (Refresh::None, Some(_)) => false,
        (_, None) => true,
    };
    if !sent_is_stored || subjects_differ(grant, commit) {
        return Err(Conflict::Moved);
    }
    let replaced = commit.sent.filter(|_| renewed.is_some());
    grant.rotated |= replaced.is_some();
    if let Some(credential) = renewed {
        grant.refresh = Refresh::Held(Held { credential: credential.clone(), since: commit.at, mark: None });
    } else if let Refresh::Held(held) = &mut grant.refresh {
        held.since = commit.at;
        // The token is kept, and so is a newer mark. If the lineage has ever rotated, the lost answer to the first
        // presentation may have brought a successor, so the answer to a repeated one does not end the doubt (law 10).
        let settled = commit.sent.is_some() && !(commit.repeated && grant.rotated);
        held.mark.take_if(|mark| settled && mark.number <= commit.access.number);
        // The server has answered, so the pauses between presentations start anew.
        if let Some(mark) = held.mark.as_mut().filter(|mark| mark.number <= commit.access.number) {
            mark.presentations = 1;
        }
    }
    // The server has accepted the client.
    grant.parked.take_if(|parked| *parked == Parked::ClientRejected && commit.sent.is_some());
    grant.access = Some(commit.access.clone());
    if let Some(granted) = &commit.granted {
        grant.granted = granted.clone();
    }
    if grant.subject.is_none() {
        grant.subject = commit.subject.clone();
    }
    Ok(replaced)
}
