//! The writes that begin an epoch: a login that is installed, and a logout (law 12).

use super::{Conflict, Login};
use crate::values::record::{Access, Content, DeadDigests, Grant, Held, Record, Refresh};
use crate::values::{Cause, Epoch, KeyedDigest, Revision};

impl Record {
    /// The starting point of an identity without a record.
    pub(super) fn vacant() -> Self {
        Self {
            epoch: Epoch::default(),
            revision: Revision::default(),
            number: 0,
            dead: DeadDigests::default(),
            content: Content::Vacant,
            prompt: None,
        }
    }

    /// Returns the reason why `digest` may not be installed; `None` if it may.
    ///
    /// The dead digests are of three kinds: refused, replaced, and in doubt when their epoch ended. In the first epoch
    /// with a login, a refused one is in the ended grant, and no epoch has ended yet, so all others were replaced.
    /// Later epochs inherit all kinds.
    fn why_dead(&self, digest: KeyedDigest) -> Option<Conflict> {
        let first = self.epoch == Epoch::default().next();
        match self.grant().map(|grant| &grant.refresh) {
            Some(Refresh::Ended(refused)) if *refused == digest => Some(Conflict::Refused),
            _ if !self.dead.contains(&digest) => None,
            Some(_) if first => Some(Conflict::Replaced),
            _ => Some(Conflict::Dead),
        }
    }

    /// The dead digests of the next epoch. They include a marked token, which may have been spent and must not be
    /// installed again.
    fn dead_of_successor(&self) -> DeadDigests {
        let mut dead = self.dead.clone();
        if let Some(Held { credential, mark: Some(_), .. }) = self.held() {
            dead.remember(credential.digest());
        }
        dead
    }
}

pub(super) fn install(record: &Record, login: &Login) -> Result<Record, Conflict> {
    if let Some(begun_on) = &login.begun_on {
        begun_on.permits(record, login)?;
    }
    if let Some(refresh) = &login.refresh {
        if let Some(conflict) = record.why_dead(refresh.digest()) {
            return Err(conflict);
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
    // A login with the token that is held already continues its lineage.
    let is_held = |held: &Held| login.refresh.as_ref() == Some(&held.credential);
    let rotated = record.held().is_some_and(is_held) && record.grant().is_some_and(|grant| grant.rotated);
    let mut dead = record.dead_of_successor();
    login.refresh.iter().for_each(|refresh| dead.came_with_login(refresh.digest()));
    Ok(Record {
        epoch: record.epoch.next(),
        revision: record.revision,
        number,
        dead,
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
            rotated,
        })),
        prompt: None,
    })
}

pub(super) fn clear(record: &Record, epoch: Epoch) -> Result<Record, Conflict> {
    // If a person is being asked after a logout, another logout begins a new epoch, so that no answer can sign in after it.
    let was_cleared = record.content == Content::Tombstone && record.prompt.is_none();
    if record.epoch != epoch || was_cleared {
        return Err(Conflict::Moved);
    }
    Ok(Record {
        epoch: record.epoch.next(),
        revision: record.revision,
        number: record.number.saturating_add(1),
        dead: record.dead_of_successor(),
        content: Content::Tombstone,
        prompt: None,
    })
}
