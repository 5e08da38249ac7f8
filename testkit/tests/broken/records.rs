//! Faults in writes and reads.

use tokenkeeper_actors::law::ledger::{Change, Changed, Commit, Conflict, Login, apply};
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::values::record::{
    Content, DeadDigests, Mark, MarkState, Parked, Record, Refresh, RefreshCredential,
};
use tokenkeeper_actors::values::{DigestKey, Epoch, RefreshToken, Revision, ServerIdentity, StoreFault};

use super::super::support::bare_login;
use super::Fault;
use super::store::Faulty;

impl Faulty {
    /// The record as this store returns it.
    pub(super) fn spoiled(&self, record: Option<Box<Record>>, key: &DigestKey) -> Option<Box<Record>> {
        let Some(mut record) = record else {
            let made_up = || apply(None, &Change::Install(Box::new(bare_login()))).ok().map(Box::new);
            return self.has(Fault::MakesRecordsUp).then(made_up).flatten();
        };
        if record.content == Content::Tombstone {
            match self.shared.fault {
                Some(Fault::LogoutDeletesTheRecord) => return None,
                Some(Fault::TombstoneRestartsTheRevision) => record.revision = Revision::new(1),
                _ => {}
            }
        }
        match self.shared.fault {
            Some(Fault::RevisionStartsAtZero) => record.revision = Revision::new(record.revision.number() - 1),
            Some(Fault::RevisionSkips) => record.revision = Revision::new(2 * record.revision.number() - 1),
            Some(Fault::LogoutForgetsTheDead) if record.epoch >= Epoch::new(3) => record.dead = DeadDigests::default(),
            _ => {}
        }
        let Content::Grant(grant) = &mut record.content else { return Some(record) };
        match self.shared.fault {
            Some(Fault::LosesTheDpopKey) => grant.dpop_key = None,
            Some(Fault::LosesWhyItIsParked) => grant.parked = None,
            Some(Fault::LosesThePlan) => grant.renewal = Default::default(),
            _ => {}
        }
        let Refresh::Held(held) = &mut grant.refresh else { return Some(record) };
        match (self.shared.fault, &mut held.mark) {
            (Some(Fault::LosesSignsBeyondAscii), _) => {
                let ascii: String = held.credential.token().expose().chars().filter(char::is_ascii).collect();
                held.credential = RefreshCredential::new(RefreshToken::new(ascii), key);
            }
            (Some(Fault::LosesTheMark), mark) => *mark = None,
            (Some(Fault::ForgetsWhatIsSpent), Some(mark)) => mark.state = MarkState::Open,
            _ => {}
        }
        Some(record)
    }

    /// Makes a change, and spoils its answer in the same way as reads.
    pub(super) async fn changed(&self, identity: &ServerIdentity, change: Change) -> Result<Changed, StoreFault> {
        let key = self.inner().digest_key().await?;
        let before = self.inner().load(identity).await?;
        let settles = !matches!(change, Change::Commit(_));
        let answer = match self.shared.fault {
            Some(Fault::ReadsThenWrites) => self.read_then_write(identity, before.clone(), change).await?,
            _ => self.write(identity, before.as_deref(), change).await?,
        };
        if matches!(answer, Changed::Applied { .. }) {
            self.written(identity, settles).await?;
        }
        Ok(match answer {
            Changed::Applied { before, after } => match self.spoiled(Some(after.clone()), &key) {
                Some(after) => Changed::Applied { before: self.spoiled(before, &key), after },
                None => Changed::Applied { before: self.spoiled(before, &key), after },
            },
            Changed::Conflict { why, .. } if self.has(Fault::ConflictShowsNothing) => {
                Changed::Conflict { why, current: None }
            }
            Changed::Conflict { why, current } => {
                if self.has(Fault::RefusalMovesTheRevision)
                    && let Some(epoch) = current.as_ref().map(|record| record.epoch)
                {
                    let why = Parked::IssuerChanged;
                    self.inner().change(identity, Change::Park { epoch, why }).await?;
                }
                Changed::Conflict { why, current: self.spoiled(current, &key) }
            }
        })
    }

    async fn read_then_write(
        &self,
        identity: &ServerIdentity,
        before: Option<Box<Record>>,
        change: Change,
    ) -> Result<Changed, StoreFault> {
        let judged = apply(before.as_deref(), &change);
        self.read_beside_another().await;
        self.inner().change(identity, change).await?;
        Ok(match judged {
            Ok(after) => Changed::Applied { before, after: Box::new(after) },
            Err(why) => Changed::Conflict { why, current: before },
        })
    }

    async fn write(
        &self,
        identity: &ServerIdentity,
        before: Option<&Record>,
        change: Change,
    ) -> Result<Changed, StoreFault> {
        let current = || before.cloned().map(Box::new);
        let pretend = |after: &Record| Changed::Applied { before: current(), after: Box::new(after.clone()) };
        let (Some(fault), Some(record)) = (self.shared.fault, before) else {
            let needs_a_login = self.has(Fault::NeedsALogin) && matches!(change, Change::Commit(_));
            let needs_a_record = self.has(Fault::LogoutOfNobodyIsNothing) && matches!(change, Change::Clear { .. });
            if before.is_none() && (needs_a_login || needs_a_record) {
                return Ok(Changed::Conflict { why: Conflict::Moved, current: None });
            }
            let change = match change {
                Change::Install(login) if before.is_none() && self.has(Fault::RemovedIsRevived) => {
                    Change::Install(Box::new(Login { begun_on: None, ..*login }))
                }
                change => change,
            };
            return self.inner().change(identity, change).await;
        };
        let change = match (fault, change) {
            (Fault::MarkComparesNothing, Change::Mark { mark, .. }) => {
                Change::Mark { expected: record.version(), mark }
            }
            (Fault::MarkComparesTheEpochOnly, Change::Mark { expected, mark }) if expected.epoch == record.epoch => {
                Change::Mark { expected: record.version(), mark }
            }
            (Fault::WithdrawsOnlyWhatIsThere, Change::Withdraw { flight, .. })
                if mark(record).is_none_or(|mark| mark.flight != flight) =>
            {
                return Ok(pretend(record));
            }
            (Fault::WithdrawsAnyMark, Change::Withdraw { epoch, flight, sent, earlier, park }) => {
                let flight = mark(record).map_or(flight, |mark| mark.flight);
                Change::Withdraw { epoch, flight, sent, earlier, park }
            }
            (Fault::CommitComparesTheRevision, change @ (Change::Mark { .. } | Change::Commit(_))) => {
                let seen = *self.notes().marked.entry(identity.clone()).or_insert(record.revision.next());
                if matches!(change, Change::Commit(_)) && seen != record.revision {
                    return Ok(Changed::Conflict { why: Conflict::Moved, current: current() });
                }
                change
            }
            (Fault::ConfigureIgnoresTheEpoch, Change::Configure { renewal, .. }) => {
                Change::Configure { epoch: record.epoch, renewal }
            }
            (Fault::ClearIgnoresTheEpoch, Change::Clear { .. }) => Change::Clear { epoch: record.epoch },
            (Fault::InstallsTheDead | Fault::InstallsTheMarked, Change::Install(login)) => {
                match (fault, apply(before, &Change::Install(login.clone()))) {
                    (Fault::InstallsTheDead, Err(Conflict::Refused | Conflict::Replaced | Conflict::Dead))
                    | (Fault::InstallsTheMarked, Err(Conflict::Marked)) => {
                        return Ok(pretend(record));
                    }
                    _ => Change::Install(login),
                }
            }
            (_, Change::Commit(commit)) => return self.commit(identity, record, fault, *commit).await,
            (_, change) => change,
        };
        self.inner().change(identity, change).await
    }

    async fn commit(
        &self,
        identity: &ServerIdentity,
        record: &Record,
        fault: Fault,
        mut commit: Commit,
    ) -> Result<Changed, StoreFault> {
        let repeated = record.grant().is_some_and(|grant| grant.access.as_ref() == Some(&commit.access));
        let held = record.held().map(|held| held.credential.digest());
        let (token, epoch, number) = match fault {
            Fault::CommitIgnoresTheToken => (true, false, false),
            Fault::CommitIgnoresTheEpoch => (false, true, false),
            Fault::CommitIgnoresTheNumber => (false, false, true),
            Fault::CommitComparesNothing => (true, true, true),
            _ => (false, false, false),
        };
        if token {
            commit.sent = held.or(commit.sent);
        }
        if epoch {
            commit.epoch = record.epoch;
        }
        if number {
            commit.access.number = record.number + 1;
        }
        if fault == Fault::CommitIgnoresTheSubject {
            commit.subject = None;
        }
        if fault == Fault::RepeatedCommitApplies && repeated {
            let record = Box::new(record.clone());
            return Ok(Changed::Applied { before: Some(record.clone()), after: record });
        }
        if fault == Fault::CommitRevivesATombstone && record.content == Content::Tombstone {
            let login = Login { refresh: commit.refresh, ..bare_login() };
            return self.inner().change(identity, Change::Install(Box::new(login))).await;
        }
        if fault == Fault::CommitNeedsTheClaim && self.is_lost(identity, commit.epoch).await? {
            return Ok(Changed::Conflict { why: Conflict::Moved, current: Some(Box::new(record.clone())) });
        }
        let ends = (fault == Fault::OmittedTokenIsNone && commit.refresh.is_none()).then_some((commit.epoch, held));
        let answer = self.inner().change(identity, Change::Commit(Box::new(commit))).await?;
        if let Some((epoch, Some(sent))) = ends {
            self.inner().change(identity, Change::End { epoch, sent }).await?;
        }
        Ok(answer)
    }
}

fn mark(record: &Record) -> Option<&Mark> {
    record.held()?.mark.as_ref()
}
