//! Tests of the server's rules without faults.

use super::*;

const RESOURCE: &str = "http://127.0.0.1:1/mcp";
const NOW: Duration = Duration::from_secs(100);

struct Fixture {
    authority: Authority,
    client: Client,
}

impl Fixture {
    fn new(rules: Rules) -> Self {
        let mut authority = Authority::new(rules, 7);
        let client = authority.register(ClientAuth::None);
        Self { authority, client }
    }

    fn strict() -> Self {
        Self::new(Rules::default())
    }

    fn grant(&mut self) -> Issued {
        self.authority.grant(&self.client.id, RESOURCE, "read write", NOW).1
    }

    fn form(&self, token: &str) -> Form {
        Form {
            client: credentials(&self.client),
            grant_type: Some("refresh_token".into()),
            refresh_token: Some(token.into()),
            resources: vec![RESOURCE.into()],
            ..Form::default()
        }
    }

    fn refresh(&mut self, token: &str) -> Result<Issued, Refusal> {
        self.refresh_at(token, NOW)
    }

    fn refresh_at(&mut self, token: &str, now: Duration) -> Result<Issued, Refusal> {
        self.authority.token(&self.form(token), now)
    }

    fn admits(&self, issued: &Issued) -> bool {
        self.authority.admits(&issued.access, RESOURCE, NOW)
    }
}

fn credentials(client: &Client) -> Credentials {
    let secret = client.secret.as_ref().map(|secret| secret.expose().to_owned());
    Credentials { id: client.id.clone(), secret, method: client.auth }
}

fn refresh_of(issued: &Issued) -> String {
    issued.refresh.clone().unwrap()
}

fn refused(answer: Result<Issued, Refusal>) -> Refusal {
    answer.map(|_| ()).unwrap_err()
}

fn token_id(ordinal: u32) -> TokenId {
    TokenId { chain: ChainId(0), ordinal }
}

#[test]
fn each_refresh_spends_one_token_and_brings_another() {
    let mut fixture = Fixture::strict();
    let first = fixture.grant();
    let second = fixture.refresh(&refresh_of(&first)).ok().unwrap();
    let third = fixture.refresh(&refresh_of(&second)).ok().unwrap();
    assert_eq!(third.token_id, Some(token_id(2)));
    assert_eq!((third.expires_in, &*third.scope), (Some(3600), "read write"));
    assert!(fixture.admits(&first) && fixture.admits(&second) && fixture.admits(&third));
    assert_eq!(fixture.authority.newest(ChainId(0)), Some((true, 2)));
    assert_ne!(first.access, third.access);
}

#[test]
fn a_spent_token_presented_again_ends_its_whole_chain_and_no_other() {
    let mut fixture = Fixture::strict();
    let (other, first) = (fixture.grant(), fixture.grant());
    let replay = |revoked| Refusal::Replayed { token_id: TokenId { chain: ChainId(1), ordinal: 0 }, revoked };
    let second = fixture.refresh(&refresh_of(&first)).ok().unwrap();
    assert_eq!(refused(fixture.refresh(&refresh_of(&first))), replay(true));
    assert!(!fixture.admits(&first) && !fixture.admits(&second) && fixture.admits(&other));
    assert_eq!(refused(fixture.refresh(&refresh_of(&second))).word(), "invalid_grant");
    assert_eq!(refused(fixture.refresh(&refresh_of(&first))), replay(false));
    assert_eq!(fixture.authority.chains(), (1, 1));
    assert!(fixture.refresh(&refresh_of(&other)).is_ok());
}

#[test]
fn the_newest_token_of_a_chain_that_has_ended_is_no_replay() {
    let mut fixture = Fixture::strict();
    let first = fixture.grant();
    assert!(fixture.authority.end(ChainId(0)));
    assert!(!fixture.authority.end(ChainId(0)));
    assert_eq!(refused(fixture.refresh(&refresh_of(&first))), Refusal::Ended(token_id(0)));
}

#[test]
fn what_is_refused_for_its_form_spends_nothing() {
    type Change = fn(&mut Form);
    let mut fixture = Fixture::strict();
    let token = refresh_of(&fixture.grant());
    let asked = |change: Change, fixture: &mut Fixture| {
        let mut form = fixture.form(&token);
        change(&mut form);
        refused(fixture.authority.token(&form, NOW))
    };
    let cases: [(Change, Refusal); 9] = [
        (|form| form.resources.clear(), Refusal::Resource),
        (|form| form.resources.push("http://127.0.0.1:1/other".into()), Refusal::Resource),
        (|form| form.resources[0].push('/'), Refusal::Resource),
        (|form| form.scope = Some("read admin".into()), Refusal::Scope),
        (|form| form.grant_type = Some("password".into()), Refusal::Unsupported),
        (|form| form.grant_type = None, Refusal::Malformed),
        (|form| form.refresh_token = None, Refusal::Malformed),
        (|form| form.client.id = "nobody".into(), Refusal::Client { basic: false }),
        (|form| form.refresh_token = Some("rt-0.0-0".into()), Refusal::Unknown),
    ];
    for (change, refusal) in cases {
        assert_eq!(asked(change, &mut fixture), refusal);
    }
    assert!(fixture.refresh(&token).is_ok());
}

#[test]
fn a_refresh_may_ask_for_less() {
    let mut fixture = Fixture::strict();
    let token = refresh_of(&fixture.grant());
    let form = Form { scope: Some("write".into()), ..fixture.form(&token) };
    let less = fixture.authority.token(&form, NOW).ok().unwrap();
    assert_eq!(less.scope, "write");
    // The grant is unchanged.
    assert_eq!(fixture.refresh(&refresh_of(&less)).ok().unwrap().scope, "read write");
}

#[test]
fn a_token_tells_its_place() {
    let mut fixture = Fixture::strict();
    fixture.grant();
    let (first, start) = (refresh_of(&fixture.grant()), |token: &str| token[..7].to_owned());
    assert_eq!(start(&first), "rt-1.0-");
    let second = fixture.refresh(&first).ok().unwrap();
    assert_eq!((start(&refresh_of(&second)), start(&second.access)), ("rt-1.1-".into(), "at-1.1-".into()));
}

#[test]
fn a_confidential_client_authenticates_by_its_one_method() {
    let mut fixture = Fixture::strict();
    for (auth, wrong) in [(ClientAuth::Basic, ClientAuth::Post), (ClientAuth::Post, ClientAuth::Basic)] {
        fixture.client = fixture.authority.register(auth);
        let token = refresh_of(&fixture.grant());
        let mut form = fixture.form(&token);
        let refusal = Refusal::Client { basic: wrong == ClientAuth::Basic };
        form.client.method = wrong;
        assert_eq!(refused(fixture.authority.token(&form, NOW)), refusal);
        form.client = Credentials { secret: Some("guess".into()), ..credentials(&fixture.client) };
        assert_eq!(refused(fixture.authority.token(&form, NOW)).status(), 401);
        form.client = Credentials { secret: None, method: ClientAuth::None, ..credentials(&fixture.client) };
        assert_eq!(refused(fixture.authority.token(&form, NOW)).word(), "invalid_client");
        assert!(fixture.refresh(&token).is_ok());
        fixture.authority.unregister(&fixture.client.id);
        assert_eq!(refused(fixture.refresh(&token)).word(), "invalid_client");
    }
}

#[test]
fn another_clients_token_is_unknown_and_its_chain_lives() {
    let mut fixture = Fixture::strict();
    let (owner, first) = (fixture.client.clone(), fixture.grant());
    let second = fixture.refresh(&refresh_of(&first)).ok().unwrap();
    fixture.client = fixture.authority.register(ClientAuth::None);
    assert_eq!(refused(fixture.refresh(&refresh_of(&first))), Refusal::Unknown);
    assert_eq!(refused(fixture.refresh(&refresh_of(&second))), Refusal::Unknown);
    fixture.client = owner;
    assert!(fixture.refresh(&refresh_of(&second)).is_ok());
}

#[test]
fn an_access_token_lives_its_lifetime_at_its_resource() {
    let mut fixture = Fixture::new(Rules { access_lifetime: Duration::from_secs(10), ..Rules::default() });
    let issued = fixture.grant();
    let admits = |at: Duration| fixture.authority.admits(&issued.access, RESOURCE, at);
    assert!(admits(NOW + Duration::from_millis(9_999)));
    assert!(!admits(NOW + Duration::from_secs(10)));
    assert!(!fixture.authority.admits(&issued.access, "http://127.0.0.1:1/mcp/other", NOW));
    assert!(!fixture.authority.admits("at-0.0-0", RESOURCE, NOW));
    fixture.authority.kill_access_tokens();
    assert!(!fixture.admits(&issued));
}

#[test]
fn old_access_tokens_die_where_the_rules_say_so() {
    let mut fixture = Fixture::new(Rules { old_access_dies: true, ..Rules::default() });
    let first = fixture.grant();
    let second = fixture.refresh(&refresh_of(&first)).ok().unwrap();
    assert!(!fixture.admits(&first) && fixture.admits(&second));
    fixture.authority.rules.rotation = Rotation::None;
    let third = fixture.refresh(&refresh_of(&second)).ok().unwrap();
    assert!(!fixture.admits(&second) && fixture.admits(&third));
}

#[test]
fn without_rotation_the_refresh_token_stays() {
    let mut fixture = Fixture::new(Rules { rotation: Rotation::None, ..Rules::default() });
    let token = refresh_of(&fixture.grant());
    for _ in 0..3 {
        let issued = fixture.refresh(&token).ok().unwrap();
        assert!(issued.refresh.is_none() && fixture.admits(&issued));
    }
    assert_eq!(fixture.authority.newest(ChainId(0)), Some((true, 0)));
}

#[test]
fn in_its_grace_a_spent_token_brings_new_pairs() {
    let mut fixture = Fixture::new(Rules { rotation: Rotation::Grace(Duration::from_secs(30)), ..Rules::default() });
    let later = |seconds| NOW + Duration::from_secs(seconds);
    let first = refresh_of(&fixture.grant());
    let lost = refresh_of(&fixture.refresh_at(&first, NOW).ok().unwrap());
    let kept = refresh_of(&fixture.refresh_at(&first, later(29)).ok().unwrap());
    // The replacement for the lost answer was issued 29 s in, and has its own grace period.
    assert!(fixture.refresh_at(&lost, later(58)).is_ok());
    assert_eq!(
        refused(fixture.refresh_at(&first, later(30))),
        Refusal::Replayed { token_id: token_id(0), revoked: true }
    );
    assert_eq!(refused(fixture.refresh_at(&kept, later(30))).word(), "invalid_grant");
}

#[test]
fn lifetimes_are_announced_as_the_rules_say() {
    let mut fixture = Fixture::new(Rules { announced: Announced::Lie(-5), ..Rules::default() });
    assert_eq!(fixture.grant().expires_in, Some(-5));
    fixture.authority.rules.announced = Announced::Nothing;
    assert_eq!(fixture.grant().expires_in, None);
}

#[test]
fn client_credentials_are_for_confidential_clients_and_bring_no_refresh_token() {
    let mut fixture = Fixture::strict();
    let mut form = Form { grant_type: Some("client_credentials".into()), ..fixture.form("") };
    form.refresh_token = None;
    assert_eq!(refused(fixture.authority.token(&form, NOW)), Refusal::Unauthorized);
    let client = fixture.authority.register(ClientAuth::Basic);
    form.client = credentials(&client);
    let issued = fixture.authority.token(&form, NOW).ok().unwrap();
    assert!(issued.refresh.is_none() && issued.token_id.is_none() && fixture.admits(&issued));
    form.resources.clear();
    assert_eq!(refused(fixture.authority.token(&form, NOW)), Refusal::Resource);
    assert_eq!(fixture.authority.chains(), (0, 0));
}

#[test]
fn a_revocation_ends_the_chain_and_is_repeatable() {
    let mut fixture = Fixture::strict();
    let (first, other) = (fixture.grant(), fixture.grant());
    let revoke = |fixture: &mut Fixture, token: &str| {
        let form = Form { token: Some(token.into()), ..fixture.form("") };
        fixture.authority.revoke(&form)
    };
    assert_eq!(revoke(&mut fixture, &refresh_of(&first)), Ok(Some(ChainId(0))));
    assert_eq!(revoke(&mut fixture, &refresh_of(&first)), Ok(None));
    assert_eq!(revoke(&mut fixture, "rt-unknown"), Ok(None));
    assert!(!fixture.admits(&first));
    assert_eq!(revoke(&mut fixture, &other.access), Ok(None));
    assert!(!fixture.admits(&other) && fixture.refresh(&refresh_of(&other)).is_ok());
}

#[test]
fn two_seeds_share_no_token() {
    let mut tokens = std::collections::BTreeSet::new();
    for seed in 0..4 {
        let mut authority = Authority::new(Rules::default(), seed);
        for _ in 0..100 {
            let (_, issued) = authority.grant("c", RESOURCE, "", NOW);
            assert!(tokens.insert(issued.access.clone()) && tokens.insert(refresh_of(&issued)));
        }
    }
}
