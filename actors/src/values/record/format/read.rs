//! Makes a record from the members of the current format. An error names the path of the wrong member.

use std::time::Duration;

use super::super::{
    Access, Binding, Client, Content, DeadDigests, Grant, Held, Issuer, Mark, Prompt, ProviderName, Record, Refresh,
    RefreshCredential, RenewalPlan, SourceName, Subject,
};
use super::members;
use super::secret::{Secret, bytes};
use super::words::Word;
use crate::values::{
    AccessToken, AttemptId, BootId, ClientSecret, DpopKey, ElapsedTime, Epoch, FlightId, KeyedDigest, LoginKey, Moment,
    RefreshToken, Revision, Scopes, SourceSettings, Validity, WallTime,
};

/// The path of a wrong member.
pub(super) type Path = &'static str;

const MARK_DIGEST: Path = "content.grant.refresh.held.mark.digest";
const MARK_NUMBER: Path = "content.grant.refresh.held.mark.number";
const PRESENTATIONS: Path = "content.grant.refresh.held.mark.presentations";
const ACCESS_NUMBER: Path = "content.grant.access.number";

/// Checks the invariants of a record. The ledger keeps them, so a record that breaks one is damaged, or would be
/// unreadable once written.
pub(super) fn check(record: &Record) -> Result<(), Path> {
    // Otherwise callers would get the end of a prompt that was never written.
    if record.prompt.as_ref().is_some_and(|prompt| prompt.revision > record.revision) {
        return Err("prompt.revision");
    }
    let Some(grant) = record.grant() else { return Ok(()) };
    // Otherwise a number that was assigned already would be assigned again.
    if grant.access.as_ref().is_some_and(|access| access.number > record.number) {
        return Err(ACCESS_NUMBER);
    }
    let Some(Held { credential, mark: Some(mark), .. }) = record.held() else { return Ok(()) };
    // A mark with the digest of another token would leave the held token unprotected.
    if mark.digest != credential.digest() {
        return Err(MARK_DIGEST);
    }
    if mark.number > record.number {
        return Err(MARK_NUMBER);
    }
    // A mark is written before a presentation of the token and counts it. Zero would permit one presentation too many.
    if mark.presentations == 0 {
        return Err(PRESENTATIONS);
    }
    Ok(())
}

pub(super) fn record(members: members::Record<'_>) -> Result<Record, Path> {
    Ok(Record {
        epoch: Epoch::new(members.epoch),
        revision: Revision::new(members.revision),
        number: members.number,
        dead: dead(&members.dead, &members.logins)?,
        content: match members.content {
            members::Content::Vacant => Content::Vacant,
            members::Content::Tombstone => Content::Tombstone,
            members::Content::Grant(members) => Content::Grant(Box::new(grant(*members)?)),
        },
        prompt: members.prompt.map(prompt).transpose()?,
    })
}

/// Refuses lists that are longer than allowed, or contain a digest twice. No writer of this format makes such a list.
fn dead(dead: &[members::Text<'_>], logins: &[members::Text<'_>]) -> Result<DeadDigests, Path> {
    let mut known = DeadDigests::default();
    for digits in logins {
        known.came_with_login(digest(digits, "logins")?);
    }
    if known.logins().count() != logins.len() {
        return Err("logins");
    }
    for digits in dead {
        known.remember(digest(digits, "dead")?);
    }
    if known.iter().count() == dead.len() { Ok(known) } else { Err("dead") }
}

fn grant(members: members::Grant<'_>) -> Result<Grant, Path> {
    let secret = |key: Secret<'_>| key.reveal(|key| DpopKey::new(key)).ok_or("content.grant.dpop_key");
    Ok(Grant {
        binding: binding(members.binding)?,
        requested: Scopes::new(members.requested),
        granted: Scopes::new(members.granted),
        subject: members.subject.map(|subject| Subject(subject.into_owned())),
        dpop_key: members.dpop_key.map(secret).transpose()?,
        renewal: renewal(members.renewal)?,
        refresh: refresh(members.refresh)?,
        access: members.access.map(access).transpose()?,
        parked: members.parked.map(|parked| word(&parked, "content.grant.parked")).transpose()?,
        signed_in: members.signed_in_ms.map(WallTime::from_millis),
        rotated: members.rotated,
    })
}

fn binding(members: members::Binding<'_>) -> Result<Binding, Path> {
    Ok(Binding {
        issuer: Issuer(members.issuer.into_owned()),
        client: client(members.client, "content.grant.binding.client.secret", "content.grant.binding.client.auth")?,
        token_endpoint: members.token_endpoint.into_owned(),
        revocation_endpoint: members.revocation_endpoint.map(members::Text::into_owned),
        resource: members.resource.map(members::Text::into_owned),
    })
}

/// The client. `at_secret` and `at_auth` are the paths of its secret and its authentication.
pub(super) fn client(members: members::Client<'_>, at_secret: Path, at_auth: Path) -> Result<Client, Path> {
    let secret = |secret: Secret<'_>| secret.reveal(|secret| ClientSecret::new(secret)).ok_or(at_secret);
    Ok(Client {
        id: members.id.into_owned(),
        secret: members.secret.map(secret).transpose()?,
        auth: word(&members.auth, at_auth)?,
        secret_expires_at: members.secret_expires_at_ms.map(WallTime::from_millis),
    })
}

fn renewal(members: members::RenewalPlan<'_>) -> Result<RenewalPlan, Path> {
    let provider = |name: members::Text<'_>| ProviderName::new(name.into_owned());
    let settings = |settings: Secret<'_>| {
        settings.reveal(|settings| SourceSettings::new(settings)).ok_or("content.grant.renewal.settings")
    };
    Ok(RenewalPlan {
        source: match &*members.source {
            // The usual name needs no allocation.
            name if name == SourceName::REFRESH_TOKEN.as_str() => SourceName::REFRESH_TOKEN,
            name => SourceName::new(name.to_owned()).map_err(|_| "content.grant.renewal.source")?,
        },
        spending: word(&members.spending, "content.grant.renewal.spending")?,
        provider: members.provider.map(provider).transpose().map_err(|_| "content.grant.renewal.provider")?,
        never_replay: members.never_replay,
        server_named: members.server_named,
        settings: members.settings.map(settings).transpose()?,
    })
}

fn refresh(members: members::Refresh<'_>) -> Result<Refresh, Path> {
    let members = match members {
        members::Refresh::None => return Ok(Refresh::None),
        members::Refresh::Ended(refused) => {
            return Ok(Refresh::Ended(digest(&refused, "content.grant.refresh.ended")?));
        }
        members::Refresh::Held(held) => held,
    };
    let token = members.token.reveal(|token| RefreshToken::new(token)).ok_or("content.grant.refresh.held.token")?;
    let digest = digest(&members.digest, "content.grant.refresh.held.digest")?;
    Ok(Refresh::Held(Held {
        credential: RefreshCredential::from_stored(token, digest),
        since: moment(&members.since, "content.grant.refresh.held.since")?,
        mark: members.mark.map(mark).transpose()?,
    }))
}

fn mark(members: members::Mark<'_>) -> Result<Mark, Path> {
    Ok(Mark {
        flight: flight(&members.flight, "content.grant.refresh.held.mark.flight")?,
        digest: digest(&members.digest, MARK_DIGEST)?,
        presentations: members.presentations,
        number: members.number,
        first: moment(&members.first, "content.grant.refresh.held.mark.first")?,
        latest: moment(&members.latest, "content.grant.refresh.held.mark.latest")?,
        timeout: Duration::from_millis(members.timeout_ms),
        state: word(&members.state, "content.grant.refresh.held.mark.state")?,
    })
}

fn prompt(members: members::Prompt<'_>) -> Result<Prompt, Path> {
    Ok(Prompt {
        attempt: AttemptId(number(&members.attempt, "prompt.attempt")?),
        key: LoginKey(bytes(&members.key).ok_or("prompt.key")?),
        state: word(&members.state, "prompt.state")?,
        at: moment(&members.at, "prompt.at")?,
        revision: Revision::new(members.revision),
        expires: WallTime::from_millis(members.expires_ms),
    })
}

fn access(members: members::Access<'_>) -> Result<Access, Path> {
    // Zero is never written, because it would mean *unknown*.
    if members.lifetime_ms == Some(0) {
        return Err("content.grant.access.lifetime_ms");
    }
    let anchored = moment(&members.anchored, "content.grant.access.anchored")?;
    Ok(Access {
        token: members.token.reveal(|token| AccessToken::new(token)).ok_or("content.grant.access.token")?,
        kind: word(&members.kind, "content.grant.access.kind")?,
        validity: Validity::new(anchored, members.lifetime_ms.map(Duration::from_millis)),
        number: members.number,
        cause: word(&members.cause, "content.grant.access.cause")?,
        flight: members.flight.map(|digits| flight(&digits, "content.grant.access.flight")).transpose()?,
    })
}

pub(super) fn moment(members: &members::At<'_>, path: Path) -> Result<Moment, Path> {
    Ok(Moment {
        wall: WallTime::from_millis(members.wall_ms),
        elapsed: ElapsedTime::from_millis(members.elapsed_ms),
        boot: BootId(number(&members.boot, path)?),
    })
}

fn flight(digits: &str, path: Path) -> Result<FlightId, Path> {
    number(digits, path).map(FlightId)
}

fn number(digits: &str, path: Path) -> Result<u128, Path> {
    bytes(digits).map(u128::from_be_bytes).ok_or(path)
}

fn digest(digits: &str, path: Path) -> Result<KeyedDigest, Path> {
    bytes(digits).map(KeyedDigest::from_bytes).ok_or(path)
}

pub(super) fn word<T: Word>(word: &str, path: Path) -> Result<T, Path> {
    T::meant_by(word).ok_or(path)
}
