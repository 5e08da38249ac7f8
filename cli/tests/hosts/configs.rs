//! The configurations of docs/hosts.md, as they stand there.

use serde_json::{Value, json};
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::hostile::HostileAs;
use tokenkeeper_testkit::mcp::McpResource;

use crate::client::{ProxyClient, command, home, initialize};
use crate::login::import;

const PAGE: &str = include_str!("../../../docs/hosts.md");

/// The server's URL on the page.
const SERVER: &str = "https://mcp.example.com/mcp";

/// A command line of the page, with the host that it is for.
#[derive(Debug)]
struct Configured {
    host: &'static str,
    words: Vec<String>,
}

/// The command lines of all blocks.
fn configured() -> Vec<Configured> {
    let mut all = Vec::new();
    for section in PAGE.split("\n## ").skip(1) {
        let host = section.lines().next().unwrap();
        let mut parts = section.split("```");
        parts.next();
        // Each block is followed by text.
        while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
            let (language, text) = block.split_once('\n').unwrap();
            all.push(Configured { host, words: words(host, language, text) });
        }
    }
    all
}

/// The command line of a block.
fn words(host: &str, language: &str, text: &str) -> Vec<String> {
    let config: Value = match language {
        "json" => serde_json::from_str(text).unwrap(),
        "yaml" => serde_saphyr::from_str(text).unwrap(),
        "toml" => {
            let document: toml_edit::DocumentMut = text.parse().unwrap();
            let server = &document["mcp_servers"]["example"];
            assert!(server["startup_timeout_sec"].as_integer() > Some(50), "longer than a login is waited for");
            let args: Vec<_> = server["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
            json!({ "mcp_servers": { "example": { "command": server["command"].as_str(), "args": args } } })
        }
        "sh" => return shlex::split(text.split_once(" -- ").unwrap().1).unwrap(),
        other => panic!("{host} has a block of {other}"),
    };
    let (servers, command) = match host {
        "VS Code" => ("servers", "command"),
        "Codex" => ("mcp_servers", "command"),
        "goose" => ("extensions", "cmd"),
        "Zed" => ("context_servers", "command"),
        _ => ("mcpServers", "command"),
    };
    let server = &config[servers]["example"];
    let args = server["args"].as_array().unwrap();
    [&server[command]].into_iter().chain(args).map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_configuration_starts_a_proxy_that_answers() {
    let server = HostileAs::start().await.unwrap();
    let resource = McpResource::start(server.verifier()).await.unwrap();
    let home = home();
    let grant = server.grant_for(&server.register(ClientAuth::None), &resource.uri(), "tools:read");
    import(&home, &resource.uri(), &grant).await;
    let all = configured();
    let mut hosts: Vec<_> = all.iter().map(|configured| configured.host).collect();
    hosts.dedup();
    assert_eq!(hosts, ["Claude Desktop", "Claude Code", "Cursor", "VS Code", "Codex", "goose", "Zed"]);
    assert_eq!(all.len(), 9);
    for Configured { host, words } in all {
        assert_eq!((&*words[0], words.iter().filter(|word| *word == SERVER).count()), ("tokenkeeper", 1), "{host}");
        let uri = resource.uri();
        let arguments: Vec<_> = words[1..].iter().map(|word| if word == SERVER { &uri } else { word }).collect();
        let arguments: Vec<&str> = arguments.into_iter().map(String::as_str).collect();
        let mut proxy = ProxyClient::of(command(&home, &arguments));
        let answer = proxy.ask(initialize()).await;
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{host}: {answer}");
        assert_eq!(proxy.end().await.1, 0, "{host}");
    }
    assert_eq!((server.counts().token_requests, server.counts().replays), (1, 0));
}
