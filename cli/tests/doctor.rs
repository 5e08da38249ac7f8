//! `tokenkeeper doctor` against servers that are each broken in one way, and against healthy ones.
#![cfg(unix)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use serde_json::{Value, json};
use snapbox::cmd::{Command, cargo_bin};
use tempfile::TempDir;
use tokenkeeper::ResourceUri;
use tokenkeeper::discovery::{Discovery, Freshness};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::is_plain;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::http::ReqwestClient;
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{
    Blame, Endpoint, Flaw, LoginServer, LoginServerBuilder, ResourceMetadata, ServerMetadata,
};
use tokio::runtime::Runtime;

/// The outcome of one run.
struct Examined {
    code: i32,
    object: Value,
}

impl Examined {
    /// The code, level and blame of each finding that is not fine.
    fn findings(&self) -> BTreeSet<(String, String, String)> {
        let text = |finding: &Value, member: &str| finding[member].as_str().unwrap_or("-").to_owned();
        let findings = self.object["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] != "ok");
        findings.map(|finding| (text(finding, "code"), text(finding, "level"), text(finding, "blame"))).collect()
    }

    fn has(&self, code: &str, level: &str, blame: &str) -> bool {
        self.findings().contains(&(code.to_owned(), level.to_owned(), blame.to_owned()))
    }

    fn finding(&self, code: &str) -> &Value {
        self.object["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == code).unwrap()
    }

    /// Whether one of these steps has a problem.
    fn has_problem_in(&self, steps: &[&str]) -> bool {
        let findings = self.object["findings"].as_array().unwrap();
        findings
            .iter()
            .any(|finding| finding["level"] == "problem" && steps.iter().any(|step| finding["step"] == *step))
    }
}

/// The command with a home that does not exist, and without proxies of the machine.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin!("tokenkeeper"));
    for name in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "SSL_CERT_DIR", "SSL_CERT_FILE"] {
        command = command.env_remove(name);
    }
    command.env("TOKENKEEPER_HOME", "/nonexistent/home").arg("doctor").args(arguments)
}

fn doctor(url: &str, arguments: &[&str]) -> Examined {
    let output = command(&[&[url, "--json", "--timeout", "2s"], arguments].concat()).output().unwrap();
    let object = serde_json::from_slice(&output.stdout);
    let object = object.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    Examined { code: output.status.code().unwrap(), object }
}

fn start(runtime: &Runtime, builder: LoginServerBuilder) -> LoginServer {
    runtime.block_on(builder.start()).unwrap()
}

/// The finding for each flaw that shows without a login, and whether it may pass.
const TABLE: [(Flaw, &str, &str); 26] = [
    (Flaw::NoResourceMetadata, "named-metadata-missing", "problem"),
    (Flaw::EmptyIssuerList, "no-authorization-server", "problem"),
    (Flaw::ResourceOtherOrigin, "resource-mismatch", "problem"),
    (Flaw::ResourcePrefix, "resource-mismatch", "problem"),
    (Flaw::NoChallenge, "no-challenge", "note"),
    (Flaw::ChallengeWithoutBearer, "no-bearer-challenge", "note"),
    (Flaw::MalformedChallenge, "malformed-challenge", "note"),
    (Flaw::SeveralChallenges, "several-challenges", "note"),
    (Flaw::WrongIssuer, "issuer-mismatch", "problem"),
    (Flaw::IssuerTrailingSlash, "issuer-mismatch", "problem"),
    (Flaw::NoPkceList, "no-pkce", "problem"),
    (Flaw::PlainPkceOnly, "no-pkce", "problem"),
    (Flaw::HttpEndpoint, "unsafe-endpoint", "problem"),
    (Flaw::PrivateAddressEndpoint, "unsafe-endpoint", "problem"),
    (Flaw::ScriptEndpoint, "unsafe-endpoint", "problem"),
    (Flaw::MetadataRedirectsToHttp, "unsafe-redirect", "problem"),
    (Flaw::HugeMetadata, "long-answer", "note"),
    (Flaw::SlowMetadata, "no-answer", "outage"),
    (Flaw::MetadataNotJson, "unreadable-metadata", "problem"),
    (Flaw::MetadataHtml, "unreadable-metadata", "problem"),
    (Flaw::MetadataServerError, "server-trouble", "outage"),
    (Flaw::NoServerMetadata, "no-server-metadata", "problem"),
    (Flaw::NoRevocationEndpoint, "no-revocation", "note"),
    (Flaw::NoRegistration, "no-registration", "problem"),
    (Flaw::TokenEndpointGone, "token-endpoint-gone", "problem"),
    (Flaw::TerminalEscapes, "unusable-scope", "note"),
];

#[test]
fn each_flaw_is_named_with_the_party_that_has_to_mend_it() {
    let runtime = Runtime::new().unwrap();
    for (flaw, code, level) in TABLE {
        let server = start(&runtime, LoginServer::builder().flaw(flaw));
        let examined = doctor(&server.resource_url(), &["--probe-token"]);
        let blame = match (flaw, flaw.blame()) {
            // It is allowed, and only the person can go on.
            (Flaw::NoRegistration, Blame::Allowed) => "you",
            (_, Blame::Resource) => "resource",
            (_, Blame::AuthorizationServer) => "authorization_server",
            _ => "-",
        };
        let shown = if level == "outage" { "problem" } else { level };
        assert!(examined.has(code, shown, blame), "{flaw}: {:?}", examined.findings());
        let (exit, possible) = match level {
            "problem" => (4, false),
            "outage" => (5, false),
            _ => (0, true),
        };
        assert_eq!((examined.code, &examined.object["login_possible"]), (exit, &json!(possible)), "{flaw}");
        // Only the flaw is a problem, so nothing else is blamed.
        let problems = examined.findings().into_iter().filter(|(_, level, _)| level == "problem").count();
        assert_eq!(problems, usize::from(!possible), "{flaw}: {:?}", examined.findings());
        let finding = examined.finding(code);
        assert!(finding["rule"].is_string() && finding["seen"].is_string(), "{flaw}: {finding}");
        assert!(finding["advice"].is_string() || flaw.blame() == Blame::Allowed, "{flaw}: {finding}");
    }
}

/// The finding for each first answer of a server whose metadata is in order.
#[test]
fn the_first_answer_is_explained() {
    let challenge = |value: &str| Fault::status(401).header("www-authenticate", value);
    let cases = [
        (Fault::status(503), "server-trouble", "note", "resource", 0),
        (Fault::silence(), "no-answer", "note", "resource", 0),
        (Fault::close(), "broken-answer", "note", "resource", 0),
        (Fault::status(403), "forbidden", "note", "resource", 0),
        (Fault::status(400), "unclear-answer", "note", "resource", 0),
        (Fault::status(404), "no-mcp-server", "note", "you", 0),
        (Fault::status(308).header("location", "https://mcp.example.com/mcp"), "redirected", "note", "you", 0),
        (challenge("Bearer error=\"invalid_token\""), "error-without-token", "note", "resource", 0),
        (challenge("Bearer scope=\"a b\u{e9}\""), "unusable-scope", "note", "resource", 0),
        (challenge("DPoP algs=\"ES256\""), "dpop-only", "note", "-", 0),
        (challenge("Bearer resource_metadata=\"https://10.0.0.1/meta\""), "unsafe-url", "problem", "resource", 4),
        (challenge("Bearer resource_metadata=\"http://a.example/meta\""), "unsafe-url", "problem", "resource", 4),
        (challenge("Bearer resource_metadata=\"/meta\""), "unsafe-url", "problem", "resource", 4),
    ];
    let runtime = Runtime::new().unwrap();
    let server = start(&runtime, LoginServer::builder());
    for (fault, code, level, blame, exit) in cases {
        server.next_at(Endpoint::Resource, 1, When::Before, fault);
        let examined = doctor(&server.resource_url(), &[]);
        assert!(examined.has(code, level, blame), "{code}: {:?}", examined.findings());
        assert_eq!((examined.code, examined.findings().len()), (exit, 1), "{code}: {:?}", examined.findings());
    }
    let clock = Fault::status(401).header("date", "Thu, 01 Jan 2015 00:00:00 GMT");
    server.next_at(Endpoint::Resource, 1, When::Before, clock);
    assert!(doctor(&server.resource_url(), &[]).has("clocks-differ", "note", "machine"));
}

/// A login ends at metadata if and only if the examination names a problem there.
#[test]
fn the_examination_agrees_with_discovery_about_every_flaw() {
    let runtime = Runtime::new().unwrap();
    for flaw in Flaw::ALL.iter().copied().filter(|flaw| *flaw != Flaw::SlowMetadata) {
        let server = start(&runtime, LoginServer::builder().flaw(flaw));
        let resource = ResourceUri::parse(&server.resource_url()).unwrap();
        let found = runtime.block_on(async {
            let (http, clock) = (ReqwestClient::new().unwrap(), SystemClock::new().unwrap());
            let discovery = Discovery::new(Arc::new(http), Arc::new(clock));
            let probe = discovery.probe(&resource).await.unwrap();
            discovery.authorization_server(&resource, probe.challenge(), None, Freshness::Now).await
        });
        let examined = doctor(&server.resource_url(), &[]);
        let has_problem = examined.has_problem_in(&["probe", "resource_metadata", "server_metadata"]);
        assert_eq!(has_problem, found.is_err(), "{flaw}: {found:?} {:?}", examined.findings());
        // The other flaws show only in a login.
        let is_visible = TABLE.iter().any(|(visible, _, _)| *visible == flaw);
        assert!(is_visible || examined.code == 0, "{flaw}: {:?}", examined.findings());
    }
}

#[test]
fn a_healthy_server_has_no_problem() {
    use ResourceMetadata::{Custom, Root, RootForOrigin};
    use ServerMetadata::{OAuth, OpenIdAppended};
    let of_2025_03_26 = || LoginServer::builder().silent_about_metadata().resource_metadata([]);
    let document: &[&str] = &["--client-metadata-url", "https://host.example/client.json"];
    let cases: Vec<(&str, LoginServerBuilder, &[&str], &[&str])> = vec![
        ("strict", LoginServer::builder(), &[], &[]),
        ("issuer with a path", LoginServer::builder().issuer_path("/tenant1"), &[], &[]),
        (
            "OpenID Connect only",
            LoginServer::builder().issuer_path("/tenant1").server_metadata([OpenIdAppended]),
            &[],
            &[],
        ),
        ("metadata at the root", LoginServer::builder().resource_metadata([Root]), &[], &[]),
        ("metadata of the origin", LoginServer::builder().resource_metadata([RootForOrigin]), &[], &[]),
        ("metadata elsewhere", LoginServer::builder().resource_metadata([Custom]), &[], &[]),
        ("no word about metadata", LoginServer::builder().silent_about_metadata(), &[], &[]),
        ("pushed requests", LoginServer::builder().require_par(), &[], &[]),
        ("pages only", LoginServer::builder().without_par().without_devices(), &[], &[]),
        ("open", LoginServer::builder().admits_anonymous(), &[], &[]),
        ("no iss", LoginServer::builder().without_iss(), &[], &["no-iss"]),
        ("client document", LoginServer::builder().metadata_documents(), document, &[]),
        (
            "client document alone",
            LoginServer::builder().metadata_documents().flaw(Flaw::NoRegistration),
            document,
            &[],
        ),
        ("own client", LoginServer::builder().flaw(Flaw::NoRegistration), &["--client-id", "mine"], &[]),
        ("2025-03-26 with metadata", of_2025_03_26().server_metadata([OAuth]), &[], &["no-resource-metadata"]),
        (
            "2025-03-26",
            of_2025_03_26().server_metadata([]),
            &["--probe-token"],
            &["assumed-endpoints", "no-resource-metadata", "pkce-unknown"],
        ),
    ];
    let runtime = Runtime::new().unwrap();
    for (name, builder, arguments, notes) in cases {
        let server = start(&runtime, builder);
        let examined = doctor(&server.resource_url(), arguments);
        let found: Vec<String> = examined.findings().into_iter().map(|(code, _, _)| code).collect();
        assert_eq!((examined.code, found), (0, notes.iter().map(|note| (*note).to_owned()).collect()), "{name}");
    }
}

#[test]
fn nothing_is_stored_asked_registered_or_revealed() {
    let runtime = Runtime::new().unwrap();
    let server = start(&runtime, LoginServer::builder());
    let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = home.path().join("none");
    let url = format!("{}?key=hush", server.resource_url());
    for arguments in [&["--json"][..], &[], &["--probe-token"]] {
        let output = command(&[&[&*url], arguments].concat()).env("TOKENKEEPER_HOME", &dir).output().unwrap();
        let shown = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8(shown).unwrap().contains("hush"), "{arguments:?}");
    }
    assert!(!dir.exists());
    let counts = server.counts();
    for endpoint in [Endpoint::Registration, Endpoint::Authorization, Endpoint::PushedAuthorization] {
        assert_eq!(counts.of(endpoint), 0, "{endpoint:?}");
    }
    assert_eq!(counts.of(Endpoint::Token), 1, "only where it was asked for");
    let requests = server.log();
    assert!(requests.iter().all(|request| request.scheme.is_none()));
    let token = requests.iter().find(|request| request.endpoint == Endpoint::Token).unwrap();
    assert!(token.parameters.is_empty() && token.status.is_some_and(|status| status / 100 == 4), "{token:?}");
}

#[test]
fn the_object_has_the_steps_with_their_requests() {
    let runtime = Runtime::new().unwrap();
    let server = start(&runtime, LoginServer::builder());
    let examined = doctor(&server.resource_url(), &["--probe-token"]);
    let steps = examined.object["steps"].as_array().unwrap();
    let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "environment",
            "probe",
            "resource_metadata",
            "server_metadata",
            "login",
            "endpoints",
            "token_endpoint",
            "session"
        ]
    );
    let request = &steps[1]["requests"][0];
    assert_eq!(
        (&request["method"], &request["status"], &request["error"]),
        (&json!("POST"), &json!(401), &Value::Null)
    );
    assert_eq!(request["url"], server.resource_url());
    let requests: Vec<u64> = steps.iter().map(|step| step["requests"].as_array().unwrap().len() as u64).collect();
    assert_eq!(requests, [0, 1, 1, 1, 0, 0, 1, 0]);
    assert_eq!(examined.object["server"], server.resource_url());
    assert_eq!(examined.object["account"], "default");
    let scope = examined.finding("scope")["seen"].as_str().unwrap();
    assert!(scope.contains("tools:call tools:read") || scope.contains("tools:read tools:call"), "{scope}");
}

#[test]
fn the_first_server_that_works_is_enough() {
    let runtime = Runtime::new().unwrap();
    let (server, broken) = (start(&runtime, LoginServer::builder()), LoginServer::builder().flaw(Flaw::WrongIssuer));
    let broken = start(&runtime, broken);
    server.list_issuers([broken.issuer(), server.issuer()]);
    let examined = doctor(&server.resource_url(), &[]);
    assert_eq!(examined.code, 0);
    assert!(examined.has("issuer-mismatch", "note", "authorization_server"), "{:?}", examined.findings());
    server.list_issuers([broken.issuer()]);
    assert_eq!(doctor(&server.resource_url(), &[]).code, 4);
}

#[test]
fn metadata_that_the_person_names_is_enough() {
    let runtime = Runtime::new().unwrap();
    let server = start(&runtime, LoginServer::builder().flaw(Flaw::NoResourceMetadata));
    let url = format!("{}/.well-known/oauth-authorization-server", server.origin());
    let examined = doctor(&server.resource_url(), &["--metadata-url", &url]);
    assert_eq!((examined.code, examined.findings().len()), (0, 0), "{:?}", examined.findings());
    assert_eq!(server.counts().of(Endpoint::ResourceMetadata), 0);
    let wrong = doctor(&server.resource_url(), &["--metadata-url", &format!("{}/none", server.origin())]);
    assert_eq!(wrong.code, 4);
    command(&[&server.resource_url(), "--metadata-url", "http://as.example/x"]).assert().code(2);
}

/// A problem does not end the examination, so that one run names them all.
#[test]
fn later_problems_are_found_behind_earlier_ones() {
    let runtime = Runtime::new().unwrap();
    let flaws = [Flaw::ResourceOtherOrigin, Flaw::WrongIssuer, Flaw::NoPkceList, Flaw::HttpEndpoint];
    let server = start(&runtime, flaws.into_iter().fold(LoginServer::builder(), LoginServerBuilder::flaw));
    let examined = doctor(&server.resource_url(), &[]);
    for code in ["resource-mismatch", "issuer-mismatch", "no-pkce", "unsafe-endpoint"] {
        assert!(examined.findings().iter().any(|(found, _, _)| found == code), "{code}: {:?}", examined.findings());
    }
}

#[test]
fn text_of_servers_draws_nothing() {
    let runtime = Runtime::new().unwrap();
    let server = start(&runtime, LoginServer::builder().flaw(Flaw::TerminalEscapes));
    for arguments in [&["--json"][..], &[]] {
        let output =
            command(&[&[&*server.resource_url()], arguments].concat()).env("CLICOLOR_FORCE", "1").output().unwrap();
        let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let without_colours = anstream::adapter::strip_str(&shown).to_string();
        // The marks are the command's own.
        let is_harmless = |c: char| is_plain(c) || "\n✓!✗→·…\u{fffd}".contains(c);
        assert!(without_colours.chars().all(is_harmless), "{without_colours:?}");
        // The colours are the command's own.
        let is_colour = |rest: &str| {
            let code = rest.strip_prefix('[').and_then(|rest| rest.split_once('m')).map_or("x", |(code, _)| code);
            code.chars().all(|c| c.is_ascii_digit() || c == ';')
        };
        assert!(shown.split('\u{1b}').skip(1).all(is_colour), "{shown:?}");
        assert_eq!(shown.contains('\u{1b}'), arguments.is_empty());
    }
    let output = command(&[&server.resource_url()]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().unwrap();
    assert!(!String::from_utf8(output.stdout).unwrap().contains('\u{1b}'));
}

/// Answers each connection with these bytes, and closes it.
#[allow(clippy::disallowed_methods, reason = "the thread ends with the test's process")]
fn answering(answer: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            // The request is read first, because closing would reset the connection otherwise.
            let _ = connection.read(&mut [0; 4096]).and_then(|_| connection.write_all(answer));
        }
    });
    address
}

#[test]
fn a_server_that_cannot_be_reached_is_explained() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let examined = doctor(&format!("http://{closed}/mcp"), &[]);
    assert_eq!(examined.code, 5);
    assert!(examined.has("connection-refused", "problem", "resource"), "{:?}", examined.findings());
    assert_eq!(examined.finding("connection-refused")["may_pass"], true);

    let plain: [(&[u8], &str); 2] =
        [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"), (b"", "within the handshake of TLS")];
    for (answer, reason) in plain {
        let examined = doctor(&format!("https://{}/mcp", answering(answer)), &[]);
        assert_eq!(examined.code, 4);
        assert!(examined.has("untrusted", "problem", "resource"), "{:?}", examined.findings());
        let seen = examined.finding("untrusted")["seen"].as_str().unwrap();
        assert!(seen.contains(reason), "{seen}");
    }

    let examined = doctor("http://10.0.0.1/mcp", &[]);
    assert_eq!(examined.code, 4);
    assert!(examined.has("not-encrypted", "problem", "you"), "{:?}", examined.findings());
}

#[test]
fn a_wrong_path_is_the_persons() {
    let runtime = Runtime::new().unwrap();
    let server = start(&runtime, LoginServer::builder().server_metadata([]));
    let examined = doctor(&format!("{}/other", server.origin()), &[]);
    assert_eq!(examined.code, 4);
    assert!(examined.has("no-mcp-server", "problem", "you"), "{:?}", examined.findings());
}

#[test]
fn proxies_and_certificates_of_the_environment_are_explained() {
    let runtime = Runtime::new().unwrap();
    let server = start(&runtime, LoginServer::builder());
    let url = server.resource_url();
    let examine = |name: &str, value: &str| {
        let output = command(&[&url, "--json"]).env(name, value).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(!shown.contains("hush"), "{shown}");
        Examined { code: output.status.code().unwrap(), object: serde_json::from_str(&shown).unwrap() }
    };
    // Nothing on this machine's loopback goes through a proxy.
    let examined = examine("HTTPS_PROXY", "http://user:hush@127.0.0.1:1");
    assert!(examined.has("proxy", "note", "machine"), "{:?}", examined.findings());
    assert_eq!(examined.code, 0);
    let examined = examine("SSL_CERT_FILE", "/nonexistent/roots.pem");
    assert!(examined.has("certificates-unreadable", "note", "machine"), "{:?}", examined.findings());
    assert!(examined.has("no-client", "problem", "machine"), "{:?}", examined.findings());
    assert_eq!(examined.code, 4);
}

#[test]
fn a_stored_session_is_compared_with_the_server() {
    use std::os::unix::fs::PermissionsExt;
    let runtime = Runtime::new().unwrap();
    let (server, other) = (start(&runtime, LoginServer::builder()), start(&runtime, LoginServer::builder()));
    let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let login = json!({
        "server": server.resource_url(),
        "issuer": server.issuer(),
        "token_endpoint": format!("{}/token", server.origin()),
        "client_id": server.pre_register(ClientAuth::None, ["http://127.0.0.1/callback"]).id,
        "refresh_token": "rt-of-the-test",
    });
    let import =
        Command::new(cargo_bin!("tokenkeeper")).arg("--home").arg(home.path()).args(["import", "--name", "mine"]);
    import.stdin(login.to_string()).assert().success();
    let examine = || {
        let output = command(&["mine", "--json"]).env("TOKENKEEPER_HOME", home.path()).output().unwrap();
        Examined { code: output.status.code().unwrap(), object: serde_json::from_slice(&output.stdout).unwrap() }
    };
    let examined = examine();
    assert_eq!(examined.finding("bound-issuer")["level"], "ok");
    assert!(!examined.object.to_string().contains("rt-of-the-test"));
    // The issuer that the session is bound to is chosen as long as it is listed.
    server.list_issuers([other.issuer(), server.issuer()]);
    let client = examine().finding("client")["seen"].as_str().unwrap().to_owned();
    assert!(client.contains(&format!("{}/register", server.origin())), "{client}");
    server.migrate_to(&other);
    let examined = examine();
    assert!(examined.has("issuer-moved", "note", "you"), "{:?}", examined.findings());
    assert_eq!(examined.code, 0);
}
