//! The cost of the state machines alone, without a runtime. See `benches/README.md`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tokenkeeper::engine::law::flight::{Equipment, Flight, Landing, Outcome, Report, Spending, StoreTimeouts};
use tokenkeeper::engine::law::ledger::{self, Change, Login, LoginAccess};
use tokenkeeper::engine::law::profile::Profiles;
use tokenkeeper::engine::law::session::{Ask, Birth, Policy, Residue, Session, SessionEffect, SessionEvent, WaiterId};
use tokenkeeper::engine::values::record::{Binding, Client, ClientAuth, Issuer, Record, RefreshCredential};
use tokenkeeper::engine::values::{
    AccessToken, Cause, DigestKey, ElapsedTime, FlightId, Generation, Jitter, Lease, LeaseParts, Moment, Nonce, Now,
    RefreshToken, RenewalPlan, Scopes, SourceName, TokenKind, Validity,
};

const HOUR: Duration = Duration::from_secs(3_600);

fn now(millis: u64) -> Now {
    let elapsed = ElapsedTime::from_millis(millis);
    Now { moment: Moment { elapsed, ..Moment::default() }, jitter: Jitter::default() }
}

fn record() -> Record {
    let key = DigestKey::new([7; 32]);
    let login = Login {
        binding: Binding {
            issuer: Issuer("https://as.example".to_owned()),
            client: Client { id: "client".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
            token_endpoint: "https://as.example/token".to_owned(),
            revocation_endpoint: None,
            resource: Some("https://mcp.example/mcp".to_owned()),
        },
        requested: Scopes::default(),
        granted: Scopes::default(),
        subject: None,
        dpop_key: None,
        renewal: RenewalPlan::default(),
        refresh: Some(RefreshCredential::new(RefreshToken::new("r".repeat(600)), &key)),
        access: Some(LoginAccess {
            token: AccessToken::new("a".repeat(600)),
            kind: TokenKind::Bearer,
            validity: Validity::new(Moment::default(), Some(HOUR)),
        }),
        at: Moment::default(),
        begun_on: None,
    };
    match ledger::apply(None, &Change::Install(Box::new(login))) {
        Ok(record) => record,
        Err(conflict) => unreachable!("an install into an empty store: {conflict:?}"),
    }
}

/// A session that has read its record.
fn session() -> Session {
    let birth = Birth { nonce: Nonce(1), flights: FlightId(1) };
    let (mut session, effects) = Session::start(Policy::default(), birth, Residue::default(), now(0));
    for effect in effects {
        if let SessionEffect::Load(op) = effect {
            session.handle(SessionEvent::Loaded(op, Ok(Some(Box::new(record().view())))), now(0));
        }
    }
    session
}

fn ask(at: u64) -> Ask {
    let (asked, timeout) = (ElapsedTime::from_millis(at), Duration::from_secs(30));
    Ask { asked, timeout, min_lifetime: Duration::ZERO, force: false, fail_fast: false }
}

fn fresh_get(criterion: &mut Criterion) {
    let mut session = session();
    let mut waiter = 0;
    criterion.bench_function("session: a fresh lease through the machine", |bencher| {
        bencher.iter(|| {
            waiter += 1;
            black_box(session.handle(SessionEvent::GetToken(WaiterId(waiter), ask(1)), now(1)))
        });
    });
}

fn cohort(criterion: &mut Criterion) {
    const CALLERS: u64 = 10_000;
    let expired = HOUR.as_secs() * 1_000;
    let waiting = || {
        let mut session = session();
        let mut flight = None;
        for waiter in 0..CALLERS {
            for effect in session.handle(SessionEvent::GetToken(WaiterId(waiter), ask(expired)), now(expired)) {
                if let SessionEffect::Fly(order) = effect {
                    flight = Some(order.flight);
                }
            }
        }
        (session, flight)
    };
    let lease = Lease::new(LeaseParts {
        token: AccessToken::new("a".repeat(600)),
        kind: TokenKind::Bearer,
        generation: Generation::stored(record().epoch, record().number + 1),
        scopes: Scopes::default(),
        validity: Validity::new(now(expired).moment, Some(HOUR)),
        cause: Cause::Expiry,
        proof_key: None,
    });
    let landing = Landing { outcome: Outcome::Minted(lease), view: None, keeping: false, requests: 1 };
    criterion.bench_function("session: 10,000 callers join one flight", |bencher| {
        bencher.iter_batched(|| (), |()| black_box(waiting()), BatchSize::LargeInput);
    });
    criterion.bench_function("session: one landing answers 10,000 callers", |bencher| {
        bencher.iter_batched(
            waiting,
            |(mut session, flight)| {
                let report = Report::Landed(landing.clone());
                flight.map(|id| black_box(session.handle(SessionEvent::Flight(id, report), now(expired))))
            },
            BatchSize::LargeInput,
        );
    });
}

fn flight_start(criterion: &mut Criterion) {
    let equipment = Arc::new(Equipment {
        profiles: Profiles::default(),
        sources: [(SourceName::REFRESH_TOKEN, Spending::SingleUse)].into(),
        timeouts: StoreTimeouts::default(),
        digests: DigestKey::new([7; 32]),
    });
    let expired = HOUR.as_secs() * 1_000;
    let order = session()
        .handle(SessionEvent::GetToken(WaiterId(1), ask(expired)), now(expired))
        .into_iter()
        .find_map(|effect| if let SessionEffect::Fly(order) = effect { Some(*order) } else { None });
    let Some(order) = order else { return };
    criterion.bench_function("flight: start", |bencher| {
        bencher.iter(|| black_box(Flight::start(order.clone(), Arc::clone(&equipment))));
    });
}

fn digest(criterion: &mut Criterion) {
    let (key, token) = (DigestKey::new([7; 32]), RefreshToken::new("r".repeat(600)));
    criterion.bench_function("digest of a 600-byte refresh token", |bencher| {
        bencher.iter(|| black_box(key.digest(&token)));
    });
}

criterion_group!(machines, fresh_get, cohort, flight_start, digest);
criterion_main!(machines);
