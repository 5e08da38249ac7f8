//! The outcome of a first login at a server with each of its flaws.

use std::time::Duration;

use tokenkeeper::{LoginCause, LoginReason};
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer, LoginServerBuilder};

use crate::rig::*;

/// The outcome of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The person signs in, and the token is good at the resource.
    SignedIn,
    /// No person is asked, for this reason.
    Unasked(LoginReason),
    /// The person has answered, and no code is sent for this reason.
    Unused(LoginReason),
    /// The code is sent, and there is no login for this reason.
    Refused(LoginReason),
    /// The page shows an error and never calls back.
    Stuck,
    /// The answer belongs to no login. The wait goes on.
    Foreign,
}

fn outcome(flaw: Flaw) -> Outcome {
    use LoginReason::{
        IssuerMismatch, MetadataUnusable, NoAuthorizationServer, NoClient, NoPkce, RegistrationRefused,
        ResourceMismatch, ServerTrouble, Unreachable, UnsafeAddress, WrongIssuer,
    };
    use Outcome::{Foreign, Refused, SignedIn, Stuck, Unasked, Unused};
    match flaw {
        // The resource.
        Flaw::NoResourceMetadata | Flaw::EmptyIssuerList => Unasked(NoAuthorizationServer),
        Flaw::ResourceOtherOrigin | Flaw::ResourcePrefix => Unasked(ResourceMismatch),
        Flaw::NoChallenge | Flaw::ChallengeWithoutBearer | Flaw::MalformedChallenge | Flaw::SeveralChallenges => {
            SignedIn
        }
        // They show after the login.
        Flaw::RefusesTokens | Flaw::NeverEnoughScope | Flaw::ForbiddenWithoutChallenge => SignedIn,
        // The metadata.
        Flaw::WrongIssuer | Flaw::IssuerTrailingSlash => Unasked(IssuerMismatch),
        Flaw::NoPkceList | Flaw::PlainPkceOnly => Unasked(NoPkce),
        Flaw::HttpEndpoint | Flaw::PrivateAddressEndpoint | Flaw::ScriptEndpoint => Unasked(UnsafeAddress),
        // The person named a resource on loopback, so that its server may be there too. A public one may not (`public.rs`).
        Flaw::MetadataRedirectsToLoopback => SignedIn,
        Flaw::MetadataRedirectsToHttp => Unasked(UnsafeAddress),
        // The object is whole before the white space, which is not read. See below for one that is not.
        Flaw::HugeMetadata => SignedIn,
        Flaw::MetadataNotJson | Flaw::MetadataHtml => Unasked(MetadataUnusable),
        Flaw::SlowMetadata => Unasked(Unreachable),
        Flaw::MetadataServerError => Unasked(ServerTrouble),
        Flaw::NoServerMetadata => Unasked(NoAuthorizationServer),
        Flaw::NoRevocationEndpoint => SignedIn,
        // The registration.
        Flaw::NoRegistration => Unasked(NoClient),
        Flaw::RegistrationRefused => Unasked(RegistrationRefused),
        Flaw::RegistrationWantsLocalhost | Flaw::RegistrationWantsLiteral | Flaw::RegistrationOtherMethod => SignedIn,
        // The page.
        Flaw::ClientUnknownAtPage => Stuck,
        // The first port is the registered one.
        Flaw::ExactRedirectPort => SignedIn,
        Flaw::IssMissing | Flaw::IssWrong | Flaw::IssUnadvertisedWrong | Flaw::IssDenormalised => Unused(WrongIssuer),
        Flaw::IssUnadvertised => SignedIn,
        Flaw::StateForged => Foreign,
        // They show at a second login.
        Flaw::OtherSubject | Flaw::EndsOldGrants | Flaw::GrantWideReuse => SignedIn,
        // The token endpoint.
        Flaw::NoRefreshToken | Flaw::TokenEndpointMoved | Flaw::ScopeNarrowed | Flaw::ScopeOmitted => SignedIn,
        Flaw::TokenEndpointGone => Refused(LoginReason::Refused),
        Flaw::UnknownTokenType => Refused(LoginReason::Refused),
        Flaw::TerminalEscapes => SignedIn,
        flaw => panic!("the outcome of {flaw} is not judged"),
    }
}

fn server(flaw: Flaw) -> LoginServerBuilder {
    LoginServer::builder().scopes(["openid", "tools:read", "tools:call"]).flaw(flaw)
}

/// The outcome of a login, with checks of what is left of it.
async fn found(flaw: Flaw) -> Outcome {
    let scene = Scene::new(server(flaw)).await;
    let (session, tokens) = (&scene.session, || scene.server.counts().of(Endpoint::Token));
    let begun = async {
        if flaw == Flaw::SlowMetadata {
            scene.server.until(|counts| counts.of(Endpoint::ServerMetadata) == 1).await;
            skip(Duration::from_secs(12)).await;
        }
    };
    let (asked, ()) = tokio::join!(begin(session, wish(&[]), LoginCause::Person), begun);
    let asked = match asked {
        Ok(asked) => asked,
        Err(reason) => {
            scene.has_nothing().await;
            let counts = scene.server.counts();
            assert_eq!((tokens(), counts.of(Endpoint::Authorization), counts.registered), (0, 0, 0), "{flaw}");
            scene.server.mend(flaw);
            // A document that works for other hosts is kept for its time.
            scene.place.clock.pass(Duration::from_secs(if flaw == Flaw::NoRegistration { 3_601 } else { 0 }));
            let end = scene.log_in(LoginCause::Person).await;
            assert_eq!(end, Ok(()), "{flaw}: the person tries again at once, and the server is mended");
            return Outcome::Unasked(reason);
        }
    };
    let Some(redirect) = open(&asked.url).await.callback else {
        session.cancel_login(WAIT).await.unwrap();
        scene.has_nothing().await;
        assert_eq!(tokens(), 0);
        return Outcome::Stuck;
    };
    match deliver(session, &redirect).await {
        Ok(()) => {
            assert_eq!(tokens() + scene.server.counts().of(Endpoint::FormerToken), 1, "{flaw}");
            if flaw != Flaw::RefusesTokens {
                assert_eq!(scene.call("any").await, 200, "{flaw}");
            }
            assert!(scene.runtime.pending_logins().await.unwrap().is_empty());
            Outcome::SignedIn
        }
        Err(LoginReason::UnknownLogin) => {
            assert_eq!(scene.runtime.pending_logins().await.unwrap()[0].0, asked.key, "the wait goes on");
            session.cancel_login(WAIT).await.unwrap();
            scene.has_nothing().await;
            assert_eq!(tokens(), 0);
            Outcome::Foreign
        }
        Err(reason) => {
            scene.has_nothing().await;
            match tokens() + scene.server.counts().of(Endpoint::FormerToken) {
                0 => Outcome::Unused(reason),
                1 => Outcome::Refused(reason),
                more => panic!("{flaw}: {more} token requests"),
            }
        }
    }
}

#[tokio::test]
async fn each_flaw_has_its_outcome_and_an_error_leaves_nothing() {
    let mut wrong = Vec::new();
    for flaw in Flaw::ALL.iter().copied() {
        let found = found(flaw).await;
        if found != outcome(flaw) {
            wrong.push((flaw, found, outcome(flaw)));
        }
    }
    assert!(wrong.is_empty(), "flaw, found, wanted: {wrong:#?}");
}

#[tokio::test]
async fn each_place_of_metadata_is_asked_once_and_no_redirect_to_plain_http_is_followed() {
    for (flaw, places) in [
        (Flaw::MetadataHtml, 2),
        (Flaw::MetadataServerError, 2),
        (Flaw::MetadataRedirectsToHttp, 2),
        (Flaw::NoServerMetadata, 2),
        (Flaw::WrongIssuer, 2),
    ] {
        let scene = Scene::new(server(flaw)).await;
        begin(&scene.session, wish(&[]), LoginCause::Person).await.unwrap_err();
        let counts = scene.server.counts();
        let asked = counts.of(Endpoint::ServerMetadata) + counts.of(Endpoint::OpenIdMetadata);
        assert_eq!(asked, places, "{flaw}: each place once");
        assert_eq!(counts.of(Endpoint::Elsewhere), 0);
    }
}

#[tokio::test]
async fn metadata_that_is_too_long_is_not_used() {
    let scene = Scene::new(LoginServer::builder()).await;
    let huge = Fault::huge(10 << 20);
    scene.server.next_at(Endpoint::ServerMetadata, 1, When::Before, huge.clone());
    scene.server.next_at(Endpoint::OpenIdMetadata, 1, When::Before, huge.clone());
    assert_eq!(scene.log_in(LoginCause::Person).await, Err(LoginReason::MetadataUnusable));
    scene.has_nothing().await;
    scene.server.next_at(Endpoint::ResourceMetadata, 1, When::Before, huge);
    let other = Scene { session: session(&scene.runtime, &format!("{}/x", scene.server.resource_url())), ..scene };
    assert_eq!(other.log_in(LoginCause::Person).await, Err(LoginReason::MetadataUnusable));
    other.has_nothing().await;
}
