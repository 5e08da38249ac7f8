//! The errors of building a gateway and its layers.

/// Why a gateway, or a layer of it, could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The issuer is no origin.
    #[error(
        "the issuer must be an https origin such as https://gateway.example.com (or http on loopback), without a path and \
         without a slash at its end"
    )]
    Issuer,
    /// A resource is not at the issuer's origin, or there is none.
    #[error("a resource must be a URL at the issuer's origin, without a query, that was given to the builder")]
    Resource,
    /// There is no upstream, the name of one has another length or other characters than allowed, or two have the same name.
    #[error(
        "there must be an upstream, and each one's name must be 1 to 32 lower-case letters, digits and hyphens, and its own"
    )]
    Upstream,
    /// A layer requires an upstream that the gateway does not have.
    #[error(
        "a layer requires the upstream {name:?}, and the gateway has {known}: correct the name, or add the upstream"
    )]
    NoSuchUpstream {
        /// The name that the layer requires.
        name: String,
        /// The names that the gateway has.
        known: String,
    },
    /// A layer asks for a scope that no token of the gateway can have.
    #[error(
        "a layer asks for the scope {name:?}, and the gateway has {known}: correct it, or add it with GatewayBuilder::scopes"
    )]
    NoSuchScope {
        /// The scope that the layer asks for.
        name: String,
        /// The scopes that the gateway has.
        known: String,
    },
    /// The builder was given no store.
    #[error("there is no store: give one with GatewayBuilder::store")]
    NoStore,
    /// The default clock could not be made, because it draws a random number.
    #[error("the operating system gave no random numbers: check that /dev/urandom or its equivalent can be read")]
    NoRandomness,
}
