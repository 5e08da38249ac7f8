//! The built-in table, tables that are laid over it, and tables that are refused.

use std::time::Duration;

use tokenkeeper_actors::law::profile::Reuse;
use tokenkeeper_actors::values::RenewalPlan;

use super::*;
use crate::grant::BodyFormat;
use crate::issuers::{ResourceOnRefresh, ScopeOnRefresh};

/// A table with these providers.
fn table(providers: &str) -> String {
    format!("{{ \"version\": 1,\n \"providers\": {{\n{providers}\n}} }}")
}

/// The built-in table with these providers laid over it.
#[track_caller]
fn with(providers: &str) -> Providers {
    Providers::from_json(&table(providers)).unwrap_or_else(|error| panic!("{error}"))
}

/// The error for a table with these providers.
#[track_caller]
fn refused(providers: &str) -> String {
    Providers::from_json(&table(providers)).expect_err(providers).to_string()
}

fn builtin(name: &str) -> ProviderFacts {
    Providers::builtin().named(name).cloned().unwrap_or_else(|| panic!("no row {name}"))
}

#[test]
fn the_builtin_table_is_read() {
    let rows = layer::lay(&Rows::new(), BUILTIN).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(*BUILTIN_ROWS.rows, rows);
    assert!(rows.len() >= 22, "{}", rows.len());
}

#[test]
fn rows_are_sorted_unique_and_cited() {
    let written: serde_json::Value = serde_json::from_str(BUILTIN).unwrap();
    // The order of the text, which a map of serde_json does not keep.
    let places: Vec<_> = Providers::builtin()
        .iter()
        .map(|(name, _)| BUILTIN.find(&format!("\n    \"{}\": {{", name.as_str())))
        .collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    assert_eq!(written["providers"].as_object().unwrap().len(), places.len());
    for (name, facts) in Providers::builtin().iter() {
        assert!(!facts.source.is_empty(), "{name:?}");
    }
}

#[test]
fn an_issuer_has_the_provider_of_its_host() {
    let of = |issuer: &str| Providers::builtin().of_issuer(issuer).map(|name| name.as_str().to_owned());
    assert_eq!(of("https://mcp.notion.com"), Some("notion".to_owned()));
    assert_eq!(of("https://accounts.google.com/"), Some("google".to_owned()));
    assert_eq!(of("https://acme.okta.com/oauth2/default"), Some("okta".to_owned()));
    for other in [
        "https://notion.com.evil.example",
        "https://evil-okta.com",
        "https://okta.com",
        "http://mcp.notion.com",
        "https://mcp.notion.com:8443",
        "mcp.notion.com",
        "https://as.example.com",
    ] {
        assert_eq!(of(other), None, "{other}");
    }
}

#[test]
fn invalid_grant_ends_the_grant_at_every_provider() {
    for (name, facts) in Providers::builtin().iter() {
        assert!(facts.profile().dead_words.iter().any(|word| word == "invalid_grant"), "{name:?}");
    }
}

#[test]
fn no_code_has_two_meanings() {
    let builtin = Providers::builtin();
    let profiles =
        builtin.iter().map(|(name, facts)| (name.as_str(), facts.profile())).chain([("", default_profile())]);
    for (name, profile) in profiles {
        let mut words = [profile.dead_words, profile.client_words, profile.unspent_words].concat();
        let count = words.len();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), count, "{name}: an error code is listed twice");
    }
}

#[test]
fn a_profile_has_the_differences_of_its_row() {
    let zoho = builtin("zoho").profile();
    assert!(!zoho.rotates);
    assert!(zoho.dead_words.contains(&"invalid_code".to_owned()));
    assert!(zoho.unspent_words.contains(&"access_denied".to_owned()));
    assert_eq!(builtin("workos").profile().grace, Some(Duration::from_secs(30)));
    assert_eq!(builtin("notion").profile().reuse, Reuse::EndsMore);
    assert_eq!(Providers::builtin().profiles().of(&RenewalPlan::default()), default_profile());
    assert_eq!(ProviderFacts::default().profile(), default_profile(), "the standard differs in nothing");
}

#[test]
fn an_entry_changes_the_members_alone_that_it_has() {
    let changed = with(r#""entra": { "refresh_token": { "grace_seconds": 5 }, "token_request": { "scope": "omit" } }"#);
    let (entra, before) = (changed.named("entra").unwrap(), builtin("entra"));
    assert_eq!(entra.refresh_token.grace, Some(Duration::from_secs(5)));
    assert_eq!(entra.token_request.scope, ScopeOnRefresh::Omit);
    // All other members are as before.
    assert!(!entra.refresh_token.rotates);
    assert_eq!(entra.token_request.resource, ResourceOnRefresh::Omit);
    assert_eq!((&entra.hosts, &entra.errors, &entra.source), (&before.hosts, &before.errors, &before.source));
    let others = |providers: &Providers| providers.iter().filter(|(name, _)| name.as_str() != "entra").count();
    assert_eq!(others(&changed), others(&Providers::builtin()));
    for (name, facts) in Providers::builtin().iter().filter(|(name, _)| name.as_str() != "entra") {
        assert_eq!(changed.named(name.as_str()), Some(facts), "{name:?}");
    }
}

#[test]
fn null_takes_a_member_back_to_the_standard() {
    let changed = with(
        r#""okta": { "refresh_token": { "grace_seconds": null } }, "openai": { "errors": null }, "zoho": { "source": null,
           "refresh_token": { "rotates": null, "reuse": null }, "errors": { "dead": null }, "token_request": { "body": null } }"#,
    );
    let zoho = changed.named("zoho").unwrap();
    assert!(zoho.refresh_token.rotates && zoho.errors.dead.is_empty() && !zoho.errors.unspent.is_empty());
    assert_eq!(changed.named("okta").unwrap().refresh_token.grace, None);
    assert_eq!(changed.named("openai").unwrap().errors, ErrorFacts::default());
    assert_eq!(changed.named("openai").unwrap().hosts, builtin("openai").hosts);
}

#[test]
fn a_new_provider_is_the_standard_or_the_one_that_it_extends() {
    let more = with(
        r#""ours": { "hosts": ["as.example.com"] },
           "hub": { "extends": "hubspot", "hosts": ["hub.example.com"], "errors": { "unspent": ["busy"] } },
           "hub-eu": { "extends": "hub", "refresh_token": { "rotates": false } },
           "hubspot": { "errors": { "dead": ["gone"] } }"#,
    );
    let standard = ProviderFacts { hosts: vec!["as.example.com".to_owned()], ..ProviderFacts::default() };
    assert_eq!(more.named("ours"), Some(&standard));
    let (hub, eu) = (more.named("hub").unwrap(), more.named("hub-eu").unwrap());
    assert_eq!(hub.errors.client, builtin("hubspot").errors.client);
    // An entry includes the changes that the same table makes to the entry that it extends.
    assert_eq!(
        (hub.errors.dead.as_slice(), hub.errors.unspent.as_slice()),
        (&["gone".to_owned()][..], &["busy".to_owned()][..])
    );
    assert_eq!(eu.errors, hub.errors);
    assert!(hub.refresh_token.rotates && !eu.refresh_token.rotates);
    // Hosts and URLs are not inherited. Otherwise the other provider would lose its hosts, or its tokens would be sent
    // here.
    assert_eq!((hub.hosts.as_slice(), eu.hosts.is_empty()), (&["hub.example.com".to_owned()][..], true));
    assert_eq!((hub.source.as_str(), eu.source.as_str()), ("", ""));
    assert_eq!(more.of_issuer("https://app.hubspot.com").unwrap().as_str(), "hubspot");
}

#[test]
fn an_entry_may_leave_the_known_row_behind() {
    let plain = with(r#""notion": { "extends": "standard" }"#);
    assert_eq!(plain.named("notion"), Some(&ProviderFacts::default()));
    assert_eq!(plain.of_issuer("https://mcp.notion.com"), None);
}

#[test]
fn a_host_goes_over_to_the_provider_that_is_laid_over() {
    let ours = with(r#""our-okta": { "extends": "okta", "hosts": ["login.okta.com", ".eu.okta.com", "slack.com"] }"#);
    let of = |issuer: &str| ours.of_issuer(issuer).map(|name| name.as_str().to_owned()).unwrap();
    assert_eq!(of("https://slack.com"), "our-okta");
    assert_eq!(of("https://mcp.slack.com"), "slack");
    // The most specific host wins.
    assert_eq!(of("https://login.okta.com"), "our-okta");
    assert_eq!(of("https://acme.eu.okta.com"), "our-okta");
    assert_eq!(of("https://acme.okta.com"), "okta");
}

#[test]
fn a_host_goes_over_from_a_provider_that_the_same_table_changes() {
    // The names are in both orders, because entries are laid in the order of their names.
    for name in ["our-okta", "a-okta"] {
        let entry = format!(r#""{name}": {{ "extends": "okta", "hosts": [".okta.com"] }}"#);
        let changed = with(&[r#""okta": { "refresh_token": { "grace_seconds": 60 } }"#, &entry].join(","));
        let of = changed.of_issuer("https://acme.okta.com").map(|name| name.as_str().to_owned());
        assert_eq!(of.as_deref(), Some(name));
        assert!(!changed.named("okta").unwrap().hosts.contains(&".okta.com".to_owned()));
    }
}

#[test]
fn a_host_program_adds_a_provider() {
    let name = || ProviderName::new("ours").unwrap();
    let mut facts = builtin("zoho");
    facts.hosts = vec!["as.example.com".to_owned()];
    let providers = Providers::builtin().with(name(), facts.clone()).unwrap();
    assert_eq!(providers.named("ours"), Some(&facts));
    facts.hosts = vec!["AS.example.com".to_owned()];
    let error = providers.clone().with(name(), facts.clone()).unwrap_err().to_string();
    assert!(error.contains("providers.ours.hosts"), "{error}");
    // A provider of the same name is replaced as a whole.
    let plain = providers.with(name(), ProviderFacts::default()).unwrap();
    assert_eq!(plain.named("ours"), Some(&ProviderFacts::default()));
}

#[test]
fn tables_are_laid_one_over_another() {
    let both = with(r#""okta": { "refresh_token": { "grace_seconds": 7 } }"#)
        .with_json(&table(r#""okta": { "token_request": { "body": "json" } }"#))
        .unwrap();
    let okta = both.named("okta").unwrap();
    assert_eq!((okta.refresh_token.grace, okta.token_request.body), (Some(Duration::from_secs(7)), BodyFormat::Json));
}

#[test]
fn an_error_names_the_place_and_what_belongs_there() {
    for (providers, told) in [
        (r#""x": { "bdy": 1 }"#, "line 3, column 12, at providers.x.bdy: unknown field `bdy`, expected one of "),
        (
            r#""x": { "token_request": { "body": "xml" } }"#,
            "at providers.x.token_request.body: expected `form` or `json`; ",
        ),
        (r#""x": { "hosts": "a.example" }"#, "at providers.x.hosts: expected a sequence; "),
        (r#""x": { "hosts": ["a"] }"#, "at providers.x.hosts: expected host names in lower case"),
        (r#""x": { "hosts": ["https://a.example"] }"#, "at providers.x.hosts: expected host names"),
        (r#""x": { "hosts": [".com"] }"#, "at providers.x.hosts: expected host names"),
        (
            r#""x": { "refresh_token": { "grace_seconds": 86401 } }"#,
            "at providers.x.refresh_token.grace_seconds: expected a day",
        ),
        (r#""x": { "refresh_token": { "reuse": "harmless" } }"#, "expected `ends_lineage` or `ends_more`"),
        (
            r#""x": { "errors": { "unspent_statuses": [400] } }"#,
            "at providers.x.errors.unspent_statuses: expected HTTP statuses",
        ),
        (r#""x": { "errors": { "unspent_statuses": [200] } }"#, "expected HTTP statuses from 402 to 599"),
        (r#""x": { "errors": { "dead": [""] } }"#, "at providers.x.errors.dead: expected error codes"),
        (
            r#""x": { "errors": { "unspent": ["invalid_grant"] } }"#,
            "at providers.x: the error code invalid_grant has two meanings",
        ),
        (r#""x": { "errors": { "client": ["invalid_grant"] } }"#, "the error code invalid_grant has two meanings"),
        (r#""x": { "errors": { "unspent": ["a"], "client": ["a"] } }"#, "the error code a has two meanings"),
        (r#""x": { "user": { "requests": [], "fields": { "subject": [] } } }"#, "at providers.x.user: "),
        (
            r#""x": { "user": { "requests": [{ "name": "me", "at": { "url": "http://a.example" } }], "fields": { "subject": ["/me"] } } }"#,
            "at providers.x.user: ",
        ),
        (r#""x": { "issuer": "http://as.example.com" }"#, "at providers.x.issuer: expected a whole https URL"),
        (
            r#""x": { "endpoints": { "token": "https://user@as.example.com/" } }"#,
            "at providers.x.endpoints.token: expected a whole",
        ),
        (
            r#""x": { "endpoints": { "token": "/token" } }"#,
            "at providers.x.endpoints.token: expected a whole https URL",
        ),
        (r#""x": { "api": ["http://api.example.com"] }"#, "at providers.x.api: expected a whole https URL"),
        (r#""x": { "api": ["https://api.example.com/?a=b"] }"#, "at providers.x.api: expected a whole https URL"),
        (
            r#""x": { "endpoints": { "token": "https://as.example.com/token" } }"#,
            "there are endpoints without an `issuer`",
        ),
        (r#""x": { "endpoints": { "revocation": "https://as.example.com/" } }"#, "the endpoints have no `token`"),
        (
            r#""x": { "client_authentication": ["client_secret_jwt"] }"#,
            "at providers.x.client_authentication: expected some of none",
        ),
        (r#""x": { "authorization": { "scopes": ["a b"] } }"#, "at providers.x.authorization.scopes: expected scopes"),
        (r#""x": { "authorization": { "scope_separator": ";" } }"#, "expected `space` or `comma`"),
        (
            r#""x": { "authorization": { "parameters": { "a": "1", "a": "2" } } }"#,
            "at providers.x.authorization.parameters: expected each",
        ),
        (r#""x": { "extends": "y" }"#, "at providers.x: `extends` names no provider"),
        (r#""x": { "extends": "x" }"#, "at providers.x: it extends itself (x → x)"),
        (
            r#""x": { "extends": "y" }, "y": { "extends": "z" }, "z": { "extends": "x" }"#,
            "it extends itself (x → y → z → x)",
        ),
        (r#""x": { "extends": "y" }, "y": { "extends": "y" }"#, "at providers.x: it extends itself (x → y → y)"),
        (r#""X": {}"#, "at providers.X: a name is 1 to 64 characters"),
        (r#""x": {}, "x": {}"#, "line 3, column 12, at providers: expected each name once"),
        (r#""x": { "source": "a", "source": "b" }"#, "duplicate field `source`"),
        (
            r#""x": { "hosts": ["a.example"] }, "y": { "hosts": ["a.example"] }"#,
            "at providers.y: the host a.example is that of x too",
        ),
        (r#""x": null"#, "at providers.x: expected an object; "),
        (r#""x": { "source": "a\nb" }"#, "at providers.x.source: expected one line of text"),
    ] {
        let error = refused(providers);
        assert!(error.starts_with("the providers, ") && error.contains(told), "{providers}: {error}");
    }
}

#[test]
fn no_table_replaces_a_parameter_of_the_protocol() {
    for name in [
        "state",
        "redirect_uri",
        "code_challenge",
        "code_challenge_method",
        "client_id",
        "client_secret",
        "response_type",
        "grant_type",
        "refresh_token",
        "code_verifier",
        "resource",
        "scope",
        "STATE",
        "request_uri",
        "a=b&state",
        "",
    ] {
        for providers in [
            format!(r#""x": {{ "authorization": {{ "parameters": {{ "{name}": "v" }} }} }}"#),
            format!(r#""x": {{ "token_request": {{ "parameters": {{ "{name}": "v" }} }} }}"#),
            format!(r#""x": {{ "authorization": {{ "scope_parameter": "{name}" }} }}"#),
        ] {
            let error = refused(&providers);
            assert!(error.contains("expected the name of a parameter that is none of the protocol's own"), "{error}");
        }
    }
}

#[test]
fn a_parameter_is_taken_away_and_others_stay() {
    let changed = with(r#""google": { "authorization": { "parameters": { "prompt": null, "hd": "example.com" } } }"#);
    let parameters = &changed.named("google").unwrap().authorization.parameters;
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(parameters, [("access_type", "offline"), ("hd", "example.com")]);
}

#[test]
fn places_are_not_inherited() {
    let more = with(r#""ours": { "extends": "github" }"#);
    let (ours, github) = (more.named("ours").unwrap(), builtin("github"));
    assert!(github.authorization_server().is_some() && !github.api.is_empty());
    assert!(ours.authorization_server().is_none() && ours.api.is_empty() && ours.issuer.is_none());
    assert_eq!(ours.client_authentication, github.client_authentication);
}

#[test]
fn a_text_that_is_no_table_is_refused_with_its_place() {
    for (text, told) in [
        ("", "line 1, column 0: EOF while parsing a value"),
        ("{", "line 1, column 1"),
        ("[]", "line 1"),
        ("{\"providers\": {}}", "missing field `version`"),
        ("{\"version\": 2, \"providers\": {}}", "at version: expected 1"),
        ("{\"version\": 1}", "missing field `providers`"),
        ("{\"version\": 1, \"providers\": {}} x", "line 1, column 33: trailing characters"),
        ("{\"version\": 1, \"providers\": {},}", "trailing comma"),
        ("{\"version\": 1, \"providers\": {}, \"more\": 1}", "unknown field `more`"),
    ] {
        let error = Providers::from_json(text).expect_err(text);
        assert!(error.to_string().contains(told), "{text}: {error}");
        assert!(error.line().is_some() && error.column().is_some());
    }
    assert!(
        Providers::from_json("\u{feff}{\"version\": 1, \"providers\": {}}").is_ok(),
        "a byte order mark is ignored"
    );
}

#[test]
fn an_error_repeats_no_value_and_acts_on_no_terminal() {
    for providers in [
        r#""x": { "hosts": ["s3cret"] }"#,
        r#""x": { "token_request": "s3cret" }"#,
        r#""x": { "token_request": { "body": "s3cret, expected nothing" } }"#,
        r#""x": { "errors": { "dead": ["s3cret with blanks"] } }"#,
        r#""x": { "source": 7, "y": "s3cret" }"#,
        r#""x": { "extends": "s3cret" }"#,
        r#""x": { "refresh_token": { "grace_seconds": "s3cret" } }"#,
    ] {
        let error = refused(providers);
        assert!(!error.contains("s3cret"), "{error}");
    }
    for providers in [
        "\"x\": { \"\\u001b[2J\\u202e\": 1 }".to_owned(),
        "\"\\u001b[2J\\u202e\\r\\n\": {}".to_owned(),
        "\"x\": { \"extends\": \"\\u001b[2J\" }".to_owned(),
        format!("\"x\": {{ \"{}\": 1 }}", "long".repeat(10_000)),
        format!("\"{}\": {{}}", "long".repeat(10_000)),
    ] {
        let error = refused(&providers);
        assert!(error.chars().all(|c| c == ' ' || c == '→' || c.is_ascii_graphic()), "{error:?}");
        assert!(error.len() < 1024, "{}", error.len());
    }
}

#[test]
fn a_deep_or_long_text_ends_in_an_error() {
    let deep = format!("{{\"version\": 1, \"providers\": {}", "[".repeat(100_000));
    assert!(Providers::from_json(&deep).is_err());
    let chain = |length: u32| {
        let extending = (1..length).map(|at| format!("\"p{at}\": {{ \"extends\": \"p{}\" }}, ", at + 1));
        let last = format!("\"p{length}\": {{ \"refresh_token\": {{ \"rotates\": false }} }}");
        extending.chain([last]).collect::<String>()
    };
    assert!(!with(&chain(8)).named("p1").unwrap().refresh_token.rotates);
    let error = refused(&chain(9));
    assert!(error.contains("at providers.p1: more than 8 providers extend one another"), "{error}");
}

#[test]
fn a_file_is_read_with_its_name_in_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = file("good.json", table(r#""ours": { "hosts": ["as.example.com"] }"#).as_bytes());
    let providers = Providers::builtin().with_file(good).unwrap();
    assert_eq!(providers.of_issuer("https://as.example.com").unwrap().as_str(), "ours");

    let told = |path: &std::path::Path| Providers::builtin().with_file(path).unwrap_err().to_string();
    let bad = told(&file("bad.json", b"{\n  \"version\": \"s3cret\"\n}"));
    assert!(
        bad.contains("bad.json, line 2, column ") && bad.contains("at version: ") && !bad.contains("s3cret"),
        "{bad}"
    );
    assert!(told(&file("latin.json", b"\"\xe9\"")).contains("it is not UTF-8"));
    assert!(told(&file("huge.json", &vec![b' '; 1024 * 1024 + 1])).contains("larger than 1 MiB"));
    assert!(told(&folder.path().join("none.json")).contains("none.json cannot be read: "));
    assert!(told(folder.path()).contains(" cannot be read: "));
    assert!(!told(&folder.path().join("\u{1b}[2J")).contains('\u{1b}'));
}

#[test]
fn the_example_of_the_documentation_is_a_table() {
    let page = include_str!("../../../docs/providers.md");
    let examples: Vec<_> = page.split("```json\n").skip(1).filter_map(|after| after.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in &examples {
        Providers::from_json(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
    let all = examples.iter().fold(Providers::builtin(), |all, example| all.with_json(example).unwrap());
    assert_eq!(all.named("our-okta").unwrap().issuer.as_deref(), Some("https://acme.okta.com"));
    let providers = all;
    assert_eq!(providers.of_issuer("https://sso.example.com").unwrap().as_str(), "our-keycloak");
    assert_eq!(providers.named("okta").unwrap().refresh_token.grace, Some(Duration::from_secs(60)));
    assert_eq!(providers.named("shop").unwrap().errors.unspent_statuses, [503]);
}

#[test]
fn the_documentation_lists_every_member() {
    let page = include_str!("../../../docs/providers.md");
    let facts = serde_json::to_value(ProviderFacts::default()).unwrap();
    let mut missing = Vec::new();
    for (name, value) in facts.as_object().unwrap() {
        let members = value.as_object().map_or_else(
            || vec![name.clone()],
            |section| section.keys().map(|member| format!("{name}.{member}")).collect(),
        );
        missing.extend(members.into_iter().filter(|member| !page.contains(&format!("| `{member}` |"))));
    }
    assert!(missing.is_empty(), "{missing:?}");
}
