//! A session whose tokens are obtained without a person.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::discovery::{AuthorizationServer, DiscoveryError};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::record::{Grant, Record};
use tokenkeeper::http::HttpClient;
use tokenkeeper::issuers::Client;
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::machine::{ExecCommand, MachineGrant, SubjectToken};
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{
    AuthSession, InstallError, LoggedIn, LoginError, LoginSettings, Reason, RuntimeBuilder, ServerIdentity,
    SessionSpec, StoreFault, Target, TokenOptions,
};

use super::client::Named;
use super::report::{self, SignedIn};
use super::{Arguments, discovery, server};
use crate::egress;
use crate::failure::Failure;
use crate::home::{self, HomeArguments, Keeper};
use crate::remedy::Remedy;
use crate::standing::Standing;
use crate::who::IDP;

/// The default wait for the first token.
const TIMEOUT: Duration = Duration::from_secs(45);

/// The options that concern an authorization server. With `--exec` there is none.
const NOT_FOR_COMMANDS: [&str; 5] = ["scopes", "client_id", "client_secret_file", "client_key", "metadata_url"];

/// The options that obtain tokens without a person. At most one is given.
#[derive(Debug, clap::Args)]
#[group(id = "machine", multiple = false, conflicts_with = "client_metadata_url")]
pub(super) struct MachineArguments {
    /// Obtain tokens as the client itself, by its secret or key (client credentials)
    #[arg(long, requires = "client_id")]
    client_credentials: bool,
    /// Obtain tokens with the workload's own token in this file, such as a projected token of Kubernetes (JWT bearer). The file
    /// is read again for each request
    #[arg(long, value_name = "FILE")]
    jwt_bearer: Option<PathBuf>,
    /// Obtain tokens by the session at this identity provider (enterprise-managed authorization). Sign in there first, with
    /// tokenkeeper login idp:URL
    #[arg(long, value_name = "URL", requires = "client_id")]
    idp: Option<String>,
    /// Obtain tokens from the output of this command, which is run without a shell. It comes last, with its arguments
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, conflicts_with_all = NOT_FOR_COMMANDS)]
    exec: Vec<String>,
}

impl MachineArguments {
    /// Whether the tokens are obtained without a person.
    pub(super) fn is_given(&self) -> bool {
        self.client_credentials || self.jwt_bearer.is_some() || self.idp.is_some() || !self.exec.is_empty()
    }

    /// Whether an authorization server issues the tokens.
    fn has_server(&self) -> bool {
        self.exec.is_empty()
    }

    /// The name of the source of these tokens, as records keep it.
    fn source(&self) -> &'static str {
        match self {
            Self { client_credentials: true, .. } => "client_credentials",
            Self { jwt_bearer: Some(_), .. } => "jwt_bearer",
            Self { idp: Some(_), .. } => "id_jag",
            _ => "exec",
        }
    }

    /// The session at the identity provider, with the account of `identity`.
    fn sign_on(&self, identity: &ServerIdentity) -> Result<Option<ServerIdentity>, Failure> {
        let Some(url) = &self.idp else { return Ok(None) };
        let target = Target::idp(url.strip_prefix(IDP).unwrap_or(url));
        let target = target.map_err(|error| Failure::Usage(format!("--idp: {error}")))?;
        Ok(Some(ServerIdentity::new(identity.account().clone(), target)))
    }

    /// The grant, without scopes.
    fn grant(&self, sign_on: Option<ServerIdentity>, client: Option<Client>) -> Result<MachineGrant, Failure> {
        if let [program, arguments @ ..] = &self.exec[..] {
            let command = ExecCommand::new(absolute(program)?);
            return Ok(MachineGrant::command(arguments.iter().fold(command, |command, word| command.argument(word))));
        }
        if let Some(path) = &self.jwt_bearer {
            let is_file = std::fs::metadata(path).map(|metadata| metadata.is_file());
            if !is_file.map_err(|error| Failure::Usage(format!("--jwt-bearer: {}: {error}", path.display())))? {
                let told = "it is no regular file, which could be read again for each request";
                return Err(Failure::Usage(format!("--jwt-bearer: {}: {told}", path.display())));
            }
            // Other processes read the file too, and may have another working directory.
            let grant = MachineGrant::jwt_bearer(SubjectToken::file(std::path::absolute(path)?));
            return Ok(client.into_iter().fold(grant, MachineGrant::client));
        }
        let client = client.ok_or_else(|| Failure::Usage("give the client with --client-id".to_owned()))?;
        Ok(match sign_on {
            Some(sign_on) => MachineGrant::enterprise(sign_on, client),
            None => MachineGrant::client_credentials(client),
        })
    }
}

/// The program of a command. A path with a folder is made absolute, so that it is valid in any working directory. A name is
/// looked up in `PATH`.
fn absolute(program: &str) -> Result<String, Failure> {
    if !program.contains(std::path::MAIN_SEPARATOR) {
        return Ok(program.to_owned());
    }
    let path = std::path::absolute(program)?;
    path.into_os_string().into_string().map_err(|_| Failure::Usage("--exec: the program's path is no text".to_owned()))
}

/// The session that is to be signed in.
struct Opening<'a> {
    arguments: &'a Arguments,
    home: &'a HomeArguments,
    identity: &'a ServerIdentity,
    store: &'a FileStore,
    providers: &'a Providers,
}

/// A failure, with the reason word for programs.
struct Stop(&'static str, Failure);

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self("failed", failure)
    }
}

/// Signs the session in that `arguments` name, and obtains its first token.
pub(super) fn run(arguments: &Arguments, home: &HomeArguments, out: &mut impl Write) -> Result<(), Failure> {
    let selected = arguments.who.select()?;
    let client = arguments.client.read()?;
    if arguments.machine.client_credentials && !client.is_confidential() {
        return Err(Failure::Usage(
            "--client-credentials needs what the client authenticates with: --client-secret-file or --client-key"
                .to_owned(),
        ));
    }
    let (store, providers) = (home.open()?, home.providers()?);
    let clock = Arc::new(SystemClock::new().map_err(io::Error::other)?);
    home::block_on(async {
        let identity = selected.identity(Some(&store)).await?;
        if identity.resource().is_none() {
            return Err(Failure::Usage("these tokens are for an MCP server: give its URL".to_owned()));
        }
        let opening = Opening { arguments, home, identity: &identity, store: &store, providers: &providers };
        let signed_in = opening.sign_in(client, Arc::clone(&clock)).await;
        home::note_put_aside(&store);
        match signed_in {
            Ok(how) => {
                let record = store.inspect(&identity).await.ok().flatten();
                let session = SignedIn::of(record.as_deref(), how);
                session.show(out, &identity, arguments.json, clock.now().wall)
            }
            Err(Stop(reason, failure)) => {
                if arguments.json {
                    report::failed(out, &identity, reason, &failure.to_string())?;
                }
                Err(failure)
            }
        }
    })
}

impl Opening<'_> {
    async fn sign_in(&self, client: Named, clock: Arc<SystemClock>) -> Result<LoggedIn, Stop> {
        let Self { arguments, identity, store, providers, .. } = self;
        // A login replaces a record that cannot be read.
        let record = store.inspect(identity).await.ok().flatten();
        let standing = record.as_deref().map(|record| Standing::of(record, &[], false, self.providers, &clock.now()));
        let living = standing.filter(|standing| !standing.state.needs_login()).and(record.as_deref());
        if let Some(record) = living
            && self.is_kept(record)?
        {
            return Ok(LoggedIn::Already);
        }
        let sign_on = arguments.machine.sign_on(identity)?;
        if let Some(sign_on) = &sign_on {
            self.require_sign_on(sign_on, &clock).await?;
        }
        let http: Arc<dyn HttpClient> = Arc::new(egress::client()?);
        let discovery = discovery(arguments, identity, Arc::clone(&http), Arc::clone(&clock))?;
        let (client, issuer) = if arguments.machine.has_server() {
            let not_found =
                |error: DiscoveryError| Stop(error.reason().as_str(), Failure::not_discovered(error, identity));
            let server: AuthorizationServer =
                server(&discovery, identity, record.as_deref()).await.map_err(not_found)?;
            let client =
                client.client(&server, record.as_deref().and_then(Record::grant).map(|grant| &grant.binding))?;
            (client, Some(server.issuer))
        } else {
            (None, None)
        };
        let grant = arguments.machine.grant(sign_on.clone(), client)?.scopes(arguments.scopes().iter());
        // The grant names the issuer that was checked, so that no other server gets the client's credentials.
        let grant = issuer.into_iter().fold(grant, MachineGrant::issuer);
        let grant = arguments.audience.iter().fold(grant, |grant, audience| grant.parameter("audience", audience));
        // A session whose tokens are bound to a key stays bound.
        let has_bound_token = |grant: &Grant| grant.access.is_some() && grant.dpop_key.is_some();
        let was_bound = living.and_then(Record::grant).is_some_and(has_bound_token);
        let grant = if arguments.dpop || was_bound { grant.dpop() } else { grant };
        let settings = LoginSettings::default().discovery(move |_| Ok(discovery.clone()));
        let configure = |builder: RuntimeBuilder| builder.http(http).clock(clock as _).login(settings);
        let keeper = Keeper::open_with((*store).clone(), (*providers).clone(), configure).await?;
        let session = keeper.session(SessionSpec::from((*identity).clone()).renewal(grant.plan()));
        let obtained = self.obtain(&keeper, &session, &grant, record.is_some() || arguments.dpop).await;
        let former = living.and_then(Record::grant).filter(|grant| grant.access.is_some());
        let former = former.and_then(|grant| MachineGrant::of_plan(&grant.renewal));
        let obtained = match (obtained, former) {
            (Err(Stop(reason, failure)), Some(former)) => {
                Err(Stop(reason, self.put_back(&keeper, &session, &former, failure).await))
            }
            (obtained, _) => obtained,
        };
        // A refresh at the identity provider that is in flight may bring the only copy of its refresh token.
        let settled = match sign_on {
            Some(sign_on) => keeper.settle(&keeper.session(sign_on)).await,
            None => Ok(()),
        };
        let closed = keeper.land(&session).await;
        obtained?;
        settled?;
        closed?;
        Ok(LoggedIn::Here)
    }

    /// Whether the session of `record`, which needs no login, stays unchanged. Otherwise the login replaces it.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] if the session is not the one that the arguments describe, or belongs to a person. Replacing it by
    /// a grant that obtains no token would destroy it.
    fn is_kept(&self, record: &Record) -> Result<bool, Stop> {
        let Self { arguments, identity, .. } = self;
        let Some(stored) = record.grant() else { return Ok(false) };
        let Some(grant) = MachineGrant::of_plan(&stored.renewal) else {
            return Err(Failure::Refused(format!(
                "{identity} is a person's session: tokenkeeper logout ends it, and then these options sign in"
            ))
            .into());
        };
        // A session that never obtained a token is replaced. Its login failed or was killed.
        if arguments.again || stored.access.is_none() {
            return Ok(false);
        }
        let is_bound = stored.dpop_key.is_some();
        let is_client = !arguments.machine.has_server() || arguments.client.id() == stored.binding.client.id;
        if arguments.machine.source() != grant.source().as_str() || !is_client || arguments.dpop && !is_bound {
            return Err(Failure::Refused(format!(
                "{identity} is signed in already, in another way (tokenkeeper status shows it): add --again to replace it"
            ))
            .into());
        }
        Ok(true)
    }

    /// Fails unless there is a session at the identity provider.
    async fn require_sign_on(&self, sign_on: &ServerIdentity, clock: &SystemClock) -> Result<(), Stop> {
        let record = self.store.inspect(sign_on).await.map_err(Failure::from)?;
        let standing = record.as_deref().map(|record| Standing::of(record, &[], false, self.providers, &clock.now()));
        if standing.is_some_and(|standing| !standing.state.needs_login()) {
            return Ok(());
        }
        let told = format!(
            "{}: there is no session at the identity provider that could be drawn from\n  {} --client-id ID signs in \
             there, as the client that is registered there",
            Reason::SignOnRequired,
            self.home.login_command(sign_on)
        );
        Err(Stop(Reason::SignOnRequired.as_str(), Failure::LoginRequired(told)))
    }

    /// Obtains the first token. A session without a record is stored together with its token, so that a grant that obtains no
    /// token stores nothing. With `installs` the grant is stored before, because the key of bound tokens needs a record, or an
    /// existing record is replaced. If no token is obtained, the next login replaces the record.
    async fn obtain(
        &self,
        keeper: &Keeper,
        session: &AuthSession,
        grant: &MachineGrant,
        installs: bool,
    ) -> Result<(), Stop> {
        if installs {
            self.install(keeper, session, grant).await?;
        }
        let options = TokenOptions { timeout: self.arguments.timeout.unwrap_or(TIMEOUT), ..TokenOptions::default() };
        let Err(error) = keeper.unless_interrupted(session.token_with(options)).await? else { return Ok(()) };
        let reason = error.reason();
        let remedy = Remedy::of(self.home, &keeper.store, self.identity).await;
        let hint = remedy.hint(&keeper.store, self.identity, reason).await;
        Err(Stop(reason.as_str(), Failure::no_token(error, &keeper.store).with(hint)))
    }

    /// After a login that failed, stores the grant again that the login had replaced, and adds the result to the failure. The
    /// session's next token is obtained when it is needed.
    async fn put_back(
        &self,
        keeper: &Keeper,
        session: &AuthSession,
        former: &MachineGrant,
        failure: Failure,
    ) -> Failure {
        match self.install(keeper, session, former).await {
            Ok(()) => failure.with(Some("the session is renewed as before this login".to_owned())),
            Err(Stop(_, other)) => failure.with(Some(format!(
                "the session is not renewed as before this login, because that could not be stored: {other}"
            ))),
        }
    }

    async fn install(&self, keeper: &Keeper, session: &AuthSession, grant: &MachineGrant) -> Result<(), Stop> {
        let fault = |error: &LoginError| match error {
            LoginError::Refused(InstallError::StoreTrouble(fault)) => Some(*fault),
            _ => None,
        };
        let installed = keeper.persist(
            async || session.sign_in_as(grant).await,
            |error| fault(error).filter(|fault| *fault != StoreFault::TimedOut),
        );
        installed.await?.map_err(|error| match error {
            LoginError::Discovery(error) => {
                Stop(error.reason().as_str(), Failure::not_discovered(error, self.identity))
            }
            error => Stop("failed", Failure::not_installed(error, &keeper.store)),
        })
    }
}
