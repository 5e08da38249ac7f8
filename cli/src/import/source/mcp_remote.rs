//! The logins of mcp-remote.
//!
//! This follows the code of version 0.15.1. A login is two files in `~/.mcp-auth/mcp-remote-v1` (`$MCP_REMOTE_CONFIG_DIR`
//! replaces `~/.mcp-auth`), `HASH_tokens.json` and `HASH_client_info.json`. `HASH` is the MD5 digest of the server's URL as
//! it was given on the command line, and of some options. Versions before 0.15 have a folder each, `mcp-remote-0.1.37` for
//! example, with the same files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::Number;
use zeroize::Zeroizing;

use super::{Input, Taken, Wanted, absent, below_home, folder_of};
use crate::failure::Failure;
use crate::import::bundle::{Bundle, Scope, Time};
use crate::paint::harmless;

const PROGRAM: &str = "mcp-remote";
const TOKENS: &str = "_tokens.json";
const CLIENT: &str = "_client_info.json";

/// `HASH_tokens.json`.
#[derive(Deserialize)]
struct Tokens {
    access_token: Zeroizing<String>,
    refresh_token: Option<Zeroizing<String>>,
    /// The time in milliseconds since 1970.
    expires_at: Option<f64>,
    scope: Option<String>,
    issuer: Option<String>,
}

/// `HASH_client_info.json`, which is the answer of the registration (RFC 7591 section 3.2.1).
#[derive(Deserialize)]
struct ClientInfo {
    client_id: String,
    client_secret: Option<Zeroizing<String>>,
    client_secret_expires_at: Option<Number>,
    token_endpoint_auth_method: Option<String>,
    issuer: Option<String>,
}

pub(super) fn take(wanted: &Wanted<'_>) -> Result<Taken, Failure> {
    let file = match wanted.path {
        Some(file) if file.is_file() => file.to_owned(),
        Some(folder) => find(folder, wanted.url)?,
        None => {
            let folder = folder_of("MCP_REMOTE_CONFIG_DIR").map_or_else(|| below_home(".mcp-auth"), Ok)?;
            find(&folder, wanted.url)?
        }
    };
    let Some(client_file) = beside(&file) else {
        return Err(Failure::Usage(format!(
            "{} is no file of tokens: give a folder, or a file whose name ends with {TOKENS}",
            file.display()
        )));
    };
    let gone = || absent(format!("there is no file {}", file.display()), "sign in with tokenkeeper login");
    let input = Input::read(&file)?.ok_or_else(gone)?;
    let tokens: Tokens = input.json(PROGRAM)?;
    let Some(client_input) = Input::read(&client_file)? else {
        return Err(absent(
            format!("mcp-remote keeps no client beside these tokens: there is no file {}", client_file.display()),
            "it was started with a client of its own, so give the login as one JSON object (tokenkeeper import --help), or \
             sign in with tokenkeeper login --client-id",
        ));
    };
    let client: ClientInfo = client_input.json(PROGRAM)?;
    let issuer = match (tokens.issuer, client.issuer) {
        (Some(of_tokens), Some(of_client)) if of_tokens != of_client => {
            return Err(Failure::Refused(format!(
                "the tokens in {} are of {}, and the client in {} is of {}: sign in with tokenkeeper login",
                input.place,
                harmless(&of_tokens),
                client_input.place,
                harmless(&of_client)
            )));
        }
        (of_tokens, of_client) => of_tokens.or(of_client),
    };
    let is_renewable = tokens.refresh_token.is_some();
    let bundle = Bundle {
        client_id: Some(client.client_id),
        client_secret: client.client_secret,
        client_secret_expires_at: client.client_secret_expires_at.map(Time::Seconds),
        token_endpoint_auth_method: client.token_endpoint_auth_method,
        scope: tokens.scope.map(Scope::Text),
        refresh_token: tokens.refresh_token,
        // Without its expiry, the access token would be tried although it may have expired long ago.
        access_token: (tokens.expires_at.is_some() || !is_renewable).then_some(tokens.access_token),
        expires_at: tokens.expires_at.and_then(|millis| Number::from_f64(millis / 1000.0)).map(Time::Seconds),
        ..Bundle::default()
    };
    Ok(Taken { bundle, issuer, place: format!("{} and {}", input.place, client_input.place) })
}

/// The newest file with the tokens for this URL, in `folder` or one of its folders for versions.
fn find(folder: &Path, url: &str) -> Result<PathBuf, Failure> {
    let hashes = spellings(url).map(|url| base16ct::lower::encode_string(&Md5::digest(url.as_bytes())));
    let (mut found, mut others) = (None::<(SystemTime, PathBuf)>, 0_usize);
    for folder in folders(folder) {
        for file in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = file.file_name();
            let Some(hash) = name.to_str().and_then(|name| name.strip_suffix(TOKENS)) else { continue };
            if !hashes.iter().any(|wanted| wanted == hash) {
                others += 1;
                continue;
            }
            let written = file.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            if found.as_ref().is_none_or(|(newest, _)| written > *newest) {
                found = Some((written, file.path()));
            }
        }
    }
    found.map(|(_, file)| file).ok_or_else(|| {
        let told = format!("mcp-remote has no login for this URL in {}", folder.display());
        match others {
            0 => absent(told, "sign in with tokenkeeper login, or name the folder with --path"),
            others => absent(
                told,
                &format!(
                    "its files are named after the URL and the options that it was started with, and there are {others} of \
                     others: write the URL as there, or name the file that ends with {TOKENS} with --path"
                ),
            ),
        }
    })
}

/// The URL as it was written, and the same URL with its last slash added or removed.
fn spellings(url: &str) -> [String; 2] {
    let other = url.strip_suffix('/').map_or_else(|| format!("{url}/"), str::to_owned);
    [url.to_owned(), other]
}

/// The folder itself, and those of mcp-remote's versions in it.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let inner = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_version = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("mcp-remote-")) && path.is_dir()
    };
    [folder.to_owned()].into_iter().chain(inner.filter(is_version)).collect()
}

/// The file with the client of these tokens.
fn beside(tokens: &Path) -> Option<PathBuf> {
    let hash = tokens.file_name()?.to_str()?.strip_suffix(TOKENS)?;
    Some(tokens.with_file_name(format!("{hash}{CLIENT}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_the_digest_of_the_url() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("94baabe3c3fadb285b26c035e4e86046_tokens.json");
        fs::write(&file, "{}").unwrap();
        assert_eq!(find(folder.path(), "https://mcp.example.com/mcp").unwrap(), file);
        assert_eq!(find(folder.path(), "https://mcp.example.com/mcp/").unwrap(), file);
        assert!(find(folder.path(), "https://mcp.example.com").is_err());
    }
}
