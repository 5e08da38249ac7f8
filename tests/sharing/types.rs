//! Every public type is `Send`, and all but those that one task owns are `Sync`.

use tokenkeeper::stores::file::{FileStore, FileStoreBuilder};

/// May be used by several threads at a time, and go to another one.
fn shared<T: Send + Sync + 'static + ?Sized>() {}

/// May go to another thread. One task uses it at a time.
fn owned<T: Send + 'static + ?Sized>() {}

#[test]
fn handles_are_shared_between_threads() {
    shared::<tokenkeeper::AuthRuntime>();
    shared::<tokenkeeper::RuntimeBuilder>();
    shared::<tokenkeeper::AuthSession>();
    shared::<tokenkeeper::Call>();
    shared::<tokenkeeper::Authorization>();
    shared::<tokenkeeper::StepUp>();
    shared::<tokenkeeper::EventStream>();
    shared::<tokenkeeper::StateWatch>();
    shared::<dyn tokenkeeper::Interaction>();
    shared::<tokenkeeper::actor::AuthSpec>();
    shared::<tokenkeeper::actor::AuthMessage>();
    shared::<tokenkeeper::callback::LoopbackListener>();
    shared::<tokenkeeper::callback::Received>();
    shared::<tokenkeeper::child::ChildGrant>();
    shared::<tokenkeeper::discovery::Discovery>();
    shared::<tokenkeeper::grant::RefreshGrant>();
    shared::<dyn tokenkeeper::http::HttpClient>();
    owned::<dyn tokenkeeper::http::HttpConnection>();
    shared::<tokenkeeper::http::ReqwestClient>();
    shared::<tokenkeeper::stores::memory::MemoryStore>();
    shared::<FileStore>();
    shared::<FileStoreBuilder>();
}

#[test]
fn values_are_shared_between_threads() {
    shared::<tokenkeeper::AccessToken>();
    shared::<tokenkeeper::Account>();
    shared::<tokenkeeper::AttemptId>();
    shared::<tokenkeeper::AuthEvent>();
    shared::<tokenkeeper::BrowserBinding>();
    shared::<tokenkeeper::BuildError>();
    shared::<tokenkeeper::CallError>();
    shared::<tokenkeeper::Callback>();
    shared::<tokenkeeper::ChallengeKey>();
    shared::<tokenkeeper::ClientSecret>();
    shared::<tokenkeeper::ClockSkew>();
    shared::<tokenkeeper::ConfigureError>();
    shared::<tokenkeeper::Destination>();
    shared::<tokenkeeper::Dpop>();
    shared::<tokenkeeper::DpopKey>();
    shared::<tokenkeeper::EventKind>();
    shared::<tokenkeeper::Generation>();
    shared::<tokenkeeper::IdentityError>();
    shared::<tokenkeeper::IdpIssuer>();
    shared::<tokenkeeper::InstallError>();
    shared::<tokenkeeper::InteractionError>();
    shared::<tokenkeeper::IssuerPolicy>();
    shared::<tokenkeeper::Lease>();
    shared::<tokenkeeper::LogIn>();
    shared::<tokenkeeper::LoggedIn>();
    shared::<tokenkeeper::LoggedOut>();
    shared::<tokenkeeper::Login>();
    shared::<tokenkeeper::LoginCause>();
    shared::<tokenkeeper::LoginError>();
    shared::<tokenkeeper::LoginKey>();
    shared::<tokenkeeper::LoginLimits>();
    shared::<tokenkeeper::LoginMethod>();
    shared::<tokenkeeper::LoginOffer>();
    shared::<tokenkeeper::LoginProgress>();
    shared::<tokenkeeper::LoginReason>();
    shared::<tokenkeeper::LoginSettings>();
    shared::<tokenkeeper::LoginUrl>();
    shared::<tokenkeeper::LoginWish>();
    shared::<tokenkeeper::LogoutError>();
    shared::<tokenkeeper::Misdirected>();
    shared::<tokenkeeper::NameError>();
    shared::<tokenkeeper::Next>();
    shared::<tokenkeeper::OfferedPrompt>();
    shared::<tokenkeeper::OperationKey>();
    shared::<tokenkeeper::Policy>();
    shared::<tokenkeeper::Prompt>();
    shared::<tokenkeeper::ProofError>();
    shared::<tokenkeeper::Provider>();
    shared::<tokenkeeper::ProviderName>();
    shared::<tokenkeeper::Reason>();
    shared::<tokenkeeper::RefreshPolicy>();
    shared::<tokenkeeper::RefreshToken>();
    shared::<tokenkeeper::RenewalPlan>();
    shared::<tokenkeeper::ResourceError>();
    shared::<tokenkeeper::ResourceUri>();
    shared::<tokenkeeper::RevocationOutcome>();
    shared::<tokenkeeper::Scopes>();
    shared::<tokenkeeper::ServerIdentity>();
    shared::<tokenkeeper::SessionSpec>();
    shared::<tokenkeeper::SessionState>();
    shared::<tokenkeeper::ShutdownReport>();
    shared::<tokenkeeper::SignInError>();
    shared::<tokenkeeper::SourceName>();
    shared::<tokenkeeper::SourceSettings>();
    shared::<tokenkeeper::Spending>();
    shared::<tokenkeeper::Step>();
    shared::<tokenkeeper::StoreFault>();
    shared::<tokenkeeper::StoreTimeouts>();
    shared::<tokenkeeper::Target>();
    shared::<tokenkeeper::TokenError>();
    shared::<tokenkeeper::TokenKind>();
    shared::<tokenkeeper::TokenOptions>();
    shared::<tokenkeeper::Unsaved>();
    shared::<tokenkeeper::Validity>();
    shared::<tokenkeeper::Way>();
    shared::<tokenkeeper::actor::Refusal>();
    shared::<tokenkeeper::actor::RefusalAnswer>();
    shared::<tokenkeeper::actor::StateChange>();
    shared::<tokenkeeper::callback::CallbackError>();
    shared::<tokenkeeper::callback::HostForm>();
    shared::<tokenkeeper::callback::ListenError>();
    shared::<tokenkeeper::callback::LoopbackOptions>();
    shared::<tokenkeeper::callback::Outcome>();
    shared::<tokenkeeper::callback::Parameters>();
    shared::<tokenkeeper::child::HandOff>();
    shared::<tokenkeeper::discovery::AuthorizationServer>();
    shared::<tokenkeeper::discovery::Challenge>();
    shared::<tokenkeeper::discovery::Discovered>();
    shared::<tokenkeeper::discovery::DiscoveryError>();
    shared::<tokenkeeper::discovery::Freshness>();
    shared::<tokenkeeper::discovery::Probe>();
    shared::<tokenkeeper::discovery::ProtectedResource>();
    shared::<tokenkeeper::grant::AssertionAudience>();
    shared::<tokenkeeper::grant::BodyFormat>();
    shared::<tokenkeeper::grant::ClientKey>();
    shared::<tokenkeeper::grant::ClientKeyError>();
    shared::<tokenkeeper::grant::Dialect>();
    shared::<tokenkeeper::grant::ResourceOnRefresh>();
    shared::<tokenkeeper::grant::ScopeOnRefresh>();
    shared::<tokenkeeper::http::Body>();
    shared::<tokenkeeper::http::Departure>();
    shared::<tokenkeeper::http::Egress>();
    shared::<tokenkeeper::http::Exchange>();
    shared::<tokenkeeper::http::HttpError>();
    shared::<tokenkeeper::http::MaybeSent>();
    shared::<tokenkeeper::http::NotSent>();
    shared::<tokenkeeper::http::Reach>();
    shared::<tokenkeeper::http::ReqwestBuildError>();
    shared::<tokenkeeper::http::UnsafeUrl>();
    shared::<tokenkeeper::issuers::Client>();
    shared::<tokenkeeper::issuers::Dialect>();
    shared::<tokenkeeper::issuers::IssuerSettings>();
    shared::<tokenkeeper::issuers::ResourceOnRefresh>();
    shared::<tokenkeeper::issuers::ScopeOnRefresh>();
    shared::<tokenkeeper::issuers::providers::ProviderFacts>();
    shared::<tokenkeeper::machine::ExecCommand>();
    shared::<tokenkeeper::machine::MachineGrant>();
    shared::<tokenkeeper::machine::SubjectToken>();
    shared::<tokenkeeper::machine::TokenType>();
    shared::<tokenkeeper::registration::ClientInformation>();
    shared::<tokenkeeper::registration::Clients>();
    shared::<tokenkeeper::registration::DocumentUrlError>();
    shared::<tokenkeeper::registration::DynamicClient>();
    shared::<tokenkeeper::registration::MetadataDocument>();
    shared::<tokenkeeper::registration::Refusal>();
    shared::<tokenkeeper::registration::RegistrationAnswer>();
    shared::<tokenkeeper::registration::RegistrationError>();
    shared::<tokenkeeper::registration::Sharing>();
    shared::<tokenkeeper::registration::Unfit>();
}
