//! The world of a seed. It has machines, a store, a server, and rates for random faults.

use std::fmt;
use std::time::Duration;

use tokenkeeper_actors::law::flight::{Spending, StoreTimeouts};
use tokenkeeper_actors::law::login::LoginLimits;
use tokenkeeper_actors::law::profile::{Profile, Profiles, Reuse};
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::values::{ProviderName, RenewalPlan, SourceName, TokenKind};

use crate::Millis;
use crate::rng::{For, Rng};

/// The settings that stay constant while a schedule runs.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// For each host, the error of its wall clock in milliseconds and its drift in parts per million.
    pub(crate) hosts: Vec<(i64, i64)>,
    /// The host of each process.
    pub(crate) processes: Vec<usize>,
    pub(crate) identities: usize,
    pub(crate) store: StoreKind,
    /// The profile that applies. The plan in the records names it.
    pub(crate) profile: Profile,
    /// The renewal plan in the records. It names the source and the provider.
    pub(crate) renewal: RenewalPlan,
    pub(crate) timeouts: StoreTimeouts,
    pub(crate) policy: Policy,
    pub(crate) login_limits: LoginLimits,
    /// Whether the server ends the old grant of a client when its user authorizes it again.
    pub(crate) reauthorization_ends: bool,
    /// Whether each login is made with a client of its own. The others share one until the server forgets it.
    pub(crate) registers_anew: bool,
    pub(crate) server: ServerConfig,
    pub(crate) weather: Weather,
    /// Whether notifications of writes come late and twice, or are lost. The watch reports a loss.
    pub(crate) flaky_watch: bool,
    pub(crate) start: Start,
}

/// The mechanism behind a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// A lock on one host, which the kernel frees when its process dies.
    Kernel,
    /// A lease in a database, which is renewed or expires, for several hosts. It may record the holder's boot and
    /// host.
    Leased { knows_boots: bool },
}

/// The behaviour of the authorization server without faults.
#[derive(Clone, Debug)]
pub(crate) struct ServerConfig {
    pub(crate) kind: ServerKind,
    /// The number of refreshes in a thousand that replace the refresh token.
    pub(crate) rotates: u64,
    /// Whether the answer repeats a refresh token that is not replaced.
    pub(crate) repeats: bool,
    /// Whether a refresh invalidates the older access tokens of its lineage.
    pub(crate) kills_older: bool,
    /// Whether the end of a lineage invalidates its access tokens.
    pub(crate) family_takes_access: bool,
    /// Whether the server sometimes requires a nonce (RFC 9449).
    pub(crate) nonces: bool,
    /// Whether answers name the subject.
    pub(crate) names_subject: bool,
    pub(crate) lifetimes: Lifetimes,
}

impl ServerConfig {
    /// The type of the tokens of a login. Those of a server that asks for nonces are bound to keys.
    pub(crate) fn token_kind(&self) -> TokenKind {
        if self.nonces { TokenKind::Dpop } else { TokenKind::Bearer }
    }
}

/// The answer of a server to a refresh token that it has replaced before. Where it does not forgive the reuse, it ends the
/// lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    /// It never forgives.
    Strict,
    /// It issues another successor, up to this long after the first one. With a grace of 0 that is the same millisecond.
    Grace(Millis),
    /// It issues another successor until one of them was presented. A new successor replaces the one before.
    UntilSuccessorUsed,
    /// It gives the same answer again, until the successor in it was presented.
    Idempotent,
    /// It issues an access token and no refresh token, for a limited time.
    AccessOnly,
    /// It issues an access token and names the refresh token that was sent, for a limited time.
    SameToken,
    /// It never replaces a refresh token.
    NeverRotates,
}

impl ServerKind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Strict,
        Self::Grace(0),
        Self::Grace(10_000),
        Self::Grace(30_000),
        Self::UntilSuccessorUsed,
        Self::Idempotent,
        Self::AccessOnly,
        Self::SameToken,
        Self::NeverRotates,
    ];

    /// The time for which an answer without a new refresh token is repeated.
    const REPEATS_FOR: Millis = 60_000;

    /// Whether a server of this kind forgives the reuse of a refresh token that it replaced `age` ago. `used` states
    /// whether a successor was presented.
    pub(crate) fn forgives(self, age: Millis, used: bool) -> bool {
        match self {
            Self::Strict => false,
            Self::Grace(grace) => age <= grace,
            Self::UntilSuccessorUsed | Self::Idempotent => !used,
            Self::AccessOnly | Self::SameToken => age <= Self::REPEATS_FOR,
            Self::NeverRotates => true,
        }
    }

    /// Whether the answer to a reuse that it forgives carries a successor.
    pub(crate) fn brings_successor(self) -> bool {
        !matches!(self, Self::AccessOnly | Self::SameToken)
    }
}

/// The name in the report.
impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strict => f.write_str("strict"),
            Self::Grace(grace) => write!(f, "grace of {} s", grace / 1000),
            Self::UntilSuccessorUsed => f.write_str("valid until the successor was used"),
            Self::Idempotent => f.write_str("same answer again"),
            Self::AccessOnly => f.write_str("access token only"),
            Self::SameToken => f.write_str("same refresh token again"),
            Self::NeverRotates => f.write_str("never rotates"),
        }
    }
}

/// The lifetime that the server states for access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetimes {
    Seconds(u64),
    /// The server states no lifetime, and the token expires all the same.
    Unsaid,
    Zero,
    Huge,
}

/// The rates of random faults, per thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) store_fails: u64,
    pub(crate) store_hangs: u64,
    pub(crate) store_slow: u64,
    pub(crate) net_unreachable: u64,
    pub(crate) net_loses: u64,
    pub(crate) server_troubled: u64,
    pub(crate) sluggish: u64,
}

impl Weather {
    pub(crate) const CALM: Self = Self {
        store_fails: 0,
        store_hangs: 0,
        store_slow: 0,
        net_unreachable: 0,
        net_loses: 0,
        server_troubled: 0,
        sluggish: 0,
    };
    const BREEZY: Self = Self {
        store_fails: 4,
        store_hangs: 3,
        store_slow: 8,
        net_unreachable: 15,
        net_loses: 25,
        server_troubled: 40,
        sluggish: 10,
    };
    const STORMY: Self = Self {
        store_fails: 25,
        store_hangs: 25,
        store_slow: 40,
        net_unreachable: 60,
        net_loses: 120,
        server_troubled: 150,
        sluggish: 40,
    };
}

/// The stored state of each identity at the start of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Nothing,
    Fresh,
    Expired,
    /// Signed in, with a mark by an unknown flight.
    Doubtful,
    Tombstone,
}

impl Config {
    pub(crate) fn draw(seed: u64) -> Self {
        let rng = &mut Rng::new(seed, For::Config, 0);
        let logins = &mut Rng::new(seed, For::LoginConfig, 0);
        let leased = rng.chance(500);
        let hosts = if leased { rng.between(1, 2) } else { 1 };
        let hosts: Vec<_> = (0..hosts).map(|_| host(rng)).collect();
        let processes = (0..hosts.len()).flat_map(|host| (0..rng.between(1, 4)).map(move |_| host)).take(5).collect();
        let spending = if rng.chance(130) { Spending::Repeatable } else { Spending::SingleUse };
        let server = server(rng);
        let profile = profile(rng, &server);
        let renewal = renewal(spending, profile.reuse);
        Self {
            hosts,
            processes,
            identities: if rng.chance(200) { 2 } else { 1 },
            store: if leased { StoreKind::Leased { knows_boots: rng.chance(300) } } else { StoreKind::Kernel },
            profile,
            timeouts: StoreTimeouts { store_timeout: seconds(rng.pick(&[5, 5, 2])), ..StoreTimeouts::default() },
            policy: policy(rng, &renewal),
            renewal,
            login_limits: login_limits(logins),
            reauthorization_ends: logins.chance(350),
            registers_anew: logins.chance(500),
            weather: rng.weigh(&[(4, Weather::CALM), (4, Weather::BREEZY), (2, Weather::STORMY)]),
            flaky_watch: rng.chance(300),
            start: match spending {
                Spending::Repeatable => rng.weigh(&[(6, Start::Nothing), (3, Start::Fresh), (1, Start::Tombstone)]),
                Spending::SingleUse => rng.weigh(&[
                    (60, Start::Fresh),
                    (25, Start::Expired),
                    (6, Start::Doubtful),
                    (6, Start::Nothing),
                    (3, Start::Tombstone),
                ]),
            },
            server,
        }
    }

    pub(crate) fn is_leased(&self) -> bool {
        self.store != StoreKind::Kernel
    }

    pub(crate) fn repeatable(&self) -> bool {
        self.renewal.spending == Spending::Repeatable
    }

    /// The profiles that flights are equipped with. One is named by the records' plan. The other one is unsafe, and no
    /// flight may apply it.
    pub(crate) fn profiles(&self) -> Profiles {
        let rash = Profile {
            reuse: Reuse::EndsLineage,
            grace: Some(seconds(1_000_000)),
            rotates: false,
            connect_timeout: seconds(1),
            request_timeout: seconds(1),
            dead_words: Vec::new(),
            client_words: Vec::new(),
            unspent_words: Vec::new(),
            unspent_statuses: vec![400, 500, 502, 503, 504],
            revocation_confined: true,
        };
        // The plan forbids the replay of a token in doubt. The profile does not.
        let named = Profile { reuse: Reuse::EndsLineage, ..self.profile.clone() };
        let [one, two, _] = self.plans();
        let profiles = one.provider.into_iter().map(|name| (name, named.clone()));
        let profiles = profiles.chain(two.provider.map(|name| (name, self.profile.clone())));
        profiles.fold(Profiles::new(rash), |profiles, (name, profile)| profiles.with(name, profile))
    }

    /// Three plans with the same effect. The second one names another provider, the third one another source.
    pub(crate) fn plans(&self) -> [RenewalPlan; 3] {
        let provider = ProviderName::new("another-provider").ok();
        let source = SourceName::new("another-source").unwrap_or_default();
        let one = self.renewal.clone();
        [one.clone(), RenewalPlan { provider, never_replay: false, ..one.clone() }, RenewalPlan { source, ..one }]
    }
}

fn login_limits(rng: &mut Rng) -> LoginLimits {
    LoginLimits {
        prompt: seconds(rng.pick(&[600, 120, 40])),
        follow: seconds(rng.pick(&[1_200, 300])),
        redeem: seconds(rng.pick(&[60, 60, 20])),
        ..LoginLimits::default()
    }
}

pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn host(rng: &mut Rng) -> (i64, i64) {
    let offset = rng.weigh(&[(5, 0), (3, 2_000), (1, 45_000), (1, 400_000)]) as i64;
    let sign = if rng.chance(500) { 1 } else { -1 };
    let drift = rng.weigh(&[(6, 0), (3, 80), (1, 5_000)]) as i64;
    (offset * sign, if rng.chance(500) { drift } else { -drift })
}

/// A profile that is true of `server`, and often knows less about it than there is to know.
fn profile(rng: &mut Rng, server: &ServerConfig) -> Profile {
    let grace = match server.kind {
        ServerKind::Grace(grace) if rng.chance(700) => Some(Duration::from_millis(grace)),
        // A server of these kinds answers every reuse for a while, and ends no lineage meanwhile.
        ServerKind::Idempotent | ServerKind::AccessOnly if rng.chance(500) => Some(seconds(30)),
        _ => None,
    };
    let unspent = if rng.chance(200) { vec!["temporarily_unavailable".to_owned()] } else { Vec::new() };
    let client = if rng.chance(300) { vec!["unauthorized_client".to_owned()] } else { Vec::new() };
    Profile {
        reuse: if rng.chance(200) { Reuse::EndsMore } else { Reuse::EndsLineage },
        grace,
        rotates: server.kind != ServerKind::NeverRotates || rng.chance(400),
        request_timeout: seconds(rng.pick(&[180, 180, 30, 10, 5])),
        client_words: Profile::default().client_words.into_iter().chain(client).collect(),
        unspent_words: unspent,
        unspent_statuses: if rng.chance(300) { vec![503] } else { Vec::new() },
        revocation_confined: rng.chance(300),
        ..Profile::default()
    }
}

/// The renewal plan in the records.
fn renewal(spending: Spending, reuse: Reuse) -> RenewalPlan {
    RenewalPlan {
        source: SourceName::new("drawn-source").unwrap_or_default(),
        spending,
        provider: ProviderName::new("drawn-provider").ok(),
        never_replay: reuse == Reuse::EndsMore,
        server_named: false,
        settings: None,
    }
}

fn policy(rng: &mut Rng, renewal: &RenewalPlan) -> Policy {
    Policy {
        refresh: match rng.below(10) {
            0..4 => RefreshPolicy::OnDemand,
            4..7 => RefreshPolicy::WhileInUse,
            7..8 => RefreshPolicy::KeepWarm { inactivity: None },
            _ => RefreshPolicy::KeepWarm { inactivity: Some(seconds(rng.pick(&[120, 400, 3600]))) },
        },
        early_window: seconds(rng.pick(&[300, 60, 10])),
        max_backoff: seconds(rng.pick(&[300, 60, 20])),
        max_retry_after: seconds(rng.pick(&[3600, 60])),
        max_waiters: if rng.chance(200) { 3 } else { 65_536 },
        // A flight of a refresh grant learns the plan from its record. A repeatable source mints before a record
        // exists.
        renewal: match renewal.spending {
            Spending::Repeatable => renewal.clone(),
            Spending::SingleUse => RenewalPlan::default(),
        },
        ..Policy::default()
    }
}

fn server(rng: &mut Rng) -> ServerConfig {
    // Strict servers are the hardest, and the most common.
    let kind = if rng.chance(350) { ServerKind::Strict } else { rng.pick(&ServerKind::ALL) };
    ServerConfig {
        kind,
        rotates: match kind {
            ServerKind::NeverRotates => 0,
            ServerKind::Strict => rng.weigh(&[(8, 1000), (1, 800)]),
            _ => 1000,
        },
        repeats: rng.chance(500),
        kills_older: rng.chance(300),
        family_takes_access: rng.chance(700),
        nonces: rng.chance(150),
        names_subject: rng.chance(600),
        lifetimes: match rng.below(100) {
            0..30 => Lifetimes::Seconds(3600),
            30..60 => Lifetimes::Seconds(rng.pick(&[90, 200, 600])),
            60..85 => Lifetimes::Seconds(rng.pick(&[12, 30, 50])),
            85..89 => Lifetimes::Seconds(rng.pick(&[1, 2, 4])),
            89..94 => Lifetimes::Unsaid,
            94..97 => Lifetimes::Zero,
            _ => Lifetimes::Huge,
        },
    }
}
