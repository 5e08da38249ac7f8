//! `tokenkeeper token`: prints an access token that is fit for use.

mod proven;

use std::io::{self, Write};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokenkeeper::engine::law::session::Policy;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::{Epoch, Moment};
use tokenkeeper::{
    AuthSession, ChallengeKey, Generation, Lease, OperationKey, Reason, ServerIdentity, Target, TokenError, TokenKind,
    TokenOptions,
};

use crate::failure::Failure;
use crate::home::{self, HomeArguments, Keeper};
use crate::paint::print_json;
use crate::remedy::Remedy;
#[cfg(unix)]
use crate::socket;
use crate::{providers, when, who};

/// The time-out for reading a stored token after `--timeout` has passed. Reading does not count as waiting for a token.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Prints an access token that is fit for use
///
/// A stored token that is still good is printed as it is. Otherwise it is refreshed first. However many
/// processes ask at the same time, there is one refresh, and the new token is stored before it is printed.
///
/// A session that the server has ended may have a token that is good yet. It is printed, with a note that a
/// login is needed, until it is over or was refused.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The MCP server's URL, or the name of its session (tokenkeeper name), or - to read one of them from standard input
    #[cfg_attr(unix, arg(required_unless_present = "from_socket"))]
    #[cfg_attr(not(unix), arg(required = true))]
    server: Option<String>,
    /// Whose session it is, where you have more than one at this server (otherwise that of the account named default)
    #[arg(long)]
    account: Option<String>,
    /// Ask the program that started this one, over the socket in TOKENKEEPER_SOCKET (see tokenkeeper run). No home is used
    #[cfg(unix)]
    #[arg(long, conflicts_with_all = ["server", "account", "fail_fast", "provider", "refresh"])]
    from_socket: bool,
    /// How long the token must last yet, such as 60s or 5m (at most three quarters of its lifetime count)
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = when::parse_span)]
    min_ttl: Duration,
    /// How long to wait for a token, over faults that pass too (a refresh that has begun is waited for longer, and stored)
    #[arg(long, value_name = "SPAN", default_value = "45s", value_parser = when::parse_span)]
    timeout: Duration,
    /// Take the first failure, and do not wait for another attempt
    #[arg(long)]
    fail_fast: bool,
    /// The provider of the authorization server, where the login was stored without it or with another (stored from now on)
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Refresh even though the stored token is still good, because a server refused it for instance (a refresh that fails
    /// leaves the stored token)
    #[arg(long)]
    refresh: bool,
    /// The server refused the token of this generation (401), so that it is not printed again. --json prints generations. If
    /// another process has a newer token already, that is printed without a refresh
    #[arg(long, value_name = "GENERATION", conflicts_with = "refresh")]
    rejected: Option<String>,
    /// Print one JSON object: access_token, token_type, expires_at (RFC 3339, or null), generation, and from a home also scope,
    /// server, account, login_required
    #[arg(long)]
    json: bool,
    /// Print one JSON object with the headers of a request to the server, for hosts that run a program for them. Where the
    /// token is bound to a key, they are good for one request
    #[arg(long, conflicts_with = "json")]
    headers: bool,
    /// The method of the request with these headers, whose token is bound to a key
    #[arg(long, value_name = "METHOD", default_value = "POST", requires = "headers")]
    method: Method,
    /// The nonce of the server's last challenge (DPoP-Nonce), for the headers of a token that is bound to a key
    #[arg(long, value_name = "NONCE", requires = "headers")]
    dpop_nonce: Option<String>,
    /// Print an ExecCredential of client.authentication.k8s.io, in the version that KUBERNETES_EXEC_INFO asks for [default: v1]
    #[arg(long, conflicts_with_all = ["json", "headers"])]
    exec_credential: bool,
}

const AFTER_HELP: &str = "\
Examples:
  curl -H \"Authorization: Bearer $(tokenkeeper token https://mcp.example.com/mcp)\" https://mcp.example.com/mcp
  tokenkeeper token https://mcp.example.com/mcp --min-ttl 5m --json
  tokenkeeper token https://mcp.example.com/mcp --headers --rejected 1.7
  tokenkeeper token - < url.txt
  tokenkeeper token --from-socket

Exit codes:
  0  done
  1  failed: what was asked for could not be done
  2  usage: an argument is not acceptable
  3  login required: only a new login helps (tokenkeeper why SERVER says why)
  4  refused: by the server, or because it would do harm
  5  temporarily unavailable: trying again may help
  6  store trouble: the home cannot be read or written";

/// Prints the token that `arguments` ask for.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    if arguments.exec_credential {
        exec_version()?;
    }
    let clock = SystemClock::new().map_err(io::Error::other)?;
    #[cfg(unix)]
    if arguments.from_socket {
        return from_socket(arguments, &clock, out);
    }
    let selected = who::select(arguments.server.as_deref().unwrap_or_default(), arguments.account.as_deref())?;
    let rejected = arguments.rejected.as_deref().map(parse_generation).transpose()?;
    let known = home.providers()?;
    if let Some(provider) = &arguments.provider {
        providers::require(&known, provider)?;
    }
    let begun = clock.now();
    home::block_on(async {
        let keeper = Keeper::open(home.required()?, known).await?;
        let identity = selected.identity(Some(&keeper.store)).await?;
        if matches!(identity.target(), Target::Idp { .. }) && (arguments.headers || arguments.exec_credential) {
            return Err(Failure::Refused(
                "id_token: the token of an identity provider's session is an ID token, which no server takes as a bearer \
                 token: give the URL of the server"
                    .to_owned(),
            ));
        }
        let session = keeper.session(identity.clone());
        if let Some(provider) = &arguments.provider {
            providers::store(&keeper, &session, provider).await?;
        }
        let request = TokenOptions {
            timeout: arguments.timeout,
            min_lifetime: arguments.min_ttl,
            force: arguments.refresh,
            fail_fast: arguments.fail_fast,
        };
        let lease = keeper.unless_interrupted(obtain(&session, request, rejected)).await?;
        let lease = match lease {
            // The refresh goes on, because its answer may be the only copy of a token.
            Err(error) if error.reason() == Reason::DeadlinePassed => {
                keeper.settle(&session).await?;
                let is_stored = is_stored(&keeper, &identity, request.min_lifetime, &clock.now()).await;
                let timeout = if is_stored { READ_TIMEOUT } else { Duration::ZERO };
                let lease = session.token_with(TokenOptions { timeout, force: false, ..request }).await;
                // With `--refresh`, the caller does not want a token that is older than the command.
                let is_new = |lease: &Lease| is_after(&lease.validity().anchored(), &begun);
                let is_rejected = |lease: &Lease| rejected.is_some_and(|old| !lease.generation().supersedes(&old));
                lease.ok().filter(|lease| (!request.force || is_new(lease)) && !is_rejected(lease)).ok_or(error)
            }
            lease => lease,
        };
        let lease = match lease {
            Ok(lease) => lease,
            Err(error) => {
                let remedy = Remedy::of(home, &keeper.store, &identity).await;
                let hint = remedy.hint(&keeper.store, &identity, error.reason()).await;
                let failure = Failure::no_token(error, &keeper.store).with(hint);
                // The error answers the caller's request. If saving failed too, the next command reports that.
                keeper.land(&session).await.ok();
                return Err(failure);
            }
        };
        let ended = session.state().login_required.filter(|reason| *reason != Reason::NotRefreshable);
        if let Some(reason) = ended {
            let _ = writeln!(
                io::stderr(),
                "note: {}\n  this is the last token of the session; the server may refuse it already",
                reason.advice()
            );
        }
        if lease.kind() == TokenKind::Dpop && arguments.exec_credential {
            keeper.land(&session).await?;
            return Err(Failure::Refused(
                "bound_token: the token is bound to a key, and an ExecCredential has no place for its proof: use --headers"
                    .to_owned(),
            ));
        }
        let headers = match lease.kind() {
            TokenKind::Dpop if arguments.headers => {
                Some(proven::headers(&session, &arguments.method, arguments.dpop_nonce.as_deref()).await)
            }
            _ => None,
        };
        // The token is printed before it is known to be saved. If the save fails, the printed token is all that is left.
        let printed = headers.transpose().and_then(|headers| {
            let login_required = ended.is_some();
            print(&lease, &identity, Extras { login_required, headers }, arguments, out)
        });
        let printed = printed.and_then(|()| Ok(out.flush()?));
        // A token that could not be printed is still saved.
        keeper.land(&session).await.and(printed)
    })
}

/// Returns a token that is newer than the `rejected` one, if there is one.
async fn obtain(
    session: &AuthSession,
    request: TokenOptions,
    rejected: Option<Generation>,
) -> Result<Lease, TokenError> {
    let lease = session.token_with(request).await?;
    if rejected.is_none_or(|rejected| lease.generation().supersedes(&rejected)) {
        return Ok(lease);
    }
    // The command knows neither the operation nor the challenge of the request that was refused. Constant keys serve as well,
    // so that the refusal of a token that was just obtained because of a refusal is recognised (law 11).
    session.invalidate(&lease, OperationKey(0), ChallengeKey(0)).await?;
    session.token_with(request).await
}

/// Prints the token that the host of this program hands out.
#[cfg(unix)]
fn from_socket(arguments: &Arguments, clock: &SystemClock, out: &mut impl Write) -> Result<(), Failure> {
    let answer = socket::ask(arguments.min_ttl, arguments.rejected.as_deref(), arguments.timeout)?;
    let expires_at = answer.expires_in.map(|span| when::stamp(clock.now().wall.after(span)));
    let object = json!({
        "access_token": *answer.access_token,
        "token_type": answer.token_type,
        "expires_at": expires_at,
        "generation": answer.generation,
    });
    let shown = Shown { token: &answer.access_token, kind: &answer.token_type, expires_at: expires_at.as_deref() };
    shown.print(&object, arguments, out)?;
    Ok(out.flush()?)
}

/// Reads a generation as `--json` prints it.
fn parse_generation(text: &str) -> Result<Generation, Failure> {
    let parse = || {
        let (epoch, number) = text.split_once('.')?;
        Some(Generation::stored(Epoch::new(epoch.parse().ok()?), number.parse().ok()?))
    };
    parse().ok_or_else(|| {
        Failure::Usage("a generation is two numbers with a full stop between them, such as 1.7".to_owned())
    })
}

/// Whether `moment` is certainly not before `begun`.
fn is_after(moment: &Moment, begun: &Moment) -> bool {
    moment.boot == begun.boot && moment.elapsed >= begun.elapsed
}

/// Whether the home holds a token that lasts for `min_lifetime`, so that no token request is needed.
async fn is_stored(keeper: &Keeper, identity: &ServerIdentity, min_lifetime: Duration, now: &Moment) -> bool {
    let Ok(Some(record)) = keeper.store.inspect(identity).await else { return false };
    let Some(validity) = record.view().lease.map(|lease| lease.validity()) else { return false };
    let need = validity.lifetime().map_or(min_lifetime, |lifetime| min_lifetime.min(lifetime / 4 * 3));
    validity.is_good(Policy::default().safety_margin, now) && validity.outlasts(need, now)
}

/// The values to print that are not part of a lease.
struct Extras {
    login_required: bool,
    /// The headers of a request, if they contain more than the token.
    headers: Option<Value>,
}

fn print(
    lease: &Lease,
    identity: &ServerIdentity,
    Extras { login_required, headers }: Extras,
    arguments: &Arguments,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let token = lease.token().expose();
    let validity = lease.validity();
    let expires_at = validity.lifetime().map(|lifetime| when::stamp(validity.anchored().wall.after(lifetime)));
    let object = json!({
        "access_token": token,
        "token_type": kind(lease.kind()),
        "expires_at": expires_at,
        "scope": lease.scopes().iter().collect::<Vec<_>>().join(" "),
        "server": who::server(identity),
        "account": identity.account().as_str(),
        "login_required": login_required,
        "generation": lease.generation().to_string(),
    });
    if let Some(headers) = headers {
        return Ok(print_json(out, &headers)?);
    }
    Shown { token, kind: kind(lease.kind()), expires_at: expires_at.as_deref() }.print(&object, arguments, out)
}

/// The parts of a token that all output formats have.
struct Shown<'a> {
    token: &'a str,
    kind: &'a str,
    expires_at: Option<&'a str>,
}

impl Shown<'_> {
    /// Prints the token in the format that `arguments` select. `object` is the output of `--json`.
    fn print(&self, object: &Value, arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
        let Self { token, kind, expires_at } = self;
        if arguments.json {
            print_json(out, object)?;
        } else if arguments.headers {
            print_json(out, &json!({ "Authorization": format!("{kind} {token}") }))?;
        } else if arguments.exec_credential {
            let object = json!({
                "apiVersion": exec_version()?,
                "kind": "ExecCredential",
                "status": { "token": token, "expirationTimestamp": expires_at },
            });
            print_json(out, &object)?;
        } else {
            writeln!(out, "{token}")?;
        }
        Ok(())
    }
}

/// The version of the ExecCredential that kubectl asks for. kubectl accepts no other version.
fn exec_version() -> Result<&'static str, Failure> {
    const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
    let info = std::env::var("KUBERNETES_EXEC_INFO").unwrap_or_default();
    if info.trim().is_empty() {
        return Ok(VERSIONS[0]);
    }
    let info: Option<serde_json::Value> = serde_json::from_str(&info).ok();
    let named = info.as_ref().and_then(|info| info.get("apiVersion")?.as_str());
    VERSIONS.into_iter().find(|version| named == Some(version)).ok_or_else(|| {
        let known = VERSIONS.join(" or ");
        Failure::Usage(format!(
            "KUBERNETES_EXEC_INFO asks for no ExecCredential of {known}: check apiVersion in the kubeconfig"
        ))
    })
}

fn kind(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Bearer => "Bearer",
        TokenKind::Dpop => "DPoP",
    }
}
