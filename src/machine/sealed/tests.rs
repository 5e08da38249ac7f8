use super::*;
use crate::issuers::Client as IssuersClient;

const SECRET: &str = "cs-\"quoted\"\n\\Xq7vJm2Z";

fn idp() -> ServerIdentity {
    ServerIdentity::from_key("idp:https://idp.example.com#work").unwrap()
}

fn command() -> ExecCommand {
    ExecCommand::new("print-token")
        .argument("--for")
        .argument(SECRET)
        .variable("KEY", SECRET)
        .timeout(Duration::from_millis(1_500))
}

fn all() -> Vec<MachineGrant> {
    let client = || IssuersClient::secret_post("robot", SECRET);
    let subject = SubjectToken(From::File("/var/run/token".to_owned()));
    let actor = SubjectToken(From::Fixed(AccessToken::new(SECRET)));
    let session = SubjectToken(From::Session(idp()));
    let kinds = [
        Kind::JwtBearer(SubjectToken(From::Command(command()))),
        Kind::JwtBearer(session),
        Kind::TokenExchange { subject: (subject.clone(), TokenType::jwt()), actor: None, audience: None },
        Kind::TokenExchange {
            subject: (subject, TokenType::access_token()),
            actor: Some((actor, TokenType::id_token())),
            audience: Some("backend".to_owned()),
        },
        Kind::Enterprise { idp: idp() },
        Kind::Command(command()),
        Kind::Static(AccessToken::new(SECRET)),
    ];
    let plain = MachineGrant::client_credentials(client());
    let rich = MachineGrant::client_credentials(client())
        .scopes(["tools:read", "tools:call"])
        .parameter("custom", SECRET)
        .without_resource()
        .at("https://as.example.com", "https://as.example.com/token")
        .unwrap();
    let others = kinds.into_iter().map(|kind| MachineGrant { kind, ..plain.clone() });
    [plain.clone(), rich].into_iter().chain(others.collect::<Vec<_>>()).collect()
}

#[test]
fn every_grant_is_read_as_it_was_stored() {
    for grant in all() {
        let plan = grant.plan();
        assert_eq!(open(plan.settings.as_ref().unwrap()), Some(grant));
    }
}

#[test]
fn no_form_that_is_shown_has_a_secret() {
    for grant in all() {
        let shown = format!("{grant:?} {:?}", grant.plan());
        assert!(!shown.contains("Xq7vJm2Z") && !shown.contains(&hidden(SECRET)), "{shown}");
        let stored = grant.plan().settings.unwrap();
        assert!(!stored.expose().contains('\\'), "no text is escaped: {}", stored.expose());
    }
}

#[test]
fn another_version_is_not_read() {
    let stored = all()[0].plan().settings.unwrap();
    let other = stored.expose().replace("\"version\":1", "\"version\":2");
    assert!(open(&SourceSettings::new(other)).is_none());
    assert!(open(&SourceSettings::new("{}")).is_none());
}
