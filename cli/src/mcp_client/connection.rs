//! Opens MCP clients from a command's arguments, and closes them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokenkeeper::engine::ports::observer::{EffectName, EffectObserver};
use tokenkeeper::engine::values::FlightId;
use tokenkeeper::{AuthSession, CallError, Reason, ServerIdentity, TokenOptions};

use super::{McpClient, RequestFailure};
use crate::failure::Failure;
use crate::home::{HomeArguments, Keeper};
use crate::login::BackgroundLogin;
use crate::remedy::Remedy;
use crate::when;
use crate::who::{Selected, Who};
use crate::wire::http::McpWire;
use crate::wire::options;
use crate::wire::unanswered::Unanswered;

/// The time-out for ending the MCP sessions.
const GOODBYE: Duration = Duration::from_secs(1);

/// The server that is called, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArguments {
    #[command(flatten)]
    pub(crate) who: Who,
    /// Add a header to each request. ${NAME} stands for an environment variable (may be repeated)
    #[arg(long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// Add the headers of this file, one a line, so that other users do not see them among the arguments (may be repeated)
    #[arg(long = "header-file", value_name = "FILE")]
    header_files: Vec<PathBuf>,
    /// Sign in by the browser when a login is required, and go on then
    #[arg(long)]
    login: bool,
    /// How long a request may take, with the wait for a token (a refresh that has begun is waited for longer, and stored)
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = when::parse_span)]
    pub(crate) timeout: Duration,
}

/// A session, and the clients of its server.
pub(crate) struct Connection {
    keeper: Keeper,
    identity: ServerIdentity,
    session: AuthSession,
    pub(crate) clients: Vec<Arc<McpClient>>,
    token_requests: Arc<TokenRequests>,
    timeout: Duration,
    /// The settings of a login. `None` without `--login`.
    login: Option<BackgroundLogin>,
    /// The advice for errors that a person has to resolve.
    remedy: Remedy,
}

impl Connection {
    /// Prepares this many clients, and sends nothing yet.
    pub(crate) async fn new(
        arguments: &ServerArguments,
        selected: Selected,
        home: &HomeArguments,
        transports: usize,
    ) -> Result<Self, Failure> {
        let headers = options::headers(&arguments.headers, &arguments.header_files)?;
        let store = match (&selected, arguments.login) {
            (Selected::Identity(_), true) => home.open()?,
            _ => home.required()?,
        };
        let identity = selected.identity(Some(&store)).await?;
        let token_requests = Arc::new(TokenRequests::default());
        let observer = Arc::clone(&token_requests);
        let remedy = Remedy::of(home, &store, &identity).await;
        let keeper = Keeper::open_with(store, home.providers()?, |builder| builder.observer(observer)).await?;
        let session = keeper.session(identity.clone());
        let client = || {
            let wire = McpWire::new(session.clone(), headers.clone())?.patience(arguments.timeout);
            Ok(Arc::new(McpClient::new(wire)))
        };
        let clients: Result<Vec<_>, Failure> = (0..transports).map(|_| client()).collect();
        Ok(Self {
            keeper,
            session,
            clients: clients?,
            token_requests,
            timeout: arguments.timeout,
            login: arguments.login.then(BackgroundLogin::of_process),
            remedy,
            identity,
        })
    }

    /// Takes a lease, and opens the clients with it. With `--login`, a person is asked once if a login is required.
    pub(crate) async fn open(&mut self) -> Result<(), OpenFailure> {
        let mut login = self.login.take();
        loop {
            match self.opened().await {
                Err(failure) if failure.is_login_required() => match login.take() {
                    Some(login) => {
                        let done = login.sign_in(&self.session, true, &|_| {}).await;
                        done.map_err(|error| {
                            OpenFailure::Command(Failure::not_signed_in(error, &self.identity, &self.keeper.store))
                        })?;
                    }
                    None => return Err(OpenFailure::Request(failure)),
                },
                done => return done.map_err(OpenFailure::Request),
            }
        }
    }

    async fn opened(&self) -> Result<(), RequestFailure> {
        let options = TokenOptions { timeout: self.timeout, ..TokenOptions::default() };
        match self.session.token_with(options).await {
            // Without a login, the server is tried without a token.
            Err(error) if error.reason() != Reason::NeverSignedIn => {
                return Err(Unanswered::Call(Box::new(CallError::Token { error, challenge: None })).into());
            }
            _ => {}
        }
        for client in &self.clients {
            within(self.timeout, client.open()).await?;
        }
        Ok(())
    }

    /// The token requests of this process.
    pub(crate) fn token_requests(&self) -> u64 {
        self.token_requests.0.load(Ordering::Relaxed)
    }

    /// The failure of the command for this reason. `has_effect` states whether repeating the request may do harm.
    pub(crate) async fn failure(&self, failure: RequestFailure, has_effect: bool) -> Failure {
        let hinted = [Reason::NeverSignedIn, Reason::SignOnRequired, Reason::SubjectUnavailable];
        let hint = match hinted.into_iter().find(|reason| failure.reason() == reason.as_str()) {
            Some(reason) => self.remedy.hint(&self.keeper.store, &self.identity, reason).await,
            None => None,
        };
        failure.into_failure(&self.keeper.store, &self.remedy, has_effect).with(hint)
    }

    /// Notifies the server of requests that were given up, ends the MCP sessions, and waits for a refresh in flight, whose
    /// answer may be the only copy of a token.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        let goodbye = async {
            for client in &self.clients {
                client.cancel_abandoned().await;
                client.end_session().await;
            }
        };
        #[expect(clippy::disallowed_methods, reason = "it bounds the end of the command")]
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        self.keeper.land(&self.session).await
    }
}

/// The reason why no client could be opened.
pub(crate) enum OpenFailure {
    Request(RequestFailure),
    /// The command ends for another reason, such as a login that was not made.
    Command(Failure),
}

/// The result of a request that opens or lists, within `span`.
#[expect(clippy::disallowed_methods, reason = "it bounds requests of MCP; a refresh goes on")]
pub(crate) async fn within<T>(
    span: Duration,
    work: impl Future<Output = Result<T, RequestFailure>>,
) -> Result<T, RequestFailure> {
    tokio::time::timeout(span, work).await.unwrap_or(Err(RequestFailure::Silent))
}

/// Counts the token requests.
#[derive(Debug, Default)]
struct TokenRequests(AtomicU64);

impl EffectObserver for TokenRequests {
    fn before(&self, _identity: &ServerIdentity, _flight: FlightId, effect: EffectName) {
        if effect == EffectName::Send {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn after(&self, _identity: &ServerIdentity, _flight: FlightId, _effect: EffectName) {}
}
