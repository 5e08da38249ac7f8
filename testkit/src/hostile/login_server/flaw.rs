//! The flaws of a login server.

use std::fmt;

/// The party of a login that has to mend a [`Flaw`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The protected resource, with its challenges and its metadata.
    Resource,
    /// The authorization server.
    AuthorizationServer,
    /// The person at the browser.
    Person,
    /// No party. A specification allows it, and clients have to cope.
    Allowed,
}

macro_rules! flaws {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal, $blame:ident;)+) => {
        /// A deviation of the [`LoginServer`](super::LoginServer), one at a time or several together.
        ///
        /// A careless client gets through a login in spite of most of them. An error in a test is therefore the client's
        /// own, and not an accident further along the way.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Flaw {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Flaw {
            /// All flaws.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name, for example `wrong-issuer`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// The party that has to mend it.
            pub fn blame(self) -> Blame {
                match self {
                    $(Self::$name => Blame::$blame,)+
                }
            }
        }
    };
}

flaws! {
    // --- the protected resource ---

    /// The resource has no metadata at any address, by its own fault. A client tries the path form, then the root, and
    /// then only what the revision of 2025-03-26 allows.
    NoResourceMetadata = "no-resource-metadata", Resource;
    /// The resource's metadata lists no authorization server, by the resource's fault. A client reports it, and keeps a
    /// session that it has (RFC 9728 section 2).
    EmptyIssuerList = "empty-issuer-list", Resource;
    /// The metadata names a resource of another origin, by the resource's fault or an attacker's. A client must not use
    /// the document (RFC 9728 section 3.3).
    ResourceOtherOrigin = "resource-other-origin", Resource;
    /// The metadata at the path form names the origin alone, by the resource's fault. A strict client must not use it,
    /// and a client may accept it by a provider's profile only.
    ResourcePrefix = "resource-prefix", Resource;
    /// A 401 without `WWW-Authenticate`, by the resource's fault. A client probes the well-known addresses.
    NoChallenge = "no-challenge", Resource;
    /// A 401 whose only challenge is for HTTP Basic, by the resource's fault. A client ignores it and probes the
    /// well-known addresses.
    ChallengeWithoutBearer = "challenge-without-bearer", Resource;
    /// A 401 whose challenge breaks off within a quoted string, by the resource's fault. A client ignores what it cannot
    /// read and probes the well-known addresses.
    MalformedChallenge = "malformed-challenge", Resource;
    /// A 401 with challenges of three schemes in one header, which RFC 9110 section 11.6.1 allows. A client reads each
    /// apart and uses the one for Bearer.
    SeveralChallenges = "several-challenges", Allowed;
    /// A 401 for every access token, by the resource's fault. A client stops after one new token.
    RefusesTokens = "refuses-tokens", Resource;
    /// A 403 `insufficient_scope` at tools that require scopes, also with these scopes granted, by the resource's fault. A client
    /// bounds its attempts for each operation.
    NeverEnoughScope = "never-enough-scope", Resource;
    /// A 403 without a challenge where scopes are missing, by the resource's fault. A client does not ask the person.
    ForbiddenWithoutChallenge = "forbidden-without-challenge", Resource;

    // --- the authorization server's metadata ---

    /// The metadata names another issuer, by the authorization server's fault or an attacker's. A client must not use it
    /// (RFC 8414 section 3.3).
    WrongIssuer = "wrong-issuer", AuthorizationServer;
    /// The metadata's issuer has a slash more than the one listed by the resource, by the authorization server's fault.
    /// A client must not use it, unless it knows the two as aliases.
    IssuerTrailingSlash = "issuer-trailing-slash", AuthorizationServer;
    /// The metadata lists no PKCE methods, by the authorization server's fault. A client must refuse to go on.
    NoPkceList = "no-pkce-list", AuthorizationServer;
    /// The metadata lists only the PKCE method `plain`, by the authorization server's fault. A client must refuse to go
    /// on.
    PlainPkceOnly = "plain-pkce-only", AuthorizationServer;
    /// The token endpoint is at `http://auth.example.com`, without TLS, by the authorization server's fault. A client
    /// must send nothing there.
    HttpEndpoint = "http-endpoint", AuthorizationServer;
    /// The token endpoint is at `https://10.0.0.1`, by the authorization server's fault or an attacker's. A client must
    /// not connect to it.
    PrivateAddressEndpoint = "private-address-endpoint", AuthorizationServer;
    /// The authorization endpoint is a `javascript:` URL, by an attacker's fault. A client must not open it.
    ScriptEndpoint = "script-endpoint", AuthorizationServer;
    /// The metadata is redirected to a loopback address, by the authorization server's fault or an attacker's. A client
    /// that was not configured for loopback must not follow.
    MetadataRedirectsToLoopback = "metadata-redirects-to-loopback", AuthorizationServer;
    /// The metadata is redirected to `http://metadata.example.com`, by the authorization server's fault. A client must
    /// not follow.
    MetadataRedirectsToHttp = "metadata-redirects-to-http", AuthorizationServer;
    /// The metadata is followed by 10 MB of white space, by the authorization server's fault or an attacker's. A client
    /// stops reading at its bound.
    HugeMetadata = "huge-metadata", AuthorizationServer;
    /// The metadata comes byte by byte and never ends, by the authorization server's fault or an attacker's. A client
    /// stops at its time-out.
    SlowMetadata = "slow-metadata", AuthorizationServer;
    /// The metadata claims to be JSON and is not, by the authorization server's fault. A client reports it.
    MetadataNotJson = "metadata-not-json", AuthorizationServer;
    /// A page of HTML comes in place of the metadata, with status 200, by the fault of the authorization server or a
    /// proxy. A client reports it and prints nothing of the page.
    MetadataHtml = "metadata-html", AuthorizationServer;
    /// The metadata is answered with 500, by the authorization server's fault. A client reports it as something that may
    /// pass.
    MetadataServerError = "metadata-server-error", AuthorizationServer;
    /// The authorization server has no metadata at any address, by its own fault. A client tries all addresses in order,
    /// and then asks for endpoints.
    NoServerMetadata = "no-server-metadata", AuthorizationServer;
    /// The metadata names no revocation endpoint, which RFC 8414 allows. A client that logs out reports that the tokens
    /// may still live.
    NoRevocationEndpoint = "no-revocation-endpoint", Allowed;

    // --- registration ---

    /// The authorization server offers no way to register, which RFC 8414 allows. A client asks for a pre-registered
    /// client.
    NoRegistration = "no-registration", Allowed;
    /// Registrations are refused with `invalid_client_metadata`, by the authorization server's decision. A client reports
    /// it and asks for a pre-registered client.
    RegistrationRefused = "registration-refused", AuthorizationServer;
    /// Registrations with the redirect address 127.0.0.1 or ::1 are refused with `invalid_redirect_uri`, by the
    /// authorization server's fault (RFC 8252 section 7.3). A client tries `localhost` once.
    RegistrationWantsLocalhost = "registration-wants-localhost", AuthorizationServer;
    /// Registrations with the redirect address `localhost` are refused with `invalid_redirect_uri`, by the authorization
    /// server's decision. A client uses an address with an IP literal.
    RegistrationWantsLiteral = "registration-wants-literal", AuthorizationServer;
    /// Registrations are made with another authentication method than requested, which RFC 7591 section 3.2.1 allows. A
    /// client uses the method that was returned.
    RegistrationOtherMethod = "registration-other-method", Allowed;

    // --- the authorization endpoint ---

    /// The authorization page does not know a registered client and never calls back, by the authorization server's
    /// fault. A client registers anew after a prompt that ended without any callback.
    ClientUnknownAtPage = "client-unknown-at-page", AuthorizationServer;
    /// The authorization page refuses loopback addresses whose port differs from the registered one, by the authorization
    /// server's fault (RFC 8252 section 7.3). A client registers anew where it cannot have its former port.
    ExactRedirectPort = "exact-redirect-port", AuthorizationServer;
    /// Callbacks have no `iss` although the metadata advertises it, by the authorization server's fault or an attacker's.
    /// A client must reject them (RFC 9207 section 2.4).
    IssMissing = "iss-missing", AuthorizationServer;
    /// Callbacks have another issuer's `iss`, by an attacker's fault. A client must reject them and show nothing of them.
    IssWrong = "iss-wrong", AuthorizationServer;
    /// Callbacks have the right `iss` although the metadata does not advertise it, which RFC 9207 allows. A client
    /// compares it and proceeds.
    IssUnadvertised = "iss-unadvertised", Allowed;
    /// Callbacks have another issuer's `iss`, and the metadata does not advertise it, by an attacker's fault. A client
    /// must reject them.
    IssUnadvertisedWrong = "iss-unadvertised-wrong", AuthorizationServer;
    /// Callbacks have an `iss` with the scheme in capitals, by the authorization server's fault. A client must reject
    /// them, because it compares without normalisation.
    IssDenormalised = "iss-denormalised", AuthorizationServer;
    /// Callbacks have another `state` than the request, by an attacker's fault. A client must reject them and go on
    /// waiting.
    StateForged = "state-forged", AuthorizationServer;
    /// The second and each later login is another person's, by the person's mistake. A client must not replace the first
    /// person's session unasked.
    OtherSubject = "other-subject", Person;
    /// A new authorization ends all earlier grants of that person and client, by the authorization server's decision. A
    /// client must not report the old session's end while the new one arrives.
    EndsOldGrants = "ends-old-grants", AuthorizationServer;

    // --- the token endpoint ---

    /// Logins return no refresh token, which RFC 6749 section 5.1 allows. A client keeps the session while the access
    /// token lives.
    NoRefreshToken = "no-refresh-token", Allowed;
    /// The token endpoint has moved and answers 404 at its former address, by the authorization server's decision. A
    /// client reads the metadata again.
    TokenEndpointMoved = "token-endpoint-moved", AuthorizationServer;
    /// The metadata names a token endpoint that answers 404, by the authorization server's fault. A client reports it.
    TokenEndpointGone = "token-endpoint-gone", AuthorizationServer;
    /// A refresh token of an earlier grant of that person and client ends all of them, by the authorization server's
    /// decision. A client presents no replaced refresh token.
    GrantWideReuse = "grant-wide-reuse", AuthorizationServer;
    /// Fewer scopes are granted than requested, which RFC 6749 section 3.3 allows. A client stores the granted ones and
    /// does not ask for the others again and again.
    ScopeNarrowed = "scope-narrowed", Allowed;
    /// Answers do not name the granted scopes, which RFC 6749 section 5.1 allows where they are the requested ones. A
    /// client takes the requested ones for granted.
    ScopeOmitted = "scope-omitted", Allowed;
    /// Tokens have the type `mac`, by the authorization server's fault. A client must not use them (RFC 6749 section
    /// 7.1).
    UnknownTokenType = "unknown-token-type", AuthorizationServer;

    // --- anywhere ---

    /// Names, scopes, user codes and error descriptions contain control characters and bidirectional overrides, by an
    /// attacker's fault. A client never prints them as they are.
    TerminalEscapes = "terminal-escapes", AuthorizationServer;
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
