//! `tokenkeeper doctor`: explains what a login at a server would meet.
//!
//! [`walk`] sends the requests of a login up to the metadata, and records them. The judgement of the answers is pure.

mod endpoints;
mod environment;
mod finding;
mod metadata;
mod network;
mod offers;
mod probe;
mod recorder;
mod resource;
mod server;
mod session;
mod show;
mod transport;
mod walk;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::discovery::Probe;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::http::HttpClient;
use tokenkeeper::{ResourceUri, ServerIdentity};

use crate::egress;
use crate::failure::Failure;
use crate::home::{self, HomeArguments};
use crate::paint::{print, print_json};
use crate::who::Who;
use crate::{when, who};

use environment::Environment;
use finding::Step;
use offers::{NamedClients, ScopeSources};
use recorder::Recorder;
use server::Described;
use session::Stored;
use show::Outcome;
use walk::{Walked, WalkedServer, Walker};

/// Explains what a login at a server would meet, request by request, and whose fault a problem is
///
/// Asks the server without a token, finds its metadata and that of its authorization servers, and checks
/// them as a login does. It goes on past a problem where there is more to see. Nothing is stored, no person
/// is asked, no client is registered, and no token or secret is sent.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    who: Who,
    /// Send an empty request to the token endpoint too, which a working one refuses
    #[arg(long)]
    probe_token: bool,
    /// The client that you were given, where the authorization server registers none
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The URL of your client ID metadata document
    #[arg(long, value_name = "URL", conflicts_with = "client_id")]
    client_metadata_url: Option<String>,
    /// The URL of the authorization server's metadata, where the MCP server has none that names it
    #[arg(long, value_name = "URL")]
    metadata_url: Option<String>,
    /// The longest that one request may take (10s at most)
    #[arg(long, value_name = "SPAN", default_value = "8s", value_parser = when::parse_span)]
    timeout: Duration,
    /// Print one JSON object: server, account, login_possible, steps with their requests, and
    /// findings with step, code, level (ok, note, problem), may_pass, blame (resource,
    /// authorization_server, network, machine, you), seen, rule and advice
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Marks:
  ✓  as the specifications demand
  !  worth knowing; it prevents no login
  ✗  prevents a login

Exit codes:
  0  nothing that was seen prevents a login
  1  failed: what was asked for could not be done
  2  usage: an argument is not acceptable
  4  something prevents a login until the party that is named remedies it
  5  unreachable, or a trouble that may pass: trying again may help
  6  store trouble: the home cannot be read";

/// Examines the server that `arguments` name.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let selected = arguments.who.select()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().map_err(io::Error::other)?);
    let providers = home.providers()?;
    // A home that cannot be read is a finding, unless it is needed for the session's name.
    let (store, trouble) = match (home.open_existing(), &selected) {
        (Ok(store), _) => (store, None),
        (Err(failure), who::Selected::Name(_)) => return Err(failure),
        (Err(failure), who::Selected::Identity(_)) => (None, Some(failure.to_string())),
    };
    let (identity, steps) = home::block_on(async {
        let identity = selected.identity(store.as_ref()).await?;
        let stored = match (&store, trouble) {
            (_, Some(trouble)) => Err(trouble),
            (Some(store), None) => session::read(store, &identity, &providers, &clock.now()).await,
            (None, None) => Ok(None),
        };
        let steps = examine(arguments, &identity, stored, clock).await?;
        Ok((identity, steps))
    })?;
    let server = identity.to_string();
    if arguments.json {
        let url = identity.resource().map(ToString::to_string).unwrap_or_default();
        print_json(out, &show::object(&url, identity.account().as_str(), &steps))?;
    } else {
        print(out, &show::text(&server, &steps))?;
    }
    match Outcome::of(&steps) {
        Outcome::LoginPossible if arguments.json => Ok(()),
        Outcome::LoginPossible => Ok(writeln!(out, "\nnothing that was seen prevents a login")?),
        Outcome::Prevented(words) => Err(Failure::Refused(words)),
        Outcome::Unavailable(words) => Err(Failure::Unavailable(words)),
    }
}

async fn examine(
    arguments: &Arguments,
    identity: &ServerIdentity,
    stored: Result<Option<Stored>, String>,
    clock: Arc<dyn Clock>,
) -> Result<Vec<Step>, Failure> {
    let Some(resource) = identity.resource() else {
        return Err(Failure::Usage("only an MCP server can be examined: give its URL".to_owned()));
    };
    let environment = Environment::of_process();
    let mut of_machine = environment.findings();
    let client: Option<Arc<dyn HttpClient>> = match egress::client_over(egress::proxy_of_environment()?) {
        Ok(client) => Some(Arc::new(client)),
        Err(error) => {
            of_machine.push(environment::without_client(&error));
            None
        }
    };
    let mut steps = vec![Step::new("environment", "This machine", Vec::new(), of_machine)];
    let Some(client) = client else { return Ok(steps) };
    let recorder = Arc::new(Recorder::new(client, Arc::clone(&clock), arguments.timeout));
    let walker = Walker::new(recorder, Arc::clone(&clock), environment.clone());
    let bound = stored.as_ref().ok().and_then(Option::as_ref).and_then(Stored::issuer).map(str::to_owned);
    let walked = walker.walk(resource, arguments.metadata_url.as_deref(), bound.as_deref()).await;
    let walked = walked.map_err(|error| Failure::Usage(error.to_string()))?;
    let reach = walked.reach;
    let listed = walked.listed.clone();
    let scopes = scope_sources(&walked);
    let now = clock.now().wall;
    let (judged, chosen) = judge(resource, walked, bound.as_deref(), environment.unused_proxy(), now);
    steps.extend(judged);
    if let Some(Chosen { described: chosen, is_usable }) = &chosen {
        let document = arguments.client_metadata_url.as_deref();
        let clients = NamedClients { id: arguments.client_id.as_deref(), document };
        let title = match is_usable {
            true => "What a login would use",
            false => "What a login could use, were it not for the problems above",
        };
        steps.push(Step::new("login", title, Vec::new(), offers::judge(chosen, clients, &scopes)));
        let hosts = endpoints::look_up(chosen, reach).await;
        steps.extend(endpoints::judge(&hosts, reach, environment.unused_proxy()));
        let endpoint = chosen.text("token_endpoint").filter(|_| arguments.probe_token);
        if let Some(endpoint) = endpoint.filter(|endpoint| server::why_unsafe(endpoint, reach).is_none())
            && let Some(looked) = walker.try_token_endpoint(endpoint, reach).await
        {
            steps.push(endpoints::judge_trial(looked, environment.unused_proxy()));
        }
    }
    steps.push(session::judge(stored, &listed, clock.now().wall));
    Ok(steps)
}

/// The scopes that a login would choose from.
fn scope_sources(walked: &Walked) -> ScopeSources {
    let owned = |scopes: tokenkeeper::Scopes| scopes.iter().map(str::to_owned).collect();
    let challenge = walked.probe.result.as_ref().ok().and_then(Probe::challenge);
    let looked = [&walked.named, &walked.well_known].into_iter().flatten();
    let published = looked.filter_map(|looked| looked.result.as_ref().ok()).next();
    ScopeSources {
        challenged: challenge.and_then(|challenge| challenge.scopes()).map(owned).unwrap_or_default(),
        resource: published.and_then(|published| published.scopes.clone()).map(owned).unwrap_or_default(),
    }
}

/// The authorization server that is examined in detail.
#[derive(Debug)]
struct Chosen {
    described: Described,
    /// Whether a login would use it.
    is_usable: bool,
}

/// The steps of the walk, and the authorization server that a login would use. If no server can be used, it is the first one
/// about which anything is known. `bound` is the issuer of the stored session, which a login uses as long as it is listed
/// (law 13).
fn judge(
    resource: &ResourceUri,
    mut walked: Walked,
    bound: Option<&str>,
    unused_proxy: Option<&str>,
    now: WallTime,
) -> (Vec<Step>, Option<Chosen>) {
    let is_published = [&walked.named, &walked.well_known].into_iter().flatten().any(|looked| looked.result.is_ok());
    let is_described =
        |server: &WalkedServer| server.looked.result.as_ref().is_ok_and(|found| found.document_url.is_some());
    let has_metadata = is_published || walked.servers.iter().any(is_described);
    let of_resource = resource::judge(resource, &mut walked, unused_proxy);
    let mut steps = vec![probe::judge(walked.probe, has_metadata, unused_proxy, now)];
    steps.extend(of_resource);
    let bound = bound.filter(|bound| walked.servers.iter().any(|server| server.listed() == Some(bound)));
    let (mut chosen, mut fallback) = (None, None);
    let mut of_servers = Vec::new();
    for server in walked.servers {
        let is_eligible = bound.is_none() || server.listed() == bound;
        let is_usable = is_eligible && server.usable().is_some();
        let (step, described) = server::judge(server, walked.reach, unused_proxy);
        of_servers.push(step);
        let place = if is_usable { &mut chosen } else { &mut fallback };
        *place = place.take().or(described);
    }
    if chosen.is_some() {
        // One server is enough, so problems of the others prevent nothing.
        of_servers.iter_mut().for_each(Step::soften);
    }
    steps.extend(of_servers);
    let chosen = chosen.map(|described| Chosen { described, is_usable: true });
    (steps, chosen.or(fallback.map(|described| Chosen { described, is_usable: false })))
}
