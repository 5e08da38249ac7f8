//! The logins of goose.
//!
//! This follows goose's code of 2026 (`crates/goose/src/oauth`, `crates/goose/src/config/base.rs`). A login is the secret
//! `oauth_creds_NAME` of the extension `NAME`, in the form of rmcp. The secrets are one JSON object in the system's keychain
//! (service `goose`, user `secrets`), or the file `~/.config/goose/secrets.yaml` if `GOOSE_DISABLE_KEYRING` is set.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::rmcp::Stored;
use super::{Input, Taken, Wanted, absent, below_home, folder_of};
use crate::failure::Failure;
use crate::paint::harmless;

const PROGRAM: &str = "goose";
const PREFIX: &str = "oauth_creds_";

/// A secret of goose that may be a login. The other secrets are not examined.
#[derive(Deserialize)]
#[serde(untagged)]
enum Secret {
    Login(Box<Stored>),
    Other(IgnoredAny),
}

pub(super) fn take(wanted: &Wanted<'_>) -> Result<Taken, Failure> {
    let path = wanted.path.map_or_else(default_file, |path| Ok(path.to_owned()))?;
    let input = Input::read(&path)?.ok_or_else(|| {
        absent(
            format!("there is no file {}", path.display()),
            "goose keeps its secrets in the system's keychain unless GOOSE_DISABLE_KEYRING is set: write that entry \
             (service goose, user secrets) to the standard input of this command with --path -",
        )
    })?;
    let mut secrets = secrets(&input)?;
    let Some(entry) = wanted.entry else {
        return Err(Failure::Usage(format!(
            "goose keeps no URL beside its logins: name the extension with --entry ({})",
            known(&secrets)
        )));
    };
    match secrets.remove(&format!("{PREFIX}{entry}")) {
        Some(Secret::Login(stored)) => stored.taken(input.place),
        Some(Secret::Other(_)) => {
            Err(input.not_understood(PROGRAM, &format!("{PREFIX}{} is no login", harmless(entry))))
        }
        None => Err(absent(
            format!("{} has no login of the extension {}", input.place, harmless(entry)),
            &format!("--entry names another one ({})", known(&secrets)),
        )),
    }
}

/// Parses the secrets. JSON is YAML as well.
fn secrets(input: &Input) -> Result<BTreeMap<String, Secret>, Failure> {
    let text = std::str::from_utf8(&input.bytes).map_err(|_| input.not_understood(PROGRAM, "it is not UTF-8"))?;
    // The parser's own message is dropped, because it may repeat a secret.
    serde_saphyr::from_str(text).map_err(|_| input.not_understood(PROGRAM, "it is no YAML with named secrets"))
}

/// The extensions that have a login.
fn known(secrets: &BTreeMap<String, Secret>) -> String {
    let names = secrets.keys().filter_map(|key| key.strip_prefix(PREFIX)).map(harmless);
    match names.collect::<Vec<_>>() {
        names if names.is_empty() => "there is no login of any".to_owned(),
        names => format!("there are {}", names.join(", ")),
    }
}

fn default_file() -> Result<PathBuf, Failure> {
    let config = folder_of("XDG_CONFIG_HOME").map_or_else(|| below_home(".config"), Ok)?;
    Ok(config.join("goose/secrets.yaml"))
}
