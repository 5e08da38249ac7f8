//! The logins of Codex at MCP servers.
//!
//! This follows Codex's code of 2026 (`codex-rs/rmcp-client/src/oauth.rs`). A login is an entry of the system's keychain
//! (service `Codex MCP Credentials`, user `NAME|HASH`) or of the file `.credentials.json` in `$CODEX_HOME` (`~/.codex`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Number;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::rmcp::TokenResponse;
use super::{Input, Taken, Wanted, absent, below_home, folder_of};
use crate::failure::Failure;
use crate::import::bundle::{Bundle, Scope, Time};
use crate::paint::harmless;
use crate::who;

const PROGRAM: &str = "Codex";
const FILE: &str = ".credentials.json";

/// The part of a file's entry that names its server. Of entries for other servers, only this part is read.
#[derive(Deserialize)]
struct Heading {
    #[serde(default)]
    server_name: String,
    server_url: String,
}

/// An entry of the file.
#[derive(Deserialize)]
struct FileEntry {
    server_name: String,
    server_url: String,
    client_id: String,
    access_token: Zeroizing<String>,
    /// The time in milliseconds since 1970.
    expires_at: Option<u64>,
    refresh_token: Option<Zeroizing<String>>,
    #[serde(default)]
    scopes: Vec<String>,
}

/// An entry of the keychain.
#[derive(Deserialize)]
struct KeychainEntry {
    server_name: String,
    url: String,
    client_id: String,
    token_response: TokenResponse,
    /// The time in milliseconds since 1970.
    expires_at: Option<u64>,
}

pub(super) fn take(wanted: &Wanted<'_>) -> Result<Taken, Failure> {
    let path = wanted.path.map_or_else(default_file, |path| Ok(path.to_owned()))?;
    let path = if path.is_dir() { path.join(FILE) } else { path };
    let input = Input::read(&path)?.ok_or_else(|| {
        absent(
            format!("there is no file {}", path.display()),
            "Codex keeps its logins in the system's keychain unless its configuration says \
             mcp_oauth_credentials_store = \"file\": write the entry (service Codex MCP Credentials) to the standard input of \
             this command with --path -",
        )
    })?;
    let mut fitting = entries(&input, wanted)?;
    match (fitting.pop(), fitting.is_empty()) {
        (Some(entry), true) => Ok(entry.taken(input.place)),
        (Some(entry), false) => {
            let names: Vec<String> = fitting.iter().chain([&entry]).map(|entry| harmless(&entry.server_name)).collect();
            Err(Failure::Usage(format!(
                "{} has several logins for this URL ({}): name one of them with --entry",
                input.place,
                names.join(", ")
            )))
        }
        (None, _) => Err(absent(
            format!("{} has no login for {}", input.place, wanted.identity),
            "write the URL as Codex's configuration has it, or sign in with tokenkeeper login",
        )),
    }
}

/// The entries of `input` that are wanted. `input` is the file, or one entry of the keychain. The entries for other servers
/// may have any form.
fn entries(input: &Input, wanted: &Wanted<'_>) -> Result<Vec<FileEntry>, Failure> {
    let members: BTreeMap<String, Box<RawValue>> = input.json(PROGRAM)?;
    if members.contains_key("token_response") {
        let entry: FileEntry = input.json::<KeychainEntry>(PROGRAM)?.into();
        let is_wanted = is_wanted(&entry.server_name, &entry.server_url, wanted);
        return Ok(Some(entry).filter(|_| is_wanted).into_iter().collect());
    }
    let of_server = members.values().filter(|entry| {
        let heading = serde_json::from_str::<Heading>(entry.get());
        heading.is_ok_and(|heading| is_wanted(&heading.server_name, &heading.server_url, wanted))
    });
    of_server.map(|entry| input.part(entry.get().as_bytes(), PROGRAM)).collect()
}

fn is_wanted(name: &str, url: &str, wanted: &Wanted<'_>) -> bool {
    wanted.entry.is_none_or(|wanted| wanted == name)
        && who::identity(url, wanted.identity.account().as_str()).is_ok_and(|identity| identity == *wanted.identity)
}

impl FileEntry {
    fn taken(self, place: String) -> Taken {
        let bundle = Bundle {
            client_id: Some(self.client_id),
            scope: Some(Scope::List(self.scopes)),
            // Without its expiry, the access token would be tried although it may have expired long ago.
            access_token: (self.expires_at.is_some() || self.refresh_token.is_none()).then_some(self.access_token),
            refresh_token: self.refresh_token,
            expires_at: self.expires_at.map(|millis| Time::Seconds(Number::from(millis / 1000))),
            ..Bundle::default()
        };
        Taken { bundle, issuer: None, place }
    }
}

impl From<KeychainEntry> for FileEntry {
    fn from(entry: KeychainEntry) -> Self {
        let scopes = entry.token_response.scope.unwrap_or_default();
        Self {
            server_name: entry.server_name,
            server_url: entry.url,
            client_id: entry.client_id,
            access_token: entry.token_response.access_token,
            expires_at: entry.expires_at,
            refresh_token: entry.token_response.refresh_token,
            scopes: scopes.split_ascii_whitespace().map(str::to_owned).collect(),
        }
    }
}

fn default_file() -> Result<PathBuf, Failure> {
    Ok(folder_of("CODEX_HOME").map_or_else(|| below_home(".codex"), Ok)?.join(FILE))
}
