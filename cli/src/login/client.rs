//! The client of a login, as the arguments name it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;

use tokenkeeper::discovery::AuthorizationServer;
use tokenkeeper::engine::values::record::Binding;
use tokenkeeper::grant::ClientKey;
use tokenkeeper::issuers::Client;
use tokenkeeper::registration::{Clients, MetadataDocument};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::paint::harmless;

/// The longest secret, in bytes.
const LONGEST: u64 = 16 * 1024;

/// The redirect addresses that a metadata document is assumed to list. An address with an IP literal stands for all ports.
const DOCUMENT_REDIRECTS: [&str; 2] = ["http://127.0.0.1/callback", "http://[::1]/callback"];

/// The options that name a client. Without one, the command registers itself.
#[derive(Debug, clap::Args)]
pub(crate) struct ClientArguments {
    /// Sign in as this client, which the server's operator registered for you (by default the command registers itself)
    #[arg(long, value_name = "ID", conflicts_with = "client_metadata_url")]
    client_id: Option<String>,
    /// The file with the client's secret, or - for a line of standard input
    #[arg(long, value_name = "FILE", requires = "client_id")]
    client_secret_file: Option<PathBuf>,
    /// The file with the client's private key, as PEM or as a JWK, or - for standard input, for a client that signs its requests (private_key_jwt)
    #[arg(long, value_name = "FILE", requires = "client_id", conflicts_with = "client_secret_file")]
    client_key: Option<PathBuf>,
    /// Sign in as the client that this https URL describes (a client ID metadata document, with the redirect address
    /// http://127.0.0.1/callback), where the server accepts such clients
    #[arg(long, value_name = "URL")]
    client_metadata_url: Option<String>,
}

impl ClientArguments {
    /// The client's identifier. Empty if none is named.
    pub(super) fn id(&self) -> &str {
        self.client_id.as_deref().or(self.client_metadata_url.as_deref()).unwrap_or_default()
    }
}

/// The proof of a client's identity. `Debug` shows no part of it.
pub(super) enum Credential {
    None,
    Secret(Zeroizing<String>),
    Key(ClientKey),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Secret(_) => "Secret",
            Self::Key(_) => "Key",
        })
    }
}

/// A client as a person has named it.
#[derive(Debug)]
pub(super) enum Named {
    /// The command registers itself.
    None,
    /// A client of the server that the login finds.
    Registered { id: String, credential: Credential },
    /// A metadata document.
    Document(MetadataDocument),
}

impl ClientArguments {
    /// The client, with its secret from the file.
    pub(super) fn read(&self) -> Result<Named, Failure> {
        if let Some(url) = &self.client_metadata_url {
            let document = MetadataDocument::new(url, DOCUMENT_REDIRECTS);
            return document.map(Named::Document).map_err(|error| Failure::Usage(error.to_string()));
        }
        let Some(id) = &self.client_id else { return Ok(Named::None) };
        if id.is_empty() || !id.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Failure::Usage("a client identifier consists of printable ASCII characters".to_owned()));
        }
        let credential = match (&self.client_secret_file, &self.client_key) {
            (Some(path), _) => Credential::Secret(secret(path)?),
            (None, Some(path)) => Credential::Key(key(path)?),
            (None, None) => Credential::None,
        };
        Ok(Named::Registered { id: id.clone(), credential })
    }
}

impl Named {
    /// Whether the server must be known before the login begins. A client belongs to one issuer, and no other issuer ever gets
    /// its secret.
    pub(super) fn asks_server(&self) -> bool {
        matches!(self, Self::Registered { .. })
    }

    /// The clients of the login. `server` is the authorization server, if it was discovered, and `bound` is the binding of the
    /// present session, with its issuer and client.
    pub(super) fn clients(
        self,
        server: Option<&AuthorizationServer>,
        bound: Option<&Binding>,
    ) -> Result<Clients, Failure> {
        let (id, credential) = match self {
            Self::None => return Ok(Clients::default()),
            Self::Document(document) => return Ok(Clients::default().metadata_document(document)),
            Self::Registered { id, credential } => (id, credential),
        };
        // A session that is signed in needs no client.
        let Some(server) = server else { return Ok(Clients::default().without_dynamic()) };
        let client = registered(id, credential, server, bound)?;
        let any_redirect: [&str; 0] = [];
        Ok(Clients::default().without_dynamic().pre_registered(&server.issuer, client, any_redirect))
    }

    /// The client of a grant without a person, if one is named. `server` and `bound` are as for [`clients`](Self::clients).
    pub(super) fn client(
        self,
        server: &AuthorizationServer,
        bound: Option<&Binding>,
    ) -> Result<Option<Client>, Failure> {
        match self {
            Self::Registered { id, credential } => registered(id, credential, server, bound).map(Some),
            Self::None | Self::Document(_) => Ok(None),
        }
    }

    /// Whether the client can authenticate.
    pub(super) fn is_confidential(&self) -> bool {
        matches!(self, Self::Registered { credential: Credential::Secret(_) | Credential::Key(_), .. })
    }
}

/// The client at `server`. No other server gets its secret.
fn registered(
    id: String,
    credential: Credential,
    server: &AuthorizationServer,
    bound: Option<&Binding>,
) -> Result<Client, Failure> {
    // If the resource names another server than before, that server must not get the client's secret (law 23).
    if let Some(bound) = bound.filter(|bound| bound.client.id == id && bound.issuer.0 != server.issuer) {
        return Err(Failure::Refused(format!(
            "this client belongs to {}, and the server names {} now: give the client that is registered there",
            harmless(&bound.issuer.0),
            harmless(&server.issuer)
        )));
    }
    let _ = writeln!(io::stderr(), "note: the client is used at {} only", harmless(&server.issuer));
    match credential {
        Credential::None => Ok(Client::public(id)),
        Credential::Secret(secret) => with_secret(id, &secret, server.auth_methods.as_deref()),
        Credential::Key(key) => Ok(Client::private_key_jwt(id, &key)),
    }
}

/// The client with an authentication method that the server offers. A server without a list of methods offers
/// `client_secret_basic` (RFC 8414 section 2).
fn with_secret(id: String, secret: &str, methods: Option<&[String]>) -> Result<Client, Failure> {
    let offers = |method: &str| methods.is_some_and(|methods| methods.iter().any(|offered| offered == method));
    if methods.is_none() || offers("client_secret_basic") {
        Ok(Client::secret_basic(id, secret))
    } else if offers("client_secret_post") {
        Ok(Client::secret_post(id, secret))
    } else {
        Err(Failure::Refused(
            "the authorization server takes no client secrets: leave --client-secret-file out, or ask its operator"
                .to_owned(),
        ))
    }
}

/// Reads the private key in a file, or on standard input for `-`.
fn key(path: &PathBuf) -> Result<ClientKey, Failure> {
    let unusable = |why: &str| Failure::Usage(format!("the client's key in {}: {why}", path.display()));
    // A buffer that grows leaves copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize + 1));
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text),
        _ => File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text)),
    };
    read.map_err(|error| unusable(&error.to_string()))?;
    let key = match text.trim_start().starts_with('{') {
        true => ClientKey::from_jwk(&text),
        false => ClientKey::from_pem(&text),
    };
    key.map_err(|error| unusable(&error.to_string()))
}

/// Reads the secret in a file, without the line end, or on the next line of standard input for `-`.
fn secret(path: &PathBuf) -> Result<Zeroizing<String>, Failure> {
    // A buffer that grows leaves copies of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize + 1));
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().take(LONGEST + 1).read_line(&mut text),
        _ => File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text)),
    };
    let unusable = |why: &str| Failure::Usage(format!("the client's secret in {}: {why}", path.display()));
    read.map_err(|error| unusable(&error.to_string()))?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    match line {
        "" => Err(unusable("it is empty")),
        line if line.len() as u64 > LONGEST => Err(unusable("it is longer than a secret can be")),
        line if line.chars().any(char::is_control) => Err(unusable("it is one line of text, and this is none")),
        line => Ok(Zeroizing::new(line.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        secret(&file.path().to_owned()).map(|secret| secret.to_string()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_secret_is_one_line_without_its_end() {
        for good in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            assert_eq!(read(good.as_bytes()).unwrap(), "s3cret");
        }
        assert_eq!(read(b" with blanks \n").unwrap(), " with blanks ");
        for bad in ["", "\n", "\r\n", "a\nb\n", "a\n\n", "\u{1b}[2J", "a\0"] {
            let error = read(bad.as_bytes()).unwrap_err();
            assert!(error.starts_with("the client's secret in "), "{error}");
        }
        assert!(read(b"\xff\n").is_err());
        assert!(read(&[b'a'; LONGEST as usize + 2]).is_err());
        assert!(secret(&PathBuf::from("/no/such/file")).is_err());
    }

    #[test]
    fn a_secret_is_sent_by_a_method_that_the_server_offers() {
        let methods = |methods: &[&str]| methods.iter().map(|method| (*method).to_owned()).collect::<Vec<_>>();
        let client = |listed: Option<&[String]>| with_secret("id".to_owned(), "s3cret", listed);
        assert_eq!(client(None).unwrap(), Client::secret_basic("id", "s3cret"));
        let both = methods(&["client_secret_post", "client_secret_basic"]);
        assert_eq!(client(Some(&both)).unwrap(), Client::secret_basic("id", "s3cret"));
        let post = methods(&["none", "client_secret_post"]);
        assert_eq!(client(Some(&post)).unwrap(), Client::secret_post("id", "s3cret"));
        assert!(matches!(client(Some(&methods(&["none"]))), Err(Failure::Refused(_))));
    }

    #[test]
    fn a_client_belongs_to_the_server_that_was_found() {
        let secret = || Credential::Secret(Zeroizing::new("s3cret".to_owned()));
        let named = || Named::Registered { id: "id".to_owned(), credential: secret() };
        assert!(named().asks_server() && !Named::None.asks_server());
        let server = AuthorizationServer::unpublished("https://as.example", "https://as.example/token");
        let shown = format!("{:?}", named().clients(Some(&server), None).unwrap());
        assert!(shown.contains("https://as.example") && !shown.contains("s3cret"), "{shown}");
    }
}
