//! What may replace what in a store: every write is a [`Change`], judged against the record it finds.
//!
//! A store only has to make *read, [`apply`], write* one atomic step; what a change requires and what it makes of the
//! record is decided here, once for all stores. Epoch, revision and number grow and never restart (law 12).

use crate::values::record::{
    Access, Binding, Content, DeadDigests, Grant, Held, Mark, MarkState, Parked, Record, Refresh, RefreshCredential,
    RenewalPlan, Subject,
};
use crate::values::{
    AccessToken, Cause, DpopKey, Epoch, FlightId, InstallError, KeyedDigest, Moment, Revision, Scopes, TokenKind,
    Validity, Version,
};

/// One write to an identity's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Notes, before a presentation, that the refresh token is being presented. Compares the whole version: whatever
    /// moved, the flight must decide anew.
    Mark {
        /// The version the flight decided from.
        expected: Version,
        /// The note.
        mark: Mark,
    },
    /// Takes a flight's own mark back, because its presentation spent nothing, and puts back what was there before.
    /// Compares epoch and token; it writes even where the mark never landed, so that a mark which is still on its way
    /// cannot land any more.
    Withdraw {
        /// The flight's epoch.
        epoch: Epoch,
        /// The flight.
        flight: FlightId,
        /// The token it presented.
        sent: KeyedDigest,
        /// The mark that the flight found, and replaced by its own.
        earlier: Option<Mark>,
        /// Parks the grant in the same write.
        park: Option<Parked>,
    },
    /// Stores what a flight brought. Compares epoch, the token that was sent, and the token number; not the revision.
    Commit(Box<Commit>),
    /// Ends the grant, because the server refused this refresh token for good. Compares epoch and token.
    End {
        /// The flight's epoch.
        epoch: Epoch,
        /// The token that was refused.
        sent: KeyedDigest,
    },
    /// Notes that a token is spent and its successor lost. Compares epoch, token and flight.
    Spent {
        /// The flight's epoch.
        epoch: Epoch,
        /// The flight whose mark it is.
        flight: FlightId,
        /// The token that was spent.
        sent: KeyedDigest,
    },
    /// Parks the grant until a login replaces it. Compares the epoch.
    Park {
        /// The epoch of the grant.
        epoch: Epoch,
        /// Why.
        why: Parked,
    },
    /// Changes how the grant is renewed, and nothing else. Compares the epoch. Source and spending stay as they are
    /// while the refresh token is marked: they say how the presentation under way, or in doubt, is to be concluded.
    Configure {
        /// The epoch of the grant.
        epoch: Epoch,
        /// How it is renewed from now on.
        renewal: RenewalPlan,
    },
    /// Installs a login: the epoch moves, whatever is there, unless its refresh token may not be used.
    Install(Box<Login>),
    /// Clears the grant to a tombstone: the epoch moves. Compares the epoch, so that a loser never deletes a winner's
    /// tokens.
    Clear {
        /// The epoch that is to end.
        epoch: Epoch,
    },
}

/// What a flight brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The flight's epoch.
    pub epoch: Epoch,
    /// The refresh token it presented; `None` for a repeatable source.
    pub sent: Option<KeyedDigest>,
    /// The access token, with the number reserved for it.
    pub access: Access,
    /// The new refresh token; `None` keeps the old one (RFC 6749 section 6).
    pub refresh: Option<RefreshCredential>,
    /// The scopes granted; `None` leaves them as they are.
    pub granted: Option<Scopes>,
    /// Who the answer is for, where it says so.
    pub subject: Option<Subject>,
    /// Where a repeatable source's tokens belong: the first commit of such an identity makes its record.
    pub binding: Option<Binding>,
    /// How the identity is renewed, where this commit makes its record. A record that is there keeps its own plan.
    pub renewal: RenewalPlan,
    /// When the answer was asked for.
    pub at: Moment,
}

/// A login to install: what a code exchange, an import or a host brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Where it belongs.
    pub binding: Binding,
    /// The scopes that were asked for.
    pub requested: Scopes,
    /// The scopes that were granted.
    pub granted: Scopes,
    /// Who signed in, where the server said so.
    pub subject: Option<Subject>,
    /// The key the tokens are bound to, if they are.
    pub dpop_key: Option<DpopKey>,
    /// Which source renews it, under which provider's profile.
    pub renewal: RenewalPlan,
    /// The refresh token, if one was issued.
    pub refresh: Option<RefreshCredential>,
    /// The access token, if one came along.
    pub access: Option<LoginAccess>,
    /// When the login was completed.
    pub at: Moment,
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

/// Why a change does not apply to the record that is there. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The record moved on: another login, logout, or a newer token.
    Moved,
    /// The refresh token to install is dead.
    Dead,
    /// The refresh token to install, or whose source or spending was to change, is marked in this very record.
    Marked,
}

impl From<Conflict> for InstallError {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Dead => InstallError::Dead,
            Conflict::Marked => InstallError::Marked,
            // An install compares nothing that moves; a store that says so has failed.
            Conflict::Moved => InstallError::StoreTrouble(crate::values::StoreFault::Failed),
        }
    }
}

/// What a store answers to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The change is durable.
    Applied {
        /// What was there before.
        before: Option<Box<Record>>,
        /// What is there now.
        after: Box<Record>,
    },
    /// The change does not fit what is there; nothing was written.
    Conflict {
        /// Why.
        why: Conflict,
        /// What is there.
        current: Option<Box<Record>>,
    },
}

/// Makes of `current` what `change` asks for, or says why it must not.
///
/// # Errors
///
/// The [`Conflict`], when `current` is not what the change compares with.
pub fn apply(current: Option<&Record>, change: &Change) -> Result<Record, Conflict> {
    let mut next = match (current, change) {
        (None, Change::Install(login)) => install(&Record::vacant(), login)?,
        (None, Change::Commit(commit)) => first_commit(commit)?,
        // A source that needs no login can be logged out of before it ever stored anything.
        (None, Change::Clear { epoch }) => Record { epoch: epoch.next(), number: 1, ..Record::vacant() },
        (None, _) => return Err(Conflict::Moved),
        (Some(record), Change::Install(login)) => install(record, login)?,
        (Some(record), Change::Clear { epoch }) => clear(record, *epoch)?,
        (Some(record), change) => {
            let mut next = record.clone();
            amend(&mut next, change)?;
            next
        }
    };
    next.revision = current.map_or(Revision::default(), |record| record.revision).next();
    Ok(next)
}

impl Record {
    /// What an identity starts from that has no record.
    fn vacant() -> Self {
        Self {
            epoch: Epoch::default(),
            revision: Revision::default(),
            number: 0,
            dead: DeadDigests::default(),
            content: Content::Tombstone,
        }
    }

    /// The dead digests of a record that follows: a token which may have been spent is not to be installed again.
    fn dead_of_successor(&self) -> DeadDigests {
        let mut dead = self.dead.clone();
        if let Some(Held { credential, mark: Some(_), .. }) = self.held() {
            dead.remember(credential.digest());
        }
        dead
    }
}

fn install(record: &Record, login: &Login) -> Result<Record, Conflict> {
    if let Some(refresh) = &login.refresh {
        if record.dead.contains(&refresh.digest()) {
            return Err(Conflict::Dead);
        }
        if record.held().is_some_and(|held| held.mark.is_some() && held.credential == *refresh) {
            return Err(Conflict::Marked);
        }
    }
    let number = record.number.saturating_add(1);
    let access = login.access.as_ref().map(|access| Access {
        token: access.token.clone(),
        kind: access.kind,
        validity: access.validity,
        number,
        cause: Cause::Login,
        flight: None,
    });
    let refresh = match &login.refresh {
        None => Refresh::None,
        Some(credential) => Refresh::Held(Held { credential: credential.clone(), since: login.at, mark: None }),
    };
    Ok(Record {
        epoch: record.epoch.next(),
        revision: record.revision,
        number,
        dead: record.dead_of_successor(),
        content: Content::Grant(Box::new(Grant {
            binding: login.binding.clone(),
            requested: login.requested.clone(),
            granted: login.granted.clone(),
            subject: login.subject.clone(),
            dpop_key: login.dpop_key.clone(),
            renewal: login.renewal.clone(),
            refresh,
            access,
            parked: None,
            signed_in: Some(login.at.wall),
        })),
    })
}

fn clear(record: &Record, epoch: Epoch) -> Result<Record, Conflict> {
    if record.epoch != epoch || record.content == Content::Tombstone {
        return Err(Conflict::Moved);
    }
    Ok(Record {
        epoch: record.epoch.next(),
        revision: record.revision,
        number: record.number.saturating_add(1),
        dead: record.dead_of_successor(),
        content: Content::Tombstone,
    })
}

fn first_commit(commit: &Commit) -> Result<Record, Conflict> {
    match (&commit.binding, commit.sent) {
        (Some(binding), None) => Ok(Record {
            epoch: commit.epoch,
            number: commit.access.number,
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
            })),
            ..Record::vacant()
        }),
        _ => Err(Conflict::Moved),
    }
}

/// The changes that stay within an epoch.
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
            record.dead.remember(*sent);
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
        Change::Configure { epoch, renewal } => {
            within(epoch)?;
            let marked = matches!(&grant.refresh, Refresh::Held(held) if held.mark.is_some());
            let RenewalPlan { source, spending, .. } = &grant.renewal;
            if marked && (*source != renewal.source || *spending != renewal.spending) {
                return Err(Conflict::Marked);
            }
            grant.renewal = renewal.clone();
        }
        // Handled by `apply`: they move the epoch.
        Change::Install(_) | Change::Clear { .. } => return Err(Conflict::Moved),
    }
    Ok(())
}

fn holding(grant: &mut Grant, digest: KeyedDigest) -> Result<&mut Held, Conflict> {
    match &mut grant.refresh {
        Refresh::Held(held) if held.credential.digest() == digest => Ok(held),
        _ => Err(Conflict::Moved),
    }
}

/// Whether the answer is for somebody else than the one who signed in (law 13).
fn subjects_differ(grant: &Grant, commit: &Commit) -> bool {
    matches!((&grant.subject, &commit.subject), (Some(known), Some(named)) if known != named)
}

/// Stores what `commit` brings, and says which refresh token it replaced.
fn commit_to(grant: &mut Grant, commit: &Commit) -> Result<Option<KeyedDigest>, Conflict> {
    if grant.access.as_ref().is_some_and(|access| access.number >= commit.access.number) {
        return Err(Conflict::Moved);
    }
    // A success outranks another presentation's refusal of the same token: whoever got the successor owns the lineage.
    let sent_is_stored = match (&grant.refresh, commit.sent) {
        (Refresh::Held(held), Some(sent)) => held.credential.digest() == sent,
        (Refresh::Ended(refused), Some(sent)) => *refused == sent && commit.refresh.is_some(),
        (Refresh::None, Some(_)) => false,
        (_, None) => true,
    };
    if !sent_is_stored || subjects_differ(grant, commit) {
        return Err(Conflict::Moved);
    }
    let mut replaced = None;
    if let Some(credential) = &commit.refresh {
        replaced = commit.sent.filter(|sent| *sent != credential.digest());
        grant.refresh = Refresh::Held(Held { credential: credential.clone(), since: commit.at, mark: None });
    } else if let Refresh::Held(held) = &mut grant.refresh {
        held.since = commit.at;
        // The token is kept, and so is the note of a presentation that is not this commit's.
        held.mark.take_if(|mark| commit.sent.is_some() && mark.number <= commit.access.number);
    }
    grant.access = Some(commit.access.clone());
    if let Some(granted) = &commit.granted {
        grant.granted = granted.clone();
    }
    if grant.subject.is_none() {
        grant.subject = commit.subject.clone();
    }
    Ok(replaced)
}
