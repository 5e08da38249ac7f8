//! The providers that a person can name, and the change of a session's provider.

use std::io;

use clap::builder::PossibleValuesParser;
use tokenkeeper::issuers::providers;
use tokenkeeper::{AuthSession, ConfigureError, ProviderName, RenewalPlan};

use crate::failure::Failure;
use crate::home::Keeper;

/// Accepts the names of the known providers.
pub(crate) fn names() -> PossibleValuesParser {
    providers::ALL.iter().map(|facts| facts.name).collect::<Vec<_>>().into()
}

/// Stores `provider` as the provider of `session`, unless it is that already. A session without a login is left as it is.
pub(crate) async fn store(keeper: &Keeper, session: &AuthSession, provider: &str) -> Result<(), Failure> {
    let name = ProviderName::new(provider.to_owned()).map_err(|error| Failure::Usage(error.to_string()))?;
    let record = keeper.store.inspect(session.identity()).await?;
    let Some(plan) = record.as_ref().and_then(|record| Some(record.grant()?.renewal.clone())) else { return Ok(()) };
    if plan.provider.as_ref() == Some(&name) {
        return Ok(());
    }
    match session.configure(RenewalPlan { provider: Some(name), ..plan }).await {
        Ok(()) => Ok(()),
        Err(ConfigureError::StoreTrouble(fault)) => Err(Failure::store_fault(fault, &keeper.store)),
        Err(error) => Err(Failure::Failed(io::Error::other(error))),
    }
}
