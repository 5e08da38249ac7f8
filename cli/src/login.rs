//! `tokenkeeper login`: signs a person in.

mod asking;
mod background;
mod browser;
mod client;
mod door;
mod machine;
mod report;
mod surroundings;

use std::env;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::discovery::{AuthorizationServer, Discovered, Discovery, DiscoveryError, Freshness};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::record::Record;
use tokenkeeper::http::{HttpClient, Reach};
use tokenkeeper::issuers::providers::{ProviderFacts, Providers};
use tokenkeeper::registration::Clients;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Dpop, LogIn, LoginLimits, LoginSettings, RuntimeBuilder, Scopes, ServerIdentity, Target, Way};

use crate::egress;
use crate::failure::Failure;
use crate::home::{self, HomeArguments, Keeper};
use crate::providers;
use crate::standing::{Standing, State};
use crate::when;
use crate::who::{Selected, Who};
use asking::{Asking, Stop};
pub(crate) use background::BackgroundLogin;
use browser::Browser;
use client::{ClientArguments, Named};
use door::{Door, Lines};
use machine::MachineArguments;
use report::SignedIn;
use surroundings::{Surroundings, Wanted};

/// The default time in which a person has to answer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The time in addition to the person's, in which the request is prepared and the end of the prompt is stored.
const GRACE: Duration = Duration::from_secs(45);

/// Signs in to an MCP server, and stores the session
///
/// Finds the authorization server, registers this command there if need be, and asks you to sign in on a page in
/// your browser. Without a browser (over SSH, in a container, without a screen) it shows a code for another device
/// where the server offers that, and else an address to open elsewhere. The answer arrives by itself, or you paste
/// the address that the browser ends at.
///
/// The home is made if there is none. However many commands ask at the same time, you are asked once. A session
/// that is signed in is left as it is, unless you ask to sign in again. Its tokens are then served until the new ones
/// are stored. Ctrl-C cancels the login, and changes nothing.
///
/// With --client-credentials, --jwt-bearer, --idp or --exec no person is asked. The session keeps what its tokens
/// are obtained with, sealed, and every command obtains them from then on. A sign-in at an identity provider, from
/// which the sessions of many servers draw, is that of idp: and its issuer.
///
/// api: and the name of a provider, such as api:github, signs in to the API of that provider, which is no MCP server.
/// It needs --client-id with a client that is registered there (docs/providers.md has the providers).
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    who: Who,
    /// Ask for these scopes, separated by spaces, in place of those of the session (may be repeated; by default those of the
    /// session, or else the server chooses)
    #[arg(long = "scope", value_name = "SCOPES")]
    scopes: Vec<String>,
    /// Show a code that you enter on another device
    #[arg(long, conflicts_with_all = ["machine", "paste", "browser", "callback_port"])]
    device: bool,
    /// Read the answer from standard input, and wait for none from the browser
    #[arg(long, conflicts_with_all = ["machine", "browser"])]
    paste: bool,
    /// Open the page with this command. It is split into words without a shell, and %s is replaced by the address, which is
    /// else added at the end [default: $BROWSER, a list of such commands with colons between them, or the system's opener]
    #[arg(long, value_name = "CMD", conflicts_with = "machine")]
    browser: Option<String>,
    /// Open no browser, and show the address only
    #[arg(long, conflicts_with_all = ["machine", "browser", "device"])]
    no_browser: bool,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    machine: MachineArguments,
    /// The audience to ask a token for, where the authorization server wants one beside the resource
    #[arg(long, value_name = "AUDIENCE", requires = "machine", conflicts_with_all = ["idp", "exec"])]
    audience: Option<String>,
    /// Obtain tokens that are bound to a key of the session, and no others (DPoP)
    #[arg(long, conflicts_with = "exec")]
    dpop: bool,
    /// Wait for the browser's answer at this port, for a client that is registered with it (by default any free port)
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "machine")]
    callback_port: Option<u16>,
    /// The authorization server's metadata, for a server that does not publish where it is
    #[arg(long, value_name = "URL")]
    metadata_url: Option<String>,
    /// Sign in although the session is signed in
    #[arg(long)]
    again: bool,
    /// Sign in again, and let another user than the one who is signed in replace the session (on a terminal, you are asked
    /// otherwise)
    #[arg(long, conflicts_with = "machine")]
    as_another: bool,
    /// How long you have to answer, such as 5m [default: 10m], or how long to wait for a token without a person [default: 45s]
    #[arg(long, value_name = "SPAN", value_parser = when::parse_span)]
    timeout: Option<Duration>,
    /// Print one JSON object a line, for each event (see below)
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  tokenkeeper login https://mcp.example.com/mcp
  tokenkeeper login https://mcp.example.com/mcp --account work --scope 'files:read files:write'
  tokenkeeper login https://mcp.example.com/mcp --client-id my-app --client-secret-file secret.txt
  tokenkeeper login https://mcp.example.com/mcp --client-credentials --client-id robot --client-secret-file secret.txt
  tokenkeeper login https://mcp.example.com/mcp --jwt-bearer /var/run/secrets/tokens/mcp
  tokenkeeper login idp:https://idp.example.com --client-id desktop
  tokenkeeper login api:github --client-id app --client-secret-file secret.txt --scope repo
  tokenkeeper login https://mcp.example.com/mcp --idp https://idp.example.com --client-id app --client-secret-file secret.txt
  tokenkeeper login https://mcp.example.com/mcp --exec gcloud auth print-identity-token
  BROWSER='firefox --new-window %s' tokenkeeper login https://mcp.example.com/mcp

Events with --json:
  prompt     you are asked: server, account, way (page or device), url, complete_url, user_code, takes_paste,
             expires_at
  signed_in  the session is stored: server, account, issuer, subject, scopes, generation, expires_at, renewal (what
             the next token is obtained with, or null), dpop (whether the tokens are bound to a key), how (here,
             elsewhere, or already)
  failed     no session was stored: server, account, reason, advice

Exit codes:
  0  signed in
  1  failed: it was cancelled, or could not be done
  2  usage: an argument, or what came on standard input, is not acceptable
  3  login required: the session was logged out meanwhile, or there is none at the identity provider
  4  refused: by you, by the server, or because it would do harm
  5  temporarily unavailable: it was not answered in time, or a server cannot be reached
  6  store trouble: the home cannot be read or written";

impl Arguments {
    /// The way in which the person wants to be asked.
    fn wanted(&self) -> Wanted {
        if self.device {
            Wanted::Device
        } else if self.paste {
            Wanted::Paste
        } else if self.browser.is_some() || self.no_browser || self.callback_port.is_some() {
            Wanted::Page
        } else {
            Wanted::Best
        }
    }

    /// The browser to open, if any.
    fn chosen_browser(&self, place: Surroundings) -> Result<Option<Browser>, Failure> {
        if let Some(command) = &self.browser {
            return Browser::named(command).map(Some).map_err(|why| Failure::Usage(format!("--browser: {why}")));
        }
        if self.no_browser || self.paste || !place.has_browser() {
            return Ok(None);
        }
        let listed = env::var("BROWSER").ok().and_then(|variable| Browser::listed(&variable));
        Ok(Some(listed.unwrap_or_else(Browser::of_system)))
    }

    /// The scopes to ask for.
    fn scopes(&self) -> Scopes {
        Scopes::new(self.scopes.iter().flat_map(|scopes| scopes.split_ascii_whitespace()))
    }

    /// The time in which the person has to answer.
    fn patience(&self) -> Duration {
        self.timeout.unwrap_or(PATIENCE)
    }

    fn request(&self, way: Way, asks_again: bool) -> LogIn {
        let timeout = self.patience().saturating_add(GRACE);
        let request = LogIn::new().scopes(self.scopes()).way(way).timeout(timeout);
        let request = if asks_again { request.again() } else { request };
        let request = if self.as_another { request.allow_another_subject() } else { request };
        match self.callback_port {
            Some(port) => request.port(port),
            None => request,
        }
    }
}

/// Signs in to the server that `arguments` name.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    if arguments.machine.is_given() {
        return machine::run(arguments, home, out);
    }
    let place = Surroundings::of_process();
    let browser = arguments.chosen_browser(place)?;
    let selected = arguments.who.select()?;
    let client = arguments.client.read()?;
    let store = match &selected {
        Selected::Identity(_) => home.open()?,
        // Only a home that exists has names.
        Selected::Name(_) => home.required()?,
    };
    let providers = home.providers()?;
    let clock = Arc::new(SystemClock::new().map_err(io::Error::other)?);
    home::block_on(async {
        let identity = selected.identity(Some(&store)).await?;
        let login = Attempt { arguments, identity: &identity, store: &store, providers: &providers };
        let http: Arc<dyn HttpClient> = Arc::new(egress::client()?);
        let discovery = discovery(arguments, &identity, Arc::clone(&http), Arc::clone(&clock))?;
        let prepared = login.prepare(place, client, &discovery, &*clock).await;
        let (clients, requests) = match prepared {
            Ok(prepared) => prepared,
            Err(stop) => return login.stopped(stop, out),
        };
        let dpop = if arguments.dpop { Dpop::Required } else { Dpop::default() };
        let settings = LoginSettings::default().clients(clients).hint_account().dpop(dpop);
        let settings = settings.discovery(move |_| Ok(discovery.clone()));
        let limits = LoginLimits { prompt: arguments.patience(), ..LoginLimits::default() };
        let configure = |builder: RuntimeBuilder| {
            builder.http(http).clock(Arc::clone(&clock) as _).login(settings).login_limits(limits)
        };
        let keeper = Keeper::open_with(store.clone(), providers.clone(), configure).await?;
        let session = keeper.session(identity.clone());
        let lines = (arguments.paste || place.takes_lines).then(Lines::of_stdin);
        let (door, news) = Door::new(browser, lines, place.is_remote);
        let done = Asking::new(&session, &door, news, arguments.json, out).by_any_of(requests).await;
        let record = store.inspect(&identity).await.ok().flatten();
        let closed = keeper.close().await;
        home::note_put_aside(&store);
        match done {
            Ok(how) => closed.and_then(|()| login.signed_in(&SignedIn::of(record.as_deref(), how), &*clock, out)),
            Err(stop) => login.stopped(stop, out),
        }
    })
}

/// A run of the command, with its preparation and its reports.
struct Attempt<'a> {
    arguments: &'a Arguments,
    identity: &'a ServerIdentity,
    store: &'a FileStore,
    providers: &'a Providers,
}

impl Attempt<'_> {
    /// Chooses the clients, and the requests to try. The authorization server is discovered first only if the choice depends on
    /// it, and if a person is to be asked.
    async fn prepare(
        &self,
        place: Surroundings,
        client: Named,
        discovery: &Discovery,
        clock: &dyn Clock,
    ) -> Result<(Clients, Vec<LogIn>), Stop> {
        // A login replaces a record that cannot be read.
        let record = self.store.inspect(self.identity).await.ok().flatten();
        let state =
            record.as_deref().map(|record| Standing::of(record, &[], false, self.providers, &clock.now()).state);
        let is_signed_in = state.is_some_and(|state| !state.needs_login());
        // A session that the server has ended may still have a token. Without this, it would count as signed in.
        let asks_again = self.arguments.again || self.arguments.as_another || state == Some(State::Ending);
        let wanted = self.arguments.wanted();
        let is_api = matches!(self.identity.target(), Target::Api { .. });
        let is_needed = is_api || client.asks_server() || place.asks_server(wanted);
        let server = if is_needed && (!is_signed_in || asks_again) {
            Some(self.server(discovery, record.as_deref()).await?)
        } else {
            None
        };
        let bound = record.as_deref().and_then(Record::grant).map(|grant| &grant.binding);
        let clients = client.clients(server.as_ref(), bound).map_err(Stop::Command)?;
        let offers_devices = server.is_some_and(|server| server.device_endpoint.is_some());
        let ways = place.ways(wanted, offers_devices).into_iter();
        Ok((clients, ways.map(|way| self.arguments.request(way, asks_again)).collect()))
    }

    /// The authorization server, as the login itself finds it.
    async fn server(&self, discovery: &Discovery, record: Option<&Record>) -> Result<AuthorizationServer, Stop> {
        let Target::Api { provider } = self.identity.target() else {
            return server(discovery, self.identity, record).await.map_err(Stop::Discovery);
        };
        let facts = self.providers.named(provider.as_str());
        if let Some(server) = facts.and_then(ProviderFacts::authorization_server) {
            return Ok(server);
        }
        match facts.and_then(|facts| facts.issuer.as_deref()) {
            Some(issuer) => {
                discovery.server(issuer, Reach::Any).await.map(Arc::unwrap_or_clone).map_err(Stop::Discovery)
            }
            None => Err(Stop::Command(providers::no_login(self.providers, provider.as_str()))),
        }
    }

    fn signed_in(&self, session: &SignedIn, clock: &dyn Clock, out: &mut impl Write) -> Result<(), Failure> {
        session.show(out, self.identity, self.arguments.json, clock.now().wall)
    }

    fn stopped(&self, stop: Stop, out: &mut impl Write) -> Result<(), Failure> {
        let reason = stop.reason();
        let failure = stop.into_failure(self.identity, self.store);
        if self.arguments.json {
            report::failed(out, self.identity, reason, &failure.to_string())?;
        }
        Err(failure)
    }
}

/// The look-ups of the login, which share what they have found.
fn discovery(
    arguments: &Arguments,
    identity: &ServerIdentity,
    http: Arc<dyn HttpClient>,
    clock: Arc<SystemClock>,
) -> Result<Discovery, Failure> {
    let discovery = Discovery::new(http, clock);
    match (&arguments.metadata_url, identity.resource()) {
        (Some(url), Some(resource)) => {
            let usage = |error: DiscoveryError| Failure::Usage(format!("--metadata-url: {error}"));
            discovery.metadata_url(resource.clone(), url).map_err(usage)
        }
        _ => Ok(discovery),
    }
}

/// Finds the authorization server, as the login itself does.
async fn server(
    discovery: &Discovery,
    identity: &ServerIdentity,
    record: Option<&Record>,
) -> Result<AuthorizationServer, DiscoveryError> {
    if let Target::Idp { issuer } = identity.target() {
        // The identity names the issuer. The login itself looks it up in the same way.
        return discovery.server(issuer.as_str(), Reach::Any).await.map(Arc::unwrap_or_clone);
    }
    let bound = record.and_then(Record::grant).map(|grant| grant.binding.issuer.0.as_str());
    discover(discovery, identity, bound).await.map(|found| found.server)
}

/// Finds the authorization server of the MCP server of `identity`, which is the one with the issuer `bound` as long as the MCP
/// server lists it.
pub(crate) async fn discover(
    discovery: &Discovery,
    identity: &ServerIdentity,
    bound: Option<&str>,
) -> Result<Discovered, DiscoveryError> {
    let Some(resource) = identity.resource() else { return Err(DiscoveryError::NoAuthorizationServer) };
    let probe = discovery.probe(resource).await?;
    discovery.authorization_server(resource, probe.challenge(), bound, Freshness::RetryFailure).await
}
