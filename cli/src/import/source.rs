//! Logins that other programs keep on disk (`import --from`).

mod codex;
mod goose;
mod mcp_remote;
mod rmcp;

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use tokenkeeper::ServerIdentity;
use zeroize::Zeroizing;

use super::bundle::Bundle;
use crate::failure::Failure;
use crate::paint::harmless;

/// The maximum size of a file, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A program whose login is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Program {
    McpRemote,
    Codex,
    Goose,
    Rmcp,
}

/// The login to take over, among those of a program.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The server's URL as the person wrote it.
    pub(super) url: &'a str,
    pub(super) identity: &'a ServerIdentity,
    /// The file or the folder. `-` means standard input. `None` means the program's usual place, if it has one.
    pub(super) path: Option<&'a Path>,
    /// The name of the server in the program's configuration.
    pub(super) entry: Option<&'a str>,
}

/// A login of another program.
pub(super) struct Taken {
    /// The members that the program keeps.
    pub(super) bundle: Bundle,
    /// The issuer that gave the tokens, if the program keeps it.
    pub(super) issuer: Option<String>,
    /// The place of the login, in words for messages.
    pub(super) place: String,
}

impl Program {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::McpRemote => "mcp-remote",
            Self::Codex => "Codex",
            Self::Goose => "goose",
            Self::Rmcp => "the program that uses rmcp",
        }
    }

    /// Reads the login. The program's files are not changed.
    pub(super) fn take(self, wanted: &Wanted<'_>) -> Result<Taken, Failure> {
        match self {
            Self::McpRemote => mcp_remote::take(wanted),
            Self::Codex => codex::take(wanted),
            Self::Goose => goose::take(wanted),
            Self::Rmcp => rmcp::take(wanted),
        }
    }
}

/// A file that was read.
struct Input {
    bytes: Zeroizing<Vec<u8>>,
    place: String,
}

impl Input {
    /// Reads a file, or standard input for `-`. `None` if there is no such file.
    fn read(path: &Path) -> Result<Option<Self>, Failure> {
        if path == Path::new("-") {
            return Ok(Some(Self { bytes: super::input()?, place: "standard input".to_owned() }));
        }
        let place = harmless(&path.display().to_string());
        let failed = |error: io::Error| Failure::Failed(io::Error::other(format!("{place} cannot be read: {error}")));
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let size = file.metadata().map_err(failed)?.len();
        // The buffer has room for the whole file, because a buffer that grows leaves copies of secrets behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size.min(MAX_FILE)).unwrap_or(0) + 1));
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(Failure::Usage(format!("{place} is longer than the logins of a program can be")));
        }
        Ok(Some(Self { bytes, place }))
    }

    /// Parses JSON. The errors name the member that is wrong and never its value, which may be a secret.
    fn json<T: DeserializeOwned>(&self, program: &str) -> Result<T, Failure> {
        self.part(&self.bytes, program)
    }

    /// Parses a part of the input.
    fn part<T: DeserializeOwned>(&self, json: &[u8], program: &str) -> Result<T, Failure> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let (path, inner) = (error.path().to_string(), error.inner());
            let fault = match inner.classify() {
                serde_json::error::Category::Data if path == "." => {
                    "a member is missing, or it is no object".to_owned()
                }
                serde_json::error::Category::Data => format!("the member {path:?} is not as expected"),
                _ => format!("it is not whole JSON (line {}, column {})", inner.line(), inner.column()),
            };
            self.not_understood(program, &fault)
        })?;
        reader.end().map_err(|_| self.not_understood(program, "there is more behind its JSON"))?;
        Ok(read)
    }

    fn not_understood(&self, program: &str, fault: &str) -> Failure {
        Failure::Usage(format!(
            "{} is not understood as a file of {program}: {fault}\n  sign in with tokenkeeper login, or give the login as \
             one JSON object (tokenkeeper import --help)",
            self.place
        ))
    }
}

/// A path below the person's home.
fn below_home(path: &str) -> Result<PathBuf, Failure> {
    let home = env::home_dir().filter(|home| !home.as_os_str().is_empty());
    home.map(|home| home.join(path))
        .ok_or_else(|| Failure::Usage("your home folder is not known: give the place with --path".to_owned()))
}

/// The value of an environment variable that names a folder.
fn folder_of(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The failure for a login that the program does not keep.
fn absent(told: String, hint: &str) -> Failure {
    Failure::Failed(io::Error::other(format!("{told}\n  {hint}")))
}
